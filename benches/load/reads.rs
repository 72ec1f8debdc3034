//! Times of the read routes, size of the database and time from start to listening, by the number
//! of reports.

use std::{path::Path, time::Instant};

use mattermost_telemetry::simulation::{Clients, Fleet, Settings};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{fleet, median, server::Server};

const PATHS: [&str; 15] = [
    "/metrics",
    "/deployments",
    "/deployments?limit=1000",
    "/deployments?version={usual}",
    "/deployments?version=v0.0.0",
    "/stats/architecture",
    "/stats/version",
    "/stats/startup?by=image_version",
    "/stats/timeseries",
    "/stats/timeseries?interval=hour&by=image_version",
    "/stats/active",
    "/stats/active?by=image_version",
    "/stats/active?window=day",
    "/stats/cohorts",
    "/stats/adoption",
];
/// The page of a year.
const PAGES: [&str; 2] = ["/?range=1y, after a new report", "/?range=1y"];
pub const REQUESTS: usize = 300;
/// Days over which the reports are spread, until now.
pub const DAYS: i64 = 365;

/// Figures of one database.
struct Column {
    reports: u64,
    bytes: u64,
    start_ms: f64,
    memory_mb: f64,
    times: Vec<(f64, f64)>,
}

/// Measures over made-up histories of some sizes.
pub fn run(sizes: &[u64]) {
    let columns = sizes.iter().map(|&size| {
        eprintln!("{size} reports: filling");
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("telemetry.db");
        let (reports, filled) = Runtime::new().unwrap().block_on(fleet::fill(&file, past(size)));
        eprintln!("{reports} reports in {:.0} s", filled.as_secs_f64());
        column(&file)
    });
    print(&columns.collect::<Vec<_>>());
}

/// Measures over a database that is there, of a server that was stopped. It gets a few more reports.
pub fn measure(file: &Path) {
    print(&[column(file)]);
}

fn column(file: &Path) -> Column {
    let runtime = Runtime::new().unwrap();
    let bytes = std::fs::metadata(file).unwrap().len();
    let starts = (0..9).map(|_| Server::telemetry(file).start.as_secs_f64() * 1000.0).collect();
    let server = Server::telemetry(file);
    let totals = runtime.block_on(json(&server.address, "/metrics"));
    let usual = runtime.block_on(usual_version(&server.address));
    let mut times: Vec<(f64, f64)> = PATHS
        .iter()
        .map(|path| format!("http://{}{}", server.address, path.replace("{usual}", &usual)))
        .map(|url| runtime.block_on(time(&url, REQUESTS)))
        .collect();
    times.extend(runtime.block_on(page(&server.address)));
    Column {
        reports: totals["total_deployments"].as_u64().unwrap(),
        bytes,
        start_ms: median(starts),
        memory_mb: server.memory("VmHWM"),
        times,
    }
}

fn print(columns: &[Column]) {
    println!("\nRead routes, {REQUESTS} requests one after the other, p50 / p99 in ms");
    line("reports", columns.iter().map(|column| column.reports.to_string()));
    for (row, path) in PATHS.into_iter().chain(PAGES).enumerate() {
        let times = columns.iter().map(|column| column.times[row]);
        line(path, times.map(|(p50, p99)| format!("{p50:.2} / {p99:.2}")));
    }
    line("start to listening, ms", columns.iter().map(|column| format!("{:.1}", column.start_ms)));
    line(
        "memory after these requests, MB",
        columns.iter().map(|column| format!("{:.1}", column.memory_mb)),
    );
    line(
        "database bytes per report, each id new",
        columns
            .iter()
            .map(|Column { bytes, reports, .. }| format!("{:.1}", *bytes as f64 / *reports as f64)),
    );
}

/// Prints a row of the table.
fn line(label: &str, cells: impl Iterator<Item = String>) {
    print!("{label:50}");
    for cell in cells {
        print!("{cell:>18}");
    }
    println!();
}

/// The median and the 99th percentile of one route's times, in milliseconds.
pub async fn time(url: &str, requests: usize) -> (f64, f64) {
    let client = reqwest::Client::new();
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let begun = Instant::now();
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        answer.bytes().await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    (times[requests / 2], times[requests * 99 / 100])
}

/// Times of the page of a year: made anew after each of some reports, and kept.
async fn page(address: &str) -> [(f64, f64); 2] {
    const REPORTS: usize = 50;
    let url = format!("http://{address}/?range=1y");
    let client = reqwest::Client::new();
    let mut times = Vec::with_capacity(REPORTS);
    for number in 0..REPORTS {
        let report = serde_json::json!({ "instance_id": format!("page-{number}") });
        let collect = format!("http://{address}/collect");
        let answer = client.post(collect).json(&report).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        times.push(time(&url, 1).await.0);
    }
    times.sort_by(f64::total_cmp);
    [(times[REPORTS / 2], times[REPORTS * 99 / 100]), time(&url, REQUESTS).await]
}

/// A fleet with as many installations as give some `size` reports.
pub fn past(size: u64) -> Settings {
    const SAMPLE: u32 = 1000;
    let now = fleet::now();
    let sample = Fleet::new(fleet::past(SAMPLE, DAYS, now, Clients::Stock)).count() as u64;
    let installations = u32::try_from(size * u64::from(SAMPLE) / sample).unwrap();
    fleet::past(installations, DAYS, now, Clients::Stock)
}

/// The version that most reports have.
async fn usual_version(address: &str) -> String {
    json(address, "/stats/version").await[0]["version"].as_str().unwrap().to_owned()
}

async fn json(address: &str, path: &str) -> Value {
    reqwest::get(format!("http://{address}{path}")).await.unwrap().json().await.unwrap()
}
