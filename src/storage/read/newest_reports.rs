//! Single reports, newest first.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use super::{
    listed::Listed,
    numbers_of_time::{Received, newest_numbers},
};
use crate::{
    domain::{Dimension, InstanceId, Profile, ReportKind},
    storage::{
        Database, Result,
        bundle::Bundle,
        instance_key, json,
        profiles::{Numbered, find},
        report_lists::first_unlisted,
    },
};

/// Numbers that are scanned first for the wanted profiles.
const SHORT_SCAN: i64 = 2_000;
/// Numbers that are scanned where the short scan shows that the answer lies among them.
const LONG_SCAN: i64 = 20_000;
/// Numbers that are scanned in a third of the time that a search for the newest report of one list takes.
const SCANNED_FOR_A_LIST: i64 = 24;
/// Listed reports that are looked at together.
const NUMBERS_TOGETHER: usize = 1_000;

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
    pub received_at: Option<Timestamp>,
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
        let profiles = self.profiles_in(&mut snapshot).await?;
        let wanted = filter.profiles(&profiles);
        if wanted.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let unlisted = first_unlisted(&mut snapshot).await?;
        let mut search = Search {
            snapshot: &mut snapshot,
            received: Received::new(filter.since, filter.until),
            heartbeats: i64::from(!filter.starts_only),
            lists: wanted.as_deref().map_or(0, count),
            profiles: wanted.as_ref().map(json::encode).transpose()?,
            unlisted,
        };
        let rows = search.newest(filter.before, i64::from(limit)).await?;
        let report = |row: &Row| row.report(Arc::clone(find(&profiles, row.profile)?));
        Ok(rows.iter().filter_map(report).collect())
    }
}

impl ReportFilter {
    /// Numbers of the wanted profiles; `None` if all are.
    fn profiles(&self, profiles: &Numbered) -> Option<Vec<i64>> {
        let wanted = |value: &Option<String>, dimension, profile: &Profile| {
            value.as_ref().is_none_or(|value| **value == **profile.get(dimension))
        };
        let numbers: Vec<i64> = profiles
            .iter()
            .filter(|(_, profile)| {
                wanted(&self.image_version, Dimension::ImageVersion, profile)
                    && wanted(&self.architecture, Dimension::Architecture, profile)
            })
            .map(|(number, _)| *number)
            .collect();
        (numbers.len() < profiles.len()).then_some(numbers)
    }
}

/// Search in a snapshot, with the filter as the statements take it.
struct Search<'a> {
    snapshot: &'a mut SqliteConnection,
    received: Received,
    /// 1 if heartbeats are wanted, else 0.
    heartbeats: i64,
    /// Number of wanted profiles, each of which has lists.
    lists: i64,
    /// Wanted profiles as a JSON array; `None` is all.
    profiles: Option<String>,
    /// The first number of which no list has the report.
    unlisted: i64,
}

impl Search<'_> {
    /// Unindexed reports are in no list and of no block, but few.
    async fn newest(&mut self, before: Option<i64>, limit: i64) -> sqlx::Result<Vec<Row>> {
        let stored = sqlx::query!(
            r#"SELECT position AS indexed, (SELECT max(id) FROM reports) AS "last: i64"
               FROM watermarks WHERE name = 'indexed'"#
        )
        .fetch_one(&mut *self.snapshot)
        .await?;
        let last = before.map_or(i64::MAX, |before| before.saturating_sub(1));
        let last = last.min(stored.last.unwrap_or(0));
        let mut found = Vec::new();
        if last > stored.indexed {
            found = self.scan(stored.indexed + 1, last, limit).await?;
        }
        let mut last = last.min(stored.indexed);
        let mut common = true;
        while count(&found) < limit
            && let Some(numbers) = newest_numbers(self.snapshot, self.received, last).await?
        {
            let (first, missing) = (*numbers.start(), limit - count(&found));
            found.extend(self.indexed(first, *numbers.end(), missing, &mut common).await?);
            last = first - 1;
        }
        Ok(found)
    }

    /// The newest indexed reports between two numbers. As many numbers are scanned as take no longer than a search in
    /// each list, all that are in no list, and more where the wanted profiles are `common`. What that does not find
    /// comes out of the lists.
    async fn indexed(
        &mut self,
        first: i64,
        last: i64,
        limit: i64,
        common: &mut bool,
    ) -> sqlx::Result<Vec<Row>> {
        if self.profiles.is_none() {
            return self.scan(first, last, limit).await;
        }
        let for_lists = self.lists * SCANNED_FOR_A_LIST;
        let scanned = if *common { for_lists.max(SHORT_SCAN) } else { for_lists };
        let scanned = scanned.max(last.saturating_sub(self.unlisted - 1));
        let mut left = last.saturating_sub(scanned);
        let mut found = self.scan(first.max(left + 1), last, limit).await?;
        *common &= count(&found) * LONG_SCAN >= limit * scanned;
        if *common && count(&found) < limit && left >= first {
            let numbers = first.max(left + 1 - LONG_SCAN)..=left;
            found.extend(self.scan(*numbers.start(), left, limit - count(&found)).await?);
            left = numbers.start() - 1;
        }
        if count(&found) < limit && left >= first {
            found.extend(self.listed(first, left, limit - count(&found)).await?);
        }
        Ok(found)
    }

    /// The newest reports between two numbers, out of all reports.
    async fn scan(&mut self, first: i64, last: i64, limit: i64) -> sqlx::Result<Vec<Row>> {
        let bundle = sqlx::query_file_scalar!(
            "src/storage/read/newest_reports.sql",
            first,
            last,
            self.received.from,
            self.received.until,
            limit,
            self.heartbeats,
            self.profiles
        )
        .fetch_one(&mut *self.snapshot)
        .await?;
        Row::all(bundle.as_deref())
    }

    /// The newest reports between two numbers, out of the lists of the wanted profiles.
    async fn listed(&mut self, first: i64, last: i64, limit: i64) -> sqlx::Result<Vec<Row>> {
        let profiles = self.profiles.clone().unwrap_or_default();
        let number = |number: i64| usize::try_from(number).unwrap_or(0);
        let mut listed = Listed::new(&profiles, number(self.lists), first..=last, number(limit));
        let mut found = Vec::new();
        loop {
            let missing = number(limit - count(&found));
            let numbers = listed.next(self.snapshot, missing).await?;
            for numbers in numbers.chunks(NUMBERS_TOGETHER) {
                found.extend(self.numbered(numbers, limit - count(&found)).await?);
                if count(&found) == limit {
                    return Ok(found);
                }
            }
            if numbers.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Wanted reports among some numbers, in the order of these.
    async fn numbered(&mut self, numbers: &[i64], limit: i64) -> sqlx::Result<Vec<Row>> {
        let numbers = json::encode(numbers)?;
        let bundle = sqlx::query_file_scalar!(
            "src/storage/read/newest_reports_of_numbers.sql",
            numbers,
            self.received.from,
            self.received.until,
            limit,
            self.heartbeats
        )
        .fetch_one(&mut *self.snapshot)
        .await?;
        Row::all(bundle.as_deref())
    }
}

fn count<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

#[derive(Debug)]
struct Row {
    id: i64,
    received_at: i64,
    instance: Vec<u8>,
    profile: i64,
    heartbeat: bool,
    startup_ms: Option<i64>,
    client_at: Option<i64>,
}

impl Row {
    /// The rows of an answer.
    fn all(bundle: Option<&[u8]>) -> sqlx::Result<Vec<Self>> {
        let mut bundle = Bundle::new(bundle);
        let mut rows = Vec::new();
        while !bundle.is_empty() {
            rows.push(Self {
                id: bundle.some_number()?,
                received_at: bundle.some_number()?,
                instance: bundle.bytes()?.unwrap_or_default().to_vec(),
                profile: bundle.some_number()?,
                heartbeat: bundle.some_number()? == 1,
                startup_ms: bundle.number()?,
                client_at: bundle.number()?,
            });
        }
        Ok(rows)
    }

    /// `None` where a file holds an id or a time that cannot be.
    fn report(&self, profile: Arc<Profile>) -> Option<StoredReport> {
        Some(StoredReport {
            id: self.id,
            received_at: dated(self.received_at),
            instance_id: InstanceId::parse(instance_key::to_id(&self.instance))?,
            profile,
            kind: if self.heartbeat { ReportKind::Heartbeat } else { ReportKind::Start },
            startup_ms: self.startup_ms,
            timestamp: self.client_at.and_then(|at| Timestamp::from_millisecond(at).ok()),
        })
    }
}

/// Time of a report; `None` while it has no date.
pub(super) fn dated(received_at: i64) -> Option<Timestamp> {
    (received_at >= 0).then(|| Timestamp::from_millisecond(received_at).ok()).flatten()
}
