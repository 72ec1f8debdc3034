//! Import of reports with the times at which they were received: those of a made-up fleet, and the
//! last steps of every import.

use std::time::Instant;

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use super::{
    copy_reports::ImportError, pace::Pace, rebuild_snapshots::rebuild,
    recount_calendar::recount_calendar,
};
use crate::{
    domain::{Hour, Report},
    storage::Writer,
};

/// Reports stored in one transaction; the number held in memory at a time.
pub const CHUNK: usize = 5_000;

impl Writer {
    /// Stores reports that were received at the given times, which may be long past, and corrects
    /// the history up to `now`. `on_stored` gets the number stored so far. Returns the number of all.
    ///
    /// # Errors
    /// [`ImportError`] where another import is running, or the database's error; the reports stored so
    /// far stay.
    pub async fn import_reports(
        &mut self,
        reports: impl IntoIterator<Item = (Timestamp, Report)>,
        now: Timestamp,
        on_stored: impl Fn(u64),
    ) -> std::result::Result<u64, ImportError> {
        let _lock = self.lock_imports()?;
        self.run(async |open| sort_on_disk(&mut open.connection).await).await?;
        let mut reports = reports.into_iter();
        let mut stored = 0;
        loop {
            let chunk: Vec<_> = reports.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let batch = chunk.iter().map(|(at, report)| (at.as_millisecond(), report));
            self.run(async |open| open.store_batch(batch).await).await?;
            stored += chunk.len() as u64;
            on_stored(stored);
        }
        drop(reports); // Their source may hold much memory.
        self.index_and_settle(Hour::of(now)).await?;
        Ok(stored)
    }
}

/// Lets this connection sort in temporary files. It is about to sort all reports.
pub async fn sort_on_disk(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA temp_store = file").execute(connection).await?;
    Ok(())
}

/// Corrects the days, snapshots and windows of the calendar, which depend on the order of reports: an
/// import does not keep it.
pub async fn settle(
    connection: &mut SqliteConnection,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    // An instance that a server changed meanwhile is left to the next round.
    loop {
        let mut transaction = connection.begin().await?;
        sort(&mut transaction).await?;
        recount_days(&mut transaction).await?;
        transaction.commit().await?;
        if correct_days(connection, pace).await? {
            break;
        }
    }
    if !has_pruned(connection).await? {
        rebuild(connection, now, pace).await?;
    }
    sqlx::query("DROP TABLE temp.history").execute(&mut *connection).await?;
    recount_calendar(connection, pace).await
}

/// True if reports were deleted for their age.
pub async fn has_pruned(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let pruned = sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'pruned'")
        .fetch_one(connection)
        .await?;
    Ok(pruned > 0)
}

/// Makes a table of one state of the database: the history of each instance. It is not part of the schema, so
/// neither this program nor what reads it can be checked when compiled; the tests run them.
pub async fn sort_history(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sort(&mut transaction).await?;
    transaction.commit().await
}

async fn sort(transaction: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(include_str!("sort_history.sql")).execute(transaction).await?;
    Ok(())
}

/// Makes a table of the days that are to be corrected, out of the history.
pub async fn recount_days(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(include_str!("recount_days.sql")).execute(connection).await?;
    Ok(())
}

/// Corrects the days on which instances were seen. Returns whether all are right.
pub async fn correct_days(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<bool> {
    let wrong: i64 = sqlx::query_scalar("SELECT count(*) FROM temp.recounted_days")
        .fetch_one(&mut *connection)
        .await?;
    let (mut last, mut corrected) = (0, 0);
    pace.begin_rows();
    while last < wrong {
        let begun = Instant::now();
        let (rows, until) = (pace.rows(), wrong.min(last + pace.limit()));
        corrected += sqlx::query(
            "UPDATE instances SET days_seen = recounted.days
             FROM temp.recounted_days AS recounted
             WHERE recounted.rowid > ? AND recounted.rowid <= ?
                 AND instances.id = recounted.instance
                 AND instances.days_seen = recounted.days_seen",
        )
        .bind(last)
        .bind(until)
        .execute(&mut *connection)
        .await?
        .rows_affected();
        last = until;
        pace.rest(begun, rows).await;
    }
    sqlx::query("DROP TABLE temp.recounted_days").execute(&mut *connection).await?;
    Ok(i64::try_from(corrected).is_ok_and(|corrected| corrected == wrong))
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
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let begin: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let next_day = begin + SignedDuration::from_hours(24);
        writer.store(begin, &[report("a")]).await.unwrap();
        writer.close_hours(begin).await.unwrap();
        writer.store(next_day, &[report("a")]).await.unwrap();
        let settled = writer.run(async |open| {
            settle(&mut open.connection, Hour::of(next_day), &mut Pace::alone()).await
        });
        settled.await.unwrap();
        writer.close_hours(next_day).await.unwrap();
        let verdict = database.verify(next_day).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}
