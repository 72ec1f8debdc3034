//! Single reports, newest first.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Database, Result, instance_key, time};
use crate::domain::{EventKind, Profile};

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
    #[expect(missing_docs, reason = "named as the report's field")]
    pub instance_id: String,
    /// Its fields that are counted by; shared with the other reports that have the same.
    pub profile: Arc<Profile>,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub event: EventKind,
    /// The report's `startup_time_ms`.
    pub startup_ms: Option<i64>,
    #[expect(missing_docs, reason = "named as the report's field")]
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
                r#"SELECT min(first) AS "first: i64", max(last) AS "last: i64"
                   FROM (
                       SELECT min(first_event) AS first, max(last_event) AS last FROM rollups
                       WHERE span = 24 AND period >= ?1 AND period <= ?2
                       UNION ALL
                       SELECT min(first_event), max(last_event) FROM rollups
                       WHERE span = 1 AND period >= (SELECT hour FROM running)
                           AND period >= ?1 AND period <= ?2
                   )"#,
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
        drop(snapshot);
        // Each event's profile was there before it, and stays.
        let profiles = self.profiles().await?;
        let profile = |number: i64| {
            let place = profiles.binary_search_by_key(&number, |(known, _)| *known).ok()?;
            Some(Arc::clone(&profiles[place].1))
        };
        Ok(events.iter().filter_map(|row| Some(row.with(profile(row.profile)?))).collect())
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
    fn with(&self, profile: Arc<Profile>) -> Deployment {
        Deployment {
            id: self.id,
            received_at: time::timestamp(self.received_at),
            instance_id: instance_key::to_id(&self.instance),
            profile,
            event: if self.heartbeat == 1 { EventKind::Heartbeat } else { EventKind::Start },
            startup_ms: self.startup_ms,
            timestamp: self.client_at.map(time::timestamp),
        }
    }
}
