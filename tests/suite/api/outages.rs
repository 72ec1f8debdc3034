//! Silence is told from zero: hours without a server are known as such.

use std::time::Duration;

use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{Report, ReportBody},
    storage::Database,
};
use serde_json::Value;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{App, BEGIN, Server, config, past::ran, stock};

const HOUR: i64 = 3600;

fn a_report(instance: i64) -> Report {
    let body = ReportBody {
        instance_id: Some(format!("i{instance}")),
        image_version: Some("v11.0.0".into()),
        startup_time_ms: Some(900),
        ..ReportBody::default()
    };
    body.into_report().unwrap()
}

/// A report at half past each of the first hours of a run.
fn hourly(hours: i64) -> impl Iterator<Item = (i64, Report)> {
    (0..hours).map(|hour| (hour * 60 + 30, a_report(hour)))
}

/// The whole hour so many hours before the one in which a test begins.
fn hours_ago(hours: i64) -> Timestamp {
    "2026-01-31T12:00:00Z".parse::<Timestamp>().unwrap() - SignedDuration::from_hours(hours)
}

/// A server that ran from 60 hours ago for 24 hours, and is started anew now. Reports of one hour in
/// between were imported. A restart of a second, 50 hours ago, is part of it.
async fn after_an_outage() -> App {
    let folder = TempDir::new().unwrap();
    ran(&folder, hours_ago(60), 10, hourly(10)).await;
    let again = hours_ago(50) + SignedDuration::from_secs(1);
    ran(&folder, again, 14, hourly(13)).await;
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let mut writer = database.writer();
    let imported = hours_ago(20) + SignedDuration::from_mins(10);
    let reports = (0..5).map(|instance| (imported, a_report(100 + instance)));
    writer.import_reports(reports, BEGIN.parse().unwrap(), |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    let app = App::start_in(folder, |_| ()).await;
    counted(&app, 36 * 3600).await;
    app
}

/// Waits until outages of so many seconds are on record.
async fn counted(app: &App, seconds: u64) {
    let counted = async { while app.database.outage_seconds(false).await.unwrap() < seconds {} };
    timeout(Duration::from_secs(30), counted).await.expect("outages are not recorded");
}

/// The values of the one series of a query, by whole hours ago.
async fn values(app: &App, query: &str) -> Vec<(i64, String)> {
    let (start, end) = (hours_ago(62).as_second(), hours_ago(0).as_second());
    let url = format!("http://{}/api/v1/query_range", app.address);
    let form = [
        ("query", query),
        ("start", &start.to_string()),
        ("end", &end.to_string()),
        ("step", "1h"),
    ];
    let answer: Value =
        app.client.post(url).form(&form).send().await.unwrap().json().await.unwrap();
    let result = answer["data"]["result"].as_array().unwrap();
    assert!(result.len() < 2, "{answer}");
    let values = result.first().map(|one| one["values"].as_array().unwrap().as_slice());
    let value = |pair: &Value| {
        let ago = (end - pair[0].as_i64().unwrap()) / HOUR;
        (ago, pair[1].as_str().unwrap().to_owned())
    };
    values.unwrap_or_default().iter().map(value).collect()
}

#[tokio::test]
async fn growth_has_gaps_where_no_server_ran() {
    let app = after_an_outage().await;
    let grown = values(&app, "sum(increase(mattermost_starts_total[1h]))").await;
    // The hour that ends now is dark, and the one 19 hours ago was imported.
    let mut expected: Vec<(i64, String)> =
        (36..60).rev().map(|ago| (ago, "1".to_owned())).collect();
    // The last hour of the run has no report, and the server was there.
    expected[23].1 = "0".to_owned();
    expected.push((19, "5".to_owned()));
    // A series begins with its first report.
    assert_eq!(grown, expected);
    // Buckets are all there or none, so that a percentile is right.
    let median = "histogram_quantile(0.5, sum by (le) (increase(mattermost_startup_seconds_bucket[1h]))) >= 0";
    assert_eq!(values(&app, median).await.len(), 24);
    // Longer ranges lose nothing: 23 reports, and 5 that were imported.
    let day = values(&app, "sum(increase(mattermost_starts_total[3d]))").await;
    assert_eq!(day.last().unwrap(), &(0, "28".to_owned()));
    // Most of a day in which nothing is known is a gap; of one with a report it is not.
    let day = values(&app, "sum(increase(mattermost_starts_total[16h]))").await;
    let agos: Vec<i64> = day.iter().map(|(ago, _)| *ago).collect();
    let known = (4..60).rev().filter(|ago| ![20, 21].contains(ago));
    assert_eq!(agos, known.collect::<Vec<_>>());
    // A change of the clock's hour and a restart make none.
    app.pass(1);
    app.report(&stock("new")).await;
    app.pass(1);
    let hour = "sum(increase(mattermost_starts_total[1h]))";
    let path = format!("/api/v1/query?query={hour}&time={}", hours_ago(-2).as_second());
    assert_eq!(app.json(&path).await["data"]["result"][0]["value"][1], "1");
}

#[tokio::test]
async fn values_have_gaps_where_no_server_ran() {
    let app = after_an_outage().await;
    let agos = async |query: &str| {
        values(&app, query).await.into_iter().map(|(ago, _)| ago).collect::<Vec<_>>()
    };
    // As of the hour that was imported, and when the server has just gone.
    let mut expected: Vec<i64> = (36..60).rev().collect();
    expected.push(20);
    for query in ["sum(mattermost_starts_total)", "mattermost_instances"] {
        assert_eq!(agos(query).await, expected, "{query}");
    }
    let active = agos("sum(mattermost_active_instances{window=\"7d\"})").await;
    assert_eq!(active, expected);
    // The present is no gap.
    let now = app.json("/api/v1/query?query=sum(mattermost_starts_total)").await;
    assert_eq!(now["data"]["result"][0]["value"][1], "28");
    // A range selector has no samples there.
    let path =
        format!("/api/v1/query?query=mattermost_instances[10h]&time={}", hours_ago(22).as_second());
    assert_eq!(app.json(&path).await["data"]["result"], serde_json::json!([]));
}

#[tokio::test]
async fn a_period_states_its_outage() {
    let app = after_an_outage().await;
    let since = hours_ago(62);
    let days = format!("/stats/timeseries?interval=day&since={since}");
    let by = format!("/stats/timeseries?interval=day&since={since}&by=image_version");
    let hours =
        format!("/stats/timeseries?interval=hour&since={}&until={}", hours_ago(51), hours_ago(35));
    let now = format!("/stats/timeseries?interval=hour&since={}", hours_ago(1));
    assert_snapshot!("outages", app.rows(&[&days, &by, &hours, &now]).await);
}

/// A history that another server has received, and a database of an older version.
#[tokio::test]
async fn a_history_without_a_record_has_no_outages() {
    let folder = TempDir::new().unwrap();
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let mut writer = database.writer();
    let reports = (0..3).map(|day| (hours_ago(24 * (9 - day)), a_report(day)));
    writer.import_reports(reports, BEGIN.parse().unwrap(), |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    let app = App::start_in(folder, |_| ()).await;
    let days = app.json("/stats/timeseries?interval=day").await;
    assert!(days.as_array().unwrap().iter().all(|day| day["outage_seconds"] == 0), "{days}");
}

/// Reports that are imported before the next start do not make the outage shorter.
#[tokio::test]
async fn an_import_into_a_stopped_server_leaves_its_outage() {
    let folder = TempDir::new().unwrap();
    ran(&folder, hours_ago(60), 10, hourly(10)).await;
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let mut writer = database.writer();
    writer
        .import_reports([(hours_ago(1), a_report(1))], BEGIN.parse().unwrap(), |_| ())
        .await
        .unwrap();
    writer.close().await.unwrap();
    database.close().await;
    let app = App::start_in(folder, |_| ()).await;
    app.report(&stock("new")).await;
    // 50 hours and 34:56.
    let seconds = app.database.outage_seconds(false).await.unwrap();
    assert!((50 * 3600 + 1496..=50 * 3600 + 2096).contains(&seconds), "{seconds}");
}

async fn ready(app: &App, wanted: impl Fn(&Value) -> bool) -> Value {
    let asked = async {
        loop {
            let ready = app.json("/ready").await;
            if wanted(&ready) {
                return ready;
            }
        }
    };
    timeout(Duration::from_secs(30), asked).await.expect("/ready stays as it is")
}

#[tokio::test]
async fn silence_is_stated_where_there_used_to_be_reports() {
    // A report each hour, then none for six hours of running.
    let folder = TempDir::new().unwrap();
    ran(&folder, hours_ago(40), 40, hourly(34)).await;
    let app = App::start_in(folder, |_| ()).await;
    let answer = ready(&app, |ready| ready["silent_since"].is_string()).await;
    assert_eq!(answer["silent_since"], "2026-01-31T05:30:00Z");
    let (_, text) = app.scrape("text/plain").await;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit_once(' ').unwrap().1.to_owned()
    };
    let last = "2026-01-31T05:30:00Z".parse::<Timestamp>().unwrap().as_second().to_string();
    assert_eq!(value("telemetry_last_report_timestamp_seconds"), last);
    assert_eq!(value("telemetry_silent_since_timestamp_seconds"), last);
    assert_eq!(value("telemetry_outage_seconds_total"), "2096");
    app.report(&stock("new")).await;
    assert_eq!(app.json("/ready").await, serde_json::json!({ "status": "ready" }));
}

/// The server was down for most of the time since the last report.
#[tokio::test]
async fn an_outage_is_no_silence() {
    let folder = TempDir::new().unwrap();
    ran(&folder, hours_ago(40), 34, hourly(34)).await;
    let app = App::start_in(folder, |_| ()).await;
    let counted = async {
        while !app.scrape("text/plain").await.1.contains("telemetry_outage_seconds_total 23696\n") {
        }
    };
    timeout(Duration::from_secs(30), counted).await.unwrap();
    assert_eq!(app.json("/ready").await, serde_json::json!({ "status": "ready" }));
}

/// The real binary is killed, and started anew after what its record says is a week.
#[tokio::test]
async fn a_server_that_was_killed_a_week_ago_counts_the_week() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("telemetry.db");
    let server = Server::start(&file);
    let client = reqwest::Client::new();
    let post = client.post(server.url("/collect")).json(&stock("a")).send().await.unwrap();
    assert_eq!(post.status(), 200);
    server.kill();
    let mut connection = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    let week = 7 * 24 * HOUR * 1000;
    for statement in [
        "UPDATE clock_stretches SET began_at = began_at - ?1, ended_at = ended_at - ?1",
        "UPDATE reports SET received_at = received_at - ?1",
    ] {
        sqlx::query(statement).bind(week).execute(&mut connection).await.unwrap();
    }
    drop(connection);

    // Started twice: what was counted is not counted again.
    for _ in 0..2 {
        let server = Server::start(&file);
        let url = server.url("/stats/timeseries?interval=day");
        let recorded = async {
            loop {
                let answer = client.get(&url).send().await.unwrap();
                let days: Vec<Value> = answer.json().await.unwrap();
                let seconds = days.iter().map(|day| day["outage_seconds"].as_i64().unwrap());
                let seconds: i64 = seconds.sum();
                if seconds > 0 {
                    return (days, seconds);
                }
            }
        };
        let (days, seconds) = timeout(Duration::from_secs(30), recorded).await.unwrap();
        assert!((week / 1000 - 10..week / 1000 + 60).contains(&seconds), "{seconds}");
        let full = days.iter().filter(|day| day["outage_seconds"] == 24 * HOUR).count();
        assert_eq!(full, 6, "{days:?}");
        assert!(server.terminate().0.success());
    }
}
