//! Backup: a consistent copy of the database.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::storage::{
    Database, Error,
    place::{beside, folder_of, rename_to_new, sync_folder},
};

/// File that a copy is written to before it gets its name, in the same folder. A fixed name, so that
/// the next backup into the folder removes what a killed one left.
pub const PART: &str = ".telemetry-backup.part";

/// Reason for which there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is replaced.
    #[error("{file} exists; name a new file", file = .0.display())]
    Exists(PathBuf),
    /// Another process is writing a copy into the folder.
    #[error("another backup is being written to {part}", part = .0.display())]
    Busy(PathBuf),
    /// The file system refuses.
    #[error("cannot write {file}", file = .file.display())]
    File {
        /// The copy.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The database refuses to be read, or the copy to be written.
    #[error("cannot write {file}", file = .file.display())]
    Storage {
        /// The copy.
        file: PathBuf,
        /// SQLite's error.
        source: Error,
    },
}

impl Database {
    /// Writes a consistent copy into a new file, while the server runs. The file appears when it is
    /// whole and synced to disk.
    ///
    /// # Errors
    /// See [`BackupError`]; there is then no such file.
    pub async fn backup(&self, file: &Path) -> Result<(), BackupError> {
        if file.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let refuse = |source| BackupError::File { file: file.to_owned(), source };
        let folder = folder_of(file);
        let part = Part::begin(folder.join(PART), 0o666).map_err(refuse)?;
        let Some(part) = part else {
            return Err(BackupError::Busy(folder.join(PART)));
        };
        let path = part.path.to_string_lossy();
        let refused =
            |source| BackupError::Storage { file: file.to_owned(), source: Error::from(source) };
        let mut reader = self.reader().await.map_err(refused)?;
        sqlx::query!("VACUUM INTO ?", path).execute(&mut *reader).await.map_err(refused)?;
        part.finish(file).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(file.to_owned()),
            _ => refuse(source),
        })
    }
}

/// A copy that is not whole yet. Dropped, it is removed.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    /// An empty file, locked; `None` if another process writes to it. A new one gets the mode, without
    /// what the process leaves out.
    ///
    /// # Errors
    /// The file system's error.
    pub fn begin(path: PathBuf, mode: u32) -> io::Result<Option<Self>> {
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).mode(mode).open(&path)?;
        if file.try_lock().is_err() {
            return Ok(None);
        }
        // The other process may have renamed it since it was opened: then it is a whole copy.
        let opened = file.metadata()?;
        let same = path
            .symlink_metadata()
            .is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino()));
        if !same {
            return Ok(None);
        }
        let part = Self { path, file };
        part.file.set_len(0)?;
        part.remove_journal();
        Ok(Some(part))
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Makes the file whole: synced, and under a name in the same folder.
    ///
    /// # Errors
    /// The file system's error; also where the name is taken.
    pub fn finish(self, name: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        rename_to_new(&self.path, name)?;
        sync_folder(folder_of(name))
    }

    fn remove_journal(&self) {
        let _ = fs::remove_file(beside(&self.path, "-journal"));
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        self.remove_journal();
    }
}
