//! Labels decided anew: reports that count as `other` and whose value has a label by now.

use std::{collections::BTreeMap, time::Instant};

use sqlx::{Connection as _, SqliteConnection};

use super::super::{
    pace::Pace,
    report_changes::{Counted, ReportChanges},
};
use crate::{
    domain::{Dimension, Profile, Value},
    storage::{
        json,
        profiles::{self, Numbered},
        write::Open,
    },
};

/// A report that is to count as another profile.
struct Moving {
    report: i64,
    from: i64,
    to: i64,
}

/// Counts reports under the labels that their values have by now. Returns how many reports.
pub async fn relabel(open: &mut Open, pace: &mut Pace) -> sqlx::Result<i64> {
    find_labelled(open).await?;
    let known = profiles::after(&mut open.connection, 0).await?;
    let mut last = 0;
    let mut moved = 0;
    pace.begin_rows();
    loop {
        let rows: Vec<(i64, i64, String, String)> = sqlx::query_as(
            "SELECT labelled.report, reports.profile, dimension, value
             FROM temp.labelled CROSS JOIN reports ON reports.id = labelled.report
             WHERE labelled.report IN (
                 SELECT DISTINCT report FROM temp.labelled WHERE report > ? ORDER BY report LIMIT ?
             )
             ORDER BY labelled.report",
        )
        .bind(last)
        .bind(pace.limit())
        .fetch_all(&mut open.connection)
        .await?;
        let Some(&(number, ..)) = rows.last() else { break };
        let moving = profiles_to_be(open, &known, rows).await?;
        let begun = Instant::now();
        step(&mut open.connection, &moving).await?;
        (last, moved) = (number, moved + moving.len());
        pace.rest(begun, moving.len()).await;
    }
    sqlx::query("DROP TABLE temp.labelled").execute(&mut open.connection).await?;
    Ok(i64::try_from(moved).unwrap_or(i64::MAX))
}

/// Makes the table `temp.labelled` of the values that have a label and do not count under it. It is not part
/// of the schema, so what reads it cannot be checked when compiled; the tests run it.
async fn find_labelled(open: &mut Open) -> sqlx::Result<()> {
    let values = sqlx::query!(
        r#"SELECT DISTINCT dimension AS "dimension!", value AS "value!" FROM unproven_values"#
    )
    .fetch_all(&mut open.connection)
    .await?;
    let mut labelled = Vec::new();
    for row in values {
        let Some(dimension) = Dimension::named(&row.dimension) else { continue };
        let Some(value) = Value::parse(dimension, Some(row.value)) else { continue };
        if open.labels.standing(dimension, &value).is_some() {
            labelled.push((row.dimension, value.to_string()));
        }
    }
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.labelled;
         CREATE TEMP TABLE labelled (report, dimension, value, PRIMARY KEY (report, dimension));",
    )
    .execute(&mut open.connection)
    .await?;
    sqlx::query(
        "INSERT INTO temp.labelled
         SELECT report, dimension, value FROM unproven_values
         WHERE (dimension, value) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
    )
    .bind(json::encode(&labelled)?)
    .execute(&mut open.connection)
    .await?;
    Ok(())
}

/// The profiles that some reports are to count as.
async fn profiles_to_be(
    open: &mut Open,
    known: &Numbered,
    rows: Vec<(i64, i64, String, String)>,
) -> sqlx::Result<Vec<Moving>> {
    let mut values: BTreeMap<(i64, i64), Vec<(Dimension, Value)>> = BTreeMap::new();
    for (report, profile, dimension, value) in rows {
        let Some(dimension) = Dimension::named(&dimension) else { continue };
        let Some(value) = Value::parse(dimension, Some(value)) else { continue };
        values.entry((report, profile)).or_default().push((dimension, value));
    }
    open.profiles.begin_batch();
    let mut moving = Vec::new();
    for ((report, from), values) in values {
        let Some(old) = profiles::find(known, from) else { continue };
        let counted = Profile::new(|dimension| {
            let new = values.iter().find(|(other, _)| *other == dimension);
            new.map_or_else(|| old.get(dimension).clone(), |(_, value)| value.clone())
        });
        let to = open.profiles.number(&mut open.connection, &counted, &open.labels).await?;
        moving.push(Moving { report, from, to });
    }
    Ok(moving)
}

async fn step(connection: &mut SqliteConnection, moving: &[Moving]) -> sqlx::Result<()> {
    let rows: Vec<_> = moving.iter().map(|one| [one.report, one.from, one.to]).collect();
    let rows = json::encode(&rows)?;
    let to: BTreeMap<i64, i64> = moving.iter().map(|one| (one.report, one.to)).collect();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let reports = sqlx::query_as!(
        Counted,
        "SELECT id, received_at, profile, heartbeat, startup_ms
         FROM reports WHERE id IN (SELECT value ->> 0 FROM json_each(?))",
        rows
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut changes = ReportChanges::begin(&mut transaction).await?;
    for report in &reports {
        changes.add(report, -1);
        changes.add(&Counted { profile: to[&report.id], ..*report }, 1);
    }
    changes.store(&mut transaction).await?;
    sqlx::query!(
        "UPDATE reports SET profile = value ->> 2 FROM json_each(?) WHERE reports.id = value ->> 0",
        rows
    )
    .execute(&mut *transaction)
    .await?;
    // One whose combination has no room keeps its value for the next time.
    sqlx::query(
        "DELETE FROM unproven_values WHERE (report, dimension) IN (
             SELECT report, dimension FROM temp.labelled WHERE report IN (
                 SELECT value ->> 0 FROM json_each(?) WHERE value ->> 1 <> value ->> 2
             )
         )",
    )
    .bind(rows)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}
