//! Counts of hours whose single reports were pruned: they move by value and time, whole hours together.

use std::time::Instant;

use jiff::Timestamp;
use sqlx::{Connection as _, FromRow, SqliteConnection};

use super::{
    super::{
        count_changes::{
            CountChanges, StartupChanges, add_counts, add_startups, periods, rolled_up,
        },
        pace::Pace,
    },
    match_reports::find_profiles,
};
use crate::{
    domain::{Hour, ReportKind, Selection},
    storage::{json, write::Quarantine},
};

/// Counts of a profile in an hour.
#[derive(Debug, FromRow)]
struct Counts {
    hour: i64,
    profile: i64,
    starts: i64,
    heartbeats: i64,
    first_report: i64,
    last_report: i64,
}

/// Startup times of a profile in an hour.
#[derive(Debug, FromRow)]
struct Bucket {
    hour: i64,
    profile: i64,
    up_to_ms: i64,
    starts: i64,
    sum_ms: i64,
}

/// Counts of pruned reports that a selection has, where its stored reports are out: so many rows at most.
/// Of an instance it is not known which they were. The tables of the selection are not part of the schema,
/// so this query cannot be checked against it when compiled; the tests run it.
async fn find(
    connection: &mut SqliteConnection,
    selection: &Selection,
    limit: i64,
) -> sqlx::Result<Vec<Counts>> {
    if selection.instance.is_some() {
        return Ok(Vec::new());
    }
    sqlx::query_as(include_str!("pruned_hours.sql"))
        .bind(selection.kind.map(|kind| kind == ReportKind::Heartbeat))
        .bind(selection.from.map(Timestamp::as_millisecond))
        .bind(selection.until.map(Timestamp::as_millisecond))
        .bind(limit)
        .fetch_all(connection)
        .await
}

/// Moves the counts of pruned reports into quarantine. Its stored reports are out already.
pub async fn move_counts_out(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    find_profiles(connection, &quarantine.selection).await?;
    pace.begin_rows();
    loop {
        let begun = Instant::now();
        let hours = find(connection, &quarantine.selection, pace.limit()).await?;
        if hours.is_empty() {
            return Ok(());
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let with_starts: Vec<_> =
            hours.iter().filter(|row| row.starts > 0).map(|row| [row.hour, row.profile]).collect();
        let with_starts = json::encode(&with_starts)?;
        let buckets = sqlx::query_as!(
            Bucket,
            r#"SELECT period AS hour, profile, up_to_ms, starts, sum_ms FROM startup_times
               WHERE span = 1 AND (period, profile) IN (
                   SELECT value ->> 0, value ->> 1 FROM json_each(?)
               )"#,
            with_starts
        )
        .fetch_all(&mut *transaction)
        .await?;
        change(&mut transaction, &hours, &buckets, -1).await?;
        for row in &hours {
            sqlx::query!(
                "INSERT INTO quarantined_counts VALUES (?, ?, ?, ?, ?, ?, ?)",
                quarantine.id,
                row.hour,
                row.profile,
                row.starts,
                row.heartbeats,
                row.first_report,
                row.last_report
            )
            .execute(&mut *transaction)
            .await?;
        }
        for row in &buckets {
            sqlx::query!(
                "INSERT INTO quarantined_startup_times VALUES (?, ?, ?, ?, ?, ?)",
                quarantine.id,
                row.hour,
                row.profile,
                row.up_to_ms,
                row.starts,
                row.sum_ms
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        pace.rest(begun, hours.len() + buckets.len()).await;
    }
}

/// Moves the counts of pruned reports back.
pub async fn move_counts_back(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    pace.begin_rows();
    loop {
        let begun = Instant::now();
        let limit = pace.limit();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let hours = sqlx::query_as!(
            Counts,
            "SELECT hour, profile, starts, heartbeats, first_report, last_report
             FROM quarantined_counts WHERE quarantine = ? ORDER BY hour, profile LIMIT ?",
            quarantine.id,
            limit
        )
        .fetch_all(&mut *transaction)
        .await?;
        if hours.is_empty() {
            return transaction.rollback().await;
        }
        let keys: Vec<_> = hours.iter().map(|row| [row.hour, row.profile]).collect();
        let keys = json::encode(&keys)?;
        let buckets = sqlx::query_as!(
            Bucket,
            r#"SELECT hour, profile, up_to_ms, starts, sum_ms FROM quarantined_startup_times
               WHERE quarantine = ? AND (hour, profile) IN (
                   SELECT value ->> 0, value ->> 1 FROM json_each(?)
               )"#,
            quarantine.id,
            keys
        )
        .fetch_all(&mut *transaction)
        .await?;
        change(&mut transaction, &hours, &buckets, 1).await?;
        sqlx::query!(
            "DELETE FROM quarantined_startup_times WHERE quarantine = ? AND (hour, profile) IN (
                 SELECT value ->> 0, value ->> 1 FROM json_each(?)
             )",
            quarantine.id,
            keys
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "DELETE FROM quarantined_counts WHERE quarantine = ? AND (hour, profile) IN (
                 SELECT value ->> 0, value ->> 1 FROM json_each(?)
             )",
            quarantine.id,
            keys
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        pace.rest(begun, hours.len() + buckets.len()).await;
    }
}

/// Adds counts of hours to these, to their days and to all time, or removes them.
async fn change(
    connection: &mut SqliteConnection,
    hours: &[Counts],
    buckets: &[Bucket],
    sign: i64,
) -> sqlx::Result<()> {
    let rolled_up = rolled_up(connection).await?;
    let (mut counts, mut startups) = (CountChanges::new(), StartupChanges::new());
    for row in hours {
        for (span, period) in periods(Hour::new(row.hour).start_ms(), rolled_up) {
            let bounds = (0, 0, row.first_report, row.last_report);
            let count = counts.entry((span, period, row.profile)).or_insert(bounds);
            count.0 += sign * row.starts;
            count.1 += sign * row.heartbeats;
            (count.2, count.3) = (count.2.min(row.first_report), count.3.max(row.last_report));
        }
    }
    for row in buckets {
        for (span, period) in periods(Hour::new(row.hour).start_ms(), rolled_up) {
            let startup = startups.entry((span, period, row.profile, row.up_to_ms)).or_default();
            startup.0 += sign * row.starts;
            startup.1 += sign * row.sum_ms;
        }
    }
    add_counts(connection, &counts).await?;
    add_startups(connection, &startups).await
}
