//! The one writer: a batch of reports in, one transaction on disk.

use jiff::{SignedDuration, Timestamp};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Result, instance_key, profiles::Profiles, samples::Recorded, snapshots, time};
use crate::domain::{EventKind, Report};

/// Pages that the write-ahead log may gather before they are copied into the database: the
/// longer, the more often a page of the instances is written for several reports at once.
/// 16 MiB.
const CHECKPOINT_PAGES: &str = "4000";
/// Size to which the log is cut after a checkpoint, in bytes: twice the above.
const LOG_BYTES: &str = "33554432";

/// Time after which an hour is closed again that could not be.
const CLOSING_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// The connection that writes. After an error it is thrown away, with whatever transaction
/// SQLite may or may not have ended in it, and the next write opens a new one.
#[derive(Debug)]
pub struct Writer {
    options: SqliteConnectOptions,
    open: Option<Open>,
    /// When an hour could not be closed, until one can.
    not_closed: Option<Timestamp>,
    pub(super) recorded: Recorded,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: SqliteConnection,
    pub(super) profiles: Profiles,
    /// Up to where hours are closed; see [`snapshots`].
    pub(super) closed_hour: Option<i64>,
    behind: usize,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        let options = options
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", LOG_BYTES);
        Self { options, open: None, not_closed: None, recorded: Recorded::default() }
    }

    /// Stores reports that arrived now, all of them and synced to disk, or none. What
    /// follows them is brought up to date by [`Writer::catch_up`].
    ///
    /// # Errors
    /// What the database says; nothing is stored.
    pub async fn write(&mut self, now: Timestamp, reports: &[Report]) -> Result<()> {
        let closed = self.open.as_ref().and_then(|open| open.closed_hour);
        let tried = self.not_closed.is_some_and(|at| now.duration_since(at).abs() < CLOSING_AGAIN);
        if closed.is_none_or(|closed| closed < time::hour(now)) && !tried {
            // A report is worth more than a snapshot.
            let _ = self.close_hours(now).await;
        }
        self.run(async |open| open.write(now, reports).await).await
    }

    /// Brings what follows the events up to date with all that are stored so far: the instances
    /// and the events by profile.
    ///
    /// # Errors
    /// What the database says. The next call then does it.
    pub async fn catch_up(&mut self) -> Result<()> {
        self.run(async |open| open.catch_up().await).await
    }

    /// Events by which the instances and the events by profile are behind; more than there can be
    /// if it is not known how many, and 0 while there is no connection, as after an error.
    #[must_use]
    pub fn behind(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.behind)
    }

    /// Closes the hours that have passed, whether or not a report came: adds them to the rollups of
    /// their days and of all time, and takes their snapshots. To be called now and then.
    ///
    /// # Errors
    /// What the database says. The first of several is logged.
    pub async fn close_hours(&mut self, now: Timestamp) -> Result<()> {
        let result = self.run(async |open| open.close_hours(time::hour(now)).await).await;
        match &result {
            Ok(()) => self.not_closed = None,
            Err(error) => {
                if self.not_closed.replace(now).is_none() {
                    tracing::error!(%error, "cannot close the hour");
                }
            }
        }
        result
    }

    /// Copies the log into the database and closes the connection.
    ///
    /// # Errors
    /// What the database says. Nothing is lost by an error: the log is read at the next start.
    pub async fn close(mut self) -> Result<()> {
        if self.open.is_none() {
            self.connection().await?;
        }
        if let Some(mut open) = self.open.take() {
            sqlx::query("PRAGMA optimize").execute(&mut open.connection).await?;
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut open.connection).await?;
            open.connection.close().await?;
        }
        Ok(())
    }

    /// Runs one piece of work on the connection, which is thrown away if that fails.
    pub(super) async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Open) -> sqlx::Result<T>,
    ) -> Result<T> {
        let result = work(self.connection().await?).await;
        if result.is_err() {
            self.open = None;
        }
        Ok(result?)
    }

    async fn connection(&mut self) -> sqlx::Result<&mut Open> {
        if self.open.is_none() {
            let mut connection = self.options.connect().await?;
            let profiles = Profiles::load(&mut connection).await?;
            self.open = Some(Open { connection, profiles, closed_hour: None, behind: usize::MAX });
        }
        Ok(self.open.as_mut().expect("opened above"))
    }
}

impl Open {
    async fn write(&mut self, now: Timestamp, reports: &[Report]) -> sqlx::Result<()> {
        if reports.is_empty() {
            return Ok(());
        }
        self.store(reports.iter().map(|report| (now, report)), None).await
    }

    async fn close_hours(&mut self, now: i64) -> sqlx::Result<()> {
        self.catch_up().await?;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        sum_hours(&mut transaction, now).await?;
        let closed = snapshots::close_hours(&mut transaction, now).await?;
        transaction.commit().await?;
        self.closed_hour = closed;
        Ok(())
    }

    /// Stores reports, each with its time of arrival, and how far an import has come, in one
    /// transaction.
    pub(super) async fn store(
        &mut self,
        arrivals: impl Iterator<Item = (Timestamp, &Report)>,
        progress: Option<(&str, i64)>,
    ) -> sqlx::Result<()> {
        let mut rows = Vec::with_capacity(arrivals.size_hint().0);
        for (received_at, report) in arrivals {
            rows.push((
                received_at.as_millisecond(),
                instance_key::to_hex(&report.instance_id),
                self.profiles.number(&mut self.connection, &report.profile).await?,
                i32::from(report.event == EventKind::Heartbeat),
                report.startup_ms,
                report.timestamp.map(Timestamp::as_millisecond),
            ));
        }
        let count = rows.len();
        let rows =
            serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let (job, position) = progress.unzip();
        sqlx::query_file!("src/storage/sql/write.sql", rows, job, position)
            .execute(&mut self.connection)
            .await?;
        self.behind = self.behind.saturating_add(count);
        Ok(())
    }

    pub(super) async fn catch_up(&mut self) -> sqlx::Result<()> {
        sqlx::query_file!("src/storage/sql/catch_up.sql").execute(&mut self.connection).await?;
        self.behind = 0;
        Ok(())
    }
}

/// Adds the hours before `now` to the rollups of their days and of all time; a day at a time, since
/// after an import or a take-over it is years.
async fn sum_hours(transaction: &mut SqliteConnection, now: i64) -> sqlx::Result<()> {
    loop {
        let summed = sqlx::query!(
            "UPDATE progress
             SET position = min(?1, 24 + max(position, (
                 SELECT coalesce(min(period), ?1) FROM rollups WHERE span = 1
             )))
             WHERE job = 'summed' AND position < ?1",
            now
        )
        .execute(&mut *transaction)
        .await?;
        if summed.rows_affected() == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::ReportBody,
        storage::{Database, legacy},
    };

    async fn database(folder: &TempDir) -> Database {
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        Database::open(&url).await.unwrap()
    }

    fn report(id: &str) -> Report {
        let body = ReportBody { instance_id: Some(id.into()), ..ReportBody::default() };
        body.into_report().unwrap()
    }

    /// An import beside a running server ends while a report of that one is stored and not counted.
    #[tokio::test]
    async fn a_day_is_counted_once_whoever_counts_it() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let mut writer = database.writer();
        let begin: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let next_day = begin + SignedDuration::from_hours(24);
        writer.write(begin, &[report("a")]).await.unwrap();
        writer.catch_up().await.unwrap();
        writer.write(next_day, &[report("a")]).await.unwrap();
        let settled = writer.run(async |open| {
            let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
            legacy::settle(&mut transaction, next_day).await?;
            transaction.commit().await
        });
        settled.await.unwrap();
        writer.catch_up().await.unwrap();
        let verdict = database.verify(next_day).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }

    #[tokio::test]
    async fn a_batch_of_nothing_counts_nothing() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let mut writer = database.writer();
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        writer.write(now, &[report("a"), report("b")]).await.unwrap();
        let stored = writer.run(async |open| open.store([].into_iter(), Some(("job", 7))).await);
        stored.await.unwrap();
        assert_eq!(database.totals().await.unwrap().starts, 2);
    }
}
