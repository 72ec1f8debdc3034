//! A database that is locked and not opened yet: what comes before its schema is brought up to date, or in
//! place of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::sqlite::SqliteConnectOptions;

use super::{
    Database, Denied, Error, OpenError, Part, Source, file_options,
    maintain::{has_forgotten, is_outdated},
    place::{self, Lock},
    replace, write_error,
};

/// See the module.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    options: SqliteConnectOptions,
    lock: Lock,
    replaced: Option<PathBuf>,
}

impl Locked {
    /// Locks the database of a `sqlite://` URL for a server, with its folder created: no other one may use
    /// it. A restore that was interrupted is finished.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn new(url: &str) -> Result<Self, OpenError> {
        let options = file_options(url)?;
        let path = place::target(options.get_filename())?;
        let lock = place::lock_server(&path)?;
        // SQLite opens a file that may not be written all the same; its first report would fail.
        if let Some(denied) = Denied::of(&path) {
            return Err(OpenError::Denied { path, denied });
        }
        let replaced = finish(&path)?;
        Ok(Self { path, options, lock, replaced })
    }

    /// Path of the database file, with links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the database that was put aside, where a restore was finished.
    #[must_use]
    pub fn replaced(&self) -> Option<&Path> {
        self.replaced.as_deref()
    }

    /// True if there is something whose schema is going to be brought up to date.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn is_outdated(&self) -> Result<bool, OpenError> {
        is_outdated(&self.path).await.map_err(|source| write_error(&self.path, source))
    }

    /// The file as the source of a copy.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::new(&self.path)
    }

    /// Opens the database.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is changed in a file that is refused.
    pub async fn open(self) -> Result<Database, OpenError> {
        Database::open_at(self.path, self.options, Some(Arc::new(self.lock))).await
    }

    /// Keeps imports away, too.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn lock_out_imports(&self) -> Result<impl Sized + use<>, OpenError> {
        place::lock_imports(&self.path)
    }

    /// A file beside the database that a restore writes before it is checked. What a killed one left is
    /// removed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn part(&self) -> Result<Part, OpenError> {
        let path = place::beside(&self.path, "-restore.part");
        let begin = || {
            for log in ["-wal", "-shm"].map(|ending| place::beside(&path, ending)) {
                match fs::remove_file(log) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Part::begin(path.clone(), 0o666)
        };
        // Nobody else writes it: this process has the lock of the server.
        begin()
            .and_then(|part| part.ok_or_else(|| io::ErrorKind::ResourceBusy.into()))
            .map_err(|source| OpenError::Unfinished { path: self.path.clone(), source })
    }

    /// Puts a checked file, of [`Locked::part`], in place of the database. `at` becomes a part of the name
    /// of what is put aside, which is returned.
    ///
    /// # Errors
    /// The file system's error. Once the file is on its way, the next opening of the database goes on.
    pub fn replace(&self, part: Part, at: &str) -> io::Result<Option<PathBuf>> {
        replace::order(&self.path, part.path(), at)?;
        drop(part);
        replace::carry_out(&self.path)
    }
}

/// Orders in a restored database what the database before it has forgotten. Returns the number of purges.
///
/// # Errors
/// The error of either database.
pub async fn forget_again(restored: &Path, before: &Path) -> Result<usize, ForgetError> {
    if !has_forgotten(before).await? {
        return Ok(0);
    }
    let database = Database::open_file(restored).await?;
    let mut writer = database.writer();
    let orders = writer.order_purges_of(before).await?;
    database.close().await;
    writer.close().await?;
    Ok(orders.len())
}

/// Reason for which purges are not ordered again.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The restored database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// One of the databases cannot be read or written.
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Finishes a restore that was interrupted, by the holder of the server's lock.
pub(super) fn finish(path: &Path) -> Result<Option<PathBuf>, OpenError> {
    replace::carry_out(path)
        .map_err(|source| OpenError::Unfinished { path: path.to_owned(), source })
}

/// As [`finish`], where a server may hold the lock. It has finished the restore then.
pub(super) fn finish_without_server(path: &Path) -> Result<(), OpenError> {
    if replace::is_ordered(path) {
        let _lock = place::lock_server(path)?;
        finish(path)?;
    }
    Ok(())
}
