//! Everything that is counted, against a recount by hand, over arbitrary histories.

use std::collections::{BTreeMap, BTreeSet};

use mattermost_telemetry::{
    domain::{BOUNDS_MS, BUCKETS, Dimension, Hour, ReportKind, Window},
    storage::{Interval, ReportFilter},
};
use proptest::prelude::*;

use crate::support::history::{History, Step, steps};

/// The bucket that a startup time belongs to, by the words of its definition.
fn bucket(startup_ms: i64) -> usize {
    BOUNDS_MS.iter().position(|&bound| startup_ms <= i64::from(bound)).unwrap_or(BUCKETS - 1)
}

async fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut history = History::of(steps).await;
    let now = history.now;
    let History { database, writer, reports: all, .. } = &mut history;

    // The last reports need not be listed by profile yet.
    let stored = database.newest_reports(&ReportFilter::default(), u32::MAX).await.unwrap();
    for version in ["v11.0.0", "v11.1.0"] {
        let filter =
            ReportFilter { image_version: Some(version.into()), ..ReportFilter::default() };
        let found = database.newest_reports(&filter, 5).await.unwrap();
        let matching = stored
            .iter()
            .filter(|report| &**report.profile.get(Dimension::ImageVersion) == version);
        prop_assert_eq!(found, matching.take(5).cloned().collect::<Vec<_>>());
    }
    writer.close_hours(now).await.unwrap();

    let starts: Vec<_> =
        all.iter().filter(|(_, report)| report.kind == ReportKind::Start).collect();
    let totals = database.totals().await.unwrap();
    prop_assert_eq!(totals.starts, starts.len() as u64);
    prop_assert_eq!(totals.heartbeats, (all.len() - starts.len()) as u64);
    let ids: BTreeSet<_> = all.iter().map(|(_, report)| &report.instance_id).collect();
    prop_assert_eq!(totals.instances, ids.len() as u64);

    let mut histogram = [0; BUCKETS];
    let times: Vec<i64> = starts.iter().filter_map(|(_, report)| report.startup_ms).collect();
    times.iter().for_each(|&time| histogram[bucket(time)] += 1);
    let startup = database.startup(None, None).await.unwrap();
    let startup = startup.into_iter().next().map(|all| all.startup).unwrap_or_default();
    prop_assert_eq!(startup.buckets, histogram);
    prop_assert_eq!(startup.sum_ms, times.iter().sum::<i64>().unsigned_abs());
    prop_assert_eq!(totals.mean_startup_ms, startup.mean_ms());

    for dimension in Dimension::ALL {
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, report) in &starts {
            *counted.entry(report.profile.get(dimension)).or_default() += 1;
        }
        let stored = database.breakdown(dimension).await.unwrap();
        prop_assert!(stored.is_sorted_by_key(|count| std::cmp::Reverse(count.starts)));
        let stored: BTreeMap<&str, u64> =
            stored.iter().map(|count| (&*count.value, count.starts)).collect();
        prop_assert_eq!(stored, counted);
    }

    for interval in [Interval::Hour, Interval::Day] {
        let mut counted: BTreeMap<(Hour, &str), (u64, u64)> = BTreeMap::new();
        for (time, report) in &*all {
            let period = Hour::of(*time).period(interval.hours());
            let counts = counted
                .entry((period, &**report.profile.get(Dimension::ImageVersion)))
                .or_default();
            match report.kind {
                ReportKind::Start => counts.0 += 1,
                ReportKind::Heartbeat => counts.1 += 1,
            }
        }
        let stored = database
            .timeseries(interval, Some(Dimension::ImageVersion), Hour::MIN, Hour::MAX, u32::MAX)
            .await
            .unwrap();
        let stored: BTreeMap<(Hour, &str), (u64, u64)> = stored
            .iter()
            .map(|count| {
                ((count.hour, count.value.as_deref().unwrap()), (count.starts, count.heartbeats))
            })
            .collect();
        prop_assert_eq!(stored, counted);
    }

    let active = database.active(now, None).await.unwrap().into_iter().next().unwrap_or_default();
    for window in Window::ALL {
        let since = window.first_hour(Hour::of(now)).start();
        let seen: BTreeSet<_> = all
            .iter()
            .filter(|(time, _)| *time >= since)
            .map(|(_, report)| &report.instance_id)
            .collect();
        let counted = active.activity.active[window as usize];
        prop_assert_eq!(counted, seen.len() as u64, "{:?}", window);
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
