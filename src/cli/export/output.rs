//! The output of an export: standard output, or a file that appears when it is whole.

use std::{
    fs::{self, File},
    io::{self, Stdout, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

/// Ending of the name that a file has until it is whole.
const PART: &str = ".part";

#[derive(Debug)]
pub enum Output {
    Standard(Stdout),
    File(Part),
}

/// A file that is not whole yet. Dropped, it is removed.
#[derive(Debug)]
pub struct Part {
    file: File,
    name: PathBuf,
    /// Its name until then.
    temporary: PathBuf,
}

impl Output {
    /// Begins a file, or standard output.
    pub fn begin(name: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(name) = name else { return Ok(Self::Standard(io::stdout())) };
        if name.symlink_metadata().is_ok() {
            bail!("{} exists; name a new file", name.display());
        }
        let mut part = name.clone().into_os_string();
        part.push(PART);
        let temporary = PathBuf::from(part);
        let cannot = || format!("cannot write {}", name.display());
        let file = File::options().create(true).truncate(false).write(true).open(&temporary);
        let file = file.with_context(cannot)?;
        // What a killed export left is written anew, what another one writes is left alone.
        if file.try_lock().is_err() {
            bail!("another export is being written to {}", temporary.display());
        }
        file.set_len(0).with_context(cannot)?;
        Ok(Self::File(Part { file, name, temporary }))
    }

    /// Makes the file whole: synced, and under its name.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self::File(part) = self else { return Ok(()) };
        let finish = || {
            part.file.sync_all()?;
            rename(&part.temporary, &part.name)?;
            let folder = part.name.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish().with_context(|| format!("cannot write {}", part.name.display()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File(part) => part.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File(_) => Ok(()),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Renames a file unless the new name is taken.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, NFS among them, can do it by a second name only.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(from, to),
        result => Ok(result?),
    }
}
