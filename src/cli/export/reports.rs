//! Export of single reports.

use std::{
    io::{BufWriter, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use super::output::Output;
use crate::{
    domain::Selection,
    storage::{Database, RecordFormat, RecordWriter},
};

/// Bytes that are written at a time.
const BUFFER: usize = 64 * 1024;

/// Writes the reports of a selection that are stored now.
pub async fn write(
    database: &Database,
    format: RecordFormat,
    selection: &Selection,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut writer = RecordWriter::begin(format, BufWriter::with_capacity(BUFFER, output))?;
    let (first, last) = database.numbers_to_export(selection).await?;
    let (mut after, mut written) = (first, 0);
    let mut progress = Progress::begin();
    while let Some((position, records)) = database.page_to_export(after, last).await? {
        for record in records.iter().filter(|record| record.is_selected(selection)) {
            writer.write(record)?;
            written += 1;
        }
        after = position;
        progress.show(|| {
            let done = (after - first) * 100 / (last - first).max(1);
            format!("exported {written} reports ({done} %)")
        });
    }
    progress.end();
    Ok(writer.flush()?)
}

/// Progress on standard error, where that is a terminal.
#[derive(Debug)]
pub struct Progress {
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    pub fn begin() -> Self {
        Self { shown: None, is_terminal: std::io::stderr().is_terminal() }
    }

    /// Shows a line in the place of the one before, at most twice a second.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        const PAUSE: Duration = Duration::from_millis(500);
        if self.is_terminal && self.shown.is_none_or(|shown| shown.elapsed() > PAUSE) {
            let _ = write!(std::io::stderr(), "\r{}\x1b[K", line());
            self.shown = Some(Instant::now());
        }
    }

    /// Removes the line.
    pub fn end(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
