//! The making of one backup: a copy, its check, its compression and its checksum, and only then its name.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::{
    folder::{Folder, room_for},
    pace::Pace,
    pack::{pack, sum_of},
};
use crate::{
    clock::Clock,
    storage::{Contents, CopyError, Source, bytes, rename_to_new, sync_folder},
};

/// A backup that is on disk under its name.
#[derive(Debug)]
pub struct Made {
    /// Its file.
    pub path: PathBuf,
    /// Its contents.
    pub contents: Contents,
    /// Its size.
    pub bytes: u64,
    /// Time at which it was begun: it has all of before.
    pub begun_at: Timestamp,
}

/// A file that is removed when it is dropped, unless it got another name.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn new(path: PathBuf) -> io::Result<Self> {
        let file = File::options().create_new(true).write(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a backup. Whatever goes wrong, the folder has no more and no fewer of them then.
pub async fn backup(
    folder: &Folder,
    source: &Source,
    clock: &Clock,
    before_upgrade: bool,
    pace: &Arc<Pace>,
) -> anyhow::Result<Made> {
    let steps = async {
        let part = folder.begin()?;
        // The copy is no larger than the database with its log, and compressed it is smaller.
        let (database, log) = bytes(source.path()).context("cannot read the database")?;
        room_for(2 * (database + log), folder.path(), "a backup")?;
        let begun_at = clock.now();
        pace.writes(part.file())?;
        let contents = source
            .copy(&part, &pace.watch())
            .await
            .context("no good copy; if that goes on, look at the disk and run `verify`")?;
        let refused = || format!("cannot write into BACKUP_DIR {}", folder.path().display());
        let packed = Temporary::new(folder.packed()).with_context(refused)?;
        let sum = pack(part.path(), &contents, &packed.file, pace).with_context(refused)?;
        let bytes = packed.file.metadata().with_context(refused)?.len();
        let path = folder.new_name(begun_at, before_upgrade);
        give_names(folder, &packed, &sum, &path).with_context(refused)?;
        anyhow::Ok(Made { path, contents, bytes, begun_at })
    };
    match steps.await {
        // The disk may have filled before the next look at it.
        Err(error) if pace.is_full() || is_disk_full(&error) => bail!(
            "the disk of BACKUP_DIR {} got full meanwhile: free some space, or keep fewer by \
             BACKUP_KEEP",
            folder.path().display()
        ),
        result => result,
    }
}

fn is_disk_full(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(CopyError::is_disk_full)
        || error
            .downcast_ref()
            .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::StorageFull)
}

/// Gives the backup its name, and before that its checksum: a backup without one does not appear.
fn give_names(folder: &Folder, packed: &Temporary, sum: &str, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = Temporary::new(folder.sum())?;
    writeln!(file.file, "{sum}  {name}")?;
    file.file.sync_all()?;
    let summed = sum_of(path);
    rename_to_new(&file.path, &summed)?;
    // Its name is on disk before that of the backup.
    sync_folder(folder.path())?;
    if let Err(error) = rename_to_new(&packed.path, path) {
        let _ = fs::remove_file(summed);
        return Err(error);
    }
    sync_folder(folder.path())
}
