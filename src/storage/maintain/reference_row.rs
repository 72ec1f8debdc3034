//! Rows of a reference server's table, and the identity by which a row is known again.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use sha2::{Digest as _, Sha256};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

use crate::{
    domain::{Dimension, Report, ReportBody, Value},
    storage::write::RowKey,
};

/// A row that was read: the report that it is, and its identity.
#[derive(Debug)]
pub struct SourceRow {
    /// Its number in the source.
    pub number: i64,
    /// Number of the report in the server that it comes from, if it has one.
    pub id: Option<i64>,
    /// Its identity.
    pub key: RowKey,
    /// Milliseconds since 1970, or [`crate::domain::undated`].
    pub received_at: i64,
    pub report: Report,
    /// True if it broke a rule and was cut to fit.
    pub altered: bool,
    /// Its own values that count as `other`.
    pub unproven: BTreeMap<Dimension, Value>,
}

/// Columns of a [`Row`], but for its place.
pub const COLUMNS: &str = "id,
    CAST(instance_id AS BLOB) AS instance_id,
    CAST(image_version AS BLOB) AS image_version,
    CAST(architecture AS BLOB) AS architecture,
    CAST(container_runtime AS BLOB) AS container_runtime,
    CAST(startup_time_ms AS INTEGER) AS startup_time_ms,
    CAST(db_type AS BLOB) AS db_type,
    CAST(telemetry_version AS BLOB) AS telemetry_version,
    CAST(created_at AS BLOB) AS created_at";

/// A row of the reference server's table. Its columns were declared without STRICT, so each may
/// hold a value of any type: texts are read as bytes.
#[derive(Debug)]
pub struct Row {
    /// Its place in the table that it is read from.
    pub place: i64,
    id: i64,
    instance_id: Option<Vec<u8>>,
    image_version: Option<Vec<u8>>,
    architecture: Option<Vec<u8>>,
    container_runtime: Option<Vec<u8>>,
    startup_time_ms: Option<i64>,
    db_type: Option<Vec<u8>>,
    telemetry_version: Option<Vec<u8>>,
    created_at: Option<Vec<u8>>,
}

/// Columns are taken by their places in [`COLUMNS`], after which comes the place of the row: names would be looked up for
/// each row, and the types of its values compared.
impl FromRow<'_, SqliteRow> for Row {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get_unchecked(0)?,
            instance_id: row.try_get_unchecked(1)?,
            image_version: row.try_get_unchecked(2)?,
            architecture: row.try_get_unchecked(3)?,
            container_runtime: row.try_get_unchecked(4)?,
            startup_time_ms: row.try_get_unchecked(5)?,
            db_type: row.try_get_unchecked(6)?,
            telemetry_version: row.try_get_unchecked(7)?,
            created_at: row.try_get_unchecked(8)?,
            place: row.try_get_unchecked(9)?,
        })
    }
}

impl Row {
    /// The report, at the time of the row `before` if it has none.
    pub fn into_source_row(self, before: i64) -> SourceRow {
        let created = text(self.created_at.as_deref()).as_deref().and_then(created_at);
        let (number, key) = (self.id, self.key(created));
        let salvaged = self.body().salvage();
        SourceRow {
            number,
            id: None,
            key,
            received_at: created.map_or(before, Timestamp::as_millisecond),
            report: salvaged.report,
            altered: salvaged.altered || created.is_none(),
            unproven: BTreeMap::new(),
        }
    }

    /// The identity of the row: what stays the same in every copy of it, and differs from all other rows,
    /// those of another server with the same number included. 64 bits of a hash are enough: rows of
    /// other seconds are not compared, so of a million rows of one second two are the same by
    /// chance once in 37 million times.
    fn key(&self, created: Option<Timestamp>) -> RowKey {
        let mut hash = Sha256::new();
        hash.update(self.id.to_le_bytes());
        for field in [&self.created_at, &self.instance_id] {
            let field = field.as_deref().unwrap_or_default();
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        let hash = hash.finalize();
        let first = *hash.first_chunk().expect("32 bytes");
        (created.map_or(0, Timestamp::as_second), i64::from_le_bytes(first))
    }

    fn body(&self) -> ReportBody {
        ReportBody {
            instance_id: text(self.instance_id.as_deref()),
            image_version: text(self.image_version.as_deref()),
            architecture: text(self.architecture.as_deref()),
            os: None, // The reference server threw it away.
            container_runtime: text(self.container_runtime.as_deref()),
            startup_time_ms: self.startup_time_ms,
            db_type: text(self.db_type.as_deref()),
            telemetry_version: text(self.telemetry_version.as_deref()),
            timestamp: None,
            event: None,
            report_id: None,
        }
    }
}

pub fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// `YYYY-MM-DD HH:MM:SS` in UTC as SQLite's CURRENT_TIMESTAMP writes it, or RFC 3339.
pub fn created_at(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        text.parse::<DateTime>()
            .ok()?
            .to_zoned_datetime(TimeZone::UTC)
            .ok()
            .map(|at| at.timestamp())
    })
}
