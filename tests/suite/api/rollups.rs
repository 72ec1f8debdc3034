//! Everything that is counted, against a recount by hand, over arbitrary histories.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{BOUNDS_MS, BUCKETS, Dimension, EventKind, Profile, Report},
    storage::{Database, DeploymentFilter, Interval, WINDOWS_HOURS},
};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use crate::support::BEGIN;

const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone)]
enum Step {
    /// Reports that arrive together.
    Reports(Vec<Report>),
    /// Time passes; by a clock that may also be set back.
    Minutes(i64),
    /// The process ends between two transactions, as after a crash.
    Restart,
    /// Reports older than this are pruned.
    Prune { hours: i64 },
    /// The writer has a quiet moment.
    CatchUp,
}

fn reports() -> impl Strategy<Value = Report> {
    let profile = (0..3u8, 0..2u8, 0..2u8).prop_map(|(version, architecture, os)| Profile {
        image_version: format!("v11.{version}.0"),
        architecture: ["aarch64", "x86_64"][usize::from(architecture)].into(),
        os: ["linux", "unknown"][usize::from(os)].into(),
        container_runtime: "unknown".into(),
        db_type: "postgres".into(),
        telemetry_version: "1.0".into(),
    });
    let startup = prop_oneof![
        Just(None),
        (0..400_000i64).prop_map(Some),
        prop::sample::select(BOUNDS_MS.to_vec()).prop_map(|bound| Some(i64::from(bound))),
    ];
    (0..8u8, profile, any::<bool>(), startup).prop_map(|(instance, profile, heartbeat, startup)| {
        Report {
            instance_id: format!("{instance:032x}"),
            profile,
            event: if heartbeat { EventKind::Heartbeat } else { EventKind::Start },
            startup_ms: startup.filter(|_| !heartbeat),
            timestamp: None,
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => vec(reports(), 1..6).prop_map(Step::Reports),
        4 => (0..6000i64).prop_map(Step::Minutes),
        2 => (-90..0i64).prop_map(Step::Minutes),
        1 => Just(Step::Restart),
        1 => (1..100i64).prop_map(|hours| Step::Prune { hours }),
        2 => Just(Step::CatchUp),
    ];
    vec(step, 1..30)
}

/// The bucket that a startup time belongs to, by the words of its definition.
fn bucket(startup_ms: i64) -> usize {
    BOUNDS_MS.iter().position(|&bound| startup_ms <= i64::from(bound)).unwrap_or(BUCKETS - 1)
}

async fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}/telemetry.db", folder.path().display());
    let mut database = Database::open(&url).await.unwrap();
    let mut writer = database.writer();
    let mut now: Timestamp = BEGIN.parse().unwrap();
    let mut all: Vec<(Timestamp, Report)> = Vec::new();

    for step in steps {
        match step {
            Step::Reports(reports) => {
                writer.write(now, &reports).await.unwrap();
                all.extend(reports.into_iter().map(|report| (now, report)));
            }
            Step::Minutes(minutes) => now += SignedDuration::from_mins(minutes),
            Step::Restart => {
                drop(writer);
                database.close().await;
                database = Database::open(&url).await.unwrap();
                writer = database.writer();
            }
            Step::Prune { hours } => {
                let cutoff = now - SignedDuration::from_hours(hours);
                while writer.prune(cutoff).await.unwrap() > 0 {}
            }
            Step::CatchUp => writer.catch_up().await.unwrap(),
        }
    }

    // The last reports need not be listed by profile yet.
    let stored = database.deployments(&DeploymentFilter::default(), u32::MAX).await.unwrap();
    for version in ["v11.0.0", "v11.1.0"] {
        let filter =
            DeploymentFilter { image_version: Some(version.into()), ..DeploymentFilter::default() };
        let found = database.deployments(&filter, 5).await.unwrap();
        let matching = stored.iter().filter(|report| report.profile.image_version == version);
        prop_assert_eq!(found, matching.take(5).cloned().collect::<Vec<_>>());
    }
    writer.catch_up().await.unwrap();

    let starts: Vec<_> =
        all.iter().filter(|(_, report)| report.event == EventKind::Start).collect();
    let totals = database.totals().await.unwrap();
    prop_assert_eq!(totals.starts, starts.len() as u64);
    prop_assert_eq!(totals.heartbeats, (all.len() - starts.len()) as u64);
    let ids: BTreeSet<_> = all.iter().map(|(_, report)| &report.instance_id).collect();
    prop_assert_eq!(totals.instances, ids.len() as u64);

    let mut histogram = [0; BUCKETS];
    let times: Vec<i64> = starts.iter().filter_map(|(_, report)| report.startup_ms).collect();
    times.iter().for_each(|&time| histogram[bucket(time)] += 1);
    prop_assert_eq!(totals.startup.buckets, histogram);
    prop_assert_eq!(totals.startup.sum_ms, times.iter().sum::<i64>().unsigned_abs());

    for dimension in Dimension::ALL {
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, report) in &starts {
            *counted.entry(report.profile.get(dimension)).or_default() += 1;
        }
        let stored = database.breakdown(dimension).await.unwrap();
        prop_assert!(stored.is_sorted_by_key(|count| std::cmp::Reverse(count.starts)));
        let stored: BTreeMap<&str, u64> =
            stored.iter().map(|count| (count.value.as_str(), count.starts)).collect();
        prop_assert_eq!(stored, counted);
    }

    for interval in [Interval::Hour, Interval::Day] {
        let mut counted: BTreeMap<(i64, &str), (u64, u64)> = BTreeMap::new();
        for (time, report) in &all {
            let hour = time.as_millisecond().div_euclid(HOUR_MS);
            let period = hour - hour.rem_euclid(interval.hours());
            let counts = counted.entry((period, &report.profile.image_version)).or_default();
            match report.event {
                EventKind::Start => counts.0 += 1,
                EventKind::Heartbeat => counts.1 += 1,
            }
        }
        let stored = database
            .timeseries(interval, Some(Dimension::ImageVersion), i64::MIN, i64::MAX, u32::MAX)
            .await
            .unwrap();
        let stored: BTreeMap<(i64, &str), (u64, u64)> = stored
            .iter()
            .map(|count| ((count.hour, count.value.as_str()), (count.starts, count.heartbeats)))
            .collect();
        prop_assert_eq!(stored, counted);
    }

    let active = database.active(now, None).await.unwrap().into_iter().next().unwrap_or_default();
    for (window, hours) in WINDOWS_HOURS.into_iter().enumerate() {
        let since = Database::window_start(now, hours);
        let seen: BTreeSet<_> = all
            .iter()
            .filter(|(time, _)| *time >= since)
            .map(|(_, report)| &report.instance_id)
            .collect();
        prop_assert_eq!(active.instances[window], seen.len() as u64, "window of {} h", hours);
    }
    let verdict = database.verify(now).await.unwrap();
    prop_assert!(verdict.is_clean(), "{:?}", verdict);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_those_of_a_recount(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(steps))?;
    }
}
