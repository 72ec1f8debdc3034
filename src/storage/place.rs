//! The place of the database: its file behind links, its folder, who may write there, and the lock
//! that one server at a time holds.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, CWD, RenameFlags, access, renameat_with, statvfs},
    io::Errno,
    process::{getegid, geteuid},
};

use super::OpenError;

/// Endings of the locks' names. SQLite's VFS `unix-dotfile` has a lock named `.lock`.
const SERVER_LOCK: &str = "-server.lock";
const IMPORT_LOCK: &str = "-import.lock";
/// Links that are followed one after the other, as many as SQLite follows.
const LINKS: usize = 100;

/// The file that SQLite opens for a path, with its folder created. Links are followed, also to a
/// file that is yet to be made: the write-ahead log lies beside that file and not beside a link.
pub fn target(path: &Path) -> Result<PathBuf, OpenError> {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&target) else {
            break;
        };
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(target);
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let create = || {
        fs::create_dir_all(folder)?;
        folder.canonicalize()
    };
    match create() {
        Ok(folder) => Ok(folder.join(name)),
        Err(source) => Err(Denied::of(&target).map_or_else(
            || OpenError::Folder { folder: folder.to_owned(), source },
            |denied| OpenError::Denied { path: target.clone(), denied },
        )),
    }
}

/// A file beside another one, with a longer name.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// A lock, or the file without one where the file system has no locks.
#[derive(Debug)]
pub struct Lock {
    file: File,
    held: bool,
}

impl Lock {
    /// True if nobody else can take the lock.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Gives the lock back.
    pub fn release(&self) {
        let _ = self.file.unlock();
    }
}

/// Takes the lock of the one server that may use a database.
pub fn lock_server(path: &Path) -> Result<Lock, OpenError> {
    lock(path, SERVER_LOCK)?.ok_or_else(|| OpenError::InUse(path.to_owned()))
}

/// Takes the lock of the one server, if there is none.
pub fn lock_out_servers(path: &Path) -> Result<Option<Lock>, OpenError> {
    lock(path, SERVER_LOCK)
}

/// Takes the lock of the one import that may write to a database.
pub fn lock_imports(path: &Path) -> Result<Lock, OpenError> {
    lock(path, IMPORT_LOCK)?.ok_or_else(|| OpenError::Importing(path.to_owned()))
}

/// Takes a lock; `None` if another process has it. It is a file of its own, since SQLite loses its
/// locks when another handle of the database file is closed. The kernel releases it with the last
/// handle, in whatever way the process ends.
fn lock(path: &Path, ending: &str) -> Result<Option<Lock>, OpenError> {
    let name = beside(path, ending);
    let file = File::options().create(true).truncate(false).write(true).open(&name);
    let file = file.map_err(|source| match Denied::of(path) {
        Some(denied) => OpenError::Denied { path: path.to_owned(), denied },
        None => OpenError::Lock { name: name.clone(), source },
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { file, held: true })),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Some network file systems have no locks. SQLite needs its own; it reports them itself.
        Err(TryLockError::Error(error)) => {
            tracing::warn!(lock = %name.display(), %error, "nothing keeps a second one away");
            Ok(Some(Lock { file, held: false }))
        }
    }
}

/// Something that this process may not write.
#[derive(Debug)]
pub struct Denied {
    path: PathBuf,
    is_folder: bool,
    read_only: bool,
    owner: (u32, u32),
    mode: u32,
}

impl Denied {
    /// The folder of a database, or its nearest one that exists, or a file of the database; `None`
    /// if all may be written.
    #[must_use]
    pub fn of(database: &Path) -> Option<Self> {
        let folder = database.ancestors().skip(1).find_map(|folder| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            folder.is_dir().then(|| folder.to_owned())
        });
        let files =
            ["", "-wal", "-shm", SERVER_LOCK, IMPORT_LOCK].map(|ending| beside(database, ending));
        folder.into_iter().chain(files).find_map(|path| Self::check(&path))
    }

    fn check(path: &Path) -> Option<Self> {
        let about = path.metadata().ok()?;
        let needed = if about.is_dir() {
            Access::WRITE_OK | Access::EXEC_OK
        } else {
            Access::WRITE_OK | Access::READ_OK
        };
        let error = access(path, needed).err()?;
        Some(Self {
            path: path.to_owned(),
            is_folder: about.is_dir(),
            read_only: error == Errno::ROFS,
            owner: (about.uid(), about.gid()),
            mode: about.mode() & 0o7777,
        })
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, is_folder, read_only, owner: (user, group), mode } = self;
        let kind = if *is_folder { "folder" } else { "file" };
        let path = path.display();
        if *read_only {
            return write!(f, "the {kind} {path} is on a read-only file system");
        }
        let (own_user, own_group) = (geteuid().as_raw(), getegid().as_raw());
        write!(
            f,
            "the {kind} {path} belongs to {user}:{group} (mode {mode:o}), and this process, \
             {own_user}:{own_group}, may not write it"
        )
    }
}

/// Folder of a file.
#[must_use]
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Sizes of a database file and of its log, in bytes.
///
/// # Errors
/// The file system's error.
pub fn bytes(database: &Path) -> io::Result<(u64, u64)> {
    let log = fs::metadata(beside(database, "-wal")).map_or(0, |log| log.len());
    Ok((fs::metadata(database)?.len(), log))
}

/// Space that is left where a file or folder is, in bytes.
///
/// # Errors
/// The file system's error.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let system = statvfs(path)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Makes the entries of a folder last over a power loss.
///
/// # Errors
/// The file system's error.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Renames a file unless the new name is taken.
///
/// # Errors
/// The file system's error.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, NFS among them, can do it by a second name only.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match fs::hard_link(from, to) {
                Ok(()) => fs::remove_file(from),
                Err(error) if to.symlink_metadata().is_ok() => Err(error),
                // Others have no second names either.
                Err(_) => fs::rename(from, to),
            }
        }
        result => Ok(result?),
    }
}
