//! Changes of counts and startup times, where reports get another time or profile, go, or come back, or a
//! repair finds a difference.

use std::collections::BTreeMap;

use sqlx::{Connection as _, SqliteConnection};

use crate::{
    domain::Hour,
    storage::{json, packed_days::unpack_from},
};

/// Change of the counts of a span, period and profile: starts and heartbeats, first and last report.
pub type CountChanges = BTreeMap<(i64, i64, i64), (i64, i64, i64, i64)>;
/// Change of a bucket's starts and sum, by span, period, profile and upper bound.
pub type StartupChanges = BTreeMap<(i64, i64, i64, i64), (i64, i64)>;

/// Spans and periods that count a report of a time.
pub fn periods(time_ms: i64, rolled_up: i64) -> impl Iterator<Item = (i64, i64)> {
    let hour = Hour::of_ms(time_ms);
    let dated = time_ms >= 0;
    let rolled_up = hour.number() < rolled_up;
    [(1, hour.number(), dated), (24, hour.day().number(), dated && rolled_up), (0, 0, rolled_up)]
        .into_iter()
        .filter_map(|(span, period, counts)| counts.then_some((span, period)))
}

/// First hour that days and all time do not have.
pub async fn rolled_up(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'rolled_up'")
        .fetch_one(connection)
        .await
}

/// Changes counts, and deletes those that become zero.
pub async fn add_counts(
    connection: &mut SqliteConnection,
    counts: &CountChanges,
) -> sqlx::Result<()> {
    unpack(connection, counts.keys().map(|&(span, period, _)| (span, period))).await?;
    let rows: Vec<_> = counts
        .iter()
        .map(|(&(span, period, profile), &(starts, heartbeats, first, last))| {
            [span, period, profile, starts, heartbeats, first, last]
        })
        .collect();
    let rows = json::encode(&rows)?;
    sqlx::query!(
        "INSERT INTO rollups
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
             value ->> 6
         FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET
             starts = starts + excluded.starts,
             heartbeats = heartbeats + excluded.heartbeats,
             first_report = min(first_report, excluded.first_report),
             last_report = max(last_report, excluded.last_report)",
        rows
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM rollups
         WHERE (span, period, profile) IN (
                 SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)
             )
             AND starts = 0 AND heartbeats = 0",
        rows
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Changes startup times, and deletes those that become zero.
pub async fn add_startups(
    connection: &mut SqliteConnection,
    startups: &StartupChanges,
) -> sqlx::Result<()> {
    unpack(connection, startups.keys().map(|&(span, period, ..)| (span, period))).await?;
    let rows: Vec<_> = startups
        .iter()
        .map(|(&(span, period, profile, up_to), &(starts, sum_ms))| {
            [span, period, profile, up_to, starts, sum_ms]
        })
        .collect();
    let rows = json::encode(&rows)?;
    sqlx::query!(
        "INSERT INTO startup_times
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET
             starts = starts + excluded.starts,
             sum_ms = sum_ms + excluded.sum_ms",
        rows
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM startup_times
         WHERE (span, period, profile, up_to_ms) IN (
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)
             )
             AND starts = 0",
        rows
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Has the days among these periods packed anew.
async fn unpack(
    connection: &mut SqliteConnection,
    periods: impl Iterator<Item = (i64, i64)>,
) -> sqlx::Result<()> {
    let first = periods.filter_map(|(span, period)| (span == 24).then_some(period)).min();
    match first {
        Some(day) => unpack_from(connection, Hour::new(day)).await,
        None => Ok(()),
    }
}

/// Opens the hours again from the present one on: a clock that was ahead has rolled them up.
pub async fn open_hours(connection: &mut SqliteConnection, now: Hour) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    unpack_from(&mut transaction, now).await?;
    let now = now.number();
    let rolled_up = rolled_up(&mut transaction).await?;
    let hours = sqlx::query!(
        "SELECT period, profile, starts, heartbeats, first_report, last_report FROM rollups
         WHERE span = 1 AND period >= ? AND period < ?",
        now,
        rolled_up
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut counts = CountChanges::new();
    for row in hours {
        let day = Hour::new(row.period).day().number();
        for (span, period) in [(24, day), (0, 0)] {
            let count = counts.entry((span, period, row.profile)).or_insert((
                0,
                0,
                row.first_report,
                row.last_report,
            ));
            (count.0, count.1) = (count.0 - row.starts, count.1 - row.heartbeats);
        }
    }
    let buckets = sqlx::query!(
        "SELECT period, profile, up_to_ms, starts, sum_ms FROM startup_times
         WHERE span = 1 AND period >= ? AND period < ?",
        now,
        rolled_up
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut startups = StartupChanges::new();
    for row in buckets {
        let day = Hour::new(row.period).day().number();
        for (span, period) in [(24, day), (0, 0)] {
            let startup = startups.entry((span, period, row.profile, row.up_to_ms)).or_default();
            (startup.0, startup.1) = (startup.0 - row.starts, startup.1 - row.sum_ms);
        }
    }
    add_counts(&mut transaction, &counts).await?;
    add_startups(&mut transaction, &startups).await?;
    sqlx::query!("UPDATE watermarks SET position = min(position, ?) WHERE name = 'rolled_up'", now)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
