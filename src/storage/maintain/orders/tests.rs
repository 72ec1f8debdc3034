//! Orders that are interrupted before any of their transactions.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use jiff::SignedDuration;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::*;
use crate::domain::{Dimension, InstanceId, Report, ReportBody, Value};

/// Rows in a step.
const ROWS: usize = 10;
/// Distance of the transactions before which the orders are interrupted: of some 400 each one takes minutes.
const STRIDE: usize = 17;

fn id(instance: i64) -> String {
    format!("{:032x}", instance + 0xabcd_ef01_2345)
}

fn instance(instance: i64) -> InstanceId {
    InstanceId::parse(id(instance)).unwrap()
}

/// A report of some instances. Those with an even number are on ARM.
fn report(number: i64) -> Report {
    let sender = number % 7;
    let body = ReportBody {
        instance_id: Some(id(sender)),
        architecture: Some(if sender % 2 == 0 { "aarch64" } else { "x86_64" }.into()),
        os: Some(if number % 5 == 0 { "templeos" } else { "linux" }.into()),
        event: Some(if number % 4 == 0 { "heartbeat" } else { "start" }.into()),
        startup_time_ms: Some(number * 37),
        ..ReportBody::default()
    };
    body.into_report().unwrap()
}

/// A folder with a database that no process has open.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("telemetry.db")
    }

    fn copy(&self) -> Self {
        let copy = Self::new();
        std::fs::copy(self.path(), copy.path()).unwrap();
        copy
    }

    async fn open(&self) -> Database {
        Database::open(&format!("sqlite://{}", self.path().display())).await.unwrap()
    }

    /// Names of the files that have the packed id of an instance.
    fn with_id(&self, instance: i64) -> Vec<String> {
        let packed = (instance + 0xabcd_ef01_2345).to_be_bytes();
        let has = |path: &Path| {
            std::fs::read(path).unwrap_or_default().windows(8).any(|window| window == packed)
        };
        let entries = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap());
        let found = entries.filter(|entry| has(&entry.path()));
        found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

async fn close(database: Database, writer: Writer) {
    database.close().await;
    writer.close().await.unwrap();
}

/// A server: goes on with the orders that were interrupted, then carries out the others. It is interrupted
/// before one of the transactions of the orders. Returns whether it was.
async fn serve(files: &Files, now: Timestamp, interrupted_at: usize) -> bool {
    let database = files.open().await;
    let mut writer = database.writer();
    let mut upkeep = database.writer();
    let left = Arc::new(AtomicUsize::new(interrupted_at));
    let goes_on = {
        let left = Arc::clone(&left);
        move || left.fetch_sub(1, Ordering::Relaxed) > 1
    };
    let hooked = upkeep.run(async |open| {
        open.connection.lock_handle().await?.set_commit_hook(goes_on);
        Ok(())
    });
    hooked.await.unwrap();
    loop {
        let mut orders = writer.orders().await.unwrap();
        if let Some(begun) = orders.begun() {
            orders = begun;
        } else {
            writer.close_hours(now).await.unwrap();
            writer.read_set_aside().await.unwrap();
            writer.index_all().await.unwrap();
        }
        if orders.is_empty() {
            database.clone().recount_calendar().await.unwrap();
            break;
        }
        let mut pace = Pace::alone().with_rows(ROWS);
        if upkeep.carry_out(Hour::of(now), &orders, &mut pace).await.is_err() {
            assert_eq!(left.load(Ordering::Relaxed), 0);
            break;
        }
        writer.forget_hours(now);
    }
    close(database, writer).await;
    left.load(Ordering::Relaxed) == 0
}

async fn store(files: &Files, now: Timestamp, numbers: impl IntoIterator<Item = i64>) {
    let database = files.open().await;
    let mut writer = database.writer();
    let reports: Vec<_> = numbers.into_iter().map(report).collect();
    writer.store(now, &reports).await.unwrap();
    close(database, writer).await;
}

/// All that answers are made of, and the states of the orders.
async fn state(files: &Files, now: Timestamp) -> Vec<String> {
    let database = files.open().await;
    let mut writer = database.writer();
    writer.close_hours(now).await.unwrap();
    let verdict = database.verify(now).await.unwrap();
    assert!(verdict.is_clean() && verdict.unfinished.is_empty(), "{verdict:?}");
    close(database, writer).await;
    let options = SqliteConnectOptions::new().filename(files.path());
    let mut connection = options.connect().await.unwrap();
    let mut state: Vec<String> = Vec::new();
    for question in [
        include_str!("../../../../tests/suite/api/quarantine_state.sql"),
        // Of those whose reports were pruned the number stays that was known.
        "SELECT concat_ws(' ', kind, first_day, instances) FROM calendar_counts
         WHERE complete ORDER BY kind, first_day",
        "SELECT concat_ws(' ', 'cohort', week, later_weeks, instances) FROM cohorts
         WHERE complete ORDER BY week, later_weeks",
        "SELECT concat_ws(' ', 'quarantine', quarantines.id, state, count(quarantined_reports.id))
         FROM quarantines LEFT JOIN quarantined_reports ON quarantine = quarantines.id
         GROUP BY quarantines.id",
        "SELECT 'set aside ' || concat_ws(' ', quarantine, hour, profile, starts, heartbeats)
         FROM quarantined_counts",
        "SELECT 'purges ' || count(*) || ' ' || sum(reports) FROM purges WHERE instance IS NULL",
    ] {
        state.extend(
            sqlx::query_scalar::<_, String>(question).fetch_all(&mut connection).await.unwrap(),
        );
    }
    connection.close().await.unwrap();
    state
}

async fn order_purges(files: &Files, purges: &[(i64, bool)]) {
    let database = files.open().await;
    let mut writer = database.writer();
    for &(purged, keep_totals) in purges {
        writer.order_purge(&instance(purged), keep_totals).await.unwrap();
    }
    close(database, writer).await;
}

/// Two weeks of reports, one instance of which was in quarantine from the first week on and is to come back, and
/// orders that are not begun.
async fn prepared(pruned: bool) -> (Files, Timestamp) {
    let files = Files::new();
    let database = files.open().await;
    let mut writer = database.writer();
    let begin: Timestamp = "2026-01-31T12:34:56.789Z".parse().unwrap();
    let mut now = begin;
    for number in 0..90 {
        if number == 45 {
            let selection = Selection { instance: Some(instance(1)), ..Selection::default() };
            writer.order_quarantine(now, &selection, true).await.unwrap();
            writer.carry_out_alone(now).await.unwrap().unwrap();
            writer.read_set_aside().await.unwrap();
        }
        writer.close_hours(now).await.unwrap();
        writer.store(now, &[report(number)]).await.unwrap();
        writer.index(now).await.unwrap();
        now += SignedDuration::from_mins(220);
    }
    writer.close_hours(now).await.unwrap();
    while writer.add_calendar_moves().await.unwrap() {}
    if pruned {
        let cutoff = begin + SignedDuration::from_hours(100);
        while writer.prune(cutoff).await.unwrap() > 0 {}
    }
    assert!(writer.order_lift(1).await.unwrap());
    let arm = Value::parse(Dimension::Architecture, Some("aarch64".into())).unwrap();
    let arm = Selection { values: vec![(Dimension::Architecture, arm)], ..Selection::default() };
    writer.order_quarantine(now, &arm, true).await.unwrap();
    let templeos = Value::parse(Dimension::Os, Some("templeos".into())).unwrap();
    writer.accept_value(Dimension::Os, &templeos).await.unwrap();
    writer.order_repair().await.unwrap();
    close(database, writer).await;
    (files, now)
}

/// Lines of one of two states only.
fn differences(left: &[String], right: &[String]) -> Vec<String> {
    let only = |of: &[String], other: &[String], sign: &str| -> Vec<String> {
        let lines = of.iter().filter(|line| !other.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    [only(left, right, "-"), only(right, left, "+")].concat()
}

/// Interrupts the orders of a database before one transaction after the other, and once more after each of
/// these. Reports come and a purge is ordered in between. Where reports were pruned, snapshots stay as they
/// were taken, before the orders or after them.
async fn interrupt(prepared: &Files, now: Timestamp, purged: i64, pruned: bool) -> Files {
    let later = now + SignedDuration::from_hours(30);
    let whole = prepared.copy();
    assert!(!serve(&whole, now, usize::MAX).await);
    store(&whole, later, 0..14).await;
    order_purges(&whole, &[(purged, false)]).await;
    assert!(!serve(&whole, later, usize::MAX).await);
    let expected = state(&whole, later).await;
    assert_eq!(whole.with_id(purged), Vec::<String>::new());

    for transaction in (1..).step_by(STRIDE) {
        let files = prepared.copy();
        if !serve(&files, now, transaction).await {
            assert!(transaction > 2 * STRIDE, "{transaction} transactions");
            break;
        }
        store(&files, later, 0..14).await;
        order_purges(&files, &[(purged, false)]).await;
        serve(&files, later, 1 + transaction * 7 % 90).await;
        assert!(!serve(&files, later, usize::MAX).await);
        let mut different = differences(&state(&files, later).await, &expected);
        different.retain(|line| !pruned || !line.contains("snapshot"));
        assert!(different.is_empty(), "interrupted at {transaction}: {different:#?}");
        assert_eq!(files.with_id(purged), Vec::<String>::new(), "interrupted at {transaction}");
    }
    whole
}

/// Interrupts a lift, a quarantine and a repair, and then a purge that keeps its totals.
async fn interrupt_all(pruned: bool) {
    let (prepared, now) = prepared(pruned).await;
    let next = interrupt(&prepared, now, 2, pruned).await;
    assert_ne!(next.with_id(1), Vec::<String>::new());
    order_purges(&next, &[(3, true)]).await;
    let end = interrupt(&next, now + SignedDuration::from_hours(30), 5, true).await;
    assert_eq!(end.with_id(3), Vec::<String>::new());
}

#[tokio::test]
async fn orders_that_are_interrupted_end_as_if_they_had_not_been() {
    interrupt_all(false).await;
}

#[tokio::test]
async fn orders_that_are_interrupted_where_reports_were_pruned_end_as_if_they_had_not_been() {
    interrupt_all(true).await;
}

/// A lift that is ordered while other orders are carried out waits: the server still sets reports aside.
#[tokio::test]
async fn an_order_that_comes_meanwhile_waits() {
    let (files, now) = prepared(false).await;
    let database = files.open().await;
    let (mut writer, mut operator) = (database.writer(), database.writer());
    serve(&files, now, usize::MAX).await;
    writer.read_set_aside().await.unwrap();
    let repair = operator.order_repair().await.unwrap();
    let orders = writer.orders().await.unwrap();
    assert!(operator.order_lift(2).await.unwrap());
    operator.order_purge(&instance(5), false).await.unwrap();
    writer.store(now, &[report(2), report(5)]).await.unwrap();
    let done = database.clone().carry_out(Hour::of(now), &orders).await.unwrap().unwrap();
    assert_eq!((done.quarantines, done.purges), (0, 0));
    assert!(writer.repaired(repair).await.unwrap().is_some());
    operator.leave().await.unwrap();
    close(database, writer).await;

    serve(&files, now, usize::MAX).await;
    assert_eq!(files.with_id(5), Vec::<String>::new());
    let state = state(&files, now).await;
    let reports = state.iter().filter(|line| line.starts_with("report ")).count();
    // All that were sent, but for those of the instance that was purged.
    assert_eq!(reports, 1 + (0..90).filter(|number| number % 7 != 5).count());
}
