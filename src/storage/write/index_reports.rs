//! Indexing of reports: instances, startup times and lists by profile.

use super::{Open, fleet::last_end};
use crate::{
    domain::Hour,
    storage::report_lists::{list_blocks, unlisted},
};

/// Indexes, within a transaction, the reports up to a number.
pub const INDEX_WITHIN: &str = include_str!("index_reports.sql");

/// Indexes them in a transaction of its own. After a crash the watermark sends the same reports there again, so it
/// needs no sync.
const INDEX: &str = concat!(
    "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE;",
    include_str!("note_late_reports.sql"),
    include_str!("index_reports.sql"),
    "COMMIT; PRAGMA synchronous = FULL;"
);

impl Open {
    /// Indexes all reports, or those of the hours whose predecessors are closed.
    pub async fn index(&mut self, now: Hour) -> sqlx::Result<()> {
        let closed = match self.closed_hour {
            Some(closed) => closed,
            None => last_end(&mut self.connection, now).await?,
        };
        // A report of a later hour is one of a clock that was ahead: no end is to come before it.
        if closed >= now {
            return self.index_all().await;
        }
        if self.index_before(closed.plus(1)).await?.is_none() {
            self.unindexed = 0;
        }
        Ok(())
    }

    /// Indexes all reports. The snapshots are then to be made anew if hours are not closed.
    pub async fn index_all(&mut self) -> sqlx::Result<()> {
        self.index_up_to(i64::MAX).await?;
        self.unindexed = 0;
        Ok(())
    }

    /// Indexes the reports before the first one that was received in an hour or later. Returns the
    /// hour of that one.
    pub async fn index_before(&mut self, hour: Hour) -> sqlx::Result<Option<Hour>> {
        let from = hour.start_ms();
        let reports = sqlx::query!(
            r#"SELECT position AS indexed, (SELECT max(id) FROM reports) AS "last: i64", (
                   SELECT id FROM reports WHERE id > position AND received_at >= ?
                   ORDER BY id LIMIT 1
               ) AS "waiting: i64"
               FROM watermarks WHERE name = 'indexed'"#,
            from
        )
        .fetch_one(&mut self.connection)
        .await?;
        let until = reports.waiting.map(|waiting| waiting - 1).or(reports.last);
        if let Some(until) = until.filter(|&until| until > reports.indexed) {
            self.index_up_to(until).await?;
        }
        let Some(waiting) = reports.waiting else { return Ok(None) };
        let received_at =
            sqlx::query_scalar!("SELECT received_at FROM reports WHERE id = ?", waiting)
                .fetch_one(&mut self.connection)
                .await?;
        Ok(Some(Hour::of_ms(received_at)))
    }

    /// Last report that can be indexed while no hour is closed, and the last one that is.
    pub async fn indexable(&mut self, now: Hour) -> sqlx::Result<(i64, i64)> {
        let closed = last_end(&mut self.connection, now).await?;
        let from = if closed >= now { i64::MAX } else { closed.plus(1).start_ms() };
        let reports = sqlx::query!(
            r#"SELECT position AS indexed, coalesce(
                   (
                       SELECT id - 1 FROM reports WHERE id > position AND received_at >= ?
                       ORDER BY id LIMIT 1
                   ),
                   (SELECT max(id) FROM reports),
                   0
               ) AS "last!: i64"
               FROM watermarks WHERE name = 'indexed'"#,
            from
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok((reports.last, reports.indexed))
    }

    pub async fn index_up_to(&mut self, last: i64) -> sqlx::Result<()> {
        self.fleet = None;
        sqlx::query(INDEX).bind(last).execute(&mut self.connection).await?;
        if unlisted(&mut self.connection).await?.is_some() {
            // Lost lists are written again, so they need no sync of their own.
            sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut self.connection).await?;
            list_blocks(&mut self.connection).await?;
            sqlx::query("PRAGMA synchronous = FULL").execute(&mut self.connection).await?;
        }
        Ok(())
    }
}
