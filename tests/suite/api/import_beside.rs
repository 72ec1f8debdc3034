//! An import beside a running server: its reports go on, and it sees what was imported.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{REFERENCE_SCHEMA, Server, binary, stock};

const REPORTS: i64 = 30_000;
const INSTANCES: i64 = 5_000;

/// Reports of two months up to some days ago, each instance in a random order of its days.
async fn reference(file: &Path) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(REFERENCE_SCHEMA).execute(&mut connection).await.unwrap();
    let rows = format!(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {REPORTS})
         INSERT INTO deployments (instance_id, image_version, architecture,
             container_runtime, startup_time_ms, db_type, telemetry_version, created_at)
         SELECT printf('%032x', i * 7919 % {INSTANCES}), 'v11.' || (i % 7) || '.0', 'aarch64', '',
                i % 9000, 'postgres', '1.0',
                datetime('now', '-' || (5 + i * 31 % 60) || ' days', '-' || (i % 1000) || ' seconds')
         FROM n"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A process that is killed with its test.
struct Import(Child);

impl Drop for Import {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Times without the write lock until an import has ended, by asking for it again and again.
async fn held(database: PathBuf, mut import: Import) -> Vec<Duration> {
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::ZERO);
    let mut connection = options.connect().await.unwrap();
    let (mut times, mut free) = (Vec::new(), Instant::now());
    loop {
        let asked = Instant::now();
        if let Ok(lock) = connection.begin_with("BEGIN IMMEDIATE").await {
            lock.rollback().await.unwrap();
            times.push(asked - free);
            free = Instant::now();
        }
        if let Some(status) = import.0.try_wait().unwrap() {
            assert!(status.success());
            return times;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The 99th percentile and the maximum.
fn summary(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() * 99 / 100], times[times.len() - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_wait_for_short_steps_of_an_import_only() {
    let folder = TempDir::new().unwrap();
    let (database, source) = (folder.path().join("telemetry.db"), folder.path().join("old.db"));
    reference(&source).await;
    let url = format!("sqlite://{}", database.display());
    let server = Server::start(&database);
    let client = Client::new();
    let send = async |id: &str| {
        let answer = client.post(server.url("/collect")).json(&stock(id)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    send("before").await;

    let begun = Instant::now();
    let import = binary()
        .args(["import", "--database-url", &url])
        .arg(&source)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let held = tokio::spawn(held(database, Import(import)));
    let mut times = Vec::new();
    while !held.is_finished() {
        let begun = Instant::now();
        // Ids of the import are among them.
        send(&format!("{:032x}", times.len() % 50)).await;
        times.push(begun.elapsed());
    }
    let held = held.await.unwrap();
    let (lasted, posted) = (begun.elapsed(), times.len());
    let long = held.iter().filter(|&&time| time > Duration::from_millis(20)).count();
    let asked = held.len();
    let ((report_p99, report_max), (held_p99, held_max)) = (summary(times), summary(held));
    let line = format!(
        "import of {REPORTS} reports in {lasted:.1?} beside {posted} others: they took \
         {report_p99:.1?} (p99), {report_max:.1?} (max); the lock was held for {held_p99:.1?} (p99), \
         {held_max:.1?} (max), over 20 ms {long} of {asked} times\n"
    );
    // Past the test harness, which hides what a passing test prints.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    // Steps are to take 8 ms. Tests run beside each other on slow machines.
    assert!(held_p99 < Duration::from_millis(100), "{held_p99:?}");
    assert!(report_p99 < Duration::from_millis(200), "{report_p99:?}");
    assert!(report_max < Duration::from_secs(2), "{report_max:?}");

    // The server has all of it.
    let metrics: Value =
        client.get(server.url("/metrics")).send().await.unwrap().json().await.unwrap();
    assert_eq!(metrics["total_deployments"], REPORTS + 1 + i64::try_from(posted).unwrap());
    assert_eq!(metrics["unique_instances"], INSTANCES + 1);
    assert_eq!(metrics["returning_instances"], INSTANCES);
    assert_eq!(metrics["version_breakdown"].as_array().unwrap().len(), 7);
    let active: Value =
        client.get(server.url("/stats/active")).send().await.unwrap().json().await.unwrap();
    assert!(active.to_string().contains(&INSTANCES.to_string()), "{active}");
    assert!(server.terminate().0.success());
    let verified = binary().args(["verify", "--database-url", &url]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
