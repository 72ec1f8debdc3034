//! Single reports, newest first.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::Connection as _;

use crate::{
    domain::{Hour, InstanceId, Profile, ReportKind},
    storage::{Database, Result, instance_key, profiles::find},
};

/// Conditions on the wanted reports; `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportFilter {
    /// Only reports with a lower number.
    pub before: Option<i64>,
    /// Only this version, in its normal form.
    pub image_version: Option<String>,
    /// Only this architecture, in its normal form.
    pub architecture: Option<String>,
    /// Only reports that were received at this time or later.
    pub since: Option<Timestamp>,
    /// Only reports that were received before this time.
    pub until: Option<Timestamp>,
    /// Only reports of a start.
    pub starts_only: bool,
}

/// Stored report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReport {
    /// Number of the report, in the order of storing.
    pub id: i64,
    /// Time at which the report was received.
    pub received_at: Timestamp,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub instance_id: InstanceId,
    /// Its profile, shared with the other reports that have the same.
    pub profile: Arc<Profile>,
    /// Start or heartbeat.
    pub kind: ReportKind,
    /// The report's `startup_time_ms`.
    pub startup_ms: Option<i64>,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub timestamp: Option<Timestamp>,
}

impl Database {
    /// The newest reports that pass the filter, at most `limit`, newest first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn newest_reports(
        &self,
        filter: &ReportFilter,
        limit: u32,
    ) -> Result<Vec<StoredReport>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let since = filter.since.map_or(i64::MIN, Timestamp::as_millisecond);
        let until = filter.until.map_or(i64::MAX, Timestamp::as_millisecond);

        // Reports have no index by time. The days of the wanted time name the numbers between
        // which its reports lie.
        let (mut first, mut last) =
            (0, filter.before.map_or(i64::MAX, |before| before.saturating_sub(1)));
        if filter.since.is_some() || filter.until.is_some() {
            let from = filter.since.map_or(0, |since| Hour::of(since).day().number());
            let until = filter.until.map_or(i64::MAX, |until| Hour::of(until).number());
            let range = sqlx::query!(
                r#"SELECT min(first_report) AS "first: i64", max(last_report) AS "last: i64"
                   FROM stored_spans
                   CROSS JOIN rollups
                       ON rollups.span = stored_as AND period >= max(first, ?) AND period <= ?
                   WHERE stored_spans.span = 24"#,
                from,
                until
            )
            .fetch_one(&mut *snapshot)
            .await?;
            first = range.first.unwrap_or(i64::MAX);
            last = last.min(range.last.unwrap_or(0));
        }

        let heartbeats = i64::from(!filter.starts_only);
        let rows = if filter.image_version.is_none() && filter.architecture.is_none() {
            sqlx::query_file_as!(
                Row,
                "src/storage/read/newest_reports.sql",
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
                "src/storage/read/newest_reports_of_profiles.sql",
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
        let profiles = self.profiles_in(&mut snapshot).await?;
        let report = |row: &Row| row.report(Arc::clone(find(&profiles, row.profile)?));
        Ok(rows.iter().filter_map(report).collect())
    }
}

#[derive(Debug)]
struct Row {
    id: i64,
    received_at: i64,
    instance: Vec<u8>,
    profile: i64,
    heartbeat: i64,
    startup_ms: Option<i64>,
    client_at: Option<i64>,
}

impl Row {
    /// `None` where a file holds an id or a time that cannot be.
    fn report(&self, profile: Arc<Profile>) -> Option<StoredReport> {
        Some(StoredReport {
            id: self.id,
            received_at: Timestamp::from_millisecond(self.received_at).ok()?,
            instance_id: InstanceId::parse(instance_key::to_id(&self.instance))?,
            profile,
            kind: if self.heartbeat == 1 { ReportKind::Heartbeat } else { ReportKind::Start },
            startup_ms: self.startup_ms,
            timestamp: self.client_at.and_then(|at| Timestamp::from_millisecond(at).ok()),
        })
    }
}
