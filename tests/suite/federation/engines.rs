//! Engines that scrape three servers, configured as docs/scaling.md says.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mattermost_telemetry::simulation::panels::{Question, array};
use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, interval};

use crate::prometheus::process::Prometheus;

const PAGE: &str = include_str!("../../../docs/scaling.md");
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// Series of an answer: their labels, and their values at times in seconds.
pub type Series = BTreeMap<BTreeMap<String, String>, BTreeMap<i64, f64>>;

/// The configuration of the page for three targets, with a scrape each 0.5 s.
pub fn configuration(targets: [SocketAddr; 3]) -> String {
    let (_, rest) = PAGE.split_once("```yaml\n").unwrap();
    let (block, _) = rest.split_once("```\n").unwrap();
    let mut config = block.replace("scrape_interval: 1m", "scrape_interval: 500ms");
    for (number, target) in (1..).zip(targets) {
        let written = format!("10.0.0.{number}:8080");
        assert_eq!(config.matches(&written).count(), 1, "{written}");
        config = config.replace(&written, &target.to_string());
    }
    config
}

/// Stopped when it is dropped.
pub struct VictoriaMetrics {
    pub address: SocketAddr,
    process: Child,
}

impl VictoriaMetrics {
    pub async fn start(folder: &TempDir, config: &str, client: &Client) -> Self {
        let (file, log) = (folder.path().join("scrape.yml"), folder.path().join("log"));
        std::fs::write(&file, config).unwrap();
        // Free for the moment that it takes to give it on.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut process = Command::new("victoria-metrics")
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-promscrape.config={}", file.display()))
            .args(["-promscrape.noStaleMarkers", "-retentionPeriod=100y"])
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("victoria-metrics is needed: apt-get install victoria-metrics");
        let deadline = Instant::now() + TIME_LIMIT;
        let mut tick = interval(Duration::from_millis(20));
        while client.get(format!("http://{address}/health")).send().await.is_err() {
            let runs = process.try_wait().unwrap().is_none() && Instant::now() < deadline;
            assert!(runs, "it does not answer: {}", std::fs::read_to_string(&log).unwrap());
            tick.tick().await;
        }
        Self { address, process }
    }
}

impl Drop for VictoriaMetrics {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A Prometheus that takes samples of the past, too: those of its own, such as `up`, have the time of the
/// machine.
pub fn prometheus(folder: &TempDir, config: &str) -> Prometheus {
    let storage = "storage:\n  tsdb:\n    out_of_order_time_window: 20y\n";
    Prometheus::start(folder.path(), &format!("{config}{storage}"))
}

/// Asks a question of an engine or a server at `address`.
pub async fn ask(client: &Client, address: &str, question: &Question) -> Series {
    let mut form = question.form.clone();
    form.push(("nocache", "1".to_owned()));
    let request = client.post(format!("http://{address}{}", question.route)).form(&form);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "success", "{}: {answer}", question.expression);
    series(&answer)
}

/// The value of an expression at a time.
pub async fn value(client: &Client, address: &str, expression: &str, time: i64) -> f64 {
    let form = vec![("query", expression.to_owned()), ("time", time.to_string())];
    let (panel, target, expression) = Default::default();
    let question = Question { panel, target, expression, route: "/api/v1/query", form };
    let series = ask(client, address, &question).await;
    series.into_values().flat_map(BTreeMap::into_values).sum()
}

fn series(answer: &Value) -> Series {
    let mut found = Series::new();
    for one in array(&answer["data"]["result"]) {
        let labels = one["metric"].as_object().unwrap();
        let labels =
            labels.iter().map(|(label, value)| (label.clone(), value.as_str().unwrap().to_owned()));
        let own = std::slice::from_ref(&one["value"]);
        let samples = if one["value"].is_array() { own } else { array(&one["values"]) };
        let number = |sample: &Value| sample[1].as_str().unwrap().parse::<f64>().unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        let time = |sample: &Value| sample[0].as_f64().unwrap() as i64;
        let values = samples.iter().map(|sample| (time(sample), number(sample)));
        found.insert(labels.collect(), values.collect());
    }
    found
}
