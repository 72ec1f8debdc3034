//! The stack's Grafana beside the server: what its panels show is what was sent.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    clock::Clock,
    domain::{Report, ReportBody},
    simulation::panels::{array, panels},
    storage::Database,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testcontainers::ImageExt as _;

use super::compose::{STACK, read};
use crate::{
    alerts::rules::RULES,
    support::{
        containers::{Base, Grafana, Image, Server, Volume, grafana_image, unique},
        stock,
    },
};

const OVERVIEW: &str = "mattermost-overview";
const STARTUP: &str = "mattermost-startup";
const DASHBOARDS: [&str; 3] = [OVERVIEW, STARTUP, "mattermost-server"];
const READ_TOKEN: &str = "a-token-for-the-test";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Starts that are on the volume: seconds before now, id, version, architecture. None is near the
/// edge of a window.
const BEFORE: [(i64, &str, &str, &str); 7] = [
    (60 * DAY, "gone", "v10.5.0", "x86_64"),
    (40 * DAY, "kept", "v11.0.0", "aarch64"),
    (20 * DAY, "kept", "v11.0.0", "aarch64"),
    (20 * DAY, "upgraded", "v11.0.0", "aarch64"),
    (10 * DAY, "once", "v11.0.0", "x86_64"),
    (3 * DAY, "upgraded", "v11.1.0", "aarch64"),
    (2 * HOUR, "kept", "v11.0.0", "aarch64"),
];
/// Then this one is posted.
const POSTED: (&str, &str, &str) = ("posted", "v11.1.0", "aarch64");

/// The panels of which it is known what they show: dashboard, panel, a number for each question.
const SHOWN: [(&str, &str, &[f64]); 7] = [
    (OVERVIEW, "Starts", &[8.0]),
    (OVERVIEW, "Instances, ever", &[5.0]),
    (OVERVIEW, "Active instances", &[2.0, 3.0, 4.0]),
    (OVERVIEW, "Returning (30 d)", &[2.0]),
    (OVERVIEW, "Newest version (30 d)", &[0.5]),
    (STARTUP, "Mean", &[2.5]),
    (STARTUP, "Starts measured", &[8.0]),
];
/// In these, each start is in exactly one bar.
const BARS: [&str; 2] = ["Starts over time", "Starts by architecture over time"];

fn report(id: &str, version: &str, architecture: &str) -> ReportBody {
    let stock: ReportBody = serde_json::from_value(stock(id)).unwrap();
    ReportBody {
        image_version: Some(version.to_owned()),
        architecture: Some(architecture.to_owned()),
        ..stock
    }
}

/// A database with the starts that came before.
async fn history(now: Timestamp) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("telemetry.db");
    let database = Database::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let mut writer = database.writer();
    let arrivals = BEFORE.map(|(ago, id, version, architecture)| -> (Timestamp, Report) {
        let report = report(id, version, architecture).into_report().unwrap();
        (now - SignedDuration::from_secs(ago), report)
    });
    writer.import_reports(arrivals, now, |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    std::fs::read(file).unwrap()
}

/// The body with which Grafana's pages ask everything that a panel asks, every version and
/// architecture selected. `$__interval` and `$__range` are left to Grafana's server, which also
/// chooses the step: by the range and the points, and never below `intervalMs`.
fn question(panel: &Value, seconds: i64, now: Timestamp) -> Value {
    let least = match panel["interval"].as_str() {
        Some("1h") => HOUR,
        None | Some("1m") => 60,
        Some(other) => panic!("an interval of {other}"),
    };
    // Without a number of its own, a panel asks for as many points as it is wide.
    let points = panel["maxDataPoints"].as_i64().unwrap_or(1000);
    let targets = panel["targets"].as_array().unwrap().iter().map(|target| {
        let mut query = target.clone();
        let expression = target["expr"].as_str().unwrap();
        query["expr"] = expression.replace("$version", ".*").replace("$architecture", ".*").into();
        query["exemplar"] = false.into();
        query["interval"] = "".into();
        query["intervalMs"] = (1000 * least).into();
        query["maxDataPoints"] = points.into();
        query["requestId"] = format!("{}{}", panel["id"], target["refId"].as_str().unwrap()).into();
        query["utcOffsetSec"] = 0.into();
        query
    });
    json!({
        "queries": targets.collect::<Vec<_>>(),
        "from": (now.as_millisecond() - 1000 * seconds).to_string(),
        "to": now.as_millisecond().to_string(),
    })
}

/// All numbers in the answer to one question.
fn numbers(result: &Value) -> Vec<f64> {
    let of_frame = |frame: &Value| -> Vec<f64> {
        let fields = frame["schema"]["fields"].as_array().into_iter().flatten();
        let columns = frame["data"]["values"].as_array().into_iter().flatten();
        let numbers = fields.zip(columns).filter(|(field, _)| field["type"] == "number");
        numbers
            .flat_map(|(_, column)| column.as_array().unwrap())
            .filter_map(Value::as_f64)
            .collect()
    };
    result["frames"].as_array().into_iter().flatten().flat_map(of_frame).collect()
}

#[test]
fn a_panel_is_asked_for_as_by_grafanas_pages() {
    let source = json!({"type": "prometheus", "uid": "mattermost-telemetry"});
    let panel = json!({
        "id": 8,
        "interval": "1h",
        "maxDataPoints": 50,
        "targets": [{
            "refId": "A",
            "datasource": source,
            "editorMode": "code",
            "expr": r#"increase(a{image_version=~"$version"}[$__interval] offset -$__interval)"#,
            "legendFormat": "starts",
            "instant": false,
            "range": true,
        }],
    });
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let body = json!({
        "queries": [{
            "refId": "A",
            "datasource": source,
            "editorMode": "code",
            "expr": r#"increase(a{image_version=~".*"}[$__interval] offset -$__interval)"#,
            "legendFormat": "starts",
            "instant": false,
            "range": true,
            "exemplar": false,
            "interval": "",
            "intervalMs": 3_600_000,
            "maxDataPoints": 50,
            "requestId": "8A",
            "utcOffsetSec": 0,
        }],
        "from": "1799996400000",
        "to": "1800000000000",
    });
    assert_eq!(question(&panel, HOUR, now), body);
}

#[test]
fn the_numbers_of_an_answer_are_found() {
    let schema = json!({"fields": [
        {"name": "Time", "type": "time", "typeInfo": {"frame": "time.Time"}},
        {"name": "Value", "type": "number", "typeInfo": {"frame": "float64"}, "labels": {}},
    ]});
    let times = json!([1_800_000_000_000_i64, 1_800_000_060_000_i64]);
    let result = json!({"status": 200, "frames": [
        {"schema": schema, "data": {"values": [times, [1, 2.5]]}},
        {"schema": schema, "data": {"values": [times, [null, 7]]}},
        // Where there is no series.
        {"schema": {"refId": "A", "fields": []}, "data": {"values": []}},
    ]});
    assert_eq!(numbers(&result), [1.0, 2.5, 7.0]);
}

/// Asks for each panel of a dashboard, and compares those of which it is known what they show.
async fn assert_shown(grafana: &Grafana, uid: &str, now: Timestamp) {
    let answer = grafana.wait_for(&format!("/api/dashboards/uid/{uid}"), |_| true).await;
    let dashboard = &answer["dashboard"];
    let seconds = match dashboard["time"]["from"].as_str() {
        Some("now-90d") => 90 * DAY,
        Some("now-24h") => DAY,
        other => panic!("{uid}: a range from {other:?}"),
    };
    let mut compared = 0;
    for panel in panels(dashboard) {
        if array(&panel["targets"]).is_empty() {
            continue;
        }
        let title = panel["title"].as_str().unwrap();
        let results = grafana.query(&question(panel, seconds, now)).await;
        let found: Vec<f64> = results.as_object().unwrap().values().flat_map(numbers).collect();
        if let Some((.., expected)) = SHOWN.iter().find(|shown| (shown.0, shown.1) == (uid, title))
        {
            assert_eq!(found, *expected, "{uid}: {title}: {results}");
            compared += 1;
        }
        if uid == OVERVIEW && BARS.contains(&title) {
            assert!((found.iter().sum::<f64>() - 8.0).abs() < 1e-9, "{title}: {results}");
            compared += 1;
        }
    }
    let known = SHOWN.iter().filter(|shown| shown.0 == uid).count();
    assert_eq!(compared, known + if uid == OVERVIEW { BARS.len() } else { 0 }, "{uid}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn every_panel_of_the_stacks_grafana_shows_what_was_sent() {
    let (name, network) = (unique("server"), unique("network"));
    let address = format!("http://{name}:8080");
    let stack = read(STACK, &[("TELEMETRY_URL", &address), ("READ_TOKEN", READ_TOKEN)]);
    let service = &stack["services"]["grafana"];
    let grafana_image = grafana_image(service).await;

    let clock = Clock::system();
    let (image, volume) =
        (Image::build(Base::Alpine), Volume::with_database(history(clock.now()).await).await);
    volume.give_away();
    let server = Server::start_with(&image, &volume, |request| {
        request
            .with_container_name(&name)
            .with_network(&network)
            .with_env_var("READ_TOKEN", READ_TOKEN)
    })
    .await;
    server.wait_until_ready().await;
    let posted = report(POSTED.0, POSTED.1, POSTED.2);
    let url = server.url("/collect").await;
    let answer = server.client().post(url).json(&posted).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    let grafana = Grafana::start(&grafana_image, service, &network).await;
    grafana.wait_for("/api/health", |answer| answer["database"] == "ok").await;
    // Plugins start and dashboards are read beside that.
    let health = "/api/datasources/uid/mattermost-telemetry/health";
    grafana.wait_for(health, |answer| answer["status"] == "OK").await;
    let rules = "/api/v1/provisioning/alert-rules";
    let rules =
        grafana.wait_for(rules, |rules| rules.as_array().is_some_and(|r| !r.is_empty())).await;
    assert_eq!(rules.as_array().unwrap().len(), RULES.len());
    for rule in rules.as_array().unwrap() {
        let receiver = &rule["notification_settings"]["receiver"];
        assert_eq!(receiver, "Mattermost telemetry", "{rule}");
    }
    let uids = |found: &Value| -> BTreeSet<String> {
        let found = found.as_array().into_iter().flatten();
        found.filter_map(|dashboard| dashboard["uid"].as_str().map(str::to_owned)).collect()
    };
    let expected = BTreeSet::from(DASHBOARDS.map(str::to_owned));
    grafana.wait_for("/api/search?type=dash-db", |found| uids(found) == expected).await;
    let now = clock.now();
    for uid in DASHBOARDS {
        assert_shown(&grafana, uid, now).await;
    }
}
