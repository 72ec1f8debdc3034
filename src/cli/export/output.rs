//! The output of an export: standard output, or a file that appears when it is whole.

use std::{
    io::{self, Stdout, Write},
    path::PathBuf,
};

use anyhow::{Context as _, bail};

use crate::storage::{Part, beside};

/// Ending of the name that a file has until it is whole.
const PART: &str = ".part";

#[derive(Debug)]
pub enum Output {
    Standard(Stdout),
    /// A file that is not whole yet, and its name.
    File(Part, PathBuf),
}

impl Output {
    /// Begins a file, or standard output.
    pub fn begin(name: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(name) = name else { return Ok(Self::Standard(io::stdout())) };
        if name.symlink_metadata().is_ok() {
            bail!("{} exists; name a new file", name.display());
        }
        let temporary = beside(&name, PART);
        let part = Part::begin(temporary.clone(), 0o666);
        match part.with_context(|| format!("cannot write {}", name.display()))? {
            Some(part) => Ok(Self::File(part, name)),
            None => bail!("another export is being written to {}", temporary.display()),
        }
    }

    /// Makes the file whole: synced, and under its name.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self::File(part, name) = self else { return Ok(()) };
        part.finish(&name).with_context(|| format!("cannot write {}", name.display()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File(part, _) => part.file().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File(..) => Ok(()),
        }
    }
}
