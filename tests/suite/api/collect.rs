//! Reports as stock clients send them, and their normal form.

use insta::assert_snapshot;
use serde_json::json;

use crate::support::{App, report, show, stock};

#[tokio::test]
async fn the_stock_clients_report_comes_out_of_every_read_route() {
    let app = App::start().await;
    let answer = app.post(stock("0f8fad5bd9cb469fa16570867728950e").to_string()).await;
    assert_snapshot!("stock_report_is_stored", show(answer).await);
    let paths = [
        "/metrics",
        "/deployments",
        "/stats/architecture",
        "/stats/version",
        "/stats/os",
        "/stats/container_runtime",
        "/stats/db_type",
        "/stats/startup",
        "/stats/timeseries?since=2026-01-30T00:00:00Z",
        "/stats/active",
        "/stats/cohorts",
        "/stats/adoption",
    ];
    for path in paths {
        let name = path.split('?').next().unwrap().replace('/', "_");
        assert_snapshot!(format!("stock_report{name}"), show(app.get(path).await).await);
    }
}

#[tokio::test]
async fn a_report_is_put_into_its_normal_form() {
    let app = App::start().await;
    let sent = json!({
        "instance_id": "  0F8FAD5B-D9CB-469F-A165-70867728950E ",
        "image_version": "11.2.0-RC1",
        "architecture": " ARM64",
        "os": "  ",
        "container_runtime": null,
        "startup_time_ms": 0,
        "timestamp": "2020-02-29T13:00:00+01:00",
        "event": "Start",
        "of_a_newer_client": {"is": ["ignored"]}
    });
    app.report(&sent).await;
    assert_snapshot!("normal_form", show(app.get("/deployments").await).await);
}

#[tokio::test]
async fn spellings_of_one_value_are_one_value() {
    let app = App::start().await;
    let spellings = [
        ("arm64", "11.0.0", "Linux"),
        ("aarch64", "v11.0.0", "linux"),
        ("AArch64", "V11.0.0 ", " LINUX"),
    ];
    for (architecture, version, os) in spellings {
        let changes = json!({"architecture": architecture, "image_version": version, "os": os});
        app.report(&report("a", changes)).await;
    }
    for architecture in ["amd64", "x86_64"] {
        app.report(&report("b", json!({"architecture": architecture}))).await;
    }
    assert_eq!(
        app.json("/stats/architecture").await,
        json!([
            {"architecture": "aarch64", "count": 3},
            {"architecture": "x86_64", "count": 2}
        ])
    );
    assert_eq!(app.json("/stats/version").await, json!([{"version": "v11.0.0", "count": 5}]));
    assert_eq!(app.json("/stats/os").await, json!([{"os": "linux", "count": 5}]));
}

#[tokio::test]
async fn only_the_id_is_needed() {
    let app = App::start().await;
    app.report(&json!({"instance_id": "a"})).await;
    let stored = &app.json("/deployments").await[0];
    for field in ["image_version", "architecture", "os", "container_runtime", "db_type"] {
        assert_eq!(stored[field], "unknown", "{field}");
    }
    assert_eq!(stored["startup_time_ms"], json!(null));
    assert_eq!(app.json("/stats/startup").await, json!([]));
}

#[tokio::test]
async fn a_heartbeat_is_no_start() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    app.report(&report("a", json!({"event": "heartbeat"}))).await;
    app.report(&report("b", json!({"event": "heartbeat"}))).await;
    let metrics = app.json("/metrics").await;
    assert_eq!(metrics["total_deployments"], 1);
    assert_eq!(metrics["total_heartbeats"], 2);
    assert_eq!(metrics["unique_instances"], 2);
    // The startup time that a heartbeat repeats was counted with its start.
    assert_eq!(app.json("/stats/startup").await[0]["count"], 1);
    assert_eq!(app.json("/stats/active").await[0]["active_instances"], 2);
}

/// A retry after a time-out, also after a restart.
#[tokio::test]
async fn a_report_that_is_sent_again_is_acknowledged_and_counted_once() {
    let app = App::start().await;
    let with = |instance: &str, id: &str| json!({"instance_id": instance, "report_id": id});
    let first = "0f8fad5b-d9cb-469f-a165-70867728950e";
    for report in [
        with("a", first),
        with("a", "{0F8FAD5B-D9CB-469F-A165-70867728950E}"),
        with("b", first),
        with("a", "1f8fad5bd9cb469fa16570867728950e"),
        with("a", "soon"),
        with("a", "soon"),
    ] {
        app.report(&report).await;
    }
    assert_eq!(app.json("/metrics").await["total_deployments"], 5);
    let app = App::start_in(app.stop().await, |_| ()).await;
    app.report(&with("a", first)).await;
    assert_eq!(app.json("/metrics").await["total_deployments"], 5);
    assert!(app.database.verify(app.now()).await.unwrap().is_clean());
}
