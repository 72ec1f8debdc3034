//! The SQLite database: the only module that knows sqlx.
//!
//! One [`Writer`] changes it, any number of readers of the pool see the last commit; in WAL
//! mode neither waits for the other. What each table is for stands in `migrations/`.

mod active;
mod arrivals;
mod deployments;
mod history;
mod instance_key;
mod legacy;
mod profiles;
mod retention;
mod samples;
mod snapshots;
mod stats;
mod time;
mod verify;
mod writer;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};

pub use active::{ActiveInstances, WINDOW_NAMES, WINDOWS_HOURS};
pub use deployments::{Deployment, DeploymentFilter};
use history::ActivityNow;
pub use history::{Activity, Groups, NOW, Table};
pub use legacy::{ImportError, Moved};
use profiles::Numbered;
pub use samples::{LONGEST_GAP, Sample, is_counter};
pub use stats::{Breakdown, Interval, Period, StartupBreakdown, Totals};
pub use verify::Verdict;
pub use writer::Writer;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Readers that may work at the same time.
const READERS: u32 = 4;
/// How long one connection waits while another process writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows that a reader hands over before it waits for them to be taken: a page of reports is
/// then a few changes of thread instead of many.
const ROWS_AT_A_TIME: usize = 1000;
/// SQLite's page caches, in its unit: minus kibibytes. What they do not hold is still in the
/// operating system's.
const WRITER_CACHE: &str = "-2000";
const READER_CACHE: &str = "-1000";

/// What the database said instead of an answer. For the log: it may name files and SQL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] sqlx::Error);

impl Error {
    /// Whether the same may succeed a little later: the database was busy, or the disk full.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        const BUSY: u32 = 5;
        const FULL: u32 = 13;
        matches!(self.0, sqlx::Error::PoolTimedOut)
            || matches!(sqlite_code(&self.0), Some(BUSY | FULL))
    }
}

/// SQLite's result code of an error, without its extension.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code)?;
    code.parse::<u32>().ok().map(|extended| extended & 0xff)
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a database cannot be used. Each message is one line; the source is not part of it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL of a SQLite file.
    #[error("DATABASE_URL must be sqlite:// and the path of a file, not {0:?}")]
    Url(String),
    /// The folder is missing and cannot be made.
    #[error("cannot create the database's folder {folder}", folder = .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// There is no such file.
    #[error("there is no database {path}", path = .0.display())]
    Missing(PathBuf),
    /// The file exists and is something else, or broken.
    #[error("{path} is not a usable SQLite database", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The file is of a later version of this program.
    #[error(
        "{path} was written by a newer version (schema {version}); start that version again",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Number of the first migration that this program does not know.
        version: i64,
    },
    /// The file cannot be opened, read or written.
    #[error("cannot open the database {path}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
}

/// An open database.
#[derive(Debug, Clone)]
pub struct Database {
    path: PathBuf,
    writer: SqliteConnectOptions,
    readers: SqlitePool,
    /// Those that were read so far, by number.
    profiles: Arc<Mutex<Arc<Numbered>>>,
    /// The latest that was worked out.
    activity: Arc<Mutex<Arc<ActivityNow>>>,
}

impl Database {
    /// Opens the database of a `sqlite://` URL, with its folder and tables created or brought
    /// up to date. What a reference server left in the file is still to be moved: see
    /// [`Writer::take_over`].
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is changed in a file that is refused.
    pub async fn open(url: &str) -> std::result::Result<Self, OpenError> {
        let options = file_options(url)?;
        let path = options.get_filename().to_owned();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })?;
        }
        let readers = options.clone().read_only(true).pragma("cache_size", READER_CACHE);
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
        let mut connection = first.connect().await.map_err(|source| open_error(&path, source))?;
        migrate(&mut connection, &path).await?;
        connection.close().await.map_err(|source| open_error(&path, source))?;

        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(readers.row_buffer_size(ROWS_AT_A_TIME));
        Ok(Self { path, writer, readers, profiles: Arc::default(), activity: Arc::default() })
    }

    /// As [`Database::open`], of a file that must be there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_existing(url: &str) -> std::result::Result<Self, OpenError> {
        let path = file_options(url)?.get_filename().to_owned();
        if !path.exists() {
            return Err(OpenError::Missing(path));
        }
        Self::open(url).await
    }

    /// The one writer.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer::new(self.writer.clone())
    }

    /// Path of the database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the database file and of its write-ahead log, in bytes.
    ///
    /// # Errors
    /// What the file system says of the database file.
    pub fn bytes(&self) -> std::io::Result<(u64, u64)> {
        let log = format!("{}-wal", self.path.display());
        let log_bytes = std::fs::metadata(log).map_or(0, |log| log.len());
        Ok((std::fs::metadata(&self.path)?.len(), log_bytes))
    }

    /// Whether a read gets an answer.
    ///
    /// # Errors
    /// What the database says instead.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query_scalar!("SELECT instances FROM totals").fetch_one(&self.readers).await?;
        Ok(())
    }

    /// Writes a consistent copy into a new file, while the server runs.
    ///
    /// # Errors
    /// What the database says, such as that the file exists.
    pub async fn backup(&self, file: &str) -> Result<()> {
        sqlx::query!("VACUUM INTO ?", file).execute(&self.readers).await?;
        Ok(())
    }

    /// Ends all readers.
    pub async fn close(&self) {
        self.readers.close().await;
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

async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> std::result::Result<(), OpenError> {
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => {
            OpenError::Newer { path: path.to_owned(), version }
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            open_error(path, source)
        }
        other => OpenError::Open { path: path.to_owned(), source: other.into() },
    })
}

/// Tells a broken file from one that cannot be reached, by SQLite's result code.
fn open_error(path: &Path, source: sqlx::Error) -> OpenError {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let code = sqlite_code(&source);
    let path = path.to_owned();
    match code {
        Some(CORRUPT | NOT_A_DATABASE) => OpenError::Corrupt { path, source },
        _ => OpenError::Open { path, source },
    }
}
