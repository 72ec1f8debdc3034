//! The read routes: what they answer over a fleet and on an empty server.

use insta::assert_snapshot;
use mattermost_telemetry::domain::Dimension;
use reqwest::header;
use serde_json::{Value, json};

use crate::support::{App, report, show, stock};

/// A small fleet over three days: small enough to count by hand.
async fn fleet(app: &App) {
    // Day 1: two ids, one of them in a restart loop.
    app.report(&report("keeper", json!({"startup_time_ms": 1000}))).await;
    for _ in 0..3 {
        app.report(&report("looper", json!({"startup_time_ms": 4000, "architecture": "amd64"})))
            .await;
    }
    // Day 2: the keeper is back, with a newer version, and an hour later a new id.
    app.pass(24);
    app.report(&report("keeper", json!({"image_version": "v11.1.0", "startup_time_ms": 2000})))
        .await;
    app.pass(1);
    app.report(&report("new", json!({"os": "FreeBSD", "db_type": "mysql"}))).await;
    // Day 3: the keeper lives.
    app.pass(24);
    app.report(&report("keeper", json!({"image_version": "v11.1.0", "event": "heartbeat"}))).await;
}

#[tokio::test]
async fn an_empty_server_answers_everywhere() {
    let app = App::start().await;
    let paths = [
        "/metrics",
        "/deployments",
        "/stats/version",
        "/stats/startup",
        "/stats/startup?by=os",
        "/stats/timeseries?interval=hour&since=2026-01-31T11:00:00Z",
        "/stats/timeseries?by=os",
        "/stats/active",
        "/stats/active?by=os",
        "/stats/active?window=month&since=2025-12-31T23:59:59Z",
        "/stats/cohorts",
        "/stats/adoption",
    ];
    assert_snapshot!("empty_server", app.rows(&paths).await);
}

#[tokio::test]
async fn the_counts_of_a_fleet() {
    let app = App::start().await;
    fleet(&app).await;
    app.find_adoptions().await;
    let paths = [
        "/metrics",
        "/stats/architecture",
        "/stats/version",
        "/stats/os",
        "/stats/container_runtime",
        "/stats/db_type",
        "/stats/startup",
        "/stats/startup?by=architecture",
        "/stats/startup?since=2026-02-01T00:00:00Z&until=2026-02-02T00:00:00Z",
        "/stats/timeseries?since=2026-01-31T23:59:59Z",
        "/stats/timeseries?interval=hour&since=2026-02-01T12:00:00Z&until=2026-02-01T14:00:00Z",
        "/stats/timeseries?by=image_version",
        "/stats/active",
        "/stats/active?by=image_version",
        "/stats/active?window=day&since=2026-01-30T00:00:00Z",
        "/stats/active?window=week&since=2026-01-26T00:00:00Z",
        "/stats/active?window=month&since=2026-01-01T00:00:00Z",
        "/stats/active?window=quarter&since=2026-01-01T00:00:00Z",
        "/stats/active?window=year&since=2026-01-01T00:00:00Z&until=2027-01-01T00:00:00Z",
        "/stats/cohorts",
        "/stats/adoption",
    ];
    assert_snapshot!("counts_of_a_fleet", app.rows(&paths).await);
}

#[tokio::test]
async fn an_instance_leaves_a_window_when_it_has_passed() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    let active = async |app: &App| {
        let windows = app.json("/stats/active").await;
        windows
            .as_array()
            .unwrap()
            .iter()
            .map(|window| window["active_instances"].clone())
            .collect::<Value>()
    };
    assert_eq!(active(&app).await, json!([1, 1, 1]));
    app.pass(24);
    assert_eq!(active(&app).await, json!([1, 1, 1]));
    app.pass(1);
    assert_eq!(active(&app).await, json!([0, 1, 1]));
    app.pass(6 * 24);
    assert_eq!(active(&app).await, json!([0, 0, 1]));
    app.pass(23 * 24);
    assert_eq!(active(&app).await, json!([0, 0, 0]));
    // Back again: the same id, now a returning one.
    app.report(&stock("a")).await;
    assert_eq!(active(&app).await, json!([1, 1, 1]));
    assert_eq!(app.json("/metrics").await["returning_instances"], 1);
    assert_eq!(app.json("/metrics").await["unique_instances"], 1);
}

#[tokio::test]
async fn pages_lead_through_all_reports() {
    let app = App::start().await;
    app.accept(Dimension::ImageVersion, "v11.1.0-rc+1").await;
    for number in 0..7 {
        let version = if number % 2 == 0 { "11.0.0" } else { "11.1.0-rc+1" };
        app.report(&report(&number.to_string(), json!({"image_version": version}))).await;
    }
    let ids = async |first: &str| {
        let (mut path, mut pages) = (Some(first.to_owned()), Vec::new());
        while let Some(next) = path {
            let answer = app.get(&next).await;
            path = answer.headers().get(header::LINK).map(|link| {
                let link = link.to_str().unwrap();
                let (target, relation) = link.split_once('>').unwrap();
                assert_eq!(relation, "; rel=\"next\"");
                target[1..].to_owned()
            });
            let page: Vec<Value> = answer.json().await.unwrap();
            pages.push(
                page.iter()
                    .map(|report| report["instance_id"].as_str().unwrap().to_owned())
                    .collect::<String>(),
            );
        }
        pages
    };
    assert_eq!(ids("/deployments?limit=3").await, ["654", "321", "0"]);
    assert_eq!(ids("/deployments").await, ["6543210"]);
    // A full last page leads to an empty one.
    assert_eq!(ids("/deployments?limit=7").await, ["6543210", ""]);
    assert_eq!(ids("/deployments?limit=2&version=V11.1.0-RC%2B1").await, ["53", "1"]);
    assert_eq!(ids("/deployments?version=v9.9.9").await, [""]);
    assert_eq!(ids("/deployments?architecture=arm64&limit=4").await, ["6543", "210"]);
    assert_eq!(ids("/deployments?architecture=x86_64").await, [""]);
    assert_eq!(ids("/deployments?before=-9223372036854775808").await, [""]);
}

#[tokio::test]
async fn reports_of_a_time() {
    let app = App::start().await;
    for id in ["a", "b", "c"] {
        app.report(&stock(id)).await;
        app.pass(24);
    }
    let ids = async |query: &str| {
        let page = app.json(&format!("/deployments?{query}")).await;
        let page = page.as_array().unwrap();
        page.iter().map(|report| report["instance_id"].as_str().unwrap()).collect::<String>()
    };
    let (second, third) = ("2026-02-01T12:34:56.789Z", "2026-02-02T12:34:56.789Z");
    assert_eq!(ids(&format!("since={second}")).await, "cb");
    assert_eq!(ids(&format!("since={second}&until={third}")).await, "b");
    assert_eq!(ids(&format!("until={second}")).await, "a");
    assert_eq!(ids("since=2026-02-01T12:34:56.790Z").await, "c");
    assert_eq!(ids("since=2026-03-01T00:00:00Z").await, "");
    assert_eq!(ids("until=2020-01-01T00:00:00Z").await, "");
    assert_eq!(ids(&format!("since={second}&architecture=aarch64&limit=1")).await, "c");
}

#[tokio::test]
async fn a_time_that_ends_before_it_begins_has_no_reports() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    app.pass(48);
    let time = "since=2026-02-02T00:00:00Z&until=2026-01-30T00:00:00Z";
    for by in ["", "&by=db_type"] {
        let startup = app.json(&format!("/stats/startup?{time}{by}")).await;
        let rows = startup.as_array().unwrap();
        assert!(rows.iter().all(|row| row["count"] == 0), "{startup}");
    }
    assert_eq!(app.json(&format!("/deployments?{time}")).await, serde_json::json!([]));
}

#[tokio::test]
async fn health_and_readiness() {
    let app = App::start().await;
    assert_snapshot!("health", show(app.get("/health").await).await);
    assert_snapshot!("ready", show(app.get("/ready").await).await);
}
