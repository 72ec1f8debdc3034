//! Roll-up of the hours that are over, into their days and all time.

use std::time::{Duration, Instant};

use sqlx::Connection as _;

use super::Open;
use crate::domain::Hour;

/// Longest time of a transaction before the next one rolls up fewer hours, and hours in one at most: beside reports
/// that are being stored, and where no server runs.
const BESIDE: (Duration, i64) = (Duration::from_millis(4), 24);
const ALONE: (Duration, i64) = (Duration::from_secs(1), 24 * 31);

/// Rolls up some of the hours before `now`: after an import or a take-over there are years of them.
/// Returns whether there were any.
pub async fn roll_up_hours(open: &mut Open, now: Hour, alone: bool) -> sqlx::Result<bool> {
    let (now, hours, begun) = (now.number(), open.hours_at_a_time, Instant::now());
    let until = sqlx::query_scalar!(
        r#"SELECT min(?1, ?2 + max(position, (
                      SELECT coalesce(min(period), ?1) FROM rollups
                      WHERE span = 1 AND period >= position
                  ))) AS "until!: i64"
           FROM watermarks WHERE name = 'rolled_up' AND position < ?1"#,
        now,
        hours
    )
    .fetch_optional(&mut open.connection)
    .await?;
    let Some(until) = until else {
        return Ok(false);
    };
    // Hours that a power cut takes away are rolled up again, so this needs no sync of its own.
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut open.connection).await?;
    let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query_file!("src/storage/write/roll_up_hours.sql", until, until, until)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    sqlx::query("PRAGMA synchronous = FULL").execute(&mut open.connection).await?;
    let (longest, most) = if alone { ALONE } else { BESIDE };
    let longer = begun.elapsed() > longest;
    open.hours_at_a_time = if longer { 1.max(hours / 2) } else { most.min(hours * 2) };
    Ok(true)
}
