//! Errors of the database, and reasons for which one cannot be used.

use std::path::{Path, PathBuf};

use super::place::Denied;

/// Error of the database. It is for the log, since it may name files and SQL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub(super) sqlx::Error);

impl Error {
    /// True if a retry may succeed: the database was busy, or the disk full.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        const BUSY: u32 = 5;
        matches!(self.0, sqlx::Error::PoolTimedOut)
            || matches!(sqlite_code(&self.0), Some(BUSY | DISK_FULL))
    }
}

/// SQLite's result code where a file cannot grow.
pub(super) const DISK_FULL: u32 = 13;

/// SQLite's result code where it cannot open a file.
pub(super) const CANNOT_OPEN: u32 = 14;

/// SQLite's result code of an error, without its extension.
pub(super) fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code)?;
    code.parse::<u32>().ok().map(|extended| extended & 0xff)
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Reason for which a database cannot be used. Each message is one line; the source is not part of
/// it.
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
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The folder or a file of the database may not be written.
    #[error("cannot use the database {path}: {denied}", path = .path.display())]
    Denied {
        /// The database file.
        path: PathBuf,
        /// The folder or the file.
        denied: Denied,
    },
    /// A server uses the database.
    #[error("a server or an import uses the database {path}; stop it first", path = .0.display())]
    InUse(PathBuf),
    /// An import writes to the database.
    #[error("an import writes to the database {path}; wait for its end", path = .0.display())]
    Importing(PathBuf),
    /// A lock cannot be opened.
    #[error("cannot open the lock {name}", name = .name.display())]
    Lock {
        /// The lock file.
        name: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// SQLite has no write-ahead log there.
    #[error(
        "{path} cannot have a write-ahead log: SQLite keeps the journal mode `{mode}`, since the \
         file system or the VFS has no shared memory; use a local disk",
        path = .path.display()
    )]
    NoLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite answers.
        mode: String,
    },
    /// A file cannot be read without writing to its folder.
    #[error(
        "{path} is not complete without {log}, which SQLite can read in a writable folder only; \
         copy both into one",
        path = .path.display(),
        log = .log.display()
    )]
    UnreadLog {
        /// The file.
        path: PathBuf,
        /// Its log, which holds something.
        log: PathBuf,
    },
    /// A restore was interrupted, and cannot go on.
    #[error("cannot finish the restore of {path}", path = .path.display())]
    Unfinished {
        /// The database file.
        path: PathBuf,
        /// The operating system's error.
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
        /// SQLite's error.
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
        /// SQLite's error.
        source: sqlx::Error,
    },
}

/// The reason of an error of a file that is written: the folder or a file may not be.
pub(super) fn write_error(path: &Path, source: sqlx::Error) -> OpenError {
    const PERMISSION: u32 = 3;
    const READ_ONLY: u32 = 8;
    let code = sqlite_code(&source);
    if matches!(code, Some(PERMISSION | READ_ONLY | CANNOT_OPEN))
        && let Some(denied) = Denied::of(path)
    {
        return OpenError::Denied { path: path.to_owned(), denied };
    }
    open_error(path, source)
}

/// The reason of an error, by SQLite's result code: a broken file, or one that cannot be reached.
pub(super) fn open_error(path: &Path, source: sqlx::Error) -> OpenError {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let code = sqlite_code(&source);
    let path = path.to_owned();
    match code {
        Some(CORRUPT | NOT_A_DATABASE) => OpenError::Corrupt { path, source },
        _ => OpenError::Open { path, source },
    }
}
