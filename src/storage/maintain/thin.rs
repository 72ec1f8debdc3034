//! Thinning of what is no longer needed at its full rate: snapshots of single hours, the activity of
//! hours that no window reaches, and old samples.

use jiff::Timestamp;
use sqlx::Connection as _;

use super::snapshots::hourly_from;
use crate::{
    domain::{Hour, Window},
    storage::{
        Result, Writer,
        write::{Open, SAMPLES_KEPT_DAYS, last_end, minute},
    },
};

/// Snapshots that are deleted together, each some ten kilobytes.
const SNAPSHOTS_AT_A_TIME: i64 = 100;
/// Rows of `activity` and of `samples` that are deleted together.
const ROWS_AT_A_TIME: i64 = 3000;
/// Hours of activity that are kept beyond the longest window: from which hour on a fleet rests is
/// known for a day.
const MARGIN_HOURS: i64 = 48;

impl Writer {
    /// Deletes some of what has become too old. Returns whether there may be more. Not to be called
    /// while the clock is not trusted: nothing brings these rows back.
    ///
    /// # Errors
    /// The database's error.
    pub async fn thin(&mut self, now: Timestamp) -> Result<bool> {
        self.run(async |open| open.thin(now).await).await
    }
}

impl Open {
    async fn thin(&mut self, now: Timestamp) -> sqlx::Result<bool> {
        let hour = Hour::of(now);
        if self.thinned == Some(hour) {
            return Ok(false);
        }
        let closed = last_end(&mut self.connection, hour).await?.min(hour);
        let hourly_from = hourly_from(closed.number());
        let unreachable = Window::LONGEST.first_hour(closed).number() - MARGIN_HOURS;
        let oldest_minute = minute(now) - SAMPLES_KEPT_DAYS * 24 * 60;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let snapshots = sqlx::query!(
            "DELETE FROM snapshots WHERE hour IN (
                 SELECT hour FROM snapshots WHERE hour < ? AND hour % 24 <> 0
                 ORDER BY hour DESC LIMIT ?
             )",
            hourly_from,
            SNAPSHOTS_AT_A_TIME
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        let activity = sqlx::query!(
            "DELETE FROM activity WHERE (hour, profile) IN (
                 SELECT hour, profile FROM activity
                 WHERE hour < ? AND (hour >= 0 OR instances = 0)
                 ORDER BY 1, 2 LIMIT ?
             )",
            unreachable,
            ROWS_AT_A_TIME
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        let samples = sqlx::query!(
            "DELETE FROM samples WHERE (series, minute) IN (
                 SELECT series, minute FROM samples
                 WHERE series IN (SELECT id FROM sample_series) AND minute < ? LIMIT ?
             )",
            oldest_minute,
            ROWS_AT_A_TIME
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        transaction.commit().await?;
        let more = snapshots + activity + samples > 0;
        if !more {
            self.thinned = Some(hour);
        }
        Ok(more)
    }
}
