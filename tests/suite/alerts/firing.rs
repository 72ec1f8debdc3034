//! Each rule, evaluated by the Prometheus API of a server: in order, and in the state that it is about.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::ReportBody,
    storage::{Database, Sample},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::rules::{RULES, Rule};
use crate::support::{
    App, BEGIN, Server, config, in_own_namespace,
    past::{ran, silent},
    stock,
};

const REFUSED: &str = "telemetry_reports_rejected_total{reason=\"invalid-report\"}";

/// Names of the rules that fire, by comparisons as Prometheus has them. The metric whose absence is the
/// alarm must be there.
async fn firing(client: &reqwest::Client, url: &str) -> Vec<&'static str> {
    let ask = async |expression: &str| -> Value {
        let request = client.post(format!("{url}/api/v1/query")).form(&[("query", expression)]);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].clone()
    };
    let mut fires = Vec::new();
    for rule in &RULES {
        let is_there = !ask(rule.metric).await.as_array().unwrap().is_empty();
        let beyond = !ask(&rule.comparison()).await.as_array().unwrap().is_empty();
        if beyond || (rule.when_absent && !is_there) {
            fires.push(rule.alert);
        }
    }
    fires
}

/// Waits until exactly these rules fire. A sample is taken shortly after the start.
async fn fires(app: &App, wanted: &[&str]) {
    let url = format!("http://{}", app.address);
    let asked = async { while firing(&app.client, &url).await != wanted {} };
    if timeout(Duration::from_secs(30), asked).await.is_err() {
        assert_eq!(firing(&app.client, &url).await, wanted);
    }
}

fn ago(hours: i64) -> Timestamp {
    BEGIN.parse::<Timestamp>().unwrap() - SignedDuration::from_hours(hours)
}

/// A database with samples of one series: its value so many hours ago.
async fn sampled(series: &str, values: &[(i64, f64)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let mut writer = database.writer();
    for &(hours, value) in values {
        let sample = Sample { series: series.to_owned(), value };
        writer.record(ago(hours), &[sample]).await.unwrap();
    }
    writer.close().await.unwrap();
    database.close().await;
    folder
}

/// A database with 25 measured starts of each version in the last days; each start's time.
async fn started(versions: &[(&str, i64)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let mut writer = database.writer();
    let starts = versions.iter().flat_map(|&(version, time)| {
        (0..25).map(move |number| {
            let body = ReportBody {
                instance_id: Some(format!("{version}-{number}")),
                image_version: Some(version.to_owned()),
                startup_time_ms: Some(time),
                ..ReportBody::default()
            };
            (ago(number), body.into_report().unwrap())
        })
    });
    let mut starts: Vec<_> = starts.collect();
    starts.sort_by_key(|(time, _)| *time);
    writer.import_reports(starts, ago(0), |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    folder
}

#[tokio::test]
async fn a_server_in_order_fires_nothing() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    fires(&app, &[]).await;
}

#[tokio::test]
async fn a_server_without_samples_has_no_metric_of_its_own() {
    let app = App::start().await;
    fires(&app, &[]).await;
    // Twelve minutes without a sample, as while it is down.
    app.pass(1);
    let down: &Rule = RULES.iter().find(|rule| rule.when_absent).unwrap();
    fires(&app, &[down.alert]).await;
}

#[tokio::test]
async fn silence_fires() {
    let app = App::start_in(silent().await, |_| ()).await;
    fires(&app, &["TelemetrySilence"]).await;
}

#[tokio::test]
async fn refusals_fire_when_they_rise() {
    // 25 an hour, then 100 in an hour.
    let folder = sampled(REFUSED, &[(30, 0.0), (25, 125.0), (1, 725.0), (0, 825.0)]).await;
    fires(&App::start_in(folder, |_| ()).await, &["TelemetryRefusals"]).await;
}

#[tokio::test]
async fn refusals_that_are_usual_do_not_fire() {
    for counts in [
        // 100 an hour, always.
        [(30, 0.0), (25, 500.0), (1, 2900.0), (0, 3000.0)],
        // A few where there were none.
        [(30, 0.0), (25, 0.0), (1, 0.0), (0, 30.0)],
    ] {
        fires(&App::start_in(sampled(REFUSED, &counts).await, |_| ()).await, &[]).await;
    }
}

#[tokio::test]
async fn a_slow_release_fires() {
    let folder = started(&[("v11.0.0", 3100), ("v11.1.0", 3900)]).await;
    fires(&App::start_in(folder, |_| ()).await, &["TelemetryNewestReleaseSlow"]).await;
}

#[tokio::test]
async fn a_release_that_is_not_slow_does_not_fire() {
    // 19 % are within the limit, although a bucket begins in between; the release before was slow.
    let folder = started(&[("v11.0.0", 2490), ("v11.1.0", 2960), ("v10.9.0", 900)]).await;
    let app = App::start_in(folder, |_| ()).await;
    fires(&app, &[]).await;
    let ratio = "telemetry_newest_release_startup_ratio 1.18";
    let compared = async { while !app.scrape("text/plain").await.1.contains(ratio) {} };
    timeout(Duration::from_secs(30), compared).await.expect("no ratio");
    fires(&app, &[]).await;
}

#[tokio::test]
async fn a_doubtful_clock_fires() {
    let folder = TempDir::new().unwrap();
    ran(&folder, ago(90 * 24), 48, std::iter::empty()).await;
    fires(&App::start_in(folder, |_| ()).await, &["TelemetryClock"]).await;
}

#[tokio::test]
async fn a_backup_fires_when_it_is_overdue() {
    const OVERDUE: &str = "telemetry_backup_overdue";
    let folder = sampled(OVERDUE, &[(0, 1.0)]).await;
    fires(&App::start_in(folder, |_| ()).await, &["TelemetryBackup"]).await;
    let folder = sampled(OVERDUE, &[(0, 0.0)]).await;
    fires(&App::start_in(folder, |_| ()).await, &[]).await;
}

/// A disk of 8 MiB has less than the database needs from the start on.
#[tokio::test]
async fn a_small_disk_fires() {
    let test = "a_small_disk_fires";
    let script = r#"mount -t tmpfs -o size=8m tmpfs "$DISK" && exec "$SERVER""#;
    let Some(mut command) = in_own_namespace(test, script) else { return };
    let folder = TempDir::new().unwrap();
    let (server, _) = Server::start_on_disk(&mut command, folder.path());
    let client = reqwest::Client::new();
    let asked = async { while firing(&client, &server.url("")).await != ["TelemetryDisk"] {} };
    timeout(Duration::from_secs(30), asked).await.expect("the rule does not fire");
    let status = client.get(server.url("/status")).send().await.unwrap();
    assert_eq!(status.status(), 503);
    let body: Value = status.json().await.unwrap();
    assert_eq!(body["detail"], "Reasons: disk.");
    assert_eq!(client.get(server.url("/ready")).send().await.unwrap().status(), 200);
}
