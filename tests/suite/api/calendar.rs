//! Windows of the calendar and cohorts, against a model that knows every report.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{CalendarWindow, Hour, Report, ReportBody, day_of},
    storage::{CohortCount, Database, WindowCount, Writer},
};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use crate::support::BEGIN;

/// A day after all reports, and how far before it the first one may be.
const DAYS: i64 = 1500;

fn report(instance: u8) -> Report {
    let body = ReportBody { instance_id: Some(format!("i{instance}")), ..ReportBody::default() };
    body.into_report().unwrap()
}

#[derive(Debug, Clone)]
enum Event {
    /// Hours pass, and instances report.
    Reports(i64, Vec<u8>),
    /// The clock is some hours behind for one report.
    Late(i64, u8),
    /// Reports of some days ago are imported, in this order.
    Import(Vec<(i64, u8)>),
    /// The writer has a minute.
    Minute,
    /// The process ends.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let gap = prop_oneof![3 => 0..4i64, 3 => 4..60i64, 1 => 60..3000i64];
    prop_oneof![
        6 => (gap, vec(0..6u8, 1..5)).prop_map(|(gap, seen)| Event::Reports(gap, seen)),
        1 => (1..200i64, 0..6u8).prop_map(|(hours, instance)| Event::Late(hours, instance)),
        1 => vec((0..900i64, 0..8u8), 1..12).prop_map(Event::Import),
        2 => Just(Event::Minute),
        1 => Just(Event::Restart),
    ]
}

struct Model {
    _folder: TempDir,
    database: Database,
    writer: Writer,
    now: Timestamp,
    /// Days on which each instance reported.
    seen: BTreeMap<u8, BTreeSet<i64>>,
}

impl Model {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let writer = database.writer();
        let now = BEGIN.parse().unwrap();
        Self { _folder: folder, database, writer, now, seen: BTreeMap::new() }
    }

    async fn store(&mut self, at: Timestamp, instances: &[u8]) {
        let reports: Vec<Report> = instances.iter().map(|&instance| report(instance)).collect();
        self.writer.store(at, &reports).await.unwrap();
        for &instance in instances {
            self.seen.entry(instance).or_default().insert(day_of(at));
        }
    }

    async fn follow(&mut self, event: Event) {
        match event {
            Event::Reports(hours, instances) => {
                self.now += SignedDuration::from_hours(hours);
                self.writer.close_hours(self.now).await.unwrap();
                self.store(self.now, &instances).await;
            }
            Event::Late(hours, instance) => {
                self.store(self.now - SignedDuration::from_hours(hours), &[instance]).await;
            }
            Event::Import(rows) => {
                let rows = rows.into_iter().map(|(days, instance)| {
                    let at = self.now - SignedDuration::from_hours(24 * days);
                    self.seen.entry(instance).or_default().insert(day_of(at));
                    (at, report(instance))
                });
                let rows: Vec<_> = rows.collect();
                self.writer.import_reports(rows, self.now, |_| ()).await.unwrap();
            }
            Event::Minute => {
                while self.writer.add_calendar_moves().await.unwrap() {}
                while self.writer.thin(self.now).await.unwrap() {}
            }
            Event::Restart => self.writer = self.database.writer(),
        }
    }

    async fn windows(&self, window: CalendarWindow) -> Vec<WindowCount> {
        let last = day_of(self.now) + 31;
        let counts = self.database.calendar(window, last - DAYS, last).await.unwrap();
        counts.into_iter().filter(|count| count.instances > 0 || !count.complete).collect()
    }

    fn expected(&self, window: CalendarWindow) -> Vec<WindowCount> {
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for days in self.seen.values() {
            let windows: BTreeSet<i64> = days.iter().map(|&day| window.first_day(day)).collect();
            windows.into_iter().for_each(|first| *counts.entry(first).or_default() += 1);
        }
        let count = |(first_day, instances)| WindowCount { first_day, instances, complete: true };
        counts.into_iter().map(count).collect()
    }

    fn expected_cohorts(&self) -> Vec<CohortCount> {
        let mut counts: BTreeMap<(i64, i64), u64> = BTreeMap::new();
        for days in self.seen.values() {
            let weeks: BTreeSet<i64> =
                days.iter().map(|&day| CalendarWindow::Week.first_day(day)).collect();
            let first = *weeks.first().unwrap();
            weeks.iter().for_each(|week| {
                *counts.entry((first, (week - first) / 7)).or_default() += 1;
            });
        }
        let count = |((week, later_weeks), instances)| CohortCount {
            week,
            later_weeks,
            instances,
            complete: true,
        };
        counts.into_iter().map(count).collect()
    }

    async fn check(&mut self) -> Result<(), TestCaseError> {
        self.writer.index_all().await.unwrap();
        // Late reports are counted by a recount; until then their windows are not complete.
        for window in CalendarWindow::ALL {
            let counts = self.windows(window).await;
            let complete: Vec<_> = counts.into_iter().filter(|count| count.complete).collect();
            let expected = self.expected(window);
            for count in complete {
                prop_assert!(expected.contains(&count), "{:?} {:?}", window, count);
            }
        }
        self.database.clone().recount_calendar().await.unwrap();
        prop_assert!(!self.database.has_calendar_recounts().await.unwrap());
        for window in CalendarWindow::ALL {
            prop_assert_eq!(self.windows(window).await, self.expected(window), "{:?}", window);
        }
        let cohorts = self.database.cohorts(i64::MIN, i64::MAX, usize::MAX).await.unwrap();
        prop_assert_eq!(cohorts, self.expected_cohorts());
        let verdict = self.database.verify(self.now).await.unwrap();
        prop_assert!(verdict.is_clean(), "{:?}", verdict);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn windows_and_cohorts_are_those_of_a_recount(events in vec(event(), 1..24)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for event in events {
                model.follow(event).await;
            }
            model.check().await
        })?;
    }
}

/// Reports that came before this version, whose counts are made at its first start.
#[tokio::test]
async fn an_existing_history_is_counted_at_the_first_start() {
    let mut model = Model::new().await;
    for hours in [0, 30, 200, 900] {
        model.follow(Event::Reports(hours, vec![1, 2, 3])).await;
    }
    model.writer.index_all().await.unwrap();
    let file = model.database.path().to_owned();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql(
        "DELETE FROM calendar_moves;
         INSERT INTO calendar_recounts (kind, first_day, last_day)
         SELECT value, -7, 1000000000
         FROM json_each('[\"day\", \"week\", \"month\", \"quarter\", \"year\", \"cohort\"]');",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let present = model.windows(CalendarWindow::Year).await;
    assert!(present.iter().all(|count| !count.complete), "{present:?}");
    model.check().await.unwrap();
}

/// Half of the active instances run a version when one of two has it, and it stays so.
#[tokio::test]
async fn a_version_is_adopted_when_half_of_the_active_instances_run_it() {
    let mut model = Model::new().await;
    let of_version = |instance: u8, version: &str| {
        let body = ReportBody {
            instance_id: Some(format!("i{instance}")),
            image_version: Some(version.into()),
            ..ReportBody::default()
        };
        body.into_report().unwrap()
    };
    // Hours after the beginning, instance, version.
    for (hours, instance, version) in [
        (0, 1, "v1.0"),
        (0, 2, "v1.0"),
        (0, 3, "v1.0"),
        (30, 1, "v2.0"),
        (0, 9, "v0.9"),
        (50, 2, "v2.0"),
    ] {
        model.now += SignedDuration::from_hours(hours);
        model.writer.close_hours(model.now).await.unwrap();
        model.writer.store(model.now, &[of_version(instance, version)]).await.unwrap();
    }
    model.now += SignedDuration::from_hours(2);
    model.writer.close_hours(model.now).await.unwrap();
    let found = async |model: &mut Model| -> Vec<(String, Option<i64>)> {
        while model.writer.find_adoptions().await.unwrap() {}
        let begin = Hour::of(BEGIN.parse().unwrap()).number();
        let rows = model.database.adoptions().await.unwrap().into_iter();
        let half = |half: Option<Hour>| half.map(|hour| hour.number() - begin);
        rows.map(|row| (row.version.to_string(), half(row.half))).collect()
    };
    let expected = [("v1.0", Some(1)), ("v0.9", None), ("v2.0", Some(81))];
    let expected = expected.map(|(version, hour)| (version.to_owned(), hour));
    assert_eq!(found(&mut model).await, expected);
    // An import makes the snapshots anew.
    model.writer.import_reports([], model.now, |_| ()).await.unwrap();
    assert_eq!(found(&mut model).await, expected);
}

/// A window keeps the number that was known where its reports were pruned.
#[tokio::test]
async fn a_window_whose_reports_were_pruned_keeps_its_number_and_says_so() {
    let mut model = Model::new().await;
    let begin = model.now;
    // January, February and March of 2026.
    for _ in 0..12 {
        model.follow(Event::Reports(7 * 24, vec![1, 2])).await;
    }
    model.writer.close_hours(model.now).await.unwrap();
    let cutoff = begin + SignedDuration::from_hours(40 * 24);
    while model.writer.prune(cutoff).await.unwrap() > 0 {}
    let february = CalendarWindow::Month.first_day(day_of(begin) + 10);
    let months = async |model: &Model| -> Vec<(i64, u64, bool)> {
        let months = model.database.calendar(CalendarWindow::Month, february, february + 59).await;
        let months = months.unwrap().into_iter();
        months.map(|month| (month.first_day - february, month.instances, month.complete)).collect()
    };
    let exact = [(0, 2, true), (28, 2, true), (59, 2, true)];
    assert_eq!(months(&model).await, exact);

    // An instance of February is not known to have been there.
    let import = vec![(70, 1), (70, 3), (20, 3), (20, 4)];
    model.follow(Event::Import(import)).await;
    assert_eq!(months(&model).await, [(0, 3, false), (28, 2, true), (59, 4, true)]);
    let verdict = model.database.verify(model.now).await.unwrap();
    assert!(verdict.is_clean(), "{verdict:?}");
}
