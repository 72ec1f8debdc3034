//! Labels against a model that remembers every report, with small bounds.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*, sample::select};
use tempfile::TempDir;

use super::Limits;
use crate::{
    domain::{Dimension, OTHER, Report, ReportBody},
    storage::{Database, ReportFilter, ValueState, Writer},
};

const LIMITS: Limits = Limits { releases: 3, proven: 2, unproven: 6 };

/// Dimensions that the tests vary.
const VARIED: [Dimension; 2] = [Dimension::ImageVersion, Dimension::Os];

const VERSIONS: [&str; 8] =
    ["v1.0.0", "v1.0.1", "v1.0.2", "v1.1.0", "v1.2.0-rc1", "nightly", "main", "other"];
const SYSTEMS: [&str; 6] = ["linux", "odd1", "odd2", "odd3", "other", "unknown"];

fn report(instance: u8, version: &str, os: &str) -> Report {
    let body = ReportBody {
        instance_id: Some(format!("{instance:032x}")),
        image_version: Some(version.into()),
        os: Some(os.into()),
        ..ReportBody::default()
    };
    body.into_report().unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    /// A batch, by the first writer or the second one.
    Reports(bool, Vec<Report>),
    Hours(i64),
    Restart,
    Accept(Dimension, &'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let report = (0..5u8, select(&VERSIONS), select(&SYSTEMS))
        .prop_map(|(instance, version, os)| report(instance, version, os));
    let accept = prop_oneof![
        select(&VERSIONS).prop_map(|value| Step::Accept(Dimension::ImageVersion, value)),
        select(&SYSTEMS).prop_map(|value| Step::Accept(Dimension::Os, value)),
    ];
    let step = prop_oneof![
        12 => (any::<bool>(), vec(report, 1..5)).prop_map(|(first, batch)| Step::Reports(first, batch)),
        6 => (-20..40i64).prop_map(Step::Hours),
        2 => Just(Step::Restart),
        1 => accept,
    ];
    vec(step, 1..40)
}

/// Instances and days.
type Seen = (BTreeSet<String>, BTreeSet<i64>);

/// The rules, put another way than the code that enforces them.
#[derive(Default)]
struct Model {
    /// Instances and days of each value.
    seen: BTreeMap<(&'static str, String), Seen>,
    accepted: [BTreeSet<String>; 2],
    on_trust: Vec<String>,
    /// Reports whose values are kept.
    unproven: usize,
}

impl Model {
    /// The label of a report's value; `None` for one that counts as `other`.
    fn label(&mut self, place: usize, report: &Report, now: Timestamp) -> Option<String> {
        let dimension = VARIED[place];
        let value = report.profile.get(dimension).to_string();
        let known = ["linux", "unknown", "other"].contains(&value.as_str());
        if known || self.accepted[place].contains(&value) {
            return Some(value);
        }
        let seen = self.seen.entry((dimension.name(), value.clone())).or_default();
        seen.0.insert(report.instance_id.to_string());
        seen.1.insert(now.as_second().div_euclid(86_400));
        let proven = seen.0.len() >= 3 && seen.1.len() >= 2;
        let release = value.starts_with('v');
        let is_release = |value: &&String| value.starts_with('v');
        let releases = self.accepted[0].iter().filter(is_release).count() + self.on_trust.len();
        let others = self.accepted[place].iter().filter(|value| !is_release(value)).count();
        let trusted = self.on_trust.contains(&value);
        if proven && trusted {
            self.on_trust.retain(|other| *other != value);
        } else if proven && release && releases >= LIMITS.releases {
            self.on_trust.pop();
        }
        let has_room = if release {
            releases < LIMITS.releases || self.taken() < releases
        } else {
            others < LIMITS.proven
        };
        if proven && has_room {
            self.accepted[place].insert(value.clone());
        } else if !trusted && release && releases < LIMITS.releases {
            self.on_trust.push(value.clone());
        } else if !trusted {
            return None;
        }
        Some(value)
    }

    /// Releases with a label.
    fn taken(&self) -> usize {
        self.accepted[0].iter().filter(|value| value.starts_with('v')).count() + self.on_trust.len()
    }

    fn accept(&mut self, dimension: Dimension, value: &str) {
        if !["linux", "unknown", "other"].contains(&value) {
            let place = usize::from(dimension == Dimension::Os);
            self.accepted[place].insert(value.to_owned());
            self.on_trust.retain(|other| other != value);
        }
    }
}

/// A writer with the small bounds.
async fn writer(database: &Database) -> Writer {
    let mut writer = database.writer();
    let limited = writer.run(async |open| {
        open.labels.limits = LIMITS;
        Ok(())
    });
    limited.await.unwrap();
    writer
}

async fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let database = Database::open_in(&folder).await;
    let mut now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let mut writers = [writer(&database).await, writer(&database).await];
    let mut model = Model::default();
    let (mut labels, mut linked) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Reports(first, batch) => {
                let writer = &mut writers[usize::from(first)];
                writer.notice_labels().await.unwrap();
                writer.store(now, &batch).await.unwrap();
                for report in &batch {
                    let counted = [0, 1].map(|place| model.label(place, report, now));
                    let number = i64::try_from(labels.len() + 1).unwrap();
                    let is_kept = model.unproven < LIMITS.unproven;
                    let mut unproven =
                        counted.iter().zip(VARIED).filter(|(label, _)| label.is_none());
                    linked.extend(unproven.clone().filter(|_| is_kept).map(|(_, dimension)| {
                        let value = report.profile.get(dimension).to_string();
                        (number, dimension.name().to_owned(), value)
                    }));
                    model.unproven += usize::from(is_kept && unproven.next().is_some());
                    labels.push(counted.map(|label| label.unwrap_or_else(|| OTHER.to_owned())));
                }
            }
            Step::Hours(hours) => now += SignedDuration::from_hours(hours),
            Step::Restart => writers = [writer(&database).await, writer(&database).await],
            Step::Accept(dimension, value) => {
                let value = crate::domain::Value::parse(dimension, Some(value.into())).unwrap();
                writers[0].accept_value(dimension, &value).await.unwrap();
                model.accept(dimension, &value);
            }
        }
        let mut stored = database.newest_reports(&ReportFilter::default(), u32::MAX).await.unwrap();
        stored.reverse();
        let stored: Vec<_> = stored
            .iter()
            .map(|report| VARIED.map(|dimension| report.profile.get(dimension).to_string()))
            .collect();
        prop_assert_eq!(&stored, &labels);
    }
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT report, dimension, value FROM unproven_values ORDER BY 1, 2")
            .fetch_all(&mut *database.reader().await.unwrap())
            .await
            .unwrap();
    linked.sort();
    prop_assert_eq!(rows, linked);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn labels_are_those_of_the_rules(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(steps))?;
    }
}

/// A database in a folder of its own, and its writer with the real bounds.
async fn fresh() -> (TempDir, Database, Writer, Timestamp) {
    let folder = TempDir::new().unwrap();
    let database = Database::open_in(&folder).await;
    let writer = database.writer();
    (folder, database, writer, "2026-01-31T12:00:00Z".parse().unwrap())
}

/// The labels of a dimension with their starts.
async fn counts(database: &Database, dimension: Dimension) -> BTreeMap<String, u64> {
    let counts = database.breakdown(dimension).await.unwrap();
    counts.into_iter().map(|row| (row.value.to_string(), row.starts)).collect()
}

/// Versions of a flood, more than the budget holds.
fn flood(instance: u8) -> Vec<Report> {
    let version = |number: u32| format!("v{}.{}.0", 20 + number / 100, number % 100);
    (0..1200).map(|number| report(instance, &version(number), "linux")).collect()
}

#[tokio::test]
async fn a_proven_release_displaces_an_unproven_one() {
    let (_folder, database, mut writer, now) = fresh().await;
    writer.store(now, &[report(1, "v11.0.0", "linux")]).await.unwrap();
    writer.store(now, &flood(7)).await.unwrap();
    let before = counts(&database, Dimension::ImageVersion).await;
    assert_eq!((before.len(), before["other"]), (1001, 201));
    // The budget is used up, so a real release waits for its proof.
    let release = |instance| report(instance, "v12.0.0", "linux");
    writer.store(now, &[release(1), release(2), release(3)]).await.unwrap();
    let next = now + SignedDuration::from_hours(24);
    writer.store(next, &[release(1), release(4)]).await.unwrap();
    let after = counts(&database, Dimension::ImageVersion).await;
    assert_eq!((after["v12.0.0"], after["other"]), (2, 204));
    // Values with a label keep their counts, and one made-up release takes no more of them.
    writer.store(next, &flood(7)).await.unwrap();
    writer.store(next, &[report(1, "v11.0.0", "linux")]).await.unwrap();
    let last = counts(&database, Dimension::ImageVersion).await;
    assert!(before.iter().all(|(label, count)| last[label] >= *count));
    let stopped: Vec<_> =
        last.iter().filter(|&(label, count)| before.get(label) == Some(count)).collect();
    assert_eq!(stopped.len(), 1);
    assert_eq!((last["v11.0.0"], last["other"]), (2, 204 + 202));
}

#[tokio::test]
async fn a_hundred_thousand_unproven_reports_are_kept_and_no_more() {
    let (_folder, database, mut writer, now) = fresh().await;
    let rows = async || -> (i64, i64) {
        sqlx::query_as("SELECT count(DISTINCT report), count(*) FROM unproven_values")
            .fetch_one(&mut *database.reader().await.unwrap())
            .await
            .unwrap()
    };
    let batches = (0..20).map(|batch| {
        // Values of two fields, which are those of one report.
        (0..5000).map(|n| report(1, "main", &format!("os {batch} {n}"))).collect::<Vec<_>>()
    });
    for batch in batches {
        writer.store(now, &batch).await.unwrap();
    }
    assert_eq!(rows().await, (100_000, 200_000));
    writer.store(now, &[report(1, "v11.0.0", "late"), report(2, "nightly", "late")]).await.unwrap();
    assert_eq!(rows().await, (100_000, 200_000));
    // A value can be proven all the same, and what is well known is told apart.
    let next = now + SignedDuration::from_hours(24);
    let late = [report(3, "v11.0.0", "late"), report(3, "v11.0.0", "linux")];
    writer.store(next, &late).await.unwrap();
    let expected = [("late", 1), ("linux", 1), ("other", 100_002)];
    let expected = expected.map(|(label, count)| (label.to_owned(), count));
    assert_eq!(counts(&database, Dimension::Os).await, BTreeMap::from(expected));
}

#[tokio::test]
async fn raw_values_go_with_their_reports_and_proof_stays() {
    let (_folder, database, mut writer, now) = fresh().await;
    writer.store(now, &[report(1, "nightly", "odd"), report(2, "nightly", "odd")]).await.unwrap();
    writer.index(now).await.unwrap();
    let next = now + SignedDuration::from_hours(24);
    while writer.prune(next).await.unwrap() > 0 {}
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM unproven_values")
        .fetch_one(&mut *database.reader().await.unwrap())
        .await
        .unwrap();
    assert_eq!(rows, 0);
    writer.store(next, &[report(3, "nightly", "odd")]).await.unwrap();
    assert_eq!(counts(&database, Dimension::Os).await["odd"], 1);
    // Its proof is of no use any more.
    let sightings: i64 = sqlx::query_scalar("SELECT count(*) FROM sightings")
        .fetch_one(&mut *database.reader().await.unwrap())
        .await
        .unwrap();
    assert_eq!(sightings, 0);
}

/// A file of the version before: its values keep their labels, and a flood of releases in it can be
/// displaced.
#[tokio::test]
async fn values_that_were_told_apart_keep_their_labels() {
    let (folder, database, writer, now) = fresh().await;
    writer.close().await.unwrap();
    let before = "DROP TRIGGER unproven_report_removed;
        DROP TABLE accepted_values; DROP TABLE unproven_values; DROP TABLE sightings;
        DELETE FROM _sqlx_migrations WHERE version = 4;
        INSERT INTO profiles (image_version, architecture, os, container_runtime, db_type,
            telemetry_version)
        VALUES ('nightly', 'aarch64', 'odd', 'unknown', 'postgres', '1.0'),
            ('v2026.1', 'aarch64', 'linux', 'unknown', 'postgres', '1.0')";
    let mut old = database.writer();
    let undone = old.run(async |open| sqlx::raw_sql(before).execute(&mut open.connection).await);
    undone.await.unwrap();
    old.close().await.unwrap();
    database.close().await;
    let database = Database::open_in(&folder).await;
    let mut writer = database.writer();
    let reports = [report(1, "nightly", "odd"), report(1, "v2026.1", "odd2")];
    writer.store(now, &reports).await.unwrap();
    let expected = [("nightly", 1), ("v2026.1", 1)].map(|(label, n)| (label.to_owned(), n));
    assert_eq!(counts(&database, Dimension::ImageVersion).await, BTreeMap::from(expected));
    let expected = [("odd", 1), ("other", 1)].map(|(label, n)| (label.to_owned(), n));
    assert_eq!(counts(&database, Dimension::Os).await, BTreeMap::from(expected));
    let states: Vec<_> =
        database.values().await.unwrap().into_iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [ValueState::Accepted, ValueState::OnTrust, ValueState::Accepted, ValueState::Waiting]
    );
}

/// Made-up releases, each on many machines, leave room for combinations of what is known.
#[tokio::test]
async fn releases_on_trust_cannot_use_up_the_combinations() {
    let (_folder, database, mut writer, now) = fresh().await;
    let systems = ["linux", "darwin", "freebsd", "debian", "ubuntu", "alpine", "arch"];
    for os in systems {
        let reports: Vec<_> =
            (0..900).map(|n| report(1, &format!("v{}.{}.0", 20 + n / 100, n % 100), os)).collect();
        writer.store(now, &reports).await.unwrap();
    }
    let profiles = database.profiles().await.unwrap().len();
    assert!((5000..5100).contains(&profiles), "{profiles}");
    // A proven release, on a machine that none has reported before.
    let release = |instance, os| report(instance, "v11.0.0", os);
    writer.store(now, &[1, 2, 3].map(|instance| release(instance, "linux"))).await.unwrap();
    let next = now + SignedDuration::from_hours(24);
    writer.store(next, &[release(1, "linux"), release(1, "netbsd")]).await.unwrap();
    let newest = database.newest_reports(&ReportFilter::default(), 1).await.unwrap();
    let labels = VARIED.map(|dimension| newest[0].profile.get(dimension).to_string());
    assert_eq!(labels, ["v11.0.0", "netbsd"]);
}

/// Imported reports prove a value by the times at which they were received.
#[tokio::test]
async fn an_import_proves_values_by_its_own_times() {
    let (_folder, database, mut writer, now) = fresh().await;
    let at = |hours| now - SignedDuration::from_hours(hours);
    let odd = |instance| report(instance, "v11.0.0", "odd");
    let even = |instance| report(instance, "v11.0.0", "even");
    let reports = [
        (at(480), odd(1)),
        (at(480), even(1)),
        (at(481), even(2)),
        (at(960), odd(2)),
        (at(482), even(3)),
        (at(480), odd(3)),
    ];
    writer.import_reports(reports, now, |_| ()).await.unwrap();
    let expected = [("odd", 1), ("other", 5)].map(|(label, n)| (label.to_owned(), n));
    assert_eq!(counts(&database, Dimension::Os).await, BTreeMap::from(expected));
}

/// A batch that fails leaves no label and no proof.
#[tokio::test]
async fn a_batch_that_is_not_stored_proves_nothing() {
    let (_folder, database, mut writer, now) = fresh().await;
    let next = now + SignedDuration::from_hours(24);
    let odd = |instance| report(instance, "v11.0.0", "odd");
    writer.store(now, &[odd(1), odd(2)]).await.unwrap();
    let change = async |writer: &mut Writer, sql: &'static str| {
        let changed =
            writer.run(async |open| sqlx::raw_sql(sql).execute(&mut open.connection).await);
        changed.await.unwrap();
    };
    let fail = "CREATE TRIGGER fail AFTER INSERT ON accepted_values BEGIN
        SELECT RAISE(ABORT, 'no'); END";
    change(&mut writer, fail).await;
    writer.store(next, &[odd(3), report(3, "v11.1.0", "linux")]).await.unwrap_err();
    change(&mut writer, "DROP TRIGGER fail").await;
    writer.store(next, &[odd(2)]).await.unwrap();
    let expected = BTreeMap::from([("other".to_owned(), 3)]);
    assert_eq!(counts(&database, Dimension::Os).await, expected);
    let listed = database.values().await.unwrap();
    let values: Vec<_> = listed.iter().map(|row| (&*row.value, row.instances, row.days)).collect();
    // The version was proven neither: of two instances on two days.
    assert_eq!(values, [("v11.0.0", 2, 2), ("odd", 2, 2)]);
}
