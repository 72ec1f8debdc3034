//! Corrections of the times of reports, after the clock was found to have been wrong.
//!
//! They run beside the reports, in short steps. None is indexed meanwhile. What is derived from the
//! times is made right at the end: instances, snapshots and watermarks. An interrupted one goes on. The
//! windows of the calendar that they touch are noted, for a recount that follows.

mod recount;

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use sqlx::{Connection as _, SqliteConnection};

use self::recount::recount;
use super::{
    count_changes::open_hours,
    import::{sort_history, sort_on_disk},
    pace::Pace,
    quarantine::redate,
    rebuild_snapshots::rebuild_from,
    recount_calendar::note_recounts,
    report_changes::{Counted, ReportChanges},
};
use crate::{
    domain::{Correction, Hour},
    storage::{Database, Result, json, write::minute},
};

/// Snapshots that are deleted together, each some ten kilobytes.
const SNAPSHOTS_AT_A_TIME: i64 = 50;

struct Unfinished {
    id: i64,
    position: i64,
    correction: Correction,
}

impl Database {
    /// True if reports are to be corrected.
    ///
    /// # Errors
    /// The database's error.
    pub async fn has_corrections(&self) -> Result<bool> {
        let some =
            sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM corrections) AS "some!: bool""#)
                .fetch_one(&mut *self.reader().await?)
                .await?;
        Ok(some)
    }

    /// Corrects the reports whose times are known to be wrong, all of which are indexed. No report
    /// may be indexed meanwhile. `now` is the present hour. Returns how many there were.
    ///
    /// # Errors
    /// The database's error. The next call goes on.
    pub async fn correct(self, now: Hour) -> Result<u64> {
        let mut writer = self.upkeep_writer();
        let corrected = writer
            .run(async |open| {
                let connection = &mut open.connection;
                sort_on_disk(connection).await?;
                let corrected = correct(connection, now, &mut Pace::beside(&self.traffic)).await?;
                open.closed_hour = None;
                Ok(corrected)
            })
            .await?;
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        writer.leave().await?;
        Ok(corrected)
    }
}

async fn correct(
    connection: &mut SqliteConnection,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<u64> {
    let corrections = unfinished(connection).await?;
    let mut corrected = 0;
    pace.begin_rows();
    for unfinished in &corrections {
        let mut position = unfinished.position;
        while position < unfinished.correction.last_report {
            let begun = Instant::now();
            let rows = pace.rows();
            let (until, moved) = step(connection, unfinished, position, rows).await?;
            (position, corrected) = (until, corrected + moved);
            pace.rest(begun, rows).await;
        }
    }
    open_hours(connection, now).await?;
    recount(connection, pace).await?;
    let from = first_hour(connection, &corrections).await?;
    drop_future(connection, &corrections, now, pace).await?;
    if let Some(from) = from {
        sort_history(connection).await?;
        rebuild_from(connection, from, now, pace).await?;
        sqlx::query("DROP TABLE temp.history").execute(&mut *connection).await?;
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let now = now.number();
    sqlx::query!("UPDATE watermarks SET position = min(position, ?) WHERE name = 'closed'", now)
        .execute(&mut *transaction)
        .await?;
    for Unfinished { correction, .. } in &corrections {
        let Correction { from_ms, until_ms, shift_ms, earliest_ms, latest_ms, .. } = *correction;
        note_recounts(&mut transaction, from_ms, until_ms).await?;
        let moved = |ms: i64| ms.saturating_add(shift_ms).min(latest_ms).max(earliest_ms);
        note_recounts(&mut transaction, moved(from_ms), moved(until_ms)).await?;
    }
    // The clock may have stepped again meanwhile.
    let done = corrections.last().map(|unfinished| unfinished.id);
    sqlx::query!("DELETE FROM corrections WHERE id <= ?", done).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(corrected)
}

async fn unfinished(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Unfinished>> {
    let rows = sqlx::query!("SELECT * FROM corrections ORDER BY id").fetch_all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|row| Unfinished {
            id: row.id,
            position: row.position,
            correction: Correction {
                after_report: row.after_report,
                last_report: row.last_report,
                from_ms: row.from_ms,
                until_ms: row.until_ms,
                shift_ms: row.shift_ms,
                earliest_ms: row.earliest_ms,
                latest_ms: row.latest_ms,
            },
        })
        .collect())
}

/// Corrects some reports after a number. Returns the number up to which it is done, and how many
/// there were.
async fn step(
    connection: &mut SqliteConnection,
    unfinished: &Unfinished,
    position: i64,
    rows: usize,
) -> sqlx::Result<(i64, u64)> {
    let Unfinished { id, correction, .. } = unfinished;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let limit = i64::try_from(rows).unwrap_or(i64::MAX);
    let reports = sqlx::query_as!(
        Counted,
        "SELECT id, received_at, profile, heartbeat, startup_ms
         FROM reports WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
        position,
        correction.last_report,
        limit
    )
    .fetch_all(&mut *transaction)
    .await?;
    let until = match reports.last() {
        Some(last) if reports.len() == rows => last.id,
        _ => correction.last_report,
    };
    let mut changes = ReportChanges::begin(&mut transaction).await?;
    let mut moved = Vec::new();
    for report in &reports {
        let old = report.received_at;
        if old < correction.from_ms || old > correction.until_ms {
            continue; // Imported meanwhile.
        }
        let new = (old + correction.shift_ms).min(correction.latest_ms).max(correction.earliest_ms);
        moved.push((report.id, new));
        changes.add(report, -1);
        changes.add(&Counted { received_at: new, ..*report }, 1);
    }
    changes.store(&mut transaction).await?;
    let times = json::encode(&moved)?;
    sqlx::query!(
        "UPDATE reports SET received_at = value ->> 1 FROM json_each(?)
         WHERE reports.id = value ->> 0",
        times
    )
    .execute(&mut *transaction)
    .await?;
    if until == correction.last_report {
        redate(&mut transaction, correction).await?;
    }
    sqlx::query!("UPDATE corrections SET position = ? WHERE id = ?", until, id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok((until, moved.len() as u64))
}

/// First hour that the corrections changed.
async fn first_hour(
    connection: &mut SqliteConnection,
    corrections: &[Unfinished],
) -> sqlx::Result<Option<Hour>> {
    let mut first = None;
    for Unfinished { correction, .. } in corrections {
        let earliest = sqlx::query_scalar!(
            r#"SELECT min(received_at) AS "earliest: i64" FROM reports
               WHERE id > ? AND id <= ? AND received_at >= 0"#,
            correction.after_report,
            correction.last_report
        )
        .fetch_one(&mut *connection)
        .await?;
        let was = (correction.from_ms >= 0).then_some(correction.from_ms);
        let is = was.map(|from| (from + correction.shift_ms).max(0));
        first = [first, earliest, was, is].into_iter().flatten().min();
    }
    Ok(first.map(Hour::of_ms))
}

/// Deletes the snapshots of hours to come, and puts samples of minutes to come where they belong.
async fn drop_future(
    connection: &mut SqliteConnection,
    corrections: &[Unfinished],
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let hour = now.number();
    loop {
        let begun = Instant::now();
        let deleted = sqlx::query!(
            "DELETE FROM snapshots WHERE hour IN (
                 SELECT hour FROM snapshots WHERE hour > ? ORDER BY hour LIMIT ?
             )",
            hour,
            SNAPSHOTS_AT_A_TIME
        )
        .execute(&mut *connection)
        .await?;
        if deleted.rows_affected() == 0 {
            break;
        }
        pace.rest(begun, 1).await;
    }
    let back = corrections.iter().map(|unfinished| unfinished.correction.shift_ms).min();
    let future = minute(now.plus(1).start());
    if let Some(back) = back.filter(|&back| back < 0).map(|back| back / 60_000) {
        sqlx::query!(
            "UPDATE OR REPLACE samples SET minute = minute + ?
             WHERE series IN (SELECT id FROM sample_series) AND minute >= ?",
            back,
            future
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}
