//! The connection that writes, and its tasks.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Labels, Stored, Traffic, fleet::Fleet, record_samples::Recorded, set_aside::SetAside};
use crate::{
    domain::{Hour, Report},
    storage::{
        OpenError, Result,
        place::{self, Lock},
        profiles::Profiles,
    },
};

/// Pages that the write-ahead log may gather before they are copied into the database: the
/// longer, the more often a page of the instances is written for several reports at once.
/// 16 MiB.
const CHECKPOINT_PAGES: &str = "4000";
/// Size to which the log is cut after a checkpoint, in bytes: twice the above.
const LOG_BYTES: &str = "33554432";

/// Rows that SQLite's thread reads before the one that takes them: each change of threads takes as long as some rows.
const ROWS_AHEAD: usize = 1_000;

/// Connection that writes. An error closes it, since SQLite may or may not have ended its
/// transaction. The next write opens a new one.
#[derive(Debug)]
pub struct Writer {
    options: SqliteConnectOptions,
    pub(in crate::storage) open: Option<Open>,
    pub(super) recorded: Recorded,
    /// Its traffic, as a long job beside it sees it; `None` for the writer of such a job.
    traffic: Option<Arc<Traffic>>,
}

#[derive(Debug)]
pub struct Open {
    pub connection: SqliteConnection,
    pub profiles: Profiles,
    pub labels: Labels,
    pub set_aside: SetAside,
    /// Last hour whose end is taken; `None` if it is not known.
    pub closed_hour: Option<Hour>,
    /// State at the end of that hour, while nothing is indexed.
    pub fleet: Option<Fleet>,
    /// Hour in which all that had become too old by then was deleted.
    pub thinned: Option<Hour>,
    /// Hours that the next transaction rolls up.
    pub hours_at_a_time: i64,
    /// Days that the next transaction packs.
    pub days_at_a_time: usize,
    /// Time before which days may be packed, in milliseconds since 1970; `i64::MAX` if it is not known.
    pub packed_until_ms: i64,
    /// Number of unindexed reports; larger than possible where it is not known.
    pub unindexed: usize,
}

impl Writer {
    pub(in crate::storage) fn new(
        options: SqliteConnectOptions,
        traffic: Option<Arc<Traffic>>,
    ) -> Self {
        let options = options
            .row_buffer_size(ROWS_AHEAD)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", LOG_BYTES);
        Self { options, open: None, recorded: Recorded::default(), traffic }
    }

    /// Stores reports that are received now: all of them, synced to disk, or none. They are counted
    /// at once and indexed by [`Writer::index`], which waits for [`Writer::close_hours`] if an hour has
    /// ended. A report with an id that is remembered is not stored again.
    ///
    /// # Errors
    /// The database's error; nothing is stored.
    pub async fn store(&mut self, now: Timestamp, reports: &[Report]) -> Result<Stored> {
        self.store_at(now.as_millisecond(), reports).await
    }

    /// The same with a time in milliseconds since 1970, or with [`crate::domain::undated`].
    ///
    /// # Errors
    /// The database's error; nothing is stored.
    pub async fn store_at(&mut self, received_at: i64, reports: &[Report]) -> Result<Stored> {
        if reports.is_empty() {
            return Ok(Stored::default());
        }
        if reports.iter().any(|report| report.report_id.is_some()) {
            return self.run(async |open| open.store_once(received_at, reports).await).await;
        }
        self.run(async |open| {
            open.store_batch(reports.iter().map(|report| (received_at, report))).await?;
            Ok(Stored::default())
        })
        .await
    }

    /// Indexes all reports, those of hours whose predecessors are not closed, too: the snapshots are
    /// then to be made anew.
    ///
    /// # Errors
    /// The database's error.
    pub async fn index_all(&mut self) -> Result<()> {
        self.run(async |open| open.index_all().await).await
    }

    /// Forgets what it knows of hours and samples, after a correction at a moment.
    pub fn forget_hours(&mut self, now: Timestamp) {
        if let Some(open) = &mut self.open {
            (open.closed_hour, open.fleet, open.thinned) = (None, None, None);
        }
        self.recorded.set_back(now);
    }

    /// Indexes the reports that are stored so far (instances, startup times and lists by profile),
    /// but for those of an hour whose predecessors are not closed at `now`.
    ///
    /// # Errors
    /// The database's error. The next call then indexes them.
    pub async fn index(&mut self, now: Timestamp) -> Result<()> {
        self.run(async |open| open.index(Hour::of(now)).await).await
    }

    /// Notices labels that another process has changed. A batch of reports that can change nothing does not
    /// look, so that a release on trust which was displaced keeps its label until then.
    ///
    /// # Errors
    /// The database's error.
    pub async fn notice_labels(&mut self) -> Result<()> {
        self.run(async |open| {
            if open.labels.prepare(&mut open.connection, std::iter::empty()).await? {
                open.profiles.settle(&open.labels);
            }
            Ok(())
        })
        .await
    }

    /// Number of unindexed reports; larger than possible if it is not known, and 0 while there is
    /// no connection, as after an error.
    #[must_use]
    pub fn unindexed(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.unindexed)
    }

    /// Writes a number that nothing depends on, to show that the database can be written. A row that stays as it is would
    /// not be written at all.
    ///
    /// # Errors
    /// The database's error.
    pub async fn probe(&mut self) -> Result<()> {
        self.run(async |open| {
            sqlx::query!(
                "INSERT INTO watermarks VALUES ('probed', 1)
                 ON CONFLICT DO UPDATE SET position = position + 1"
            )
            .execute(&mut open.connection)
            .await?;
            Ok(())
        })
        .await
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

    /// Path of the database file.
    pub(in crate::storage) fn path(&self) -> &Path {
        self.options.get_filename()
    }

    /// Keeps other imports away: each makes the snapshots anew, and one that read less would overwrite
    /// those of the other.
    pub(in crate::storage) fn lock_imports(&self) -> std::result::Result<Lock, OpenError> {
        place::lock_imports(self.path())
    }

    /// Runs one piece of work on the connection, which is thrown away if that fails.
    pub(in crate::storage) async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Open) -> sqlx::Result<T>,
    ) -> Result<T> {
        let _writing = self.traffic.as_ref().map(Traffic::begin);
        let result = work(self.connection().await?).await;
        if result.is_err() {
            self.open = None;
        }
        Ok(result?)
    }

    /// A connection beside the one of the writer, for its own use.
    pub(in crate::storage) async fn second_connection(&self) -> Result<SqliteConnection> {
        Ok(self.options.connect().await?)
    }

    async fn connection(&mut self) -> sqlx::Result<&mut Open> {
        if self.open.is_none() {
            let mut connection = self.options.connect().await?;
            let labels = Labels::load(&mut connection).await?;
            let profiles = Profiles::load(&mut connection, &labels).await?;
            let set_aside = SetAside::load(&mut connection).await?;
            self.open = Some(Open {
                connection,
                profiles,
                labels,
                set_aside,
                closed_hour: None,
                fleet: None,
                thinned: None,
                hours_at_a_time: 1,
                days_at_a_time: 1,
                packed_until_ms: i64::MAX,
                unindexed: usize::MAX,
            });
        }
        Ok(self.open.as_mut().expect("opened above"))
    }
}
