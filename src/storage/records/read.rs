//! Reading of reports from lines.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use jiff::Timestamp;
use serde::{
    Deserialize as _,
    de::{IntoDeserializer as _, value::Error as ValueError},
};

use super::{COLUMNS, Line, Record, RecordFormat};
use crate::domain::ReportKind;

/// Longest line, in bytes. Each of a report's fields is far shorter.
const LONGEST: u64 = 64 * 1024;

/// Reason for which a line of a file is not a report.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The line is not a report.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// Its fault.
        reason: String,
    },
}

/// Reads the reports of a file.
#[derive(Debug)]
pub struct RecordReader {
    form: Form,
    /// Times after this one are in the future.
    now: Timestamp,
    /// Number of the line that was read last.
    line: u64,
}

#[derive(Debug)]
enum Form {
    Jsonl(BufReader<File>, Vec<u8>),
    /// Each column's field, by its place.
    Csv(Box<csv::Reader<File>>, Vec<&'static str>, csv::StringRecord),
}

impl RecordReader {
    /// Begins to read a file.
    ///
    /// # Errors
    /// The file cannot be read, or has another header.
    pub fn open(file: &Path, format: RecordFormat, now: Timestamp) -> Result<Self, Fault> {
        let file = File::open(file)?;
        let form = match format {
            RecordFormat::Jsonl => Form::Jsonl(BufReader::new(file), Vec::new()),
            RecordFormat::Csv => {
                let mut reader = csv::Reader::from_reader(file);
                let header = reader.headers().map_err(fault)?.clone();
                let columns = columns(&header).map_err(|reason| Fault::Line { line: 1, reason })?;
                Form::Csv(Box::new(reader), columns, csv::StringRecord::new())
            }
        };
        Ok(Self { form, now, line: 0 })
    }

    /// Number of the line that was read last, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// The next report; `None` after the last one. Blank lines are left out.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn read(&mut self) -> Result<Option<Record>, Fault> {
        let now = self.now;
        self.next(|line| line.into_record(now))
    }

    /// Finds the faults of the next report, which takes less time than to make it. Returns false after the last one.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn check(&mut self) -> Result<bool, Fault> {
        let now = self.now;
        Ok(self.next(|line| line.check(now))?.is_some())
    }

    /// What becomes of the next line; `None` after the last one.
    fn next<T>(&mut self, of: impl FnOnce(Line) -> Result<T, String>) -> Result<Option<T>, Fault> {
        let read = match &mut self.form {
            Form::Jsonl(file, bytes) => loop {
                self.line += 1;
                bytes.clear();
                let limited = &mut io::Read::take(&mut *file, LONGEST);
                if limited.read_until(b'\n', bytes)? == 0 {
                    return Ok(None);
                }
                if bytes.len() as u64 == LONGEST {
                    break Err("is too long".to_owned());
                }
                let text = bytes.trim_ascii();
                if !text.is_empty() {
                    break serde_json::from_slice(text).map_err(|error| without_line(&error));
                }
            },
            Form::Csv(reader, columns, cells) => {
                if !reader.read_record(cells).map_err(fault)? {
                    return Ok(None);
                }
                self.line = cells.position().map_or(0, csv::Position::line);
                line(columns, cells)
            }
        };
        read.and_then(of).map(Some).map_err(|reason| Fault::Line { line: self.line, reason })
    }
}

/// The field of each column. A column of another name would be lost.
fn columns(header: &csv::StringRecord) -> Result<Vec<&'static str>, String> {
    let mut columns = Vec::new();
    for name in header {
        let Some(known) = COLUMNS.into_iter().find(|known| *known == name) else {
            return Err(format!("there is no field {name:?}; there are {}", COLUMNS.join(", ")));
        };
        if columns.contains(&known) {
            return Err(format!("the field {name} is there twice"));
        }
        columns.push(known);
    }
    if let Some(missing) =
        ["created_at", "instance_id"].into_iter().find(|name| !columns.contains(name))
    {
        return Err(format!("the field {missing} is missing"));
    }
    Ok(columns)
}

/// The line of some cells. An empty one is null.
fn line(columns: &[&'static str], cells: &csv::StringRecord) -> Result<Line, String> {
    let mut line = Line::default();
    for (&name, cell) in columns.iter().zip(cells) {
        if name == "instance_id" {
            cell.clone_into(&mut line.instance_id);
            continue;
        }
        if cell.is_empty() {
            continue;
        }
        let number = || cell.parse().map_err(|_| format!("{name} is no whole number: {cell:?}"));
        let text = Some(cell.to_owned());
        match name {
            "id" => line.id = Some(number()?),
            "created_at" => line.created_at = text,
            "image_version" => line.image_version = text,
            "architecture" => line.architecture = text,
            "os" => line.os = text,
            "container_runtime" => line.container_runtime = text,
            "startup_time_ms" => line.startup_time_ms = Some(number()?),
            "db_type" => line.db_type = text,
            "telemetry_version" => line.telemetry_version = text,
            "event" => line.event = Some(kind(cell)?),
            "timestamp" => line.timestamp = text,
            _ => {
                let own = serde_json::from_str(cell);
                line.unproven = Some(own.map_err(|error| without_line(&error))?);
            }
        }
    }
    Ok(line)
}

/// The kind of a report.
fn kind(name: &str) -> Result<ReportKind, String> {
    ReportKind::deserialize(name.into_deserializer()).map_err(|error: ValueError| error.to_string())
}

fn fault(error: csv::Error) -> Fault {
    let line = error.position().map_or(1, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} cells instead of {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Fault::File(error),
        _ => Fault::Line { line, reason },
    }
}

/// An error's text without its place, which is within the one line.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
