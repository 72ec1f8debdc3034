//! A machine whose clock may be wrong, and the truth about its reports.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{CalendarWindow, ClockState, Hour, Reading, Report, ReportBody, Timekeeper, day_of},
    storage::{Database, Writer},
};
use proptest::prelude::*;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{BEGIN, milliseconds::SECOND};

/// Hour, instances, returning instances, and the active ones by profile.
type Snapshot = (i64, i64, i64, String);

pub fn release() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

pub fn report(instance: u8, version: u8) -> Report {
    let body = ReportBody {
        instance_id: Some(format!("i{instance}")),
        image_version: Some(format!("v{version}.0")),
        startup_time_ms: Some(i64::from(version) * 700),
        ..ReportBody::default()
    };
    body.into_report().unwrap()
}

/// A server whose machine has a clock that may be wrong, as a thread of the writer drives it.
pub struct Machine {
    pub folder: TempDir,
    pub database: Database,
    pub writer: Writer,
    pub keeper: Timekeeper,
    /// The true time, how far the clock is ahead, and the start of the run, in milliseconds.
    pub time: i64,
    pub ahead: i64,
    pub began: i64,
    /// Age at which reports are pruned, in milliseconds.
    pub retention: Option<i64>,
    /// True times of the reports, in the order of their numbers.
    pub truth: Vec<i64>,
    /// The reports: instance and version.
    pub sent: Vec<(u8, u8)>,
    /// Times of the reports by their places, the last known ones of those that were pruned.
    dated: BTreeMap<usize, i64>,
    /// True if reports were pruned by a clock that is wrong.
    pruned_wrongly: bool,
    /// Places of those that were imported.
    pub imported: Vec<usize>,
    /// True begins and ends of the times in which no server ran.
    pub down: Vec<(i64, i64)>,
}

impl Machine {
    pub async fn start(ahead: i64) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let mut writer = database.writer();
        let time = BEGIN.parse::<Timestamp>().unwrap().as_millisecond();
        let reading = Reading { wall: time + ahead, running: 0 };
        let keeper = writer.begin_run(release(), reading).await.unwrap();
        Self {
            folder,
            database,
            writer,
            keeper,
            time,
            ahead,
            began: time,
            retention: None,
            truth: Vec::new(),
            sent: Vec::new(),
            dated: BTreeMap::new(),
            pruned_wrongly: false,
            imported: Vec::new(),
            down: Vec::new(),
        }
    }

    pub fn reading(&self) -> Reading {
        Reading { wall: self.time + self.ahead, running: self.time - self.began }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.keeper.present(self.reading())).unwrap()
    }

    pub fn state(&self) -> ClockState {
        self.keeper.stretch().state()
    }

    /// A minute's housekeeping.
    pub async fn keep_house(&mut self) {
        let reading = self.reading();
        if self.keeper.agrees(reading) {
            self.keeper.observe(reading, 0);
        } else {
            let last = self.writer.last_report().await.unwrap();
            if let Some(corrections) = self.keeper.observe(reading, last) {
                self.writer.record_clock(&self.keeper, &corrections).await.unwrap();
            }
        }
        self.writer.record_moment(self.keeper.stretch()).await.unwrap();
        if self.state() == ClockState::Wrong {
            return self.writer.index(self.now()).await.unwrap();
        }
        if self.database.has_corrections().await.unwrap() {
            self.writer.index_all().await.unwrap();
            self.database.clone().correct(Hour::of(self.now())).await.unwrap();
            self.writer.forget_hours(self.now());
            self.database.clone().recount_calendar().await.unwrap();
        }
        self.writer.close_hours(self.now()).await.unwrap();
        self.prune().await;
    }

    async fn prune(&mut self) {
        let Some(age) = self.retention.filter(|_| self.state() == ClockState::Confirmed) else {
            return;
        };
        self.dated.extend(self.times().await);
        let cutoff = self.now() - SignedDuration::from_millis(age);
        while self.writer.prune(cutoff).await.unwrap() > 0 {
            self.pruned_wrongly |= self.ahead != 0;
        }
    }

    pub async fn report(&mut self, instance: u8, version: u8) {
        self.keep_house().await;
        let received_at = self.keeper.received_at(self.reading());
        self.writer.store_at(received_at, &[report(instance, version)]).await.unwrap();
        self.truth.push(self.time);
        self.sent.push((instance, version));
    }

    /// Imports a report of so long ago.
    pub async fn import(&mut self, ago: i64) {
        let at = Timestamp::from_millisecond(self.time - ago).unwrap();
        self.keep_house().await;
        self.writer.import_reports([(at, report(9, 1))], self.now(), |_| ()).await.unwrap();
        self.imported.push(self.truth.len());
        self.truth.push(at.as_millisecond());
        self.sent.push((9, 1));
    }

    /// Reports of two instances, each of the second one so long after the first one's.
    pub async fn report_twice(&mut self, gaps: Vec<i64>, [first, second]: [u8; 2], version: u8) {
        for gap in gaps {
            self.report(first, version).await;
            self.pass(gap).await;
            self.report(second, 1).await;
        }
    }

    /// Lets time pass, with housekeeping now and then.
    pub async fn pass(&mut self, ms: i64) {
        for _ in 0..4 {
            self.time += ms / 4;
            self.keep_house().await;
        }
    }

    /// Sets the clock, with no time in between.
    pub async fn set(&mut self, ahead: i64) {
        self.keep_house().await;
        self.ahead = ahead;
        self.keep_house().await;
    }

    pub async fn restart(&mut self, off: i64, ahead: i64) {
        self.keep_house().await;
        self.writer.record_clock(&self.keeper, &[]).await.unwrap();
        self.kill(off, ahead).await;
    }

    /// A start after an end that left no record.
    pub async fn kill(&mut self, off: i64, ahead: i64) {
        self.down.push((self.time, self.time + off));
        self.time += off;
        (self.ahead, self.began) = (ahead, self.time);
        self.writer = self.database.writer();
        self.keeper = self.writer.begin_run(release(), self.reading()).await.unwrap();
        self.keep_house().await;
    }

    pub async fn connection(&self) -> SqliteConnection {
        let file = self.folder.path().join("telemetry.db");
        SqliteConnectOptions::new().filename(file).connect().await.unwrap()
    }

    /// Times of the reports that are stored, by their places.
    pub async fn times(&self) -> BTreeMap<usize, i64> {
        let times: Vec<(i64, i64)> = sqlx::query_as("SELECT id, received_at FROM reports")
            .fetch_all(&mut self.connection().await)
            .await
            .unwrap();
        times.into_iter().map(|(id, time)| (usize::try_from(id - 1).unwrap(), time)).collect()
    }

    pub async fn snapshots(&self) -> Vec<Snapshot> {
        sqlx::query_as("SELECT * FROM snapshots ORDER BY hour")
            .fetch_all(&mut self.connection().await)
            .await
            .unwrap()
    }

    /// Begins, ends and reasons of the outages on record.
    pub async fn outages(&self) -> Vec<(i64, Option<i64>, String)> {
        sqlx::query_as("SELECT began_at, ended_at, reason FROM outages ORDER BY began_at")
            .fetch_all(&mut self.connection().await)
            .await
            .unwrap()
    }

    /// Holds the outages to the times in which no server ran. A server that was killed has a record, or a
    /// report, of `recorded` before.
    pub async fn check_outages(&self, recorded: i64) -> Result<(), TestCaseError> {
        let outages = self.outages().await;
        prop_assert_eq!(outages.len(), self.down.len(), "{:?} {:?}", outages, self.down);
        for ((began, ended, reason), (truly_began, truly_ended)) in outages.iter().zip(&self.down) {
            let late = truly_began - began;
            prop_assert!((-2 * SECOND..=recorded + 2 * SECOND).contains(&late), "{late} ms late");
            let ended = ended.unwrap();
            prop_assert!((ended - truly_ended).abs() <= 2 * SECOND, "{}", ended - truly_ended);
            prop_assert_eq!(reason, "down");
        }
        Ok(())
    }

    /// Holds the outages to what is true of any.
    pub async fn check_order_of_outages(&self) -> Result<(), TestCaseError> {
        let mut last = i64::MIN;
        for (began, ended, _) in self.outages().await {
            let Some(ended) = ended else {
                prop_assert_eq!(self.state(), ClockState::Wrong);
                continue;
            };
            prop_assert!(last <= began && began < ended, "{last} {began} {ended}");
            prop_assert!(ended <= self.keeper.stretch().ended_at.max(self.reading().wall));
            last = ended;
        }
        Ok(())
    }

    /// Holds what is derived to the reports.
    pub async fn check(&mut self) -> Result<(), TestCaseError> {
        let verdict = self.database.verify(self.now()).await.unwrap();
        prop_assert!(verdict.is_clean(), "{:?}", verdict);
        let totals = self.database.totals().await.unwrap();
        prop_assert_eq!(totals.starts, self.truth.len() as u64);
        if self.state() == ClockState::Wrong {
            return Ok(());
        }
        let present = Hour::of(self.now()).number();
        let kept = self.snapshots().await;
        prop_assert!(kept.iter().all(|row| row.0 <= present), "a snapshot of the future");
        let times = self.times().await;
        let now = self.now().as_millisecond();
        prop_assert!(
            times
                .iter()
                // An imported report keeps its time, which a clock that is behind may not have reached.
                .filter(|(place, _)| self.ahead == 0 || !self.imported.contains(place))
                .all(|(_, time)| (0..=now + SECOND).contains(time)),
            "{:?}",
            times
        );
        Ok(())
    }

    /// A machine that got all reports at the times that they have now, and pruned none.
    async fn twin(&mut self) -> Self {
        self.dated.extend(self.times().await);
        let mut twin = Self::start(0).await;
        let reports = self.sent.iter().enumerate().map(|(place, &(instance, version))| {
            let at = Timestamp::from_millisecond(self.dated[&place]).unwrap();
            (at, report(instance, version))
        });
        twin.writer.import_reports(reports, self.now(), |_| ()).await.unwrap();
        twin
    }

    /// First hour that no window with pruned reports reaches.
    async fn exact_from(&self) -> i64 {
        let pruned_until: i64 =
            sqlx::query_scalar("SELECT position FROM watermarks WHERE name = 'pruned_until'")
                .fetch_one(&mut self.connection().await)
                .await
                .unwrap();
        if pruned_until == 0 { i64::MIN } else { pruned_until / 3_600_000 + 31 * 24 }
    }

    /// Holds the snapshots and the windows of the calendar to those of a machine that pruned nothing. It
    /// thins by the clock as it is.
    pub async fn check_snapshots(&mut self) -> Result<(), TestCaseError> {
        if self.pruned_wrongly {
            return Ok(());
        }
        let twin = self.twin().await;
        let exact_from = self.exact_from().await;
        let present = Hour::of(self.now()).number();
        let kept = self.snapshots().await;
        // Those that a quarter has made old are thinned once the clock is trusted.
        let stays =
            |row: &&Snapshot| row.0 >= exact_from && (row.0 % 24 == 0 || row.0 > present - 89 * 24);
        let made = twin.snapshots().await;
        prop_assert_eq!(
            kept.iter().filter(stays).collect::<Vec<_>>(),
            made.iter().filter(stays).collect::<Vec<_>>()
        );
        for (hour, instances, _, active) in &kept {
            let active: Vec<[i64; 7]> = serde_json::from_str(active).unwrap();
            for window in 1..4 {
                let sum: i64 = active.iter().map(|counts| counts[window]).sum();
                prop_assert!(
                    (0..=*instances).contains(&sum),
                    "{} of {} in {}",
                    sum,
                    instances,
                    hour
                );
            }
        }
        self.check_calendar(&twin).await
    }

    /// Holds the windows of the calendar to those of another machine. One whose reports were pruned before it
    /// was counted anew has none too many.
    async fn check_calendar(&self, twin: &Self) -> Result<(), TestCaseError> {
        let last = day_of(self.now()) + 31;
        for window in CalendarWindow::ALL {
            let counts = self.database.calendar(window, last - 1500, last).await.unwrap();
            let right = twin.database.calendar(window, last - 1500, last).await.unwrap();
            for (count, right) in counts.iter().zip(right) {
                let instances = 0..=right.instances;
                prop_assert!(
                    count == &right || !count.complete && instances.contains(&count.instances),
                    "{:?} {:?} {:?}",
                    window,
                    count,
                    right
                );
            }
        }
        Ok(())
    }

    /// Holds the times of the reports to the truth: a correction is in whole seconds.
    pub async fn check_truth(&self) -> Result<(), TestCaseError> {
        let times = self.times().await;
        for (place, time) in times {
            let truth = self.truth[place];
            prop_assert!(
                (time - truth).abs() <= 2 * SECOND,
                "report {}: {} s off",
                place,
                (time - truth) / SECOND
            );
        }
        Ok(())
    }
}
