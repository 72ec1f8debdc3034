//! How long the read routes take, how large the database is and how soon the server listens,
//! by the number of reports.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{Report, ReportBody},
    storage::Database,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{median, server::Server};

const PATHS: [&str; 12] = [
    "/metrics",
    "/deployments",
    "/deployments?limit=1000",
    "/deployments?version=v10.3.0",
    "/deployments?version=v9.9.9",
    "/stats/architecture",
    "/stats/version",
    "/stats/startup?by=image_version",
    "/stats/timeseries",
    "/stats/timeseries?interval=hour&by=image_version",
    "/stats/active",
    "/stats/active?by=image_version",
];
const REQUESTS: usize = 300;
/// The reports are spread over so much time until now.
const DAYS: i64 = 365;

pub fn run(sizes: &[u64]) {
    let runtime = Runtime::new().unwrap();
    let mut tables = Vec::new();
    for &size in sizes {
        eprint!("{size} reports: filling ");
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("telemetry.db");
        let filled = runtime.block_on(fill(&format!("sqlite://{}", file.display()), size));
        eprintln!(" {:.0} s", filled.as_secs_f64());
        let bytes = std::fs::metadata(&file).unwrap().len();

        let starts: Vec<f64> =
            (0..9).map(|_| Server::telemetry(&file).start.as_secs_f64() * 1000.0).collect();
        let server = Server::telemetry(&file);
        let times: Vec<(f64, f64)> = PATHS
            .iter()
            .map(|path| runtime.block_on(time(&format!("http://{}{path}", server.address))))
            .collect();
        tables.push((size, bytes, median(starts), server.memory("VmHWM"), times));
    }
    println!("\nRead routes, {REQUESTS} requests one after the other, p50 / p99 in ms");
    line("reports", tables.iter().map(|(size, ..)| size.to_string()));
    for (row, path) in PATHS.iter().enumerate() {
        let times = tables.iter().map(|(.., times)| times[row]);
        line(path, times.map(|(p50, p99)| format!("{p50:.2} / {p99:.2}")));
    }
    line("start to listening, ms", tables.iter().map(|(_, _, start, ..)| format!("{start:.1}")));
    line(
        "memory after these requests, MB",
        tables.iter().map(|(_, _, _, memory, _)| format!("{memory:.1}")),
    );
    line(
        "database bytes per report, each id new",
        tables.iter().map(|(size, bytes, ..)| format!("{:.1}", *bytes as f64 / *size as f64)),
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
async fn time(url: &str) -> (f64, f64) {
    let client = reqwest::Client::new();
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        answer.bytes().await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    (times[REQUESTS / 2], times[REQUESTS * 99 / 100])
}

/// Fills a database as the server does, faster than time passes.
async fn fill(url: &str, size: u64) -> Duration {
    const BATCH: u64 = 5_000;
    let begun = Instant::now();
    let database = Database::open(url).await.unwrap();
    let mut writer = database.writer();
    #[expect(clippy::disallowed_methods, reason = "the reports are to end now")]
    let now = Timestamp::now();
    let batch = BATCH.min(size / 100);
    let step = SignedDuration::from_hours(DAYS * 24) / i32::try_from(size / batch).unwrap();
    let mut time = now - SignedDuration::from_hours(DAYS * 24);
    let mut random = 88_172_645_463_325_252_u64;
    for round in 0..size / batch {
        let reports: Vec<Report> =
            (0..batch).map(|_| report(&mut random, round * batch * 40 / size)).collect();
        writer.write(time, &reports).await.unwrap();
        writer.catch_up().await.unwrap();
        time += step;
        if round % (size / batch / 20).max(1) == 0 {
            eprint!(".");
            std::io::stderr().flush().unwrap();
        }
    }
    writer.close_hours(now).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    begun.elapsed()
}

/// A report of a fleet that moves from v10.0.0 to v10.39.0 in a year, three versions at a time.
fn report(random: &mut u64, progress: u64) -> Report {
    let mut next = || {
        // xorshift64: the same fleet each time.
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random
    };
    let pick = next();
    let body = ReportBody {
        instance_id: Some(format!("{:016x}{:016x}", next(), next())),
        image_version: Some(format!("v10.{}.0", progress.saturating_sub(pick % 3))),
        architecture: Some(["aarch64", "x86_64"][usize::from(pick % 4 == 0)].to_owned()),
        os: Some("linux".to_owned()),
        container_runtime: Some(["", "docker"][usize::from(pick % 5 == 0)].to_owned()),
        startup_time_ms: i64::try_from(500 + pick % 20_000).ok(),
        db_type: Some("postgres".to_owned()),
        telemetry_version: Some("1.0".to_owned()),
        ..ReportBody::default()
    };
    body.into_report().unwrap()
}
