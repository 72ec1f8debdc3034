//! The folder of backups: their names, which are good, and which go.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use jiff::{Timestamp, civil::DateTime, tz::Offset};

use super::pack::{Header, sum_of};
use crate::{
    domain::BackupKeep,
    storage::{Denied, PART, Part, free_bytes},
};

/// Parts of the name of a backup, around its time and, before an upgrade, a word.
const BEGIN: &str = "telemetry-";
const END: &str = ".db.gz";
const UPGRADE: &str = "-before-upgrade";
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Files that are written before they get their names, beside [`PART`].
const PACKED: &str = ".telemetry-backup.gz.part";
const SUM: &str = ".telemetry-backup.sha256.part";
const RESTORED: &str = ".telemetry-backup.restored.part";
/// Backups before upgrades that are kept, whatever their age.
const UPGRADES: usize = 2;
/// Space that is left alone, for reports and for whoever else writes to the disk.
pub const RESERVE: u64 = 16 << 20;

/// A backup in the folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backup {
    /// Time at which it was begun.
    pub made: Timestamp,
    before_upgrade: bool,
    /// Its file.
    pub path: PathBuf,
}

/// A backup that can be restored, as far as its header says.
#[derive(Debug)]
pub struct Good {
    /// Time at which it was begun.
    pub made: Timestamp,
    /// Its file.
    pub path: PathBuf,
    /// State of the database that it has.
    pub state: String,
    /// Size of the database.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn packed(&self) -> PathBuf {
        self.0.join(PACKED)
    }

    pub fn sum(&self) -> PathBuf {
        self.0.join(SUM)
    }

    pub fn restored(&self) -> PathBuf {
        self.0.join(RESTORED)
    }

    /// Makes the folder, locks it against other backups, and removes what a killed one left.
    pub fn begin(&self) -> anyhow::Result<Part> {
        let refused = || match Denied::of(&self.0.join(PART)) {
            Some(denied) => format!("cannot write into BACKUP_DIR: {denied}; give it to that user"),
            None => format!("cannot write into BACKUP_DIR {}", self.0.display()),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).with_context(refused)?;
        let part = Part::begin(self.0.join(PART), 0o600).with_context(refused)?;
        let part = part.with_context(|| {
            format!("another backup is being written to {}", self.0.join(PART).display())
        })?;
        self.tidy().with_context(refused)?;
        Ok(part)
    }

    fn tidy(&self) -> io::Result<()> {
        for name in [PACKED, SUM] {
            remove(&self.0.join(name))?;
        }
        self.remove_restored()?;
        // A checksum is there before its backup.
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(backup) = name.strip_suffix(".sha256")
                && self.parse(backup).is_some()
                && !self.0.join(backup).exists()
            {
                remove(&self.0.join(&name))?;
            }
        }
        Ok(())
    }

    /// Removes the file to which a backup was restored for a test.
    pub fn remove_restored(&self) -> io::Result<()> {
        for ending in ["", "-wal", "-shm", "-journal"] {
            remove(&self.0.join(format!("{RESTORED}{ending}")))?;
        }
        Ok(())
    }

    /// A name that is free, for a backup that was begun at a time.
    pub fn new_name(&self, made: Timestamp, before_upgrade: bool) -> PathBuf {
        let upgrade = if before_upgrade { UPGRADE } else { "" };
        let mut second = made.as_second();
        loop {
            // The clock may have shown this second before.
            let time = Timestamp::from_second(second).unwrap_or(made).strftime(TIME);
            let path = self.0.join(format!("{BEGIN}{time}{upgrade}{END}"));
            if !path.exists() {
                return path;
            }
            second += 1;
        }
    }

    fn parse(&self, name: &str) -> Option<Backup> {
        let middle = name.strip_prefix(BEGIN)?.strip_suffix(END)?;
        let time = middle.strip_suffix(UPGRADE);
        let made = DateTime::strptime(TIME, time.unwrap_or(middle)).ok()?;
        let made = Offset::UTC.to_timestamp(made).ok()?;
        // One name for each time: `strptime` is lenient.
        (made.strftime(TIME).to_string() == time.unwrap_or(middle)).then(|| Backup {
            made,
            before_upgrade: time.is_some(),
            path: self.0.join(name),
        })
    }

    /// All backups, the oldest first. Other files are none of them.
    pub fn list(&self) -> anyhow::Result<Vec<Backup>> {
        let read = || -> io::Result<Vec<Backup>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                found.extend(self.parse(&entry?.file_name().to_string_lossy()));
            }
            found.sort();
            Ok(found)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.with_context(|| format!("cannot read BACKUP_DIR {}", self.0.display())),
        }
    }

    /// The newest good backup that is not of a time to come.
    pub fn newest_good(&self, now: Timestamp) -> anyhow::Result<Option<Good>> {
        let mut backups = self.list()?.into_iter().rev().filter(|backup| backup.made <= now);
        Ok(backups.find_map(|Backup { made, path, .. }| {
            let Header { bytes, state } = Header::read(&path)?;
            Some(Good { made, path, state, bytes })
        }))
    }

    /// Deletes the backups that are not kept.
    pub fn thin(&self, keep: BackupKeep, now: Timestamp) -> anyhow::Result<()> {
        let backups = self.list()?;
        let kept = keep.kept(&backups.iter().map(|backup| backup.made).collect(), now);
        let upgrades = backups.iter().rev().filter(|backup| backup.before_upgrade);
        let upgrades: BTreeSet<_> = upgrades.take(UPGRADES).collect();
        for backup in &backups {
            if kept.contains(&backup.made) || upgrades.contains(backup) {
                continue;
            }
            let path = &backup.path;
            remove(path)
                .and_then(|()| remove(&sum_of(path)))
                .with_context(|| format!("cannot delete the old backup {}", path.display()))?;
            tracing::info!(file = %path.display(), "deleted an old backup");
        }
        Ok(())
    }
}

/// Refuses where a folder has no room for a number of bytes and for others who write.
///
/// # Errors
/// One line with the remedy.
pub fn room_for(bytes: u64, folder: &Path, what: &str) -> anyhow::Result<()> {
    let free = free_bytes(folder).with_context(|| format!("cannot use {}", folder.display()))?;
    let needed = bytes + RESERVE;
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    ensure!(
        free >= needed,
        "{} has {} MB left, and {what} needs {} MB: free some space",
        folder.display(),
        free / 1_000_000,
        megabytes(needed)
    );
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, ToSpan as _};
    use tempfile::TempDir;

    use super::*;

    fn names(folder: &Folder) -> BTreeSet<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn names_come_back_and_other_files_stay() {
        let temporary = TempDir::new().unwrap();
        let folder = Folder::new(temporary.path());
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let others = [
            "telemetry.db",
            "telemetry-20260131T120000Z.db",
            "telemetry-2026.db.gz",
            "telemetry-20260131T1200Z.db.gz",
            "telemetry-20260101T000000Z.db.gz.damaged",
            "telemetry-20260199T000000Z.db.gz",
            "other-20200101T000000Z.db.gz",
            "notes.sha256",
        ];
        for name in others {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        for day in 0..30 {
            let name = folder.new_name(now - (24 * day).hours(), day == 20 || day == 21);
            fs::write(sum_of(&name), "x").unwrap();
            fs::write(name, "x").unwrap();
        }
        let second = folder.new_name(now, false);
        assert!(second.to_string_lossy().ends_with("telemetry-20260131T120001Z.db.gz"));
        let later = now + SignedDuration::from_hours(48);
        fs::write(folder.new_name(later, false), "of a wrong clock").unwrap();
        assert_eq!(folder.list().unwrap().len(), 31);
        assert!(folder.newest_good(now).unwrap().is_none(), "none of them is one");
        folder.thin("2d".parse().unwrap(), now).unwrap();
        let left: Vec<_> = folder.list().unwrap().iter().map(|backup| backup.made).collect();
        let day = |days: i32| now - (24 * days).hours();
        assert_eq!(left, [day(21), day(20), day(1), day(0), later]);
        // A checksum whose backup is gone.
        fs::remove_file(
            folder.new_name(day(1), false).with_file_name("telemetry-20260130T120000Z.db.gz"),
        )
        .unwrap();
        drop(folder.begin().unwrap());
        let left = names(&folder);
        assert!(others.iter().all(|other| left.contains(*other)), "{left:?}");
        assert!(!left.contains("telemetry-20260130T120000Z.db.gz.sha256"));
        assert_eq!(left.len(), others.len() + 4 + 3, "{left:?}");
    }
}
