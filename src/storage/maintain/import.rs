//! Import of reports with the times at which they were received: those of a made-up fleet, and the
//! last steps of every import.

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use super::snapshots;
use crate::{
    domain::{Hour, Report},
    storage::{Result, Writer},
};

/// Reports stored in one transaction; the number held in memory at a time.
pub const CHUNK: usize = 5_000;

impl Writer {
    /// Stores reports that were received at the given times, which may be long past, and corrects
    /// the history up to `now`. `on_stored` gets the number stored so far. Returns the number of all.
    ///
    /// # Errors
    /// The database's error; the reports stored so far stay.
    pub async fn import_reports(
        &mut self,
        reports: impl IntoIterator<Item = (Timestamp, Report)>,
        now: Timestamp,
        on_stored: impl Fn(u64),
    ) -> Result<u64> {
        self.run(async |open| sort_on_disk(&mut open.connection).await).await?;
        let mut reports = reports.into_iter();
        let mut stored = 0;
        loop {
            let chunk: Vec<_> = reports.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let batch = chunk.iter().map(|(at, report)| (*at, report));
            self.run(async |open| open.store_batch(batch, None).await).await?;
            stored += chunk.len() as u64;
            on_stored(stored);
        }
        drop(reports); // Their source may hold much memory.
        self.run(async |open| {
            // All instances at once, in the order of their ids, so that page after page is filled.
            open.index().await?;
            let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
            settle(&mut transaction, Hour::of(now)).await?;
            transaction.commit().await?;
            open.closed_hour = None;
            Ok(())
        })
        .await?;
        Ok(stored)
    }
}

/// Lets this connection sort in temporary files. It is about to sort all reports.
pub async fn sort_on_disk(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA temp_store = file").execute(connection).await?;
    Ok(())
}

/// Corrects the days and snapshots, which depend on the order of reports: an import does not keep
/// it.
pub async fn settle(transaction: &mut SqliteConnection, now: Hour) -> sqlx::Result<()> {
    sqlx::query_file!("src/storage/maintain/recount_days.sql").execute(&mut *transaction).await?;
    let pruned = sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'pruned'")
        .fetch_one(&mut *transaction)
        .await?;
    if pruned == 0 {
        snapshots::rebuild(transaction, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tempfile::TempDir;

    use super::*;
    use crate::{domain::ReportBody, storage::Database};

    fn report(id: &str) -> Report {
        let body = ReportBody { instance_id: Some(id.into()), ..ReportBody::default() };
        body.into_report().unwrap()
    }

    /// An import beside a running server ends while a report of that server is unindexed.
    #[tokio::test]
    async fn a_day_is_counted_once_whoever_counts_it() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let mut writer = database.writer();
        let begin: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let next_day = begin + SignedDuration::from_hours(24);
        writer.store(begin, &[report("a")]).await.unwrap();
        writer.index().await.unwrap();
        writer.store(next_day, &[report("a")]).await.unwrap();
        let settled = writer.run(async |open| {
            let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
            settle(&mut transaction, Hour::of(next_day)).await?;
            transaction.commit().await
        });
        settled.await.unwrap();
        writer.index().await.unwrap();
        let verdict = database.verify(next_day).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}
