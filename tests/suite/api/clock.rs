//! A clock that is wrong loses nothing, and once it is right every number is right.

use jiff::Timestamp;
use mattermost_telemetry::{
    domain::{ClockState, Hour, Reading, Report, ReportBody, Timekeeper},
    storage::{Database, Writer},
};
use proptest::{collection::vec, prelude::*, test_runner::RngSeed};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::BEGIN;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn release() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn report(instance: u8, version: u8) -> Report {
    let body = ReportBody {
        instance_id: Some(format!("i{instance}")),
        image_version: Some(format!("v{version}.0")),
        startup_time_ms: Some(i64::from(version) * 700),
        ..ReportBody::default()
    };
    body.into_report().unwrap()
}

/// A server whose machine has a clock that may be wrong, as a thread of the writer drives it.
struct Machine {
    folder: TempDir,
    database: Database,
    writer: Writer,
    keeper: Timekeeper,
    /// The true time, how far the clock is ahead, and the start of the run, in milliseconds.
    time: i64,
    ahead: i64,
    began: i64,
    /// True times of the reports, in the order of their numbers.
    truth: Vec<i64>,
    /// Places of those that were imported.
    imported: Vec<usize>,
    /// True begins and ends of the times in which no server ran.
    down: Vec<(i64, i64)>,
}

impl Machine {
    async fn start(ahead: i64) -> Self {
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
            truth: Vec::new(),
            imported: Vec::new(),
            down: Vec::new(),
        }
    }

    fn reading(&self) -> Reading {
        Reading { wall: self.time + self.ahead, running: self.time - self.began }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.keeper.present(self.reading())).unwrap()
    }

    fn state(&self) -> ClockState {
        self.keeper.stretch().state()
    }

    /// A minute's housekeeping.
    async fn keep_house(&mut self) {
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
    }

    async fn report(&mut self, instance: u8, version: u8) {
        self.keep_house().await;
        let received_at = self.keeper.received_at(self.reading());
        self.writer.store_at(received_at, &[report(instance, version)]).await.unwrap();
        self.truth.push(self.time);
    }

    /// Reports of two instances, each of the second one so long after the first one's.
    async fn report_twice(&mut self, gaps: Vec<i64>, [first, second]: [u8; 2], version: u8) {
        for gap in gaps {
            self.report(first, version).await;
            self.pass(gap).await;
            self.report(second, 1).await;
        }
    }

    /// Lets time pass, with housekeeping now and then.
    async fn pass(&mut self, ms: i64) {
        for _ in 0..4 {
            self.time += ms / 4;
            self.keep_house().await;
        }
    }

    /// Sets the clock, with no time in between.
    async fn set(&mut self, ahead: i64) {
        self.keep_house().await;
        self.ahead = ahead;
        self.keep_house().await;
    }

    async fn restart(&mut self, off: i64, ahead: i64) {
        self.keep_house().await;
        self.writer.record_clock(&self.keeper, &[]).await.unwrap();
        self.kill(off, ahead).await;
    }

    /// A start after an end that left no record.
    async fn kill(&mut self, off: i64, ahead: i64) {
        self.down.push((self.time, self.time + off));
        self.time += off;
        (self.ahead, self.began) = (ahead, self.time);
        self.writer = self.database.writer();
        self.keeper = self.writer.begin_run(release(), self.reading()).await.unwrap();
        self.keep_house().await;
    }

    async fn connection(&self) -> SqliteConnection {
        let file = self.folder.path().join("telemetry.db");
        SqliteConnectOptions::new().filename(file).connect().await.unwrap()
    }

    /// Times of the reports, in the order of their numbers.
    async fn times(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT received_at FROM reports ORDER BY id")
            .fetch_all(&mut self.connection().await)
            .await
            .unwrap()
    }

    async fn snapshots(&self) -> Vec<(i64, i64, i64, String)> {
        sqlx::query_as("SELECT * FROM snapshots ORDER BY hour")
            .fetch_all(&mut self.connection().await)
            .await
            .unwrap()
    }

    /// Begins, ends and reasons of the outages on record.
    async fn outages(&self) -> Vec<(i64, Option<i64>, String)> {
        sqlx::query_as("SELECT began_at, ended_at, reason FROM outages ORDER BY began_at")
            .fetch_all(&mut self.connection().await)
            .await
            .unwrap()
    }

    /// Holds the outages to the times in which no server ran. A server that was killed has a record, or a
    /// report, of `recorded` before.
    async fn check_outages(&self, recorded: i64) -> Result<(), TestCaseError> {
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
    async fn check_order_of_outages(&self) -> Result<(), TestCaseError> {
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
    async fn check(&mut self) -> Result<(), TestCaseError> {
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
                .enumerate()
                // What was imported keeps its time, which a clock that is behind may not have reached.
                .filter(|(place, _)| self.ahead == 0 || !self.imported.contains(place))
                .all(|(_, time)| (0..=now + SECOND).contains(time)),
            "{:?}",
            times
        );
        Ok(())
    }

    /// Holds the snapshots to those made anew from the reports as they are dated now. An import
    /// makes them anew, and thins by the clock as it is.
    async fn check_snapshots(&mut self) -> Result<(), TestCaseError> {
        let kept = self.snapshots().await;
        let present = Hour::of(self.now()).number();
        self.writer.import_reports([], self.now(), |_| ()).await.unwrap();
        // Those that a quarter has made old are thinned once the clock is trusted.
        let stays = |row: &&(i64, i64, i64, String)| row.0 % 24 == 0 || row.0 > present - 89 * 24;
        let made = self.snapshots().await;
        prop_assert_eq!(
            kept.iter().filter(stays).collect::<Vec<_>>(),
            made.iter().filter(stays).collect::<Vec<_>>()
        );
        Ok(())
    }

    /// Holds the times of the reports to the truth: a correction is in whole seconds.
    async fn check_truth(&self) -> Result<(), TestCaseError> {
        let times = self.times().await;
        for (place, (time, truth)) in times.iter().zip(&self.truth).enumerate() {
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

/// An error of the clock: seconds to decades, ahead or behind.
fn error() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 * SECOND..2 * MINUTE,
        MINUTE..3 * HOUR,
        HOUR..40 * DAY,
        30 * DAY..500 * DAY,
        5 * 365 * DAY..30 * 365 * DAY
    ]
    .prop_flat_map(|size| prop_oneof![Just(size), Just(-size)])
}

#[derive(Debug, Clone)]
enum Event {
    Report(u8, u8),
    Pass(i64),
    Set(i64),
    Restart(i64, i64),
    Import(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4u8, 1..3u8).prop_map(|(instance, version)| Event::Report(instance, version)),
        4 => prop_oneof![MINUTE..HOUR, HOUR..30 * HOUR].prop_map(Event::Pass),
        2 => prop_oneof![Just(0), error()].prop_map(Event::Set),
        1 => (MINUTE..3 * DAY, prop_oneof![Just(0), error()])
            .prop_map(|(off, ahead)| Event::Restart(off, ahead)),
        1 => (HOUR..60 * DAY).prop_map(Event::Import),
    ]
}

async fn follow(begin: i64, events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(begin).await;
    for event in events {
        match event {
            Event::Report(instance, version) => machine.report(instance, version).await,
            Event::Pass(ms) => machine.pass(ms).await,
            Event::Set(ahead) => machine.set(ahead).await,
            Event::Restart(off, ahead) => machine.restart(off, ahead).await,
            Event::Import(ago) => {
                let at = Timestamp::from_millisecond(machine.time - ago).unwrap();
                let now = machine.now();
                machine.keep_house().await;
                machine.writer.import_reports([(at, report(9, 1))], now, |_| ()).await.unwrap();
                machine.imported.push(machine.truth.len());
                machine.truth.push(at.as_millisecond());
            }
        }
    }
    machine.check().await?;
    machine.set(0).await;
    // A clock that contradicts the record is believed after a day.
    machine.pass(26 * HOUR).await;
    machine.report(1, 1).await;
    machine.keep_house().await;
    prop_assert!(machine.state() != ClockState::Wrong);
    machine.writer.close_hours(machine.now()).await.unwrap();
    machine.check().await?;
    machine.check_order_of_outages().await?;
    if machine.imported.is_empty() { machine.check_snapshots().await } else { Ok(()) }
}

/// A fault in one run: right, wrong for some hours, right again.
async fn fault(error: i64, before: Vec<i64>, during: Vec<i64>) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(0).await;
    machine.report_twice(before, [1, 2], 1).await;
    machine.set(error).await;
    machine.report_twice(during, [1, 3], 2).await;
    machine.set(0).await;
    machine.pass(26 * HOUR).await;
    machine.check().await?;
    machine.check_snapshots().await?;
    machine.check_outages(0).await?;
    machine.check_truth().await
}

/// A run with a wrong clock from its start, until it is set right.
async fn wrong_start(error: i64, off: i64, during: Vec<i64>) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(0).await;
    machine.report(1, 1).await;
    machine.pass(30 * HOUR).await;
    machine.report(2, 1).await;
    machine.restart(off, error).await;
    machine.report_twice(during, [1, 3], 2).await;
    machine.set(0).await;
    machine.pass(26 * HOUR).await;
    machine.check().await?;
    machine.check_snapshots().await?;
    machine.check_outages(0).await?;
    machine.check_truth().await
}

/// Runs that end well or are killed, with a clock that is right.
async fn runs(runs: Vec<(Vec<i64>, i64, bool, i64)>) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(0).await;
    for (reports, since, killed, off) in runs {
        machine.report_twice(reports, [1, 2], 1).await;
        machine.time += since;
        if killed {
            machine.kill(off, 0).await;
        } else {
            machine.restart(off, 0).await;
        }
    }
    machine.check_outages(MINUTE).await?;
    let all: i64 = machine.down.iter().map(|(began, ended)| ended - began).sum();
    let counted = machine.database.outage_seconds(false).await.unwrap();
    let killed = i64::try_from(machine.down.len()).unwrap() * 62;
    prop_assert!((all / SECOND - 2..=all / SECOND + killed).contains(&counted.cast_signed()));
    // They stay when the stretches beside them are forgotten.
    machine.pass(40 * DAY).await;
    machine.restart(HOUR, 0).await;
    machine.keeper.forget();
    machine.writer.record_clock(&machine.keeper, &[]).await.unwrap();
    machine.check_outages(MINUTE).await
}

fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// The same cases in each run, or others by `PROPTEST_RNG_SEED` and `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    let given = |name| std::env::var_os(name).is_some();
    let mut config = ProptestConfig::default();
    if !given("PROPTEST_CASES") {
        config.cases = 24;
    }
    if !given("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_derived_follows_the_times_whatever_the_clock_does(
        begin in prop_oneof![Just(0), error()],
        events in vec(event(), 1..14),
    ) {
        run(follow(begin, events))?;
    }

    #[test]
    fn a_fault_leaves_every_report_at_its_true_time(
        error in error(),
        before in vec(MINUTE..20 * HOUR, 0..3),
        during in vec(MINUTE..8 * HOUR, 0..3),
    ) {
        run(fault(error, before, during))?;
    }

    #[test]
    fn outages_are_the_times_in_which_no_server_ran(
        lives in vec(
            (vec(MINUTE..20 * HOUR, 0..3), 0..MINUTE, any::<bool>(), 100..3 * DAY),
            1..5
        ),
    ) {
        run(runs(lives))?;
    }

    #[test]
    fn a_clock_that_is_set_after_the_start_leaves_every_report_at_its_true_time(
        error in error(),
        off in MINUTE..20 * DAY,
        during in vec(MINUTE..8 * HOUR, 0..3),
    ) {
        run(wrong_start(error, off, during))?;
    }
}

/// A machine that goes on from the time at which it was switched off, until it finds a time server.
#[test]
fn a_clock_that_stood_still_leaves_every_report_at_its_true_time() {
    for off in [MINUTE, 3 * DAY, 100 * DAY] {
        run(wrong_start(-off, off, vec![MINUTE])).unwrap();
        run(wrong_start(-off - 40 * MINUTE, off, vec![MINUTE])).unwrap();
    }
}

/// A machine that starts 400 days ahead deletes nothing.
#[test]
fn nothing_is_deleted_by_a_clock_that_is_far_ahead() {
    run(async {
        let mut machine = Machine::start(0).await;
        machine.report(1, 1).await;
        machine.pass(30 * HOUR).await;
        prop_assert_eq!(machine.state(), ClockState::Confirmed);
        machine.restart(HOUR, 400 * DAY).await;
        prop_assert_eq!(machine.state(), ClockState::Far);
        machine.pass(29 * DAY).await;
        prop_assert_eq!(machine.state(), ClockState::Far);
        machine.pass(2 * DAY).await;
        prop_assert_eq!(machine.state(), ClockState::Confirmed);
        Ok(())
    })
    .unwrap();
}

/// An operator's word is enough.
#[test]
fn a_confirmed_clock_is_trusted() {
    run(async {
        let mut machine = Machine::start(0).await;
        machine.report(1, 1).await;
        machine.restart(400 * DAY, 0).await;
        prop_assert_eq!(machine.state(), ClockState::Far);
        prop_assert!(machine.writer.confirm_clock().await.unwrap());
        prop_assert!(machine.writer.is_confirmed(machine.keeper.stretch()).await.unwrap());
        let last = machine.writer.last_report().await.unwrap();
        let reading = machine.reading();
        prop_assert_eq!(machine.keeper.confirm(reading, last).len(), 0);
        prop_assert_eq!(machine.state(), ClockState::Confirmed);
        Ok(())
    })
    .unwrap();
}

/// Reports of 1970 count in all time, and are in no period and active in no window.
#[test]
fn a_report_without_a_date_counts_in_no_period() {
    run(async {
        let now = BEGIN.parse::<Timestamp>().unwrap();
        let mut machine = Machine::start(-now.as_millisecond()).await;
        machine.report(1, 1).await;
        machine.report(1, 1).await;
        machine.keep_house().await;
        prop_assert_eq!(machine.state(), ClockState::Wrong);
        machine.check().await?;
        let totals = machine.database.totals().await.unwrap();
        prop_assert_eq!((totals.starts, totals.instances, totals.returning_instances), (2, 1, 0));
        let active = machine.database.active(now, None).await.unwrap();
        prop_assert!(active.iter().all(|row| row.activity.active == [0; 3]), "{:?}", active);
        machine.pass(10 * MINUTE).await;
        machine.set(0).await;
        machine.check().await?;
        machine.check_truth().await?;
        let active = machine.database.active(machine.now(), None).await.unwrap();
        prop_assert_eq!(active[0].activity.active, [1; 3]);
        machine.pass(30 * HOUR).await;
        let totals = machine.database.totals().await.unwrap();
        prop_assert_eq!(totals.returning_instances, 0);
        Ok(())
    })
    .unwrap();
}
