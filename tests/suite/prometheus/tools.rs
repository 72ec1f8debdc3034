//! Prometheus' own programs as clients of the server.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, interval};

use super::process::{Prometheus, promtool};
use crate::support::{App, stock};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn promtool_queries_the_server() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    let url = format!("http://{}", app.address);
    let now = app.now().as_second().to_string();
    let text = |arguments: &[&str]| String::from_utf8(promtool(arguments).stdout).unwrap();
    let shown = text(&["query", "instant", "--time", &now, &url, "sum(mattermost_starts_total)"]);
    assert_eq!(shown, format!("{{}} => 1 @[{now}]\n"));
    let end = (app.now().as_second() + 60).to_string();
    let range = ["query", "range", "--start", &now, "--end", &end, "--step", "1m", &url, "1 + 1"];
    assert_eq!(text(&range).trim(), format!("{{}} =>\n2 @[{now}]\n2 @[{end}]"));
    let shown = text(&["query", "series", "--match", "mattermost_instances", &url]);
    assert_eq!(shown, "{__name__=\"mattermost_instances\"}\n");
    let shown = text(&["query", "labels", &url, "architecture"]);
    assert_eq!(shown, "aarch64\n");
}

#[tokio::test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn promtool_finds_nothing_wrong_with_a_scrape() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    assert_eq!(app.post("{").await.status(), 400);
    let (_, text) = app.scrape("text/plain;version=0.0.4").await;
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install prometheus");
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let printed = [checked.stdout, checked.stderr].concat();
    assert!(
        checked.status.success() && printed.is_empty(),
        "{}",
        String::from_utf8_lossy(&printed)
    );
}

#[tokio::test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn prometheus_scrapes_the_server_without_a_warning() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    let folder = TempDir::new().unwrap();
    let config = format!(
        "scrape_configs:\n  - job_name: telemetry\n    scrape_interval: 1s\n    \
         static_configs:\n      - targets: ['{}']\n",
        app.address
    );
    let prometheus = Prometheus::start(folder.path(), &config);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut tick = interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        let targets = prometheus.get(&app.client, "/api/v1/targets").await;
        let target = &targets["data"]["activeTargets"][0];
        if target["health"] == "up" {
            break;
        }
        let in_order = target["lastError"].as_str().is_none_or(str::is_empty);
        assert!(Instant::now() < deadline && in_order, "{targets}");
    }
    let path = "/api/v1/query?query=sum(mattermost_starts_total)";
    let answer = prometheus.get(&app.client, path).await;
    assert_eq!(answer["data"]["result"][0]["value"][1], "1", "{answer}");
    let log = prometheus.stop();
    let troubles: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("level=warn") || line.contains("level=error"))
        .collect();
    assert!(troubles.is_empty(), "{troubles:?}");
}
