//! All reports in the order of their numbers, page by page: for an export.

use std::sync::Arc;

use sqlx::Connection as _;

use super::{
    newest_reports::dated,
    numbers_of_time::{Received, numbers_of_time},
};
use crate::{
    domain::{Dimension, InstanceId, Profile, Report, ReportKind, Selection, Value},
    storage::{Database, Record, Result, instance_key, json, profiles::find},
};

/// Reports of a page.
const PAGE: i64 = 2_000;

impl Database {
    /// The numbers between which the reports of a selection lie that are stored now: after the first one,
    /// up to the second one.
    ///
    /// # Errors
    /// The database's error.
    pub async fn numbers_to_export(&self, selection: &Selection) -> Result<(i64, i64)> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let stored = sqlx::query!(
            r#"SELECT (SELECT min(id) FROM reports) AS "first: i64",
                      (SELECT max(id) FROM reports) AS "last: i64""#
        )
        .fetch_one(&mut *snapshot)
        .await?;
        let (first, last) = (stored.first.unwrap_or(1), stored.last.unwrap_or(0));
        let received = Received::new(selection.from, selection.until);
        let (from, until) = numbers_of_time(&mut snapshot, received).await?;
        Ok((first.max(from).saturating_sub(1), last.min(until)))
    }

    /// The next reports between two numbers, and the number of the last one; `None` after all. Each page is
    /// a read of its own: one of all reports would keep the log from being cut.
    ///
    /// # Errors
    /// The database's error.
    pub async fn page_to_export(
        &self,
        after: i64,
        last: i64,
    ) -> Result<Option<(i64, Vec<Record>)>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let profiles = self.profiles_in(&mut snapshot).await?;
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT
                   id AS "id!", received_at, instance, profile, heartbeat, startup_ms, client_at,
                   (
                       SELECT nullif(json_group_object(dimension, value), '{}')
                       FROM unproven_values WHERE report = reports.id
                   ) AS "unproven: String"
               FROM reports
               WHERE id > ? AND id <= ?
               ORDER BY id
               LIMIT ?"#,
            after,
            last,
            PAGE
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let Some(position) = rows.last().map(|row| row.id) else { return Ok(None) };
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(profile) = find(&profiles, row.profile) {
                records.extend(row.record(profile)?);
            }
        }
        Ok(Some((position, records)))
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
    unproven: Option<String>,
}

impl Row {
    /// `None` where a file holds an id that cannot be.
    fn record(self, profile: &Arc<Profile>) -> sqlx::Result<Option<Record>> {
        let Some(instance_id) = InstanceId::parse(instance_key::to_id(&self.instance)) else {
            return Ok(None);
        };
        let given: Vec<(Dimension, String)> = match &self.unproven {
            None => Vec::new(),
            Some(text) => {
                let given: std::collections::BTreeMap<Dimension, String> = json::decode(text)?;
                given.into_iter().collect()
            }
        };
        let unproven = given.into_iter().filter_map(|(dimension, text)| {
            Some((dimension, Value::parse(dimension, Some(text))?))
        });
        let report = Report {
            instance_id,
            profile: Profile::clone(profile),
            kind: if self.heartbeat == 1 { ReportKind::Heartbeat } else { ReportKind::Start },
            startup_ms: self.startup_ms,
            timestamp: self.client_at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok()),
            report_id: None,
        };
        Ok(Some(Record {
            id: Some(self.id),
            received_at: dated(self.received_at),
            report,
            unproven: unproven.collect(),
            altered: false,
        }))
    }
}
