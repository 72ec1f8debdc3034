//! Pruning of single reports. What was counted of them stays.

use jiff::Timestamp;

use super::{Result, Writer};

/// Events deleted in one transaction, which takes a few milliseconds.
const CHUNK: i64 = 2_000;

impl Writer {
    /// Deletes some of the events that arrived before `cutoff`, oldest numbers first. Returns
    /// how many; call again until it is 0.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune(&mut self, cutoff: Timestamp) -> Result<u64> {
        let cutoff = cutoff.as_millisecond();
        self.run(async |open| {
            // What is deleted can no longer be counted.
            open.catch_up().await?;
            let mut transaction =
                sqlx::Connection::begin_with(&mut open.connection, "BEGIN IMMEDIATE").await?;
            // Numbers follow arrival, so the oldest events are the first; one that a clock set
            // back has put among younger ones goes when these go.
            let last = sqlx::query_scalar!(
                r#"SELECT max(id) AS "last: i64" FROM (
                       SELECT id, received_at FROM events
                       -- Another process may have stored some since.
                       WHERE id <= (SELECT position FROM progress WHERE job = 'counted')
                       ORDER BY id LIMIT ?1
                   ) WHERE received_at < ?2"#,
                CHUNK,
                cutoff
            )
            .fetch_one(&mut *transaction)
            .await?;
            let Some(last) = last else {
                return Ok(0);
            };
            let deleted = sqlx::query!(
                "DELETE FROM events WHERE id <= ?1 AND received_at < ?2",
                last,
                cutoff
            )
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            sqlx::query!(
                "INSERT INTO progress VALUES ('pruned', ?1)
                 ON CONFLICT DO UPDATE SET position = max(position, excluded.position)",
                last
            )
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            sqlx::query!("PRAGMA incremental_vacuum(500)").fetch_all(&mut open.connection).await?;
            Ok(deleted)
        })
        .await
    }
}
