//! Every question that Grafana's dashboards ask, sent as Grafana sends it.

use std::{collections::BTreeSet, time::Duration};

use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::EventKind,
    observability::{Metrics, Sizes},
    simulation::{Fleet, Settings},
    storage::{Database, Writer},
};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{App, BEGIN, config};

const FILES: [&str; 3] = [
    include_str!("../../grafana/dashboards/overview.json"),
    include_str!("../../grafana/dashboards/startup-time.json"),
    include_str!("../../grafana/dashboards/server-health.json"),
];
const DATA_SOURCES: &str = include_str!("../../grafana/provisioning/datasources/telemetry.yaml");

fn dashboards() -> Vec<Value> {
    FILES.iter().map(|file| serde_json::from_str(file).unwrap()).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Panels and rows, those within a folded row too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    array(&dashboard["panels"])
        .iter()
        .flat_map(|panel| std::iter::once(panel).chain(array(&panel["panels"])))
        .collect()
}

fn asks(panel: &Value) -> bool {
    !["row", "text"].contains(&text(panel, "type"))
}

#[test]
fn panels_are_told_apart_and_explained() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        let title = text(&dashboard, "title");
        assert!(uids.insert(text(&dashboard, "uid").to_owned()), "{title}");
        let panels = panels(&dashboard);
        let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{title}");
        for panel in &panels {
            let name = format!("{title}: {}", text(panel, "title"));
            assert!(!text(panel, "title").is_empty(), "{name}");
            if !asks(panel) {
                continue;
            }
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(text(panel, "description").len() > 20, "{name}");
            assert!(!text(defaults, "unit").is_empty(), "{name}");
            assert!(!text(defaults, "noValue").is_empty(), "{name}");
            let variables = array(&dashboard["templating"]["list"]);
            let asking = std::iter::once(*panel).chain(array(&panel["targets"])).chain(variables);
            for of in asking {
                let uid = text(&of["datasource"], "uid");
                assert!(DATA_SOURCES.contains(&format!("uid: {uid}\n")), "{name}: {uid:?}");
            }
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for dashboard in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in array(&dashboard["panels"]) {
            let place = |field: &str| panel["gridPos"][field].as_u64().unwrap();
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{}", text(panel, "title"));
                }
            }
        }
    }
}

/// The interval that Grafana chooses for a range and a number of points, in seconds: as
/// `roundInterval` of its `@grafana/data`, from ten seconds on.
fn interval(range: i64, points: i64, least: i64) -> i64 {
    const STEPS: [(i64, i64); 18] = [
        (15, 10),
        (18, 15),
        (25, 20),
        (45, 30),
        (90, 60),
        (210, 120),
        (450, 300),
        (750, 600),
        (1050, 900),
        (1500, 1200),
        (2700, 1800),
        (5400, 3600),
        (9000, 7200),
        (16_200, 10_800),
        (32_400, 21_600),
        (86_400, 43_200),
        (604_800, 86_400),
        (1_814_400, 604_800),
    ];
    let wanted = range / points;
    let step = STEPS.iter().find(|(below, _)| wanted < *below).map_or(2_592_000, |(_, step)| *step);
    step.max(least)
}

/// A length of time as Grafana writes it.
fn length(seconds: i64) -> String {
    match seconds {
        _ if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        _ if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        _ if seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// Asks what one target asks over the last `range` seconds. Returns how many series came, and how
/// many values.
async fn replay(app: &App, panel: &Value, target: &Value, range: i64) -> (usize, usize) {
    let least = match text(panel, "interval") {
        "1h" => 3600,
        "" | "1m" => 60,
        other => panic!("an interval of {other}"),
    };
    let step = interval(range, panel["maxDataPoints"].as_i64().unwrap_or(1000), least);
    let expression = text(target, "expr")
        .replace("$__interval", &length(step))
        .replace("$__range", &format!("{range}s"))
        .replace("$version", ".*")
        .replace("$architecture", ".*");
    assert!(!expression.contains('$'), "{expression}");
    let now = app.now().as_second();
    let (route, form) = if target["instant"] == true {
        ("/api/v1/query", vec![("query", expression.clone()), ("time", now.to_string())])
    } else {
        // On multiples of the step.
        let (start, end) = ((now - range) / step * step, now / step * step);
        let form = vec![
            ("end", end.to_string()),
            ("query", expression.clone()),
            ("start", start.to_string()),
            ("step", step.to_string()),
        ];
        ("/api/v1/query_range", form)
    };
    let answer = app.request(Method::POST, route).form(&form).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    let series = array(&answer["data"]["result"]);
    let values =
        series.iter().map(|of| if of["value"].is_array() { 1 } else { array(&of["values"]).len() });
    (series.len(), values.sum())
}

/// Asks everything, each dashboard over its own range.
async fn replay_all(app: &App) -> String {
    let mut shown = String::new();
    for dashboard in dashboards() {
        shown += &format!("{}\n", text(&dashboard, "title"));
        let range = match text(&dashboard["time"], "from") {
            "now-90d" => 90 * 86_400,
            "now-24h" => 86_400,
            other => panic!("a range from {other}"),
        };
        for variable in array(&dashboard["templating"]["list"]) {
            let query = text(&variable["query"], "query");
            let (metric, label) = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|rest| rest.split_once(", "))
                .unwrap();
            let (end, start) = (app.now().as_second(), app.now().as_second() - range);
            let path = format!(
                "/api/v1/label/{label}/values?match[]={metric}&start={start}&end={end}&limit=40000"
            );
            let values = app.json(&path).await;
            shown +=
                &format!("    ${}: {}\n", text(variable, "name"), array(&values["data"]).len());
        }
        for panel in panels(&dashboard) {
            for target in array(&panel["targets"]) {
                let (series, values) = replay(app, panel, target, range).await;
                shown += &format!(
                    "    {} {}: {series} series, {values} values\n",
                    text(panel, "title"),
                    text(target, "refId")
                );
            }
        }
    }
    shown
}

/// A day of a server's own metrics, every five minutes.
async fn keep_metrics(writer: &mut Writer, until: Timestamp) {
    let metrics = Metrics::new();
    let sizes = Sizes { queue: 3, database_bytes: 1_000_000, log_bytes: 40_000 };
    for step in (0..288).rev() {
        metrics.committed([EventKind::Start; 4].into_iter(), Duration::from_millis(2));
        metrics.rejected("malformed-json");
        metrics.limited_client();
        let at = until - SignedDuration::from_mins(5 * step);
        writer.record(at, &metrics.samples(sizes)).await.unwrap();
    }
}

/// A server whose database holds three months of a made-up fleet and a day of its own metrics.
async fn with_a_fleet() -> App {
    let folder = TempDir::new().unwrap();
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let until: Timestamp = BEGIN.parse().unwrap();
    let from = until - SignedDuration::from_hours(100 * 24);
    let fleet = Fleet::new(Settings { installations: 300, from, until, seed: 1 });
    let mut writer = database.writer();
    writer.import_arrivals(fleet, until, |_| ()).await.unwrap();
    keep_metrics(&mut writer, until).await;
    writer.close().await.unwrap();
    database.close().await;
    App::start_in(folder, |_| ()).await
}

#[tokio::test]
async fn every_panel_has_data_where_there_is_a_fleet() {
    let app = with_a_fleet().await;
    assert_snapshot!("panels_of_a_fleet", replay_all(&app).await);
}

#[tokio::test]
async fn every_panel_is_answered_by_an_empty_server() {
    let app = App::start().await;
    assert_snapshot!("panels_of_an_empty_server", replay_all(&app).await);
}
