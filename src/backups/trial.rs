//! The newest backup, restored to a temporary file and recounted. Nobody knows otherwise that a backup can be
//! restored.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{
    folder::{Folder, Good, room_for},
    pace::Pace,
    pack::{Damaged, sum_of, unpack},
};
use crate::storage::{CopyError, Database, OpenError, Source, check};

/// File that remembers the last trial.
const REMEMBERED: &str = ".telemetry-restored";

/// Result of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Its time.
    pub at: Timestamp,
    /// True if the backup was as it should be.
    pub good: bool,
    /// True if it cannot be restored, and was put aside.
    pub is_damaged: bool,
}

/// The last trial, where it is remembered.
pub fn last(folder: &Folder) -> Option<Trial> {
    let text = fs::read_to_string(folder.path().join(REMEMBERED)).ok()?;
    let mut words = text.split_whitespace();
    let at = words.next()?.parse().ok()?;
    Some(Trial { at, good: words.next()? == "good", is_damaged: false })
}

/// Restores the newest good backup and recounts it; `None` where there is none.
pub async fn run(
    folder: &Folder,
    source: &Source,
    now: Timestamp,
    pace: &Arc<Pace>,
) -> anyhow::Result<Option<Trial>> {
    let Some(backup) = folder.newest_good(now)? else { return Ok(None) };
    let _part = folder.begin()?;
    let restored = Restored(folder.clone());
    // A recount sorts on disk, which may be beside the database.
    let what = "the restore of a backup for a test";
    room_for(2 * backup.bytes, folder.path(), what)?;
    room_for(backup.bytes, source.path().parent().unwrap_or(Path::new(".")), what)?;
    let (good, is_damaged) = match restore(folder, &backup, pace).await {
        Ok(()) => (recount(folder, &backup, now).await?, false),
        Err(error) if is_damage(&error) => {
            put_aside(&backup.path)?;
            tracing::error!(
                error = format!("{error:#}"),
                file = %backup.path.display(),
                "the newest backup is damaged and was put aside; another one is made"
            );
            (false, true)
        }
        Err(error) => return Err(error),
    };
    drop(restored);
    let name = backup.path.file_name().unwrap_or_default().to_string_lossy();
    let result = if good { "good" } else { "wrong" };
    remember(&folder.path().join(REMEMBERED), &format!("{now} {result} {name}\n"))
        .context("cannot write into BACKUP_DIR")?;
    Ok(Some(Trial { at: now, good, is_damaged }))
}

fn remember(path: &Path, line: &str) -> io::Result<()> {
    let mut file =
        File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    // Earlier versions left it open for others to read.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(line.as_bytes())
}

/// The file to which a backup is restored. Dropped, it is removed.
struct Restored(Folder);

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = self.0.remove_restored();
    }
}

/// True for a fault of the backup, which no second try repairs.
fn is_damage(error: &anyhow::Error) -> bool {
    error.is::<Damaged>()
        || matches!(
            error.downcast_ref(),
            Some(
                CopyError::Damaged { .. }
                    | CopyError::Foreign(_)
                    | CopyError::Open(OpenError::Corrupt { .. })
            )
        )
}

async fn restore(folder: &Folder, backup: &Good, pace: &Arc<Pace>) -> anyhow::Result<()> {
    let path = folder.restored();
    let to = File::options().create_new(true).write(true).mode(0o600).open(&path);
    let to = to.context("cannot write into BACKUP_DIR")?;
    unpack(&backup.path, &to, pace)?;
    check(&path, &pace.watch()).await?;
    Ok(())
}

async fn recount(folder: &Folder, backup: &Good, now: Timestamp) -> anyhow::Result<bool> {
    let database = Database::open_file(&folder.restored()).await?;
    let verdict = database.verify(now).await?;
    database.close().await;
    let file = backup.path.display();
    // A recount differs by what an order changes just now.
    let good = verdict.is_clean() || !verdict.unfinished.is_empty();
    if good {
        tracing::info!(%file, reports = verdict.reports, "restored the newest backup for a test");
    } else {
        let wrong = verdict.checks.iter().filter(|(_, differences)| *differences > 0);
        let wrong: Vec<String> =
            wrong.map(|(check, differences)| format!("{differences} {check}")).collect();
        tracing::error!(
            %file,
            differences = wrong.join(", "),
            "the newest backup differs from a recount; run `verify` on the database, and `verify --repair`"
        );
    }
    Ok(good)
}

/// Takes a damaged backup out of the count of backups.
fn put_aside(path: &Path) -> anyhow::Result<()> {
    for path in [path.to_owned(), sum_of(path)] {
        if path.exists() {
            let mut name = OsString::from(&path);
            name.push(".damaged");
            fs::rename(&path, name).context("cannot rename the damaged backup")?;
        }
    }
    Ok(())
}
