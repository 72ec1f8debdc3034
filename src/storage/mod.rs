//! The SQLite database: the only module that knows sqlx.
//!
//! One [`Writer`] stores reports and indexes them (`write`). Long upkeep (`maintain`) and commands have
//! writers of their own; their transactions are short, since one waits for the other. Any number of readers
//! see the last commit (`read`), and wait for no writer in WAL mode. `migrations/` describes the tables.

mod bundle;
mod calendar;
mod error;
mod instance_key;
mod json;
mod leb128;
mod locked;
mod maintain;
mod packed_days;
mod place;
mod profiles;
mod read;
mod readers;
mod records;
mod replace;
mod report_lists;
mod startup_bounds;
mod write;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection as _, SqliteConnection,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use error::{CANNOT_OPEN, DISK_FULL, open_error, sqlite_code, write_error};
pub use error::{Error, OpenError, Result};
pub use locked::{ForgetError, Locked, forget_again};
pub use maintain::{
    BackupError, CarriedOut, Contents, CopyError, ImportError, Moved, Orders, PART, Part, Preview,
    Source, Step, Taken, Upkeep, Verdict, Watch, check,
};
use place::Lock;
pub use place::{Denied, beside, bytes, folder_of, free_bytes, rename_to_new, sync_folder};
pub use profiles::Numbered;
use read::ActivityNow;
pub use read::{
    ActiveInstances, Activity, Adoption, Breakdown, CohortCount, Groups, Interval, ListedValue,
    Period, ReportFilter, Silence, StartupBreakdown, StoredReport, Table, Totals, ValueState,
    WindowCount, groups_by,
};
use readers::{Reader, Readers};
pub use records::{Fault, Record, RecordFormat, RecordReader, RecordWriter};
use report_lists::{list_blocks, unlisted};
use startup_bounds::write_bounds;
use write::Traffic;
pub use write::{LONGEST_GAP, Quarantine, QuarantineState, Sample, Stored, Writer, is_counter};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Time for which a connection waits while another process writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of the writer's page cache, in SQLite's unit: minus kibibytes.
const WRITER_CACHE: &str = "-2000";

/// An open database.
#[derive(Debug, Clone)]
pub struct Database {
    path: PathBuf,
    writer: SqliteConnectOptions,
    readers: Readers,
    /// Profiles that were read so far, in the order of their numbers.
    profiles: Arc<Mutex<Arc<Numbered>>>,
    /// The latest activity that was computed.
    activity: Arc<Mutex<Arc<ActivityNow>>>,
    /// Writes of the one writer.
    traffic: Arc<Traffic>,
    /// Lock of the one server; `None` for a command beside it.
    lock: Option<Arc<Lock>>,
}

impl Database {
    /// Opens the database of a `sqlite://` URL, with its folder and tables created or brought
    /// up to date. The reports that a reference server left in the file are still to be moved: see
    /// [`Writer::take_over`].
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is changed in a file that is refused.
    pub async fn open(url: &str) -> std::result::Result<Self, OpenError> {
        let options = file_options(url)?;
        let path = place::target(options.get_filename())?;
        locked::finish_without_server(&path)?;
        Self::open_at(path, options, None).await
    }

    /// As [`Database::open`], of a file of whose path no character has a meaning.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_file(path: &Path) -> std::result::Result<Self, OpenError> {
        let options = SqliteConnectOptions::new().busy_timeout(BUSY_TIMEOUT);
        Self::open_at(path.to_owned(), options.disable_statement_logging(), None).await
    }

    /// As [`Database::open`], for a server: no other one may use the database. Commands may.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_alone(url: &str) -> std::result::Result<Self, OpenError> {
        Locked::new(url)?.open().await
    }

    /// As [`Database::open`], for an import: where no server runs, none can start until its end.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_to_import(url: &str) -> std::result::Result<Self, OpenError> {
        let options = file_options(url)?;
        let path = place::target(options.get_filename())?;
        let lock = place::lock_out_servers(&path)?;
        if lock.is_some() {
            locked::finish(&path)?;
        }
        Self::open_at(path, options, lock.map(Arc::new)).await
    }

    /// True if no other server can use the database.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.is_held())
    }

    /// Keeps servers away if none runs. Returns whether it does.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn lock_out_servers(&mut self) -> std::result::Result<bool, OpenError> {
        if !self.is_alone() {
            self.lock = place::lock_out_servers(&self.path)?.map(Arc::new);
        }
        Ok(self.is_alone())
    }

    /// The database of a test, in a folder of its own.
    #[cfg(test)]
    pub(crate) async fn open_in(folder: &tempfile::TempDir) -> Self {
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        Self::open(&url).await.unwrap()
    }

    async fn open_at(
        path: PathBuf,
        options: SqliteConnectOptions,
        lock: Option<Arc<Lock>>,
    ) -> std::result::Result<Self, OpenError> {
        let options = options.filename(&path);
        let readers = Readers::new(&options);
        let writer = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Profiles are never deleted, and every number comes from `profiles`.
            .foreign_keys(false)
            .pragma("temp_store", "memory")
            .pragma("cache_size", WRITER_CACHE);

        let mut first = writer.clone();
        if std::fs::metadata(&path).map_or(true, |file| file.len() == 0) {
            // Possible only before there is a table, and a write: not for a file that may yet
            // be refused.
            first = first.create_if_missing(true).auto_vacuum(SqliteAutoVacuum::Incremental);
        }
        let mut connection = first.connect().await.map_err(|source| write_error(&path, source))?;
        check_journal_mode(&mut connection, &path).await?;
        migrate(&mut connection, &path).await?;
        write_bounds(&mut connection).await.map_err(|source| write_error(&path, source))?;
        list(&mut connection).await;
        connection.close().await.map_err(|source| write_error(&path, source))?;

        Ok(Self {
            path,
            writer,
            readers,
            profiles: Arc::default(),
            activity: Arc::default(),
            traffic: Arc::default(),
            lock,
        })
    }

    /// As [`Database::open`], of a file that must be there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_existing(url: &str) -> std::result::Result<Self, OpenError> {
        let path = file_options(url)?.get_filename().to_owned();
        if !path.exists() && !replace::is_ordered(&path) {
            return Err(OpenError::Missing(path));
        }
        Self::open(url).await
    }

    /// The one writer.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer::new(self.writer.clone(), Some(Arc::clone(&self.traffic)))
    }

    /// A writer for a long job beside the one writer. Its steps need no sync of their own: those that a
    /// power cut takes away are the last ones, and the job does them again.
    fn upkeep_writer(&self) -> Writer {
        let options = self.writer.clone().synchronous(SqliteSynchronous::Normal);
        Writer::new(options, None)
    }

    /// Path of the database file, with links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the database file and of its write-ahead log, in bytes.
    ///
    /// # Errors
    /// The file system's error for the database file.
    pub fn bytes(&self) -> std::io::Result<(u64, u64)> {
        place::bytes(&self.path)
    }

    /// Space that is left for the database, in bytes.
    ///
    /// # Errors
    /// The file system's error.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        place::free_bytes(&self.path)
    }

    /// A connection to read on.
    async fn reader(&self) -> sqlx::Result<Reader> {
        self.readers.acquire().await
    }

    /// Number of reads that were interrupted, since nobody waited for them any more.
    #[must_use]
    pub fn interrupted(&self) -> u64 {
        self.readers.interrupted()
    }

    /// Reads from the database, to show that it answers. Waits for no other read.
    ///
    /// # Errors
    /// The database's error.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query_scalar!("SELECT instances FROM totals").fetch_one(self.readers.probe()).await?;
        Ok(())
    }

    /// Ends all readers.
    pub async fn close(&self) {
        self.readers.close().await;
    }

    /// Lets another server use the database. The last step of a server, after its writer has ended;
    /// its end does the same.
    pub fn release(&self) {
        if let Some(lock) = &self.lock {
            lock.release();
        }
    }
}

/// The options of a URL that names a file.
fn file_options(url: &str) -> std::result::Result<SqliteConnectOptions, OpenError> {
    let refuse = || OpenError::Url(url.to_owned());
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|_| refuse())?
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let names_a_file = url.strip_prefix("sqlite:").is_some_and(|rest| {
        let file = rest.strip_prefix("//").unwrap_or(rest);
        !file.is_empty()
            && !file.starts_with('?')
            && !file.contains(":memory:")
            && !file.contains("mode=memory")
    });
    if names_a_file { Ok(options) } else { Err(refuse()) }
}

/// SQLite falls back to another mode without an error where it cannot share memory.
async fn check_journal_mode(
    connection: &mut SqliteConnection,
    path: &Path,
) -> std::result::Result<(), OpenError> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(connection)
        .await
        .map_err(|source| write_error(path, source))?;
    if mode == "wal" { Ok(()) } else { Err(OpenError::NoLog { path: path.to_owned(), mode }) }
}

/// Lists the reports by profile that an older version or a killed import left without a list. Searches take longer without
/// lists and find the same, so that a failure ends nothing: indexing tries again.
async fn list(connection: &mut SqliteConnection) {
    let listed = async {
        if unlisted(&mut *connection).await?.is_some() {
            tracing::info!("listing reports by profile: a minute or less for each ten million");
            list_blocks(&mut *connection).await?;
        }
        Ok::<_, sqlx::Error>(())
    };
    if let Err(error) = listed.await {
        tracing::warn!(%error, "cannot list reports by profile");
    }
}

async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> std::result::Result<(), OpenError> {
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => {
            OpenError::Newer { path: path.to_owned(), version }
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            write_error(path, source)
        }
        other => OpenError::Open { path: path.to_owned(), source: other.into() },
    })
}
