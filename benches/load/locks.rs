//! Times for which commands hold the database's lock beside a server.

use std::{
    fs::File,
    path::Path,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use mattermost_telemetry::{simulation::Fleet, storage::Database};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    reads,
    server::{self, Server},
};

/// Time between two looks at the lock. Holds that follow each other within it count as one.
const LOOK: Duration = Duration::from_micros(50);

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
        let (time, holds) = watch(binary, &file, server.pid(), words);
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

/// Runs a command. Returns its time, and the times for which it or the server, which does its order, held the
/// lock, sorted.
fn watch(binary: &Path, file: &Path, server: Pid, words: &[&str]) -> (Duration, Vec<Duration>) {
    // The lock of SQLite's writers in WAL mode (<https://sqlite.org/walformat.html#wal_locks>).
    let shared = file.with_extension("db-shm");
    let lock = Flock { start: 120, length: 1, ..FlockType::ReadLock.into() };
    let begun = Instant::now();
    let mut command = server::command(binary, file);
    let mut command = command.args(words).stdout(Stdio::null()).spawn().unwrap();
    let own = Pid::from_child(&command);
    let (mut holds, mut held) = (Vec::new(), None);
    let status = loop {
        // SQLite makes the file with the first connection.
        let shared = File::open(&shared).ok();
        let holder = shared.and_then(|shared| fcntl_getlk(shared, &lock).unwrap()?.pid);
        let holder = holder.filter(|holder| [own, server].contains(holder));
        let now = Instant::now();
        held = match (held, holder) {
            (Some((before, since)), Some(holder)) if before == holder => Some((before, since)),
            (before, holder) => {
                holds.extend(before.map(|(_, since)| now.duration_since(since)));
                holder.map(|holder| (holder, now))
            }
        };
        if let Some(status) = command.try_wait().unwrap() {
            break status;
        }
        sleep(LOOK);
    };
    assert!(status.success(), "{words:?}: {status}");
    holds.sort();
    (begun.elapsed(), holds)
}
