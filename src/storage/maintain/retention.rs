//! Pruning of single reports, whose counts stay.

use jiff::Timestamp;

use crate::storage::{Result, Writer, report_lists::forget_empty};

/// Reports deleted in one transaction, which takes a few milliseconds.
const CHUNK: i64 = 2_000;

impl Writer {
    /// Deletes some of the reports that were received before `cutoff`, lowest numbers first. Returns
    /// how many it deleted. Callers repeat it until that is 0.
    ///
    /// # Errors
    /// The database's error.
    pub async fn prune(&mut self, cutoff: Timestamp) -> Result<u64> {
        let cutoff = cutoff.as_millisecond();
        self.run(async |open| {
            let mut transaction =
                sqlx::Connection::begin_with(&mut open.connection, "BEGIN IMMEDIATE").await?;
            // Numbers follow the order of storing, so the oldest reports have the lowest. A report
            // that a clock set back has put among younger ones is deleted with these.
            let old = sqlx::query!(
                r#"SELECT max(id) AS "last: i64", (SELECT min(id) FROM reports) AS "first: i64" FROM (
                       SELECT id, received_at FROM reports
                       -- Another process may have stored some since.
                       WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
                       ORDER BY id LIMIT ?1
                   ) WHERE received_at >= 0 AND received_at < ?2"#,
                CHUNK,
                cutoff
            )
            .fetch_one(&mut *transaction)
            .await?;
            let (Some(first), Some(last)) = (old.first, old.last) else {
                return Ok(0);
            };
            let deleted = sqlx::query!(
                "DELETE FROM reports WHERE id <= ?1 AND received_at >= 0 AND received_at < ?2",
                last,
                cutoff
            )
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            forget_empty(&mut transaction, first, last).await?;
            sqlx::query!(
                "UPDATE watermarks SET position = max(position, ?) WHERE name = 'pruned'",
                last
            )
            .execute(&mut *transaction)
            .await?;
            sqlx::query!(
                "UPDATE watermarks SET position = max(position, ?) WHERE name = 'pruned_until'",
                cutoff
            )
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            sqlx::query!("PRAGMA incremental_vacuum(100)").fetch_all(&mut open.connection).await?;
            Ok(deleted)
        })
        .await
    }
}
