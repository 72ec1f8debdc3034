//! Orders of an operator, by servers that are stopped and killed while they carry them out.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    clock::Clock,
    domain::{Dimension, Hour, InstanceId, Report, ReportBody, Selection, Value},
    storage::Database,
};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{Server, binary, url};

/// Reports, their distance, and the number of instances that send them.
const REPORTS: u32 = 4_000;
const MINUTES: i64 = 5;
const INSTANCES: u32 = 300;
/// Time in which the orders are carried out.
const TIME_LIMIT: Duration = Duration::from_mins(1);

fn id(instance: u32) -> String {
    format!("{:032x}", 0xfeed_f00d_dead_beef_0000_u128 + u128::from(instance))
}

/// The packed id of an instance.
fn packed(instance: u32) -> [u8; 16] {
    (0xfeed_f00d_dead_beef_0000_u128 + u128::from(instance)).to_be_bytes()
}

fn report(number: u32) -> Report {
    let sender = number.wrapping_mul(2_654_435_761) % INSTANCES;
    let body = ReportBody {
        instance_id: Some(id(sender)),
        architecture: Some(if sender.is_multiple_of(3) { "aarch64" } else { "x86_64" }.into()),
        os: Some(if number.is_multiple_of(4) { "templeos" } else { "linux" }.into()),
        startup_time_ms: Some(i64::from(number)),
        ..ReportBody::default()
    };
    body.into_report().unwrap()
}

/// A database with a history, and with orders that no server has seen.
async fn prepare(file: &Path, now: Timestamp) {
    let database = Database::open(&url(file)).await.unwrap();
    let mut writer = database.writer();
    let begin = now - SignedDuration::from_mins(i64::from(REPORTS) * MINUTES);
    let reports = (0..REPORTS).map(|number| {
        (begin + SignedDuration::from_mins(i64::from(number) * MINUTES), report(number))
    });
    let set_aside = Selection { instance: InstanceId::parse(id(7)), ..Selection::default() };
    writer.import_reports(reports, now, |_| ()).await.unwrap();
    writer.order_quarantine(now, &set_aside, true).await.unwrap();
    writer.carry_out_alone(now).await.unwrap().unwrap();
    assert!(writer.order_lift(1).await.unwrap());
    let value = |dimension, text: &str| Value::parse(dimension, Some(text.to_owned())).unwrap();
    let arm = vec![(Dimension::Architecture, value(Dimension::Architecture, "aarch64"))];
    let arm = Selection { values: arm, ..Selection::default() };
    writer.order_quarantine(now, &arm, false).await.unwrap();
    writer.accept_value(Dimension::Os, &value(Dimension::Os, "templeos")).await.unwrap();
    for (instance, keep_totals) in [(1, false), (2, true), (3, false)] {
        let instance = InstanceId::parse(id(instance)).unwrap();
        writer.order_purge(&instance, keep_totals).await.unwrap();
    }
    writer.order_repair().await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
}

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// The progress of the orders, and whether there are any.
async fn progress(connection: &mut SqliteConnection) -> (String, bool) {
    sqlx::query_as(
        "SELECT
             concat_ws(
                 ' ', (SELECT group_concat(state || phase || ' ' || position) FROM quarantines),
                 (SELECT group_concat(phase || ' ' || reports) FROM purges),
                 (SELECT group_concat(done) FROM repairs),
                 (SELECT sum(starts) FROM rollups), (SELECT sum(profile) FROM reports),
                 (SELECT sum(reports) FROM instances), (SELECT count(*) FROM quarantined_reports)
             ),
             EXISTS (SELECT 1 FROM quarantines WHERE state <> 'active')
                 OR EXISTS (SELECT 1 FROM purges WHERE phase < 4)
                 OR EXISTS (SELECT 1 FROM repairs WHERE done = 0)",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

/// Lets a server carry out orders until they have gone on so many times, or are done. Returns whether they are.
async fn serve(file: &Path, steps: usize, end: impl Fn(Server)) -> bool {
    let server = Server::start(file);
    let mut connection = connect(file).await;
    let (mut last, mut seen) = (String::new(), 0);
    let begun = Instant::now();
    let done = loop {
        let (present, some) = progress(&mut connection).await;
        seen += usize::from(present != last);
        if !some || seen > steps {
            break !some;
        }
        assert!(begun.elapsed() < TIME_LIMIT, "{present}");
        last = present;
    };
    connection.close().await.unwrap();
    end(server);
    done
}

fn stop(server: Server) {
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
}

/// All that answers are made of, up to the snapshot of an hour.
async fn state(file: &Path, last: Hour) -> Vec<String> {
    let database = Database::open(&url(file)).await.unwrap();
    database.clone().recount_calendar().await.unwrap();
    database.close().await;
    let verified = binary().args(["verify", "--database-url", &url(file)]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let mut connection = connect(file).await;
    let mut state: Vec<String> = Vec::new();
    for question in [
        include_str!("quarantine_state.sql"),
        "SELECT concat_ws(' ', kind, first_day, instances, complete) FROM calendar_counts",
        "SELECT concat_ws(' ', 'cohort', week, later_weeks, instances) FROM cohorts",
        "SELECT 'set aside ' || quarantine || ' ' || count(*) FROM quarantined_reports GROUP BY quarantine",
        "SELECT 'purged ' || reports FROM purges",
    ] {
        state.extend(
            sqlx::query_scalar::<_, String>(question).fetch_all(&mut connection).await.unwrap(),
        );
    }
    connection.close().await.unwrap();
    state.retain(|line| {
        let hour = line.strip_prefix("snapshot ").and_then(|rest| rest.split(' ').next());
        hour.is_none_or(|hour| hour.parse::<i64>().unwrap() <= last.number())
    });
    state
}

fn copy(file: &Path, folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir(&path).unwrap();
    let path = path.join("telemetry.db");
    fs::copy(file, &path).unwrap();
    path
}

/// Each round ends a server a step later than the one before.
#[tokio::test(flavor = "multi_thread")]
async fn orders_go_on_where_a_server_was_stopped_or_killed() {
    let folder = TempDir::new().unwrap();
    let (now, prepared) = (Clock::system().now(), folder.path().join("prepared.db"));
    let last = Hour::of(now);
    prepare(&prepared, now).await;
    let whole = copy(&prepared, &folder, "whole");
    assert!(serve(&whole, usize::MAX, stop).await);
    let expected = state(&whole, last).await;

    for first in [1, 2] {
        let file = copy(&prepared, &folder, &format!("interrupted {first}"));
        let mut rounds = 0;
        while !serve(
            &file,
            first + rounds,
            if rounds.is_multiple_of(3) { stop as fn(Server) } else { Server::kill },
        )
        .await
        {
            rounds += 1;
        }
        assert!(rounds > 3, "{rounds}");
        // The last round may have killed the server.
        assert!(serve(&file, usize::MAX, stop).await);
        assert_eq!(state(&file, last).await, expected, "{first}");
        for instance in [1, 3, 2] {
            for entry in fs::read_dir(file.parent().unwrap()).unwrap() {
                let path = entry.unwrap().path();
                let content = fs::read(&path).unwrap();
                let found = content.windows(16).any(|window| window == packed(instance));
                assert!(!found, "instance {instance} is in {}", path.display());
            }
        }
    }
}
