//! The metrics as Prometheus scrapes them.

use insta::assert_snapshot;
use mattermost_telemetry::domain::Dimension;
use reqwest::{Method, header};
use serde_json::json;

use crate::support::{App, report, stock};

/// Without what differs from run to run: times, sizes, how reports fell into batches, and the
/// order of one metric's series.
fn steady(text: &str) -> String {
    let varies = [
        "telemetry_commit_seconds",
        "telemetry_database",
        "telemetry_disk_free",
        "telemetry_batch_reports",
    ];
    let mut lines: Vec<&str> =
        text.lines().filter(|line| !varies.iter().any(|name| line.starts_with(name))).collect();
    let name = |line: &str| line.split('{').next().unwrap_or_default().to_owned();
    for series in lines.chunk_by_mut(|a, b| name(a) == name(b)) {
        if series[0].starts_with("telemetry_") {
            series.sort_unstable();
        }
    }
    lines.join("\n")
}

#[tokio::test]
async fn both_text_formats() {
    let app = App::start_with(|config| config.instance_rate_limit_per_hour = 2).await;
    app.accept(Dimension::Os, "a \"quoted\\name\"").await;
    app.report(&stock("a")).await;
    app.report(&report("b", json!({"architecture": "x86_64", "os": "a \"quoted\\name\""}))).await;
    app.report(&report("a", json!({"event": "heartbeat"}))).await;
    assert_eq!(app.post(stock("a").to_string()).await.status(), 429);
    assert_eq!(app.post("{").await.status(), 400);
    assert_eq!(app.post("[]").await.status(), 422);

    let (content_type, text) = app.scrape("text/plain;version=0.0.4").await;
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("\ntelemetry_batch_reports_sum 3.0\n"), "{text}");
    assert!(text.contains("\ntelemetry_commit_seconds_count "), "{text}");
    assert!(!text.contains("\ntelemetry_database_bytes 0\n"), "{text}");
    assert_snapshot!("prometheus_text", steady(&text));

    let (content_type, text) = app.scrape("application/openmetrics-text;version=1.0.0").await;
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n"));
    assert_snapshot!("openmetrics_text", steady(&text));
}

/// Scrapers say in several ways that they want text; people and browsers get JSON.
#[tokio::test]
async fn the_format_is_the_one_that_is_accepted() {
    let app = App::start().await;
    let json = "application/json";
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, wanted) in [
        (&[][..], json),
        (&["*/*"], json),
        (&[browser], json),
        (&["text/plain"], text),
        (&["text/plain;version=1.0.0"], text),
        (&["text/html", "text/plain;q=0.5"], text),
        (&["text/plain;q=0.5", "application/openmetrics-text"], open),
    ] {
        let mut request = app.request(Method::GET, "/metrics");
        for line in accept {
            request = request.header(header::ACCEPT, *line);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_TYPE], wanted, "{accept:?}");
        assert_eq!(answer.headers()[header::VARY], "Accept");
    }
}
