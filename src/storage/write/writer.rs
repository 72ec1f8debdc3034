//! The connection that writes, and its tasks.

use jiff::{SignedDuration, Timestamp};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::record_samples::Recorded;
use crate::{
    domain::{Hour, Report},
    storage::{Result, profiles::Profiles},
};

/// Pages that the write-ahead log may gather before they are copied into the database: the
/// longer, the more often a page of the instances is written for several reports at once.
/// 16 MiB.
const CHECKPOINT_PAGES: &str = "4000";
/// Size to which the log is cut after a checkpoint, in bytes: twice the above.
const LOG_BYTES: &str = "33554432";

/// Time after which an hour is closed again that could not be.
const CLOSING_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Connection that writes. An error closes it, since SQLite may or may not have ended its
/// transaction. The next write opens a new one.
#[derive(Debug)]
pub struct Writer {
    options: SqliteConnectOptions,
    open: Option<Open>,
    /// Time of the last failure to close an hour; `None` after a success.
    pub(in crate::storage) not_closed: Option<Timestamp>,
    pub(super) recorded: Recorded,
}

#[derive(Debug)]
pub struct Open {
    pub connection: SqliteConnection,
    pub profiles: Profiles,
    /// Hour up to which all hours are closed.
    pub closed_hour: Option<Hour>,
    /// Number of unindexed reports; larger than possible where it is not known.
    pub unindexed: usize,
}

impl Writer {
    pub(in crate::storage) fn new(options: SqliteConnectOptions) -> Self {
        let options = options
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", LOG_BYTES);
        Self { options, open: None, not_closed: None, recorded: Recorded::default() }
    }

    /// Stores reports that are received now: all of them, synced to disk, or none. They are counted
    /// at once and indexed by [`Writer::index`].
    ///
    /// # Errors
    /// The database's error; nothing is stored.
    pub async fn store(&mut self, now: Timestamp, reports: &[Report]) -> Result<()> {
        if reports.is_empty() {
            return Ok(());
        }
        let closed = self.open.as_ref().and_then(|open| open.closed_hour);
        let tried = self.not_closed.is_some_and(|at| now.duration_since(at).abs() < CLOSING_AGAIN);
        if closed.is_none_or(|closed| closed < Hour::of(now)) && !tried {
            // A report is worth more than a snapshot.
            let _ = self.close_hours(now).await;
        }
        self.run(async |open| {
            open.store_batch(reports.iter().map(|report| (now, report)), None).await
        })
        .await
    }

    /// Indexes all reports that are stored so far: instances, reports by profile and startup
    /// times.
    ///
    /// # Errors
    /// The database's error. The next call then indexes them.
    pub async fn index(&mut self) -> Result<()> {
        self.run(Open::index).await
    }

    /// Number of unindexed reports; larger than possible if it is not known, and 0 while there is
    /// no connection, as after an error.
    #[must_use]
    pub fn unindexed(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.unindexed)
    }

    /// Copies the log into the database and closes the connection.
    ///
    /// # Errors
    /// The database's error. Nothing is lost by an error: the log is read at the next start.
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

    /// Closes the connection beside a server, which must not wait: what is in the log is synced and
    /// copied as far as that goes without holding anybody up.
    ///
    /// # Errors
    /// The database's error.
    pub async fn leave(mut self) -> Result<()> {
        if let Some(mut open) = self.open.take() {
            sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut open.connection).await?;
            open.connection.close().await?;
        }
        Ok(())
    }

    /// Runs one piece of work on the connection, which is thrown away if that fails.
    pub(in crate::storage) async fn run<T>(
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
            self.open =
                Some(Open { connection, profiles, closed_hour: None, unindexed: usize::MAX });
        }
        Ok(self.open.as_mut().expect("opened above"))
    }
}
