//! Time of a correction of all reports, and of the reports that come meanwhile.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use mattermost_telemetry::{simulation::Fleet, storage::Database};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::sleep};

use crate::{reads, server::Server};

/// Times between two reports, none for no reports.
const LOADS: [Option<Duration>; 3] =
    [None, Some(Duration::from_millis(100)), Some(Duration::from_millis(5))];

/// Prints a row for each load.
pub fn run(size: u64) {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let filled = folder.path().join("filled.db");
    let runtime = Runtime::new().unwrap();
    let reports = runtime.block_on(fill(&filled, size));
    println!("Correction of {reports} reports");
    println!("report each  time s  s a million  reports  p50 ms  p99 ms  max ms");
    for load in LOADS {
        let file = folder.path().join("telemetry.db");
        std::fs::copy(&filled, &file).unwrap();
        let server = Server::telemetry(&file);
        let (time, times) = runtime.block_on(measure(&file, &server, load));
        drop(server);
        std::fs::remove_file(&file).unwrap();
        let place = |share: usize| times.get(times.len().saturating_sub(1) * share / 100);
        let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        println!(
            "{:11}  {:6.1}  {:11.1}  {:7}  {:6.1}  {:6.1}  {:6.1}",
            load.map_or("none".to_owned(), |gap| format!("{gap:?}")),
            time.as_secs_f64(),
            time.as_secs_f64() * 1e6 / reports as f64,
            times.len(),
            ms(place(50)),
            ms(place(99)),
            ms(times.last()),
        );
    }
}

/// A history whose reports are all to become an hour earlier.
async fn fill(file: &Path, size: u64) -> u64 {
    let database = Database::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let mut writer = database.writer();
    let settings = reads::past(size);
    let until = settings.until;
    let reports = writer.import_reports(Fleet::new(settings), until, |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    let mut connection = connect(file).await;
    sqlx::query(
        "INSERT INTO corrections (
             after_report, last_report, from_ms, until_ms, shift_ms, earliest_ms, latest_ms, position
         )
         SELECT 0, max(id), min(received_at), max(received_at), -3600000, 0, max(received_at), 0
         FROM reports",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    reports
}

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Time until the correction is done, and the times of the reports that came meanwhile, sorted.
async fn measure(
    file: &Path,
    server: &Server,
    load: Option<Duration>,
) -> (Duration, Vec<Duration>) {
    let begun = Instant::now();
    let mut connection = connect(file).await;
    let url = format!("http://{}/collect", server.address);
    let (client, mut times) = (reqwest::Client::new(), Vec::new());
    while sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM corrections)")
        .fetch_one(&mut connection)
        .await
        .unwrap()
    {
        let Some(gap) = load else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let body = format!(r#"{{"instance_id":"load-{}","architecture":"aarch64"}}"#, times.len());
        let request = client.post(&url).header("Content-Type", "application/json").body(body);
        let sent = Instant::now();
        assert!(request.send().await.unwrap().status().is_success());
        times.push(sent.elapsed());
        sleep(gap).await;
    }
    times.sort();
    (begun.elapsed(), times)
}
