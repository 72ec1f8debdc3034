//! A file of reports, as the source of an import.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    copy_reports::{Copy, ImportError, Moved, Source},
    reference_row::SourceRow,
};
use crate::{
    clock::Clock,
    domain::undated,
    storage::{Fault, Record, RecordFormat, RecordReader, Writer, write::RowKey},
};

/// A file of reports that is being read.
pub struct RecordFile {
    file: PathBuf,
    reader: RecordReader,
}

impl Writer {
    /// Copies the reports of a file that an export wrote and that are not stored yet. The whole file is checked
    /// first, so that nothing is stored of one with a fault. `alone` says that no server is running, whose
    /// reports would wait for a large step.
    ///
    /// # Errors
    /// [`ImportError`] where a line is no report or another import is running, or a database's error; the
    /// reports copied so far stay.
    pub async fn import_file(
        &mut self,
        file: &Path,
        format: RecordFormat,
        alone: bool,
        clock: &Clock,
        on_moved: impl Fn(Moved),
    ) -> std::result::Result<Moved, ImportError> {
        let _lock = self.lock_imports()?;
        let mut checked = RecordFile::open(file, format, clock.now())?;
        while checked.check()? {}
        let source = RecordFile::open(file, format, clock.now())?;
        Copy::of_all(self, Source::File(source), alone, clock, on_moved).await
    }
}

impl RecordFile {
    fn open(
        file: &Path,
        format: RecordFormat,
        now: Timestamp,
    ) -> std::result::Result<Self, ImportError> {
        let reader = RecordReader::open(file, format, now);
        let reader = reader.map_err(|fault| refusal(file, fault))?;
        Ok(Self { file: file.to_owned(), reader })
    }

    fn check(&mut self) -> std::result::Result<bool, ImportError> {
        self.reader.check().map_err(|fault| refusal(&self.file, fault))
    }

    /// The next rows.
    pub fn read(&mut self, rows: usize) -> std::result::Result<Vec<SourceRow>, ImportError> {
        let mut read = Vec::with_capacity(rows);
        while read.len() < rows {
            let record = self.reader.read().map_err(|fault| refusal(&self.file, fault))?;
            let Some(record) = record else { break };
            read.push(row(record, self.reader.line()));
        }
        Ok(read)
    }
}

fn refusal(file: &Path, fault: Fault) -> ImportError {
    ImportError::File { file: file.to_owned(), fault }
}

fn row(record: Record, line: u64) -> SourceRow {
    let number = i64::try_from(line).unwrap_or(i64::MAX);
    SourceRow {
        number,
        id: record.id,
        key: key(&record, number),
        // A time of running that no stretch of this server has.
        received_at: record.received_at.map_or(undated(0), Timestamp::as_millisecond),
        report: record.report,
        altered: record.altered,
        unproven: record.unproven,
    }
}

/// The identity of a report: its number in the server that it comes from, or else its line, with its time and
/// its instance. It is the same in every export of that server, until its time is corrected.
fn key(record: &Record, line: i64) -> RowKey {
    let (origin, number) = record.id.map_or(("line", line), |id| ("report", id));
    let time = record.received_at.map(Timestamp::as_millisecond);
    let mut hash = Sha256::new();
    hash.update(origin);
    hash.update(number.to_le_bytes());
    hash.update(time.unwrap_or(-1).to_le_bytes());
    hash.update(record.report.instance_id.as_bytes());
    let hash = hash.finalize();
    let first = *hash.first_chunk().expect("32 bytes");
    (record.received_at.map_or(0, Timestamp::as_second), i64::from_le_bytes(first))
}
