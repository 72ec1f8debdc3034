//! Times for which commands hold the database's lock beside a server.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use mattermost_telemetry::{simulation::Fleet, storage::Database};
use sqlx::{
    ConnectOptions as _, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    reads,
    server::{self, Server},
};

/// Time between two looks at the lock.
const LOOK: Duration = Duration::from_micros(200);

/// Prints a row for each command, over a history of so many reports. Where `other` names a binary, it is that
/// one's.
pub fn run(size: u64, other: Option<&Path>) {
    let binary = other.unwrap_or(Path::new(server::OWN));
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [file, copy, exported] =
        ["telemetry.db", "copy.db", "reports.jsonl"].map(|name| folder.path().join(name));
    let runtime = Runtime::new().unwrap();
    let instance = runtime.block_on(fill(&copy, size));
    runtime.block_on(fill(&file, 1000));
    let mut export = server::command(binary, &copy);
    export.args(["export", "--format", "jsonl", "--output"]).arg(&exported);
    assert!(export.status().unwrap().success());
    let server = Server::start_binary(binary, &file);
    println!("command                          time s  holds  p50 ms  p99 ms  max ms");
    let commands: [&[&str]; 6] = [
        &["import", exported.to_str().unwrap()],
        &["quarantine", "--value", "architecture=aarch64", "--apply"],
        &["quarantine", "lift", "1"],
        &["verify", "--repair"],
        &["purge", "--instance", &instance, "--apply"],
        &["verify"],
    ];
    for words in commands {
        let (time, holds) = runtime.block_on(watch(binary, &file, words));
        let place = |share: usize| holds.get(holds.len().saturating_sub(1) * share / 100);
        let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        let shown = words[..words.len().min(2)].join(" ");
        println!(
            "{:31.31}  {:6.1}  {:5}  {:6.1}  {:6.1}  {:6.1}",
            shown.split('/').next().unwrap(),
            time.as_secs_f64(),
            holds.len(),
            ms(place(50)),
            ms(place(99)),
            ms(holds.last()),
        );
    }
    drop(server);
}

/// A history in a new file. Returns one of its instances.
async fn fill(file: &Path, size: u64) -> String {
    let database = Database::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let mut writer = database.writer();
    let settings = reads::past(size);
    let until = settings.until;
    writer.import_reports(Fleet::new(settings), until, |_| ()).await.unwrap();
    writer.close().await.unwrap();
    let filter = mattermost_telemetry::storage::ReportFilter::default();
    let newest = database.newest_reports(&filter, 1).await.unwrap();
    database.close().await;
    newest[0].instance_id.to_string()
}

/// Runs a command, and tries for the lock meanwhile. Returns the command's time, and the times for which
/// others held the lock, sorted.
async fn watch(binary: &Path, file: &Path, words: &[&str]) -> (Duration, Vec<Duration>) {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::ZERO);
    let mut connection: SqliteConnection = options.connect().await.unwrap();
    let begun = Instant::now();
    let mut command = server::command(binary, file);
    let mut command = command.args(words).stdout(Stdio::null()).spawn().unwrap();
    let (mut holds, mut held_since) = (Vec::new(), None);
    let status = loop {
        let free = match connection.begin_with("BEGIN IMMEDIATE").await {
            Ok(free) => free.rollback().await.is_ok(),
            Err(_) => false,
        };
        let now = Instant::now();
        if !free {
            held_since.get_or_insert(now);
        } else if let Some(since) = held_since.take() {
            holds.push(now.duration_since(since));
        }
        if let Some(status) = command.try_wait().unwrap() {
            break status;
        }
        sleep(LOOK).await;
    };
    assert!(status.success(), "{words:?}: {status}");
    connection.close().await.unwrap();
    holds.sort();
    (begun.elapsed(), holds)
}
