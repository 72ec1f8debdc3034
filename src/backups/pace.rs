//! Pace of a backup: it rests as long as it works, and what it writes reaches the disk little by little. A
//! board with one SD card answers reports meanwhile.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::folder::RESERVE;
use crate::storage::{Watch, free_bytes};

/// Longest rest.
const REST: Duration = Duration::from_millis(20);
/// Bytes after which a file is synced. A report that is stored waits for no more than these.
const SYNCED: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    folder: PathBuf,
    stopping: Arc<AtomicBool>,
    rests: bool,
    full: AtomicBool,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    file: Option<File>,
    synced: u64,
    rested: Instant,
}

impl Pace {
    /// For work beside a server.
    pub fn beside_server(folder: &Path, stopping: Arc<AtomicBool>) -> Self {
        let written = Written { file: None, synced: 0, rested: Instant::now() };
        Self {
            folder: folder.to_owned(),
            stopping,
            rests: true,
            full: AtomicBool::new(false),
            written: Mutex::new(written),
        }
    }

    /// For work that nobody else has to wait for.
    pub fn alone(folder: &Path) -> Self {
        Self { rests: false, ..Self::beside_server(folder, Arc::default()) }
    }

    /// Watches what is written to a file from now on.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn writes(&self, file: &File) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        *written = Written { file: Some(file.try_clone()?), synced: 0, rested: Instant::now() };
        Ok(())
    }

    /// Rests. Returns `false` where the work is to end.
    pub fn goes_on(&self) -> bool {
        if self.stopping.load(Ordering::Relaxed) {
            return false;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &written.file
            && let Ok(bytes) = file.metadata().map(|file| file.len())
            && bytes >= written.synced + SYNCED
        {
            // An error comes back with the last sync.
            let _ = file.sync_data();
            if free_bytes(&self.folder).is_ok_and(|free| free < RESERVE) {
                self.full.store(true, Ordering::Relaxed);
                return false;
            }
            written.synced = bytes;
        }
        if self.rests {
            thread::sleep(written.rested.elapsed().min(REST));
        }
        written.rested = Instant::now();
        true
    }

    /// True where the work was ended since the disk is nearly full.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The same for SQLite.
    pub fn watch(self: &Arc<Self>) -> Watch {
        let pace = Arc::clone(self);
        Arc::new(move || pace.goes_on())
    }
}
