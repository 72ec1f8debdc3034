//! Rows of a reference server's table, and the identity by which a row is known again.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{Dimension, Report, ReportBody, Value},
    storage::{bundle::Bundle, write::RowKey},
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

/// A [`Row`] in a [`Bundle`]; before it comes its place.
pub const BUNDLED: &str = "id, ' ',
    octet_length(instance_id), ':', instance_id,
    octet_length(image_version), ':', image_version,
    octet_length(architecture), ':', architecture,
    octet_length(container_runtime), ':', container_runtime,
    CAST(startup_time_ms AS INTEGER), ' ',
    octet_length(db_type), ':', db_type,
    octet_length(telemetry_version), ':', telemetry_version,
    octet_length(created_at), ':', created_at";

/// A row of the reference server's table. Its columns were declared without STRICT, so each may
/// hold a value of any type: texts are read as bytes.
#[derive(Debug, PartialEq)]
pub struct Row<'a> {
    /// Its place in the table that it is read from.
    pub place: i64,
    id: i64,
    instance_id: Option<&'a [u8]>,
    image_version: Option<&'a [u8]>,
    architecture: Option<&'a [u8]>,
    container_runtime: Option<&'a [u8]>,
    startup_time_ms: Option<i64>,
    db_type: Option<&'a [u8]>,
    telemetry_version: Option<&'a [u8]>,
    created_at: Option<&'a [u8]>,
}

impl<'a> Row<'a> {
    /// The next row of a bundle.
    ///
    /// # Errors
    /// The bundle is not one of [`BUNDLED`].
    pub fn take(bundle: &mut Bundle<'a>) -> sqlx::Result<Self> {
        Ok(Self {
            place: bundle.some_number()?,
            id: bundle.some_number()?,
            instance_id: bundle.bytes()?,
            image_version: bundle.bytes()?,
            architecture: bundle.bytes()?,
            container_runtime: bundle.bytes()?,
            startup_time_ms: bundle.number()?,
            db_type: bundle.bytes()?,
            telemetry_version: bundle.bytes()?,
            created_at: bundle.bytes()?,
        })
    }

    /// The report, at the time of the row `before` if it has none.
    pub fn into_source_row(self, before: i64) -> SourceRow {
        let created = text(self.created_at).as_deref().and_then(created_at);
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
        for field in [self.created_at, self.instance_id] {
            let field = field.unwrap_or_default();
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        let hash = hash.finalize();
        let first = *hash.first_chunk().expect("32 bytes");
        (created.map_or(0, Timestamp::as_second), i64::from_le_bytes(first))
    }

    fn body(&self) -> ReportBody {
        ReportBody {
            instance_id: text(self.instance_id),
            image_version: text(self.image_version),
            architecture: text(self.architecture),
            os: None, // The reference server threw it away.
            container_runtime: text(self.container_runtime),
            startup_time_ms: self.startup_time_ms,
            db_type: text(self.db_type),
            telemetry_version: text(self.telemetry_version),
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions};

    use super::*;
    use crate::storage::instance_key::hex;

    const TEXTS: [&str; 7] = [
        "instance_id",
        "image_version",
        "architecture",
        "container_runtime",
        "db_type",
        "telemetry_version",
        "created_at",
    ];

    /// A value of any type, as a literal of SQL.
    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("NULL".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f32>().prop_map(|number| format!("CAST('{number}' AS REAL)")),
            vec(any::<u8>(), 0..9).prop_map(|bytes| blob(&bytes)),
            // A text may have bytes that no text of Rust has.
            vec(any::<u8>(), 0..9).prop_map(|bytes| format!("CAST({} AS TEXT)", blob(&bytes))),
            "[ -&(-~]{0,9}".prop_map(|text| format!("'{text}'")),
        ]
    }

    fn blob(bytes: &[u8]) -> String {
        format!("x'{}'", hex(bytes).collect::<String>())
    }

    /// Reads the row out of a bundle, and column by column.
    async fn check(values: Vec<String>, startup: String) -> Result<(), TestCaseError> {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        let (columns, values) = (TEXTS.join(", "), values.join(", "));
        let setup = format!(
            "CREATE TABLE deployments (id INTEGER PRIMARY KEY, startup_time_ms, {columns});
             INSERT INTO deployments (startup_time_ms, {columns}) VALUES ({startup}, {values})"
        );
        sqlx::raw_sql(AssertSqlSafe(setup)).execute(&mut connection).await.unwrap();

        let select = format!("SELECT CAST(concat(id, ' ', {BUNDLED}) AS BLOB) FROM deployments");
        let bundle: Vec<u8> =
            sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut connection).await.unwrap();
        let mut bundle = Bundle::new(Some(&bundle));
        let row = Row::take(&mut bundle).unwrap();
        prop_assert!(bundle.is_empty());

        let texts = TEXTS.map(|column| format!("CAST({column} AS BLOB)")).join(", ");
        let select = format!("SELECT CAST(startup_time_ms AS INTEGER), {texts} FROM deployments");
        let stored = sqlx::query(AssertSqlSafe(select)).fetch_one(&mut connection).await.unwrap();
        let bytes: Vec<Option<&[u8]>> = (1..=TEXTS.len()).map(|place| stored.get(place)).collect();
        let expected = Row {
            place: 1,
            id: 1,
            startup_time_ms: stored.get(0),
            instance_id: bytes[0],
            image_version: bytes[1],
            architecture: bytes[2],
            container_runtime: bytes[3],
            db_type: bytes[4],
            telemetry_version: bytes[5],
            created_at: bytes[6],
        };
        prop_assert_eq!(row, expected);
        Ok(())
    }

    proptest! {
        #[test]
        fn a_row_of_any_types_comes_out_of_a_bundle(
            values in vec(value(), TEXTS.len()), startup in value()
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(check(values, startup))?;
        }
    }
}
