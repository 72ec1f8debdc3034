//! Tests of the made-up fleet.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::domain::{Dimension, InstanceId, ReportBody, ReportKind};

fn settings(installations: u32, days: i64, seed: u64) -> Settings {
    let until: Timestamp = "2025-06-30T12:00:00Z".parse().unwrap();
    let from = Timestamp::from_millisecond(until.as_millisecond() - days * DAY).unwrap();
    Settings { installations, from, until, seed, clients: Clients::Mixed }
}

fn reports(installations: u32, days: i64, seed: u64) -> Vec<(Timestamp, Report)> {
    Fleet::new(settings(installations, days, seed)).collect()
}

fn is_start(report: &Report) -> bool {
    report.kind == ReportKind::Start
}

fn keeps_id(report: &Report) -> bool {
    &**report.profile.get(Dimension::TelemetryVersion) == "1.1"
}

#[test]
fn a_seed_has_its_numbers() {
    let mut random = Random::new(1);
    // The numbers were computed from PCG's own definition, in another language.
    assert_eq!(random.id(), 0x6f6b_604f_3885_5997_24b8_6a03_7bd6_af47);
    let numbers: Vec<i64> = (0..5).map(|_| random.between(0, 1000)).collect();
    assert_eq!(numbers, [424, 394, 620, 451, 170]);
}

#[test]
fn a_seed_has_its_fleet() {
    let mut reports = reports(500, 90, 1);
    let ids: HashSet<_> = reports.iter().map(|(_, report)| &report.instance_id).collect();
    let starts = reports.iter().filter(|(_, report)| is_start(report)).count();
    assert_eq!((reports.len(), starts, ids.len()), (15_590, 7_330, 4_335));
    let (at, report) = reports.swap_remove(1000);
    let shown = format!("{at} {}", serde_json::to_string(&ReportBody::from(report)).unwrap());
    assert_eq!(
        shown,
        r#"2025-04-08T18:23:58.308Z {"instance_id":"a5fc7350bdcd31f650c895424d32c693","image_version":"v9.1.0","architecture":"aarch64","os":"linux","container_runtime":"unknown","startup_time_ms":24686,"db_type":"postgres","telemetry_version":"1.0","timestamp":null,"event":null,"report_id":null}"#
    );
}

#[test]
fn stock_clients_make_a_new_id_at_each_start() {
    let fleet = Fleet::new(Settings { clients: Clients::Stock, ..settings(200, 90, 1) });
    let reports: Vec<Report> = fleet.map(|(_, report)| report).collect();
    let ids: HashSet<_> = reports.iter().map(|report| &report.instance_id).collect();
    assert!(reports.len() > 1000);
    assert_eq!(ids.len(), reports.len());
    assert!(reports.iter().all(|report| is_start(report) && report.timestamp.is_none()));
}

#[test]
fn releases_come_each_month() {
    let until = "2026-02-01T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let releases = Releases::between(until - 90 * DAY, until, &mut Random::new(1));
    let newest = |day: &str| {
        let at = format!("{day}T13:00:00Z").parse::<Timestamp>().unwrap().as_millisecond();
        releases.version(releases.newest(at)).to_owned()
    };
    let minor = |day| newest(day).rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(minor("2026-01-31"), "v11.3");
    assert_eq!(newest("2026-01-16"), "v11.3.0");
    assert_eq!(minor("2026-01-15"), "v11.2");
    assert_eq!(newest("2025-10-16"), "v11.0.0");
    assert_eq!(minor("2025-10-15"), "v10.11");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn reports_keep_the_rules(installations in 0..60u32, days in 1..200i64, seed: u64) {
        let settings = settings(installations, days, seed);
        let reports: Vec<_> = Fleet::new(settings).collect();
        prop_assert!(reports.is_sorted_by_key(|(at, _)| *at));
        let mut rotated = HashSet::new();
        let mut kept: HashMap<&str, &Report> = HashMap::new();
        for (at, report) in &reports {
            prop_assert!((settings.from..settings.until).contains(at));
            let accepted = ReportBody::from(report.clone()).into_report();
            prop_assert_eq!(accepted.as_ref(), Ok(report));
            let id = &*report.instance_id;
            if keeps_id(report) {
                // An id that is kept stays on one machine.
                let first = kept.entry(id).or_insert(report);
                prop_assert_eq!(first.profile.get(Dimension::Architecture), report.profile.get(Dimension::Architecture));
                prop_assert_eq!(first.profile.get(Dimension::DbType), report.profile.get(Dimension::DbType));
            } else {
                prop_assert!(is_start(report) && rotated.insert(id), "{} twice", id);
            }
        }
        prop_assert!(kept.len() <= usize::try_from(installations).unwrap());
        prop_assert!(kept.keys().all(|id| !rotated.contains(id)));
        prop_assert!(reports == Fleet::new(settings).collect::<Vec<_>>());
    }

    #[test]
    fn any_time_will_do(from: i64, days in -10..4000i64) {
        let from = Timestamp::from_millisecond(from % 253_000_000_000_000).unwrap();
        let until = from.saturating_add(jiff::SignedDuration::from_hours(24 * days)).unwrap();
        let clients = Clients::Mixed;
        let count = Fleet::new(Settings { installations: 1, from, until, seed: 1, clients }).count();
        prop_assert!(count < 100_000);
    }
}

#[test]
fn another_seed_is_another_fleet() {
    assert_ne!(reports(20, 30, 1), reports(20, 30, 2));
}

#[test]
fn no_instance_reports_more_than_a_server_takes_from_it() {
    let mut last: HashMap<InstanceId, Vec<Timestamp>> = HashMap::new();
    let mut loops = 0;
    for (at, report) in reports(3000, 60, 3).into_iter().filter(|(_, report)| keeps_id(report)) {
        let times = last.entry(report.instance_id).or_default();
        times.retain(|&before| at.as_millisecond() - before.as_millisecond() < HOUR);
        times.push(at);
        assert!(times.len() <= 60);
        loops += usize::from(times.len() == 10);
    }
    assert!(loops > 20, "{loops} restart loops");
}

/// Starts by some part of their time or profile.
fn starts_by<K: Ord>(
    reports: &[(Timestamp, Report)],
    key: impl Fn(i64, &Report) -> K,
) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for (at, report) in reports.iter().filter(|(_, report)| is_start(report)) {
        *counts.entry(key(at.as_millisecond(), report)).or_default() += 1;
    }
    counts
}

#[test]
fn the_fleet_grows_and_rests_at_weekends() {
    let reports = reports(3000, 84, 5);
    let weeks = starts_by(&reports, |at, _| at / (7 * DAY));
    let weeks: Vec<usize> = weeks.into_values().collect();
    assert!(weeks[10] > weeks[2] * 5 / 4, "{weeks:?}");
    let days = starts_by(&reports, |at, _| (at / DAY + 3) % 7);
    assert!(days[&1] * 2 > days[&6] * 3, "{days:?}");
    let hours = starts_by(&reports, |at, _| at % DAY / HOUR);
    assert!(hours[&9] > hours[&1] * 2, "{hours:?}");
}

#[test]
fn releases_spread_and_laggards_stay() {
    let reports = reports(3000, 120, 5);
    let from = settings(3000, 120, 5).from.as_millisecond();
    // The release of April, by fortnights: not there, taken up, the usual one, replaced.
    let spread = |fortnight: i64| {
        let then: Vec<_> = reports
            .iter()
            .filter(|(at, _)| (at.as_millisecond() - from) / (14 * DAY) == fortnight)
            .cloned()
            .collect();
        let of_april = starts_by(&then, |_, report| {
            report.profile.get(Dimension::ImageVersion).starts_with("v10.6.")
        });
        of_april.get(&true).copied().unwrap_or(0) * 100 / then.len()
    };
    let shares: Vec<usize> = (0..8).map(spread).collect();
    assert_eq!(shares[0], 0, "{shares:?}");
    assert!(shares.iter().max() > Some(&20), "{shares:?}");
    assert!(shares[7] > 0 && shares[7] < 20, "{shares:?}");
    let versions =
        starts_by(&reports, |_, report| report.profile.get(Dimension::ImageVersion).to_string());
    assert!(versions.len() > 15 && versions.contains_key("unknown"), "{versions:?}");
}

#[test]
fn all_kinds_are_there_and_small_boards_start_slowly() {
    let reports = reports(3000, 30, 5);
    let architectures =
        starts_by(&reports, |_, report| report.profile.get(Dimension::Architecture).to_string());
    assert!(architectures.keys().eq(["aarch64", "armv7l", "x86_64"]), "{architectures:?}");
    let runtimes = starts_by(&reports, |_, report| {
        report.profile.get(Dimension::ContainerRuntime).to_string()
    });
    assert!(runtimes.keys().eq(["docker", "kubernetes", "podman", "unknown"]), "{runtimes:?}");
    let databases =
        starts_by(&reports, |_, report| report.profile.get(Dimension::DbType).to_string());
    assert!(databases["postgres"] > databases["mysql"] * 5, "{databases:?}");
    let slow = |architecture: &str| {
        let slow = starts_by(&reports, |_, report| {
            &**report.profile.get(Dimension::Architecture) == architecture
                && report.startup_ms > Some(20_000)
        });
        slow[&true] * 100 / architectures[architecture]
    };
    assert!(slow("x86_64") < 10 && slow("aarch64") > 40 && slow("armv7l") > 90);
    assert!(reports.iter().any(|(_, report)| report.kind == ReportKind::Heartbeat));
}
