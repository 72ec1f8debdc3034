//! Writing of reports as lines.

use std::io::{self, Write};

use super::{COLUMNS, Line, Record, RecordFormat};

/// Writes reports to a file, one a line.
#[derive(Debug)]
pub struct RecordWriter<W: Write>(Form<W>);

#[derive(Debug)]
enum Form<W: Write> {
    Jsonl(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> RecordWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of the file.
    pub fn begin(format: RecordFormat, out: W) -> io::Result<Self> {
        Ok(Self(match format {
            RecordFormat::Jsonl => Form::Jsonl(out),
            RecordFormat::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(COLUMNS)?;
                Form::Csv(Box::new(writer))
            }
        }))
    }

    /// Writes one report.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = Line::from(record);
        match &mut self.0 {
            Form::Jsonl(out) => {
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")
            }
            Form::Csv(writer) => Ok(writer.write_record(cells(line)?)?),
        }
    }

    /// Hands on what is written so far.
    ///
    /// # Errors
    /// Those of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Form::Jsonl(out) => out.flush(),
            Form::Csv(writer) => writer.flush(),
        }
    }
}

/// The cells of a line, in the order of [`COLUMNS`]. An empty one is null.
fn cells(line: Line) -> io::Result<[String; COLUMNS.len()]> {
    let Line {
        id,
        created_at,
        instance_id,
        image_version,
        architecture,
        os,
        container_runtime,
        startup_time_ms,
        db_type,
        telemetry_version,
        event,
        timestamp,
        unproven,
    } = line;
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let event = event.map(serde_json::to_value).transpose()?;
    let unproven = unproven.map(|values| serde_json::to_string(&values)).transpose()?;
    Ok([
        number(id),
        created_at,
        Some(instance_id),
        image_version,
        architecture,
        os,
        container_runtime,
        number(startup_time_ms),
        db_type,
        telemetry_version,
        event.as_ref().and_then(|event| event.as_str()).map(str::to_owned),
        timestamp,
        unproven,
    ]
    .map(Option::unwrap_or_default))
}
