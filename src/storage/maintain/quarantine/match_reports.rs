//! The stored reports of a selection.

use sqlx::SqliteConnection;

use crate::{
    domain::{Dimension, OTHER, ReportKind, Selection},
    storage::{instance_key, json, profiles},
};

/// Makes the table `temp.matched` of the numbers of the stored reports after one up to another that a
/// selection has. No lock is held by that. These tables are not part of the schema, so these queries cannot
/// be checked against it when compiled; the tests run them.
///
/// A value is the reported one: a report that counts as `other` has it in `unproven_values`.
pub async fn match_reports(
    connection: &mut SqliteConnection,
    selection: &Selection,
    after: i64,
    last: i64,
) -> sqlx::Result<()> {
    find_profiles(connection, selection).await?;
    let instance = selection.instance.as_ref().map(|id| instance_key::to_hex(id));
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.matched;
         CREATE TEMP TABLE matched (report INTEGER PRIMARY KEY);",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query(include_str!("match_reports.sql"))
        .bind(after)
        .bind(last)
        .bind(instance)
        .bind(selection.kind.map(|kind| kind == ReportKind::Heartbeat))
        .bind(selection.from.map(jiff::Timestamp::as_millisecond))
        .bind(selection.until.map(jiff::Timestamp::as_millisecond))
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Makes the table `temp.wanted` of the profiles whose reports can be selected, with the number of values
/// that each has to be found among the unproven ones, and `temp.wanted_values` of these values.
pub async fn find_profiles(
    connection: &mut SqliteConnection,
    selection: &Selection,
) -> sqlx::Result<()> {
    let mut wanted = Vec::new();
    for (number, profile) in profiles::after(connection, 0).await? {
        let stated = |(dimension, value): &&(Dimension, _)| profile.get(*dimension) == value;
        let hidden = |(dimension, _): &&(Dimension, _)| **profile.get(*dimension) == *OTHER;
        let values = &selection.values;
        if values.iter().all(|pair| stated(&pair) || hidden(&pair)) {
            wanted.push((number, values.iter().filter(|pair| !stated(pair)).count()));
        }
    }
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.wanted;
         DROP TABLE IF EXISTS temp.wanted_values;
         CREATE TEMP TABLE wanted (profile INTEGER PRIMARY KEY, unproven INTEGER NOT NULL);
         CREATE TEMP TABLE wanted_values (dimension TEXT, value TEXT);",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO temp.wanted SELECT value ->> 0, value ->> 1 FROM json_each(?)")
        .bind(json::encode(&wanted)?)
        .execute(&mut *connection)
        .await?;
    let values: Vec<(&str, &str)> =
        selection.values.iter().map(|(name, value)| (name.name(), &**value)).collect();
    sqlx::query("INSERT INTO temp.wanted_values SELECT value ->> 0, value ->> 1 FROM json_each(?)")
        .bind(json::encode(&values)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// Numbers of `temp.matched` after one, so many at most.
pub async fn matched_after(
    connection: &mut SqliteConnection,
    report: i64,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("SELECT report FROM temp.matched WHERE report > ? ORDER BY report LIMIT ?")
        .bind(report)
        .bind(limit)
        .fetch_all(connection)
        .await
}
