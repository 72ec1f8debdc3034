//! Storing of a batch of reports, with the counts of their hours.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::AssertSqlSafe;

use super::{Labels, Open, labels::Seen};
use crate::{
    domain::{Hour, Report, ReportKind},
    storage::{instance_key, json, packed_days::unpack_from, profiles::Profiles},
};

/// A transaction, for batches that change nothing about values, which is nearly all, and for others.
struct Program {
    alone: &'static str,
    with_values: &'static str,
}

/// The program of what comes before the reports.
macro_rules! program {
    ($($before:literal)?) => {
        Program {
            alone: concat!(
                "BEGIN IMMEDIATE;", $(include_str!($before),)? include_str!("store_batch.sql"),
                "COMMIT;"
            ),
            with_values: concat!(
                "BEGIN IMMEDIATE;", $(include_str!($before),)? include_str!("store_batch.sql"),
                include_str!("store_values.sql"), "COMMIT;"
            ),
        }
    };
}

/// Reports that come over the wire.
const STORE: Program = program!();
/// Reports that are rows of an import.
const STORE_ROWS: Program = program!("store_imported_rows.sql");
/// Reports some of which have an id.
const STORE_IDENTIFIED: Program = program!("store_report_ids.sql");

/// A row of a source: its time in seconds since 1970, 0 where it has none, and a hash.
pub type RowKey = (i64, i64);

impl Open {
    /// Stores reports, each with the time at which it was received, in milliseconds since 1970 or as
    /// [`crate::domain::undated`], in one transaction that is synced to disk.
    pub async fn store_batch(
        &mut self,
        reports: impl Iterator<Item = (i64, &Report)>,
    ) -> sqlx::Result<()> {
        self.store_with(&STORE, None, reports).await.map(|_| ())
    }

    /// Stores reports, and the rows of a source that they are and that others were, in one transaction.
    /// Returns false, with nothing stored, where one of the rows is stored already.
    pub async fn store_rows(
        &mut self,
        reports: impl Iterator<Item = (i64, &Report)>,
        keys: &[RowKey],
    ) -> sqlx::Result<bool> {
        self.store_with(&STORE_ROWS, Some(json::encode(keys)?), reports).await
    }

    /// Stores reports, and the keys of those that have an id, in one transaction. Returns false, with
    /// nothing stored, where one of the keys is stored already.
    pub async fn store_identified(
        &mut self,
        reports: impl Iterator<Item = (i64, &Report)>,
        keys: &[i64],
    ) -> sqlx::Result<bool> {
        self.store_with(&STORE_IDENTIFIED, Some(json::encode(keys)?), reports).await
    }

    async fn store_with(
        &mut self,
        program: &Program,
        keys: Option<String>,
        reports: impl Iterator<Item = (i64, &Report)>,
    ) -> sqlx::Result<bool> {
        // Days are packed on this connection alone, or while no other process imports.
        let mut earliest = i64::MAX;
        let reports = reports.inspect(|(received_at, _)| {
            if *received_at >= 0 {
                earliest = earliest.min(*received_at);
            }
        });
        let mut aside = Vec::new();
        let (count, rows) = if self.set_aside.is_empty() {
            self.rows(reports).await?
        } else {
            let kept;
            (kept, aside) = self.set_aside(reports).await?;
            self.rows(kept.into_iter()).await?
        };
        if earliest < self.packed_until_ms {
            let hour = Hour::of_ms(earliest);
            unpack_from(&mut self.connection, hour).await?;
            self.packed_until_ms = hour.day().start_ms();
        }
        let with_values = self.labels.has_changes();
        let program = if with_values { program.with_values } else { program.alone };
        let aside = encode_some(&aside)?;
        let mut store = match aside {
            None => sqlx::query(program),
            Some(_) => sqlx::query(AssertSqlSafe(with_aside(program))),
        };
        if let Some(keys) = keys {
            store = store.bind(keys);
        }
        store = store.bind(rows);
        if with_values {
            let changes = &self.labels.changes;
            store = store
                .bind(encode_some(&changes.unproven)?)
                .bind(encode_some(&changes.sightings)?)
                .bind(encode_some(&changes.displaced)?)
                .bind(encode_some(&changes.accepted)?);
        }
        if let Some(aside) = aside {
            store = store.bind(aside.clone()).bind(aside);
        }
        match store.execute(&mut self.connection).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                if with_values {
                    // They are those of a batch that is not stored.
                    self.labels = Labels::load(&mut self.connection).await?;
                    self.profiles = Profiles::load(&mut self.connection, &self.labels).await?;
                }
                return Ok(false);
            }
            result => result?,
        };
        if self.labels.end_batch() {
            self.profiles.settle(&self.labels);
        }
        self.unindexed = self.unindexed.saturating_add(count);
        Ok(true)
    }

    /// The number of reports, and the first parameter of `store_batch.sql`.
    async fn rows(
        &mut self,
        reports: impl Iterator<Item = (i64, &Report)>,
    ) -> sqlx::Result<(usize, String)> {
        let mut reports: Vec<Pending<'_>> = reports
            .map(|(received_at, report)| {
                let seen = Seen::new(instance_key::to_hex(&report.instance_id), received_at);
                let profile = self.profiles.settled(&report.profile);
                Pending { received_at, seen, report, profile }
            })
            .collect();
        self.number_profiles(&mut reports).await?;
        let mut rows = Vec::with_capacity(reports.len());
        for Pending { received_at, seen, report, profile } in reports {
            rows.push((
                received_at,
                seen.instance,
                profile,
                i32::from(report.kind == ReportKind::Heartbeat),
                report.startup_ms,
                report.timestamp.map(Timestamp::as_millisecond),
            ));
        }
        Ok((rows.len(), json::encode(&rows)?))
    }

    /// Numbers the profiles that are not settled: their values may get a label by these reports, or
    /// have none.
    async fn number_profiles(&mut self, reports: &mut [Pending<'_>]) -> sqlx::Result<()> {
        if reports.iter().all(|report| report.profile.is_some()) {
            return Ok(());
        }
        if self.number_known_profiles(reports) {
            return Ok(());
        }
        self.profiles.begin_batch();
        let unsettled = reports.iter().filter(|report| report.profile.is_none());
        let seen = unsettled.map(|pending| (&pending.report.profile, &pending.seen));
        if self.labels.prepare(&mut self.connection, seen).await? {
            self.profiles.settle(&self.labels);
        }
        let last = reports.len() - 1;
        for (place, pending) in reports.iter_mut().enumerate() {
            if pending.profile.is_none() {
                let counted =
                    self.labels.apply(&pending.report.profile, &pending.seen, last - place);
                let number =
                    self.profiles.number(&mut self.connection, &counted, &self.labels).await?;
                pending.profile = Some(number);
            }
        }
        Ok(())
    }
}

impl Open {
    /// Numbers the profiles that are not settled, if they are known and none of these reports can
    /// change anything: releases on trust are in nearly every batch. Returns whether it did.
    fn number_known_profiles(&self, reports: &mut [Pending<'_>]) -> bool {
        let known = |pending: &Pending<'_>| {
            let Pending { report, seen, .. } = pending;
            pending.profile.or_else(|| {
                let number = self.profiles.known(&report.profile)?;
                (!self.labels.may_change(&report.profile, seen)).then_some(number)
            })
        };
        let Some(numbers) = reports.iter().map(known).collect::<Option<Vec<_>>>() else {
            return false;
        };
        for (pending, number) in reports.iter_mut().zip(numbers) {
            pending.profile = Some(number);
        }
        true
    }
}

/// A report of a batch.
struct Pending<'a> {
    received_at: i64,
    seen: Seen,
    report: &'a Report,
    /// Number of its profile, once it is known.
    profile: Option<i64>,
}

/// A program that stores reports in quarantine, too.
fn with_aside(program: &str) -> String {
    let before = program.strip_suffix("COMMIT;").unwrap_or(program);
    format!("{before}{}COMMIT;", include_str!("store_aside.sql"))
}

/// A JSON array; `None` for an empty one.
fn encode_some<T: Serialize>(rows: &[T]) -> sqlx::Result<Option<String>> {
    if rows.is_empty() { Ok(None) } else { json::encode(&rows).map(Some) }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{Dimension, ReportBody},
        storage::{Database, ReportFilter},
    };

    fn report(id: &str) -> Report {
        let body = ReportBody { instance_id: Some(id.into()), ..ReportBody::default() };
        body.into_report().unwrap()
    }

    /// An import beside a server uses up the budget of releases, and proves a value.
    #[tokio::test]
    async fn profiles_of_another_process_count_against_the_bounds() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let with = |id: &str, version: String, os: &str| {
            let (instance_id, image_version) = (Some(id.into()), Some(version));
            let os = Some(os.into());
            let body = ReportBody { instance_id, image_version, os, ..ReportBody::default() };
            body.into_report().unwrap()
        };
        let release = |number: usize| format!("v{}.{}.0", number / 100, number % 100);
        let mut server = database.writer();
        server.store(now, &[with("a", release(1500), "odd")]).await.unwrap();
        let mut import = database.writer();
        let many: Vec<Report> = (0..1200).map(|n| with("b", release(n), "odd")).collect();
        import.store(now, &many).await.unwrap();
        let next = now + jiff::SignedDuration::from_hours(24);
        import.store(next, &[with("c", release(1), "odd")]).await.unwrap();
        import.close().await.unwrap();
        let late = [
            with("d", release(1600), "odd"),
            with("d", release(1), "odd"),
            with("d", release(1500), "odd"),
        ];
        server.store(next, &late).await.unwrap();
        let stored = database.newest_reports(&ReportFilter::default(), 3).await.unwrap();
        let labels: Vec<_> = stored
            .iter()
            .map(|report| {
                [Dimension::ImageVersion, Dimension::Os].map(|name| &**report.profile.get(name))
            })
            .collect();
        assert_eq!(labels, [["v15.0.0", "odd"], ["v0.1.0", "odd"], ["other", "odd"]]);
    }

    #[tokio::test]
    async fn a_batch_of_nothing_counts_nothing() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        writer.store(now, &[report("a"), report("b")]).await.unwrap();
        let stored = writer.run(async |open| open.store_batch([].into_iter()).await);
        stored.await.unwrap();
        assert_eq!(database.totals().await.unwrap().starts, 2);
    }
}
