//! Outages, and the hours in which reports came. Silence is judged by these hours.

use jiff::Timestamp;

use crate::{
    domain::{Hour, OutageTimes, USUAL_HOURS, is_silent},
    storage::{Database, Result, json},
};

/// Length of an outage that a clock which may be wrong has not made yet, in milliseconds.
const PLAUSIBLE_MS: i64 = 30 * 24 * 3_600_000;

/// The last report, and whether silence followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Silence {
    /// Time of the last report, if there is one.
    pub last_report: Option<Timestamp>,
    /// True if no report came since although there used to be reports.
    pub silent: bool,
}

impl Database {
    /// Outages that reach into a time, in milliseconds since 1970. One that goes on lasts until its end.
    ///
    /// # Errors
    /// The database's error.
    pub async fn outages(&self, from: i64, until: i64) -> Result<OutageTimes> {
        let rows = sqlx::query!(
            r#"SELECT began_at, coalesce(ended_at, ?2) AS "ended_at!: i64" FROM outages
               WHERE began_at < ?2 AND (ended_at IS NULL OR ended_at > ?1)"#,
            from,
            until
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(OutageTimes::new(rows.into_iter().map(|row| (row.began_at, row.ended_at)).collect()))
    }

    /// Whole seconds of all outages that are over. While the clock may be `far` ahead, those do not count
    /// which it may have made.
    ///
    /// # Errors
    /// The database's error.
    pub async fn outage_seconds(&self, far: bool) -> Result<u64> {
        let longest = if far { PLAUSIBLE_MS } else { i64::MAX };
        let sum = sqlx::query_scalar!(
            r#"SELECT coalesce(sum(ended_at - began_at), 0) AS "sum!: i64" FROM outages
               WHERE ended_at - began_at <= ?"#,
            longest
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        Ok(u64::try_from(sum / 1000).unwrap_or_default())
    }

    /// True for each of some ranges of hours in which a report came.
    ///
    /// # Errors
    /// The database's error.
    pub async fn have_reports(&self, ranges: &[(Hour, Hour)]) -> Result<Vec<bool>> {
        let ranges = json::encode(ranges)?;
        let found = sqlx::query_scalar!(
            r#"SELECT EXISTS (
                   SELECT 1 FROM rollups
                   WHERE span = 1 AND period >= value ->> 0 AND period <= value ->> 1
               ) AS "found!: bool"
               FROM json_each(?) ORDER BY key"#,
            ranges
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(found)
    }

    /// The last report so far, and whether silence followed.
    ///
    /// # Errors
    /// The database's error.
    pub async fn silence(&self, now: Timestamp) -> Result<Silence> {
        let present = Hour::of(now).number();
        // From hour to hour with reports: an hour may have many rows.
        let hours = sqlx::query_scalar!(
            r#"WITH RECURSIVE hours (period, first) AS (
                   SELECT max(period), max(period) - ?2 FROM rollups WHERE span = 1 AND period <= ?1
                   UNION ALL
                   SELECT
                       (
                           SELECT max(period) FROM rollups
                           WHERE span = 1 AND period < hours.period
                       ) AS earlier,
                       first
                   FROM hours WHERE hours.period > first
               )
               SELECT period AS "period!: i64" FROM hours WHERE period >= first"#,
            present,
            USUAL_HOURS
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let Some(&last) = hours.first() else { return Ok(Silence::default()) };
        let received_at = sqlx::query_scalar!(
            r#"SELECT max(received_at) AS "received_at: i64" FROM reports
               WHERE id IN (SELECT last_report FROM rollups WHERE span = 1 AND period = ?)"#,
            last
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        let hours: Vec<Hour> = hours.into_iter().map(Hour::new).collect();
        let now = now.as_millisecond();
        // Where it is pruned, its hour is known.
        let last = received_at.unwrap_or_else(|| hours[0].start_ms());
        let first = hours.last().map_or(last, |first| first.start_ms());
        let outages = self.outages(first, now).await?;
        Ok(Silence {
            last_report: Timestamp::from_millisecond(last).ok(),
            silent: is_silent(&hours, last, now, &outages),
        })
    }
}
