//! Every question that Grafana's dashboards ask, sent as Grafana sends it.

use std::{collections::BTreeSet, time::Duration};

use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::ReportKind,
    metrics::{Metrics, Sizes},
    simulation::{
        Clients, Fleet, Settings,
        panels::{Question, array, dashboards, panels, questions, text},
    },
    storage::{Database, Writer},
};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{App, BEGIN, config};

const DATA_SOURCES: &str = include_str!("../../../grafana/provisioning/datasources/telemetry.yaml");

fn asks(panel: &Value) -> bool {
    !["row", "text"].contains(&text(panel, "type"))
}

#[test]
fn panels_have_ids_of_their_own_and_explanations() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards().unwrap() {
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
            for asker in asking {
                let uid = text(&asker["datasource"], "uid");
                assert!(DATA_SOURCES.contains(&format!("uid: {uid}\n")), "{name}: {uid:?}");
            }
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for dashboard in dashboards().unwrap() {
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

/// Asks one question. Returns how many series came, and how many values.
async fn ask(app: &App, question: &Question) -> (usize, usize) {
    let request = app.request(Method::POST, question.route).form(&question.form);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "success", "{}: {answer}", question.expression);
    let series = array(&answer["data"]["result"]);
    let values = series.iter().map(|one| match one["value"] {
        Value::Array(_) => 1,
        _ => array(&one["values"]).len(),
    });
    (series.len(), values.sum())
}

/// Asks everything, each dashboard over its own range.
async fn replay_all(app: &App) -> String {
    let mut shown = String::new();
    for dashboard in dashboards().unwrap() {
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
        for question in questions(&dashboard, app.now().as_second(), range).unwrap() {
            let (series, values) = ask(app, &question).await;
            let Question { panel, target, .. } = question;
            shown += &format!("    {panel} {target}: {series} series, {values} values\n");
        }
    }
    shown
}

/// A day of a server's own metrics, every five minutes.
async fn keep_metrics(writer: &mut Writer, until: Timestamp) {
    let metrics = Metrics::new();
    let sizes = Sizes { queue: 3, database_bytes: 1_000_000, log_bytes: 40_000, interrupted: 0 };
    for step in (0..288).rev() {
        metrics.committed([ReportKind::Start; 4].into_iter(), Duration::from_millis(2));
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
    let fleet =
        Fleet::new(Settings { installations: 300, from, until, seed: 1, clients: Clients::Mixed });
    let mut writer = database.writer();
    writer.import_reports(fleet, until, |_| ()).await.unwrap();
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
    // The first sample of its own metrics.
    let sampled = async { while app.database.sample_series().await.unwrap().is_empty() {} };
    timeout(Duration::from_secs(30), sampled).await.unwrap();
    assert_snapshot!("panels_of_an_empty_server", replay_all(&app).await);
}
