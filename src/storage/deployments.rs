//! Single reports, newest first.

use jiff::Timestamp;

use super::{Database, Result, instance_key, time};
use crate::domain::EventKind;

/// Which reports are wanted. `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentFilter {
    /// Only reports that came before the one with this number.
    pub before: Option<i64>,
    /// Only this version, in its normal form.
    pub image_version: Option<String>,
    /// Only this architecture, in its normal form.
    pub architecture: Option<String>,
    /// Only reports that arrived at this time or later.
    pub since: Option<Timestamp>,
    /// Only reports that arrived before this time.
    pub until: Option<Timestamp>,
    /// Only reports of a start.
    pub starts_only: bool,
}

/// One stored report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Number of the report, in the order of arrival.
    pub id: i64,
    /// When it arrived.
    pub received_at: Timestamp,
    #[expect(missing_docs, reason = "named as the report's field, as are all below")]
    pub instance_id: String,
    #[expect(missing_docs, reason = "see above")]
    pub image_version: String,
    #[expect(missing_docs, reason = "see above")]
    pub architecture: String,
    #[expect(missing_docs, reason = "see above")]
    pub os: String,
    #[expect(missing_docs, reason = "see above")]
    pub container_runtime: String,
    #[expect(missing_docs, reason = "see above")]
    pub db_type: String,
    #[expect(missing_docs, reason = "see above")]
    pub telemetry_version: String,
    #[expect(missing_docs, reason = "see above")]
    pub event: EventKind,
    #[expect(missing_docs, reason = "see above")]
    pub startup_ms: Option<i64>,
    #[expect(missing_docs, reason = "see above")]
    pub timestamp: Option<Timestamp>,
}

impl Database {
    /// The newest reports that pass the filter, at most `limit`, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn deployments(
        &self,
        filter: &DeploymentFilter,
        limit: u32,
    ) -> Result<Vec<Deployment>> {
        let mut snapshot = self.readers.begin().await?;
        let since = filter.since.map_or(i64::MIN, Timestamp::as_millisecond);
        let until = filter.until.map_or(i64::MAX, Timestamp::as_millisecond);

        // Events have no index by time. The days of the wanted time tell between which
        // numbers its events lie.
        let (mut first, mut last) =
            (0, filter.before.map_or(i64::MAX, |before| before.saturating_sub(1)));
        if filter.since.is_some() || filter.until.is_some() {
            let from = filter.since.map_or(0, time::hour);
            let from = from - from.rem_euclid(24);
            let to = filter.until.map_or(i64::MAX, time::hour);
            let range = sqlx::query!(
                r#"SELECT min(first_event) AS "first: i64", max(last_event) AS "last: i64"
                   FROM rollups WHERE span = 24 AND period >= ? AND period <= ?"#,
                from,
                to
            )
            .fetch_one(&mut *snapshot)
            .await?;
            first = range.first.unwrap_or(i64::MAX);
            last = last.min(range.last.unwrap_or(0));
        }

        let heartbeats = i64::from(!filter.starts_only);
        let events = if filter.image_version.is_none() && filter.architecture.is_none() {
            sqlx::query_file_as!(
                Row,
                "src/storage/sql/deployments.sql",
                first,
                last,
                since,
                until,
                limit,
                heartbeats
            )
            .fetch_all(&mut *snapshot)
            .await?
        } else {
            sqlx::query_file_as!(
                Row,
                "src/storage/sql/deployments_of_profiles.sql",
                first,
                last,
                since,
                until,
                limit,
                filter.image_version,
                filter.architecture,
                heartbeats
            )
            .fetch_all(&mut *snapshot)
            .await?
        };
        Ok(events.into_iter().map(Deployment::from).collect())
    }
}

#[derive(Debug)]
struct Row {
    id: i64,
    received_at: i64,
    instance: Vec<u8>,
    image_version: String,
    architecture: String,
    os: String,
    container_runtime: String,
    db_type: String,
    telemetry_version: String,
    heartbeat: i64,
    startup_ms: Option<i64>,
    client_at: Option<i64>,
}

impl From<Row> for Deployment {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            received_at: time::timestamp(row.received_at),
            instance_id: instance_key::to_id(&row.instance),
            image_version: row.image_version,
            architecture: row.architecture,
            os: row.os,
            container_runtime: row.container_runtime,
            db_type: row.db_type,
            telemetry_version: row.telemetry_version,
            event: if row.heartbeat == 1 { EventKind::Heartbeat } else { EventKind::Start },
            startup_ms: row.startup_ms,
            timestamp: row.client_at.map(time::timestamp),
        }
    }
}
