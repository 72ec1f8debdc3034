//! Durable reports a second, as a share of those of the reference.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{generate, median, server::Server};

const CONNECTIONS: [u32; 3] = [16, 64, 256];
const ROUNDS: usize = 5;
const SECONDS: u32 = 4;
const WRK_THREADS: u32 = 2;
/// Number of reports for a thread of wrk: more than are stored in [`SECONDS`].
const WRK_REPORTS: usize = 100_000;

/// The result of one run of a load generator.
pub struct Load {
    pub reports: u64,
    pub per_second: f64,
    pub refused: u64,
    pub p99_ms: f64,
}

/// The sender of the reports.
#[derive(Debug, Clone, Copy)]
pub enum Generator {
    /// This program, with reqwest.
    Reqwest,
    Wrk,
}

/// Prints the table of a binary.
pub fn run(binary: &Path) {
    println!("{}", binary.display());
    println!("Durable ingest, every report with an id of its own, median of {ROUNDS} rounds");
    println!(
        "generator  connections  parse only/s  durable/s  share  p99 ms  lost  refused  memory MB idle/load"
    );
    let mut generators = vec![Generator::Reqwest];
    match Command::new("wrk").arg("--version").output() {
        Ok(_) => generators.push(Generator::Wrk),
        Err(_) => println!("NOT RUN: wrk is not installed"),
    }
    for generator in generators {
        for connections in CONNECTIONS {
            row(binary, generator, connections);
        }
    }
}

fn row(binary: &Path, generator: Generator, connections: u32) {
    let (mut reference, mut durable, mut share) = (Vec::new(), Vec::new(), Vec::new());
    let (mut p99, mut idle, mut loaded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lost, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let server = Server::parse_only();
        let parsed = load(generator, &server, connections);
        drop(server);

        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = Server::start_binary(binary, &folder.path().join("telemetry.db"));
        idle.push(server.memory("VmRSS"));
        let stored = load(generator, &server, connections);
        loaded.push(server.memory("VmHWM"));
        lost += stored.reports.saturating_sub(deployments(&server));
        refused += stored.refused;

        share.push(stored.per_second / parsed.per_second);
        reference.push(parsed.per_second);
        durable.push(stored.per_second);
        p99.push(stored.p99_ms);
    }
    println!(
        "{:9}  {connections:11}  {:12.0}  {:9.0}  {:5.2}  {:6.1}  {lost:4}  {refused:7}  {:.1} / {:.1}",
        format!("{generator:?}").to_lowercase(),
        median(reference),
        median(durable),
        median(share),
        median(p99),
        median(idle),
        median(loaded),
    );
}

pub fn load(generator: Generator, server: &Server, connections: u32) -> Load {
    match generator {
        Generator::Reqwest => reqwest_load(server, connections),
        Generator::Wrk => wrk_load(server, connections),
    }
}

fn reqwest_load(server: &Server, connections: u32) -> Load {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["generate", &server.address])
        .args([connections.to_string(), SECONDS.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let [reports, refused, p99_ms] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("the generator failed: {}", String::from_utf8_lossy(&output.stderr));
    };
    let reports: u64 = reports.parse().unwrap();
    Load {
        reports,
        per_second: reports as f64 / f64::from(SECONDS),
        refused: refused.parse().unwrap(),
        p99_ms: p99_ms.parse().unwrap(),
    }
}

/// The files of reports for wrk, one for each of its threads, without the thread's number at the
/// end. They are written once: reports that are made while it runs would cost processor time.
fn wrk_reports() -> PathBuf {
    static FILES: LazyLock<PathBuf> = LazyLock::new(|| {
        let files = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports");
        for thread in 0..WRK_THREADS {
            generate::write(&files.with_extension(thread.to_string()), thread, WRK_REPORTS);
        }
        files
    });
    FILES.clone()
}

fn wrk_load(server: &Server, connections: u32) -> Load {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/report.lua");
    let output = Command::new("wrk")
        .env("REPORTS", wrk_reports())
        .args([&format!("-t{WRK_THREADS}"), "--latency", "-s", script])
        .args([format!("-c{connections}"), format!("-d{SECONDS}s")])
        .arg(format!("http://{}/collect", server.address))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let word = |line: &str, nth: usize| line.split_whitespace().nth(nth).unwrap().to_owned();
    let find = |label: &str| text.lines().find(|line| line.contains(label));
    let p99 = word(find("99%").unwrap(), 1);
    let (number, unit) = p99.split_at(p99.find(|c: char| c.is_alphabetic()).unwrap());
    let unit_ms = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        _ => 1000.0,
    };
    Load {
        reports: word(find("requests in").unwrap(), 0).parse().unwrap(),
        per_second: word(find("Requests/sec").unwrap(), 1).parse().unwrap(),
        refused: find("Non-2xx")
            .map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap()),
        p99_ms: number.parse::<f64>().unwrap() * unit_ms,
    }
}

/// Reports that the server has stored.
fn deployments(server: &Server) -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = format!("http://{}/metrics", server.address);
    let metrics: Value =
        runtime.block_on(async { reqwest::get(url).await.unwrap().json().await.unwrap() });
    metrics["total_deployments"].as_u64().unwrap()
}
