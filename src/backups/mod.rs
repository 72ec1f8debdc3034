//! Backups that the server makes by itself: when one is due, on a thread of its own. The folder is all that
//! is remembered.

mod folder;
mod make;
mod pace;
mod pack;
mod trial;

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    runtime,
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    clock::Clock,
    config::BackupConfig,
    metrics::Metrics,
    retry::Retry,
    storage::{Database, Source},
};
use folder::Folder;
use pace::Pace;

pub use folder::room_for;
pub use pack::{Unpacked, expected_bytes};

/// Time between two looks at whether a backup is due.
const LOOK: Duration = Duration::from_secs(1);
/// Time after which a backup that failed is tried again, doubled each time, and the longest such time.
const TRIED_AGAIN: Duration = Duration::from_mins(1);
const TRIED_AGAIN_AT_LAST: Duration = Duration::from_hours(6);
/// Time within which the thread ends, unless its disk does not answer.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// Time between two restores for a test.
const TRIED_OUT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The thread that makes backups.
#[derive(Debug)]
pub struct Backups {
    stopping: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Backups {
    /// Begins to make backups.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        config: &BackupConfig,
        database: &Database,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        metrics.backups_begin(config.every);
        let stopping = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            config: config.clone(),
            folder: Folder::new(&config.folder),
            source: database.source(),
            clock,
            metrics,
            stopping: Arc::clone(&stopping),
            newest: None,
            known: false,
            retry: Retry::new(TRIED_AGAIN, TRIED_AGAIN_AT_LAST.min(config.every)),
            trial_waits: None,
        };
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("backups".to_owned()).spawn(move || {
            runtime.block_on(keeper.run(stopped));
            // The receiver may be gone.
            let _ = ending.send(());
        })?;
        Ok(Self { stopping, stop, ended })
    }

    /// Ends a backup that is being made, which leaves nothing, and waits for the end of the thread.
    pub async fn end(self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = self.stop.send(());
        if timeout(ENDS_WITHIN, self.ended).await.is_err() {
            tracing::warn!(
                "the disk of BACKUP_DIR does not answer; what was begun is removed by the next backup"
            );
        }
    }
}

/// Makes a backup before the schema of a file is brought up to date.
///
/// # Errors
/// One line with the reason for which there is none.
pub async fn before_upgrade(
    config: &BackupConfig,
    source: &Source,
    clock: &Clock,
) -> anyhow::Result<()> {
    let folder = Folder::new(&config.folder);
    let pace = Arc::new(Pace::alone(&config.folder));
    let made = make::backup(&folder, source, clock, true, &pace).await?;
    tracing::info!(file = %made.path.display(), contents = %made.contents, "backed up before the upgrade");
    Ok(())
}

/// Writes the database of a backup, compressed or not, into a file of a folder, and syncs it. The checksum beside the
/// backup is compared, where there is one.
///
/// # Errors
/// One line that says what is wrong with the backup, or with the file that is written.
pub fn unpack_alone(file: &Path, to: &File, folder: &Path) -> anyhow::Result<Unpacked> {
    pack::unpack(file, to, &Pace::alone(folder))
}

/// The newest good backup.
#[derive(Debug)]
struct Newest {
    /// State of the database that it has.
    state: String,
    /// Last moment at which it had everything.
    complete_at: Timestamp,
}

struct Keeper {
    config: BackupConfig,
    folder: Folder,
    source: Source,
    clock: Clock,
    metrics: Arc<Metrics>,
    stopping: Arc<AtomicBool>,
    newest: Option<Newest>,
    /// True once the folder was read.
    known: bool,
    retry: Retry,
    /// Time before which no backup is restored for a test after that failed.
    trial_waits: Option<Instant>,
}

impl Keeper {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let round = async {
                self.look().await;
                sleep(LOOK).await;
            };
            tokio::select! {
                biased;
                _ = &mut stop => return,
                () = round => {}
            }
        }
    }

    /// Makes a backup if one is due, and tries the newest one out if that is.
    async fn look(&mut self) {
        if self.retry.waits() {
            return;
        }
        let begun = Instant::now();
        match self.keep().await {
            Ok(()) => self.retry.end(),
            Err(_) if self.stopping.load(Ordering::Relaxed) => {}
            Err(error) => {
                self.metrics.backup_failed();
                let wait = self.retry.plan_next();
                tracing::error!(
                    error = format!("{error:#}"),
                    folder = %self.config.folder.display(),
                    again_in_s = wait.as_secs(),
                    took_s = begun.elapsed().as_secs(),
                    "cannot make a backup"
                );
            }
        }
        self.try_out().await;
    }

    async fn keep(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        if !self.known {
            self.known = true;
            self.read_folder(now)?;
        }
        if !self.is_due(now) {
            return Ok(());
        }
        // Files may have come or gone since.
        self.read_folder(now)?;
        if !self.is_due(now) {
            return Ok(());
        }
        if let Some(newest) = &mut self.newest
            && newest.state == pack::short(&self.source.contents().await?.state)
        {
            newest.complete_at = now;
            self.show_age(now);
            tracing::debug!("nothing has changed since the last backup");
            return Ok(());
        }
        let begun = Instant::now();
        let pace = Arc::new(Pace::beside_server(&self.config.folder, Arc::clone(&self.stopping)));
        let made = make::backup(&self.folder, &self.source, &self.clock, false, &pace).await?;
        tracing::info!(
            file = %made.path.display(),
            contents = %made.contents,
            bytes = made.bytes,
            took_s = begun.elapsed().as_secs(),
            "made a backup"
        );
        self.metrics.backup_written();
        let state = pack::short(&made.contents.state);
        self.newest = Some(Newest { state, complete_at: made.begun_at });
        self.show_age(self.clock.now());
        // A doubtful clock deletes nothing.
        if self.metrics.is_clock_confirmed() {
            self.folder.thin(self.config.keep, self.clock.now())?;
        }
        Ok(())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.newest.as_ref().is_none_or(|newest| {
            let age = now.duration_since(newest.complete_at);
            // One of a time to come holds nothing back.
            age.is_negative() || age.unsigned_abs() >= self.config.every
        })
    }

    /// Finds the newest good backup in the folder.
    fn read_folder(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let known = self.newest.take();
        let found = self.folder.newest_good(now)?;
        self.newest = found.map(|found| Newest {
            // It may have had everything since.
            complete_at: known
                .filter(|known| known.state == found.state && known.complete_at <= now)
                .map_or(found.made, |known| known.complete_at),
            state: found.state,
        });
        self.show_age(now);
        Ok(())
    }

    fn show_age(&self, now: Timestamp) {
        let age = self.newest.as_ref().map(|newest| now.duration_since(newest.complete_at));
        self.metrics.backup_age(age.map(|age| age.try_into().unwrap_or_default()));
    }

    /// Restores the newest backup to a temporary file and recounts it, once a week.
    async fn try_out(&mut self) {
        if self.newest.is_none() || self.trial_waits.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let now = self.clock.now();
        match trial::last(&self.folder) {
            Some(last) if last.at <= now && now.duration_since(last.at) < TRIED_OUT => {
                self.metrics.backup_restorable(last.good);
                self.trial_waits = Some(Instant::now() + LOOK * 60);
                return;
            }
            _ => {}
        }
        let pace = Arc::new(Pace::beside_server(&self.config.folder, Arc::clone(&self.stopping)));
        match trial::run(&self.folder, &self.source, now, &pace).await {
            Ok(None) => {}
            Ok(Some(trial)) => {
                self.metrics.backup_restorable(trial.good);
                if trial.is_damaged {
                    // Another one is made at once.
                    self.newest = None;
                    self.show_age(now);
                }
            }
            Err(_) if self.stopping.load(Ordering::Relaxed) => {}
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "cannot restore a backup for a test");
                self.trial_waits = Some(Instant::now() + TRIED_AGAIN_AT_LAST);
            }
        }
    }
}
