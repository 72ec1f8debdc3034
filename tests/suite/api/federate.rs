//! `/federate`: present values of selected series, for an engine that gathers several servers.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use mattermost_telemetry::domain::BUCKETS;
use reqwest::{Response, Url};
use serde_json::{Value, json};

use crate::support::{App, report, stock};

/// Asks for the series of some selectors.
async fn ask(app: &App, selectors: &[&str]) -> Response {
    let selectors = selectors.iter().map(|selector| ("match[]", selector));
    let url = format!("http://{}/federate", app.address);
    app.client.get(Url::parse_with_params(&url, selectors).unwrap()).send().await.unwrap()
}

async fn federated(app: &App, selectors: &[&str]) -> String {
    let answer = ask(app, selectors).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn the_series_of_the_selectors_with_their_types() {
    let app = App::start().await;
    for id in ["a", "b", "b"] {
        app.report(&stock(id)).await;
    }
    app.report(&report("c", json!({"image_version": "v10.11.2", "startup_time_ms": 0}))).await;
    let labels = "container_runtime=\"unknown\",db_type=\"postgres\"";
    let selectors = [
        "{__name__=~\"mattermost_(starts_total|instances)\"}",
        "mattermost_active_instances{window=\"7d\"}",
        "mattermost_starts_total{image_version=\"v11.0.0\"}",
        "{__name__=~\"mattermost_startup.*\", le=~\"|2.0|2.5|\\\\+Inf\"}",
    ];
    let text = federated(&app, &selectors).await;
    let shown = text.replace(labels, "…").replace(" 1769862896789\n", " NOW\n");
    assert_snapshot!("federated", shown);
}

#[tokio::test]
async fn no_series_has_the_id_of_an_instance() {
    let app = App::start().await;
    app.report(&stock("the-secret-id")).await;
    let text = federated(&app, &["{__name__!=\"\"}"]).await;
    assert!(text.contains("mattermost_starts_total{"), "{text}");
    assert!(!text.contains("the-secret-id") && !text.contains("recent_start"), "{text}");
    assert_eq!(federated(&app, &["mattermost_recent_start"]).await, "");
    assert_eq!(federated(&app, &["mattermost_starts_total{job=\"other\"}"]).await, "");
}

/// Two parts and more: each series comes once, families and labels in order.
#[tokio::test]
async fn a_long_answer_is_sent_in_parts() {
    let app = App::start().await;
    for number in 0..150 {
        let version = format!("v11.{}.{}", number / 10, number % 10);
        app.report(&report(&format!("i{number}"), json!({"image_version": version}))).await;
    }
    let text = federated(&app, &["{__name__=~\"mattermost_.*\"}", "mattermost_starts_total"]).await;
    let (mut names, mut families) = (BTreeSet::new(), Vec::new());
    let mut startups = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            families.push(kind);
            continue;
        }
        let series = line.rsplitn(3, ' ').last().unwrap();
        assert!(names.insert(series), "twice: {series}");
        if let Some(rest) = series.strip_prefix("mattermost_startup_seconds_count") {
            startups.push(rest);
        }
    }
    assert_eq!(
        families,
        [
            "mattermost_active_instances gauge",
            "mattermost_instances gauge",
            "mattermost_instances_returned gauge",
            "mattermost_newest_version gauge",
            "mattermost_returning_instances gauge",
            "mattermost_starts_total counter",
            "mattermost_startup_seconds histogram",
        ]
    );
    assert_eq!(startups.len(), 150);
    assert!(startups.is_sorted());
    let starts = names.iter().filter(|name| name.starts_with("mattermost_starts_total")).count();
    let buckets = names.iter().filter(|name| name.contains("_bucket")).count();
    assert_eq!((starts, buckets), (150, 150 * BUCKETS));
}

#[tokio::test]
async fn a_request_without_a_selector_is_refused() {
    let app = App::start().await;
    for (selectors, expected) in [
        (vec![], "no match[] parameter provided"),
        (vec!["sum(mattermost_instances)"], "unexpected"),
        (vec!["mattermost_starts_total[1h]"], "unexpected"),
        (vec!["mattermost_instances", ""], "unexpected"),
        (vec!["mattermost_instances"; 51], "at most 50 match[] parameters"),
    ] {
        let answer = ask(&app, &selectors).await;
        assert_eq!(answer.status(), 400, "{selectors:?}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["errorType"], "bad_data", "{body}");
        assert!(body["error"].as_str().unwrap().contains(expected), "{body}");
    }
}
