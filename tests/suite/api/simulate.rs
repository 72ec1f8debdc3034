//! `simulate`: a made-up fleet in a database, against a count by hand.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    process::{Command, Output},
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{Hour, Report, ReportKind},
    simulation::{Clients, Fleet, Settings},
    storage::{Database, Interval},
};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{App, binary, refused, url};

const UNTIL: &str = "2025-06-30T12:00:00Z";

/// The fleet that the command makes with `--until UNTIL`.
fn fleet(installations: u32, days: i64) -> Vec<(Timestamp, Report)> {
    let until: Timestamp = UNTIL.parse().unwrap();
    let from = until - SignedDuration::from_hours(24 * days);
    Fleet::new(Settings { installations, from, until, seed: 7, clients: Clients::Mixed }).collect()
}

fn simulate(file: &Path, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.args(["simulate", "--seed", "7"]).args(arguments);
    command.env("DATABASE_URL", url(file));
    command
}

fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Every row of some columns, as text.
async fn rows(file: &Path, query: &'static str) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query(query).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const REPORTS: &str = "SELECT json_array(reports.id, received_at, hex(instance), heartbeat, \
     startup_ms, client_at, image_version, architecture, os, container_runtime, db_type, \
     telemetry_version) FROM reports INNER JOIN profiles ON profiles.id = profile ORDER BY reports.id";

#[tokio::test]
async fn the_same_arguments_write_the_same_reports() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (folder.path().join("new/one.db"), folder.path().join("two.db"));
    let arguments = ["--instances", "60", "--days", "20", "--until", UNTIL];
    let said = done(&mut simulate(&one, &arguments));
    done(&mut simulate(&two, &arguments));
    let reports = rows(&one, REPORTS).await;
    assert_eq!(reports, rows(&two, REPORTS).await);
    let stored: Vec<String> =
        rows(&one, "SELECT cast(received_at AS text) FROM reports ORDER BY id").await;
    let made = fleet(60, 20);
    assert_eq!(made.len(), 444, "a known seed");
    assert!(said.starts_with(&format!("wrote {} reports of 2025-06-10", made.len())), "{said}");
    let arrivals = made.iter().map(|(at, _)| at.as_millisecond().to_string());
    assert!(stored.into_iter().eq(arrivals));
}

#[tokio::test]
async fn the_counts_are_those_of_the_fleet() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("fleet.db");
    done(&mut simulate(&file, &["--instances", "300", "--days", "100", "--until", UNTIL]));
    let verified = binary().args(["verify", "--database-url", &url(&file)]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    let made = fleet(300, 100);
    let database = Database::open(&url(&file)).await.unwrap();
    let is_start = |report: &Report| report.kind == ReportKind::Start;
    let starts = made.iter().filter(|(_, report)| is_start(report)).count() as u64;
    let mut days: HashMap<&str, BTreeSet<i64>> = HashMap::new();
    let mut by_day: BTreeMap<i64, u64> = BTreeMap::new();
    for (at, report) in &made {
        let day = at.as_second() / 86_400;
        days.entry(&report.instance_id).or_default().insert(day);
        *by_day.entry(day).or_default() += u64::from(is_start(report));
    }
    let totals = database.totals().await.unwrap();
    assert_eq!(totals.starts, starts);
    assert_eq!(totals.heartbeats, made.len() as u64 - starts);
    assert_eq!(totals.instances, days.len() as u64);
    let returning = days.values().filter(|days| days.len() > 1).count() as u64;
    assert_eq!(totals.returning_instances, returning);
    assert!(returning > 10 && totals.instances > 10 * returning);
    assert_eq!(by_day.values().sum::<u64>(), starts);
    let series =
        database.timeseries(Interval::Day, None, Hour::MIN, Hour::MAX, 1000).await.unwrap();
    let stored: BTreeMap<i64, u64> =
        series.iter().map(|period| (period.hour.number() / 24, period.starts)).collect();
    assert_eq!(stored, by_day);
    database.close().await;
}

#[tokio::test]
async fn history_is_as_if_a_server_had_received_it() {
    const SNAPSHOTS: &str = "SELECT json_array(hour, image_version, architecture, os, \
         container_runtime, db_type, telemetry_version, json_remove(json_each.value, '$[0]')) \
         FROM snapshots CROSS JOIN json_each(active) \
         INNER JOIN profiles ON profiles.id = json_each.value ->> 0 ORDER BY 1";
    const TOTALS: &str = "SELECT json_array(hour, instances, returning_instances) \
         FROM snapshots ORDER BY hour";
    let folder = TempDir::new().unwrap();
    let (at_once, one_by_one) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let until: Timestamp = UNTIL.parse().unwrap();

    let database = Database::open(&url(&at_once)).await.unwrap();
    let mut writer = database.writer();
    let stored = writer.import_reports(fleet(60, 40), until, |_| ()).await.unwrap();
    assert_eq!(stored, fleet(60, 40).len() as u64);
    // The next report comes in as any other.
    let (_, next) = fleet(60, 1).swap_remove(0);
    let end = until + SignedDuration::from_hours(3);
    writer.store(end, std::slice::from_ref(&next)).await.unwrap();
    writer.close_hours(end).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;

    let database = Database::open(&url(&one_by_one)).await.unwrap();
    let mut writer = database.writer();
    for (at, report) in fleet(60, 40) {
        writer.store(at, &[report]).await.unwrap();
    }
    writer.store(end, &[next]).await.unwrap();
    writer.close_hours(end).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;

    for query in [REPORTS, SNAPSHOTS, TOTALS] {
        assert_eq!(rows(&at_once, query).await, rows(&one_by_one, query).await);
    }
}

#[tokio::test]
async fn a_made_up_fleet_is_not_mixed_into_real_reports() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("fleet.db");
    let arguments = ["--instances", "60", "--days", "5", "--until", UNTIL];
    done(&mut simulate(&file, &arguments));
    let before = rows(&file, REPORTS).await;
    let said = refused(&mut simulate(&file, &arguments));
    assert!(said.contains("holds reports") && said.contains("--force"), "{said}");
    assert_eq!(rows(&file, REPORTS).await, before);

    // Reports that are older than those that are there.
    let earlier =
        ["--instances", "60", "--days", "5", "--until", "2025-06-20T12:00:00Z", "--force"];
    done(&mut simulate(&file, &earlier));
    assert!(rows(&file, REPORTS).await.len() > before.len());
    let verified = binary().args(["verify", "--database-url", &url(&file)]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn wrong_arguments_are_reported_in_one_line() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("fleet.db");
    for (arguments, expected) in [
        (["--until", "9000-01-01T00:00:00Z"], "--until"),
        (["--until", "yesterday"], "--until"),
        (["--instances", "0"], "--instances"),
        (["--days", "0"], "--days"),
        (["--reports", "5"], "--post"),
        (["--post", "https://example.com"], "--post"),
    ] {
        let said =
            refused(binary().arg("simulate").args(arguments).env("DATABASE_URL", url(&file)));
        assert!(said.contains(expected), "{said}");
    }
    assert!(!file.exists());
}

#[tokio::test]
async fn posted_reports_arrive_now() {
    let app = App::start().await;
    let to = format!("http://{}", app.address);
    let arguments = ["--post", &to, "--reports", "40", "--rate", "1000"];
    let mut command = simulate(Path::new("/no/such/folder/fleet.db"), &arguments);
    let said = tokio::task::spawn_blocking(move || done(&mut command)).await.unwrap();
    assert_eq!(said, format!("posted 40 reports to {to}/collect\n"));
    let metrics = app.json("/metrics").await;
    let starts = metrics["total_deployments"].as_u64().unwrap();
    assert_eq!(starts + metrics["total_heartbeats"].as_u64().unwrap(), 40);
    let latest = app.json("/deployments?limit=1").await;
    assert!(latest[0]["created_at"].as_str().unwrap().starts_with("2026-01-31T12:34"));
    assert!(latest[0]["timestamp"].is_null());
}

#[tokio::test]
async fn posting_stops_where_the_server_takes_no_more() {
    let app = App::start_with(|config| config.rate_limit_per_minute = 3).await;
    let to = format!("http://{}/collect", app.address);
    let arguments = ["--post", &to, "--reports", "40", "--rate", "1000"];
    let mut command = simulate(Path::new("/no/such/folder/fleet.db"), &arguments);
    let said = tokio::task::spawn_blocking(move || refused(&mut command)).await.unwrap();
    assert!(said.contains("stopped after 3 reports") && said.contains("--rate"), "{said}");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = format!("http://{free}");
    let said = refused(&mut simulate(Path::new("/no/such/folder/fleet.db"), &["--post", &to]));
    assert!(said.contains("cannot connect"), "{said}");
}
