//! Searches compared with a walk over all reports.

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*, sample::select};
use tempfile::TempDir;

use crate::{
    domain::{Correction, Dimension, Hour, Report, ReportBody, ReportKind, undated},
    storage::{Database, ReportFilter, StoredReport, Writer},
};

const BEGIN: &str = "2026-01-31T12:34:56.789Z";
const VERSIONS: [&str; 3] = ["v11.0.0", "v11.1.0", "v11.2.0"];
const ARCHITECTURES: [&str; 2] = ["aarch64", "x86_64"];

/// Reports that are stored together, each with its time in minutes; one below 0 is no date.
#[derive(Debug, Clone)]
struct Batch {
    /// Numbers that are left out after it: few, or more than a scan covers.
    skipped: i64,
    reports: Vec<(i64, Report)>,
    indexed: bool,
}

prop_compose! {
    fn report()(
        minute in prop_oneof![9 => 0..60_000_i64, 1 => Just(-1)],
        version in select(&VERSIONS),
        architecture in select(&ARCHITECTURES),
        heartbeat in any::<bool>(),
    ) -> (i64, Report) {
        let body = ReportBody {
            instance_id: Some("a".into()),
            image_version: Some(version.into()),
            architecture: Some(architecture.into()),
            event: heartbeat.then(|| "heartbeat".into()),
            ..ReportBody::default()
        };
        (minute, body.into_report().unwrap())
    }
}

prop_compose! {
    fn batch()(
        skipped in select(&[0, 1, 1_000, 3_000, 25_000]),
        reports in vec(report(), 1..12),
        in_order in any::<bool>(),
        indexed in any::<bool>(),
    ) -> Batch {
        let mut reports = reports;
        if in_order {
            reports.sort_by_key(|(minute, _)| *minute);
        }
        Batch { skipped, reports, indexed }
    }
}

prop_compose! {
    fn correction()(
        after_report in 0..40_000_i64,
        reports in 1..40_000_i64,
        from in 0..60_000_i64,
        shift in -30_000..30_000_i64,
    ) -> Correction {
        Correction {
            after_report,
            last_report: after_report + reports,
            from_ms: at(from).as_millisecond(),
            until_ms: at(60_000).as_millisecond(),
            shift_ms: shift * 60_000,
            earliest_ms: at(0).as_millisecond(),
            latest_ms: at(60_000).as_millisecond(),
        }
    }
}

fn at(minute: i64) -> Timestamp {
    BEGIN.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

prop_compose! {
    fn filter()(
        before in prop_oneof![Just(None), (0..120_000_i64).prop_map(Some)],
        image_version in prop_oneof![Just(None), select(&VERSIONS).prop_map(Some)],
        architecture in prop_oneof![Just(None), select(&ARCHITECTURES).prop_map(Some)],
        since in prop_oneof![Just(None), (0..60_000_i64).prop_map(Some)],
        minutes in prop_oneof![Just(None), (0..30_000_i64).prop_map(Some)],
        starts_only in any::<bool>(),
    ) -> ReportFilter {
        ReportFilter {
            before,
            image_version: image_version.map(Into::into),
            architecture: architecture.map(Into::into),
            since: since.map(at),
            until: minutes.map(|minutes| at(since.unwrap_or(0) + minutes)),
            starts_only,
        }
    }
}

fn passes(filter: &ReportFilter, report: &StoredReport) -> bool {
    let has = |wanted: &Option<String>, dimension| {
        wanted.as_ref().is_none_or(|value| **value == **report.profile.get(dimension))
    };
    let is_any_time = filter.since.is_none() && filter.until.is_none();
    (is_any_time || report.received_at.is_some())
        && filter.before.is_none_or(|before| report.id < before)
        && has(&filter.image_version, Dimension::ImageVersion)
        && has(&filter.architecture, Dimension::Architecture)
        && filter.since.is_none_or(|since| report.received_at >= Some(since))
        && filter.until.is_none_or(|until| report.received_at < Some(until))
        && !(filter.starts_only && report.kind == ReportKind::Heartbeat)
}

async fn stored(database: &Database, batches: &[Batch]) -> Writer {
    let mut writer = database.writer();
    for batch in batches {
        let stored = writer.run(async |open| {
            let reports = batch.reports.iter().map(|(minute, report)| {
                let dated = (*minute >= 0).then(|| at(*minute).as_millisecond());
                (dated.unwrap_or(undated(0)), report)
            });
            open.store_batch(reports).await?;
            sqlx::query("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'reports'")
                .bind(batch.skipped)
                .execute(&mut open.connection)
                .await
        });
        stored.await.unwrap();
        if batch.indexed {
            writer.run(async |open| open.index_all().await).await.unwrap();
        }
    }
    writer
}

async fn correct(database: &Database, writer: &mut Writer, correction: Correction) {
    let ordered = writer.run(async |open| {
        open.index_all().await?;
        sqlx::query("INSERT INTO corrections VALUES (1, ?, ?, ?, ?, ?, ?, ?, 0)")
            .bind(correction.after_report)
            .bind(correction.last_report)
            .bind(correction.from_ms)
            .bind(correction.until_ms)
            .bind(correction.shift_ms)
            .bind(correction.earliest_ms)
            .bind(correction.latest_ms)
            .execute(&mut open.connection)
            .await
    });
    ordered.await.unwrap();
    database.clone().correct(Hour::of(at(60_000))).await.unwrap();
}

async fn check(
    batches: Vec<Batch>,
    correction: Option<Correction>,
    pruned: Option<i64>,
    questions: Vec<(ReportFilter, u32)>,
) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let database = Database::open_in(&folder).await;
    let mut writer = stored(&database, &batches).await;
    if let Some(correction) = correction {
        correct(&database, &mut writer, correction).await;
    }
    if let Some(minute) = pruned {
        writer.prune(at(minute)).await.unwrap();
    }
    let all = database.newest_reports(&ReportFilter::default(), u32::MAX).await.unwrap();
    let count: usize = batches.iter().map(|batch| batch.reports.len()).sum();
    prop_assert!(all.len() == count || pruned.is_some());
    prop_assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    for (filter, limit) in questions {
        let found = database.newest_reports(&filter, limit).await.unwrap();
        let expected = all.iter().filter(|report| passes(&filter, report));
        let expected: Vec<_> = expected.take(limit as usize).cloned().collect();
        prop_assert_eq!(found, expected, "{:?}, at most {}", filter, limit);
    }
    writer.close().await.unwrap();
    database.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_filter_finds_the_newest_reports_that_pass(
        batches in vec(batch(), 1..16),
        correction in proptest::option::weighted(0.3, correction()),
        pruned in prop_oneof![3 => Just(None), 1 => (0..60_000_i64).prop_map(Some)],
        questions in vec((filter(), select(&[1, 2, 5, 1000])), 40),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(batches, correction, pruned, questions))?;
    }
}
