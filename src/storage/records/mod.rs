//! Stored reports as the lines of a file: what an export writes and an import reads.

mod read;
mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::Deserializer};

pub use read::{Fault, RecordReader};
pub use write::RecordWriter;

use crate::domain::{Dimension, OTHER, Profile, Report, ReportBody, ReportKind, Selection, Value};

/// Columns of a CSV file, in their order: the fields of [`Line`].
const COLUMNS: [&str; 13] = [
    "id",
    "created_at",
    "instance_id",
    "image_version",
    "architecture",
    "os",
    "container_runtime",
    "startup_time_ms",
    "db_type",
    "telemetry_version",
    "event",
    "timestamp",
    "unproven",
];

/// Form of a file of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
}

/// A stored report, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Number of the report; `None` in a file that does not come from a server.
    pub id: Option<i64>,
    /// Time of receipt; `None` while it has no date.
    pub received_at: Option<Timestamp>,
    /// The report, with the values that it counts as.
    pub report: Report,
    /// Its own values that count as `other`, as far as they are known.
    pub unproven: BTreeMap<Dimension, Value>,
    /// True if it broke a rule and was cut to fit.
    pub altered: bool,
}

impl Record {
    /// True if a selection has it, by its own values or by those that it counts as.
    #[must_use]
    pub fn is_selected(&self, selection: &Selection) -> bool {
        let received_at = self.received_at.map_or(-1, Timestamp::as_millisecond);
        let own = || {
            let profile = Profile::new(|dimension| {
                let counted = self.report.profile.get(dimension);
                self.unproven.get(&dimension).unwrap_or(counted).clone()
            });
            Report { profile, ..self.report.clone() }
        };
        selection.has(&self.report, received_at)
            || (!self.unproven.is_empty() && selection.has(&own(), received_at))
    }
}

/// A report as a file has it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    id: Option<i64>,
    /// Null is a report without a date; a field that is missing is a mistake.
    #[serde(deserialize_with = "stated")]
    created_at: Option<String>,
    instance_id: String,
    #[serde(default)]
    image_version: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    container_runtime: Option<String>,
    #[serde(default)]
    startup_time_ms: Option<i64>,
    #[serde(default)]
    db_type: Option<String>,
    #[serde(default)]
    telemetry_version: Option<String>,
    #[serde(default)]
    event: Option<ReportKind>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    unproven: Option<BTreeMap<Dimension, String>>,
}

fn stated<'de, D: Deserializer<'de>>(given: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(given)
}

impl From<&Record> for Line {
    fn from(record: &Record) -> Self {
        let ReportBody {
            instance_id,
            image_version,
            architecture,
            os,
            container_runtime,
            startup_time_ms,
            db_type,
            telemetry_version,
            timestamp,
            ..
        } = record.report.clone().into();
        let own = record.unproven.iter();
        let own = own.map(|(dimension, value)| (*dimension, value.to_string())).collect();
        Self {
            id: record.id,
            created_at: record.received_at.map(|time| time.to_string()),
            instance_id: instance_id.unwrap_or_default(),
            image_version,
            architecture,
            os,
            container_runtime,
            startup_time_ms,
            db_type,
            telemetry_version,
            event: Some(record.report.kind),
            timestamp,
            unproven: (!record.unproven.is_empty()).then_some(own),
        }
    }
}

impl Line {
    /// The fault that [`Line::into_record`] would find.
    fn check(self, now: Timestamp) -> Result<(), String> {
        // Any other field is cut to fit.
        match self.unproven {
            Some(_) => self.into_record(now).map(drop),
            None => self.received_at(now).map(drop),
        }
    }

    fn received_at(&self, now: Timestamp) -> Result<Option<Timestamp>, String> {
        self.created_at.as_deref().map(|text| received_at(text, now)).transpose()
    }

    /// The report, received at `now` at the latest. The fault is what a person needs to correct it.
    fn into_record(self, now: Timestamp) -> Result<Record, String> {
        let received_at = self.received_at(now)?;
        let body = ReportBody {
            instance_id: Some(self.instance_id),
            image_version: self.image_version,
            architecture: self.architecture,
            os: self.os,
            container_runtime: self.container_runtime,
            startup_time_ms: self.startup_time_ms,
            db_type: self.db_type,
            telemetry_version: self.telemetry_version,
            timestamp: self.timestamp,
            event: (self.event == Some(ReportKind::Heartbeat)).then(|| "heartbeat".to_owned()),
            report_id: None,
        };
        let salvaged = body.salvage();
        let mut unproven = BTreeMap::new();
        for (dimension, text) in self.unproven.into_iter().flatten() {
            if **salvaged.report.profile.get(dimension) != *OTHER {
                return Err(format!("unproven has {0}, but {0} is not other", dimension.name()));
            }
            let value = Value::parse(dimension, Some(text));
            let fault = || format!("unproven has a {} that no report can have", dimension.name());
            unproven.insert(dimension, value.ok_or_else(fault)?);
        }
        let (report, altered) = (salvaged.report, salvaged.altered);
        Ok(Record { id: self.id, received_at, report, unproven, altered })
    }
}

fn received_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let time: Timestamp = text
        .parse()
        .map_err(|_| "created_at is no time such as 2026-01-31T12:00:00.000Z".to_owned())?;
    if time < Timestamp::UNIX_EPOCH {
        Err("created_at is before 1970".to_owned())
    } else if time > now {
        Err("created_at is in the future".to_owned())
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::NamedTempFile;

    use super::*;

    /// A report in which no field is as it is by default.
    fn record() -> Record {
        let profile = Profile::new(|dimension| {
            let text = format!("v11.{}.0", dimension as usize + 1);
            Value::parse(dimension, Some(text)).unwrap()
        });
        let body = ReportBody {
            instance_id: Some("a".to_owned()),
            startup_time_ms: Some(2500),
            timestamp: Some("2026-01-30T12:00:00Z".to_owned()),
            event: Some("heartbeat".to_owned()),
            ..ReportBody::default()
        };
        Record {
            id: Some(7),
            received_at: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            report: Report { profile, ..body.into_report().unwrap() },
            unproven: BTreeMap::new(),
            altered: false,
        }
    }

    #[test]
    fn each_field_comes_back() {
        let record = record();
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        for format in [RecordFormat::Jsonl, RecordFormat::Csv] {
            let file = NamedTempFile::new().unwrap();
            let mut writer = RecordWriter::begin(format, file.reopen().unwrap()).unwrap();
            writer.write(&record).unwrap();
            writer.flush().unwrap();
            let mut reader = RecordReader::open(file.path(), format, now).unwrap();
            let text = fs::read_to_string(file.path()).unwrap();
            assert_eq!(reader.read().unwrap().unwrap(), record, "{text}");
        }
    }

    /// An import checks a whole file before it stores anything of it.
    #[test]
    fn a_check_finds_what_reading_finds() {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let report = r#""instance_id":"a","created_at":"2026-01-31T12:00:00Z""#;
        let lines = [
            format!("{{{report}}}"),
            format!(r#"{{{report},"os":"\u0001","startup_time_ms":-1,"timestamp":"soon"}}"#),
            format!(r#"{{{report},"unproven":{{"os":"odd"}}}}"#),
            format!(r#"{{{report},"os":"other","unproven":{{"os":"odd"}}}}"#),
            format!(r#"{{{report},"os":"other","unproven":{{"os":"\u0001"}}}}"#),
            format!(r#"{{{report},"os":7}}"#),
            r#"{"instance_id":"a","created_at":null}"#.to_owned(),
            r#"{"instance_id":"a","created_at":"yesterday"}"#.to_owned(),
            r#"{"instance_id":"a","created_at":"1969-12-31T23:59:59Z"}"#.to_owned(),
            r#"{"instance_id":"a","created_at":"2026-02-01T00:00:01Z"}"#.to_owned(),
            "{".to_owned(),
        ];
        let faults = lines.map(|line| {
            let file = NamedTempFile::new().unwrap();
            fs::write(file.path(), line).unwrap();
            let open = || RecordReader::open(file.path(), RecordFormat::Jsonl, now).unwrap();
            let read = open().read().map(drop).map_err(|fault| fault.to_string());
            assert_eq!(open().check().map(drop).map_err(|fault| fault.to_string()), read);
            read.is_err()
        });
        assert_eq!(faults, [false, false, true, false, true, true, false, true, true, true, true]);
    }
}
