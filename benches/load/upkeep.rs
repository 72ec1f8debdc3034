//! Time of long upkeep over a history, and of the reports that come meanwhile: a correction of the times of all
//! reports, a repair, and a purge of one instance.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use mattermost_telemetry::{
    simulation::{Fleet, Settings},
    storage::Database,
};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    reads,
    server::{self, Server},
};

/// Times between two reports, none for no reports.
const LOADS: [Option<Duration>; 3] =
    [None, Some(Duration::from_millis(100)), Some(Duration::from_millis(5))];

/// Orders that all reports become an hour earlier.
const CORRECT: &str = "INSERT INTO corrections (
         after_report, last_report, from_ms, until_ms, shift_ms, earliest_ms, latest_ms, position
     )
     SELECT 0, max(id), min(received_at), max(received_at), -3600000, 0, max(received_at), 0
     FROM reports";

#[derive(Debug, Clone, Copy)]
enum Job {
    Correction,
    Repair,
    Purge,
}

/// End of a job.
enum Ending {
    /// A question is true.
    Question(&'static str),
    /// A command ends.
    Command(Child),
}

/// Prints a row for each job and load.
pub fn run(size: u64) {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let filled = folder.path().join("filled.db");
    let runtime = Runtime::new().unwrap();
    let settings = reads::past(size);
    let reports = runtime.block_on(fill(&filled, settings));
    // One that came in the middle of the history.
    let instance = Fleet::new(settings).nth(usize::try_from(reports / 2).unwrap()).unwrap();
    let instance = instance.1.instance_id.to_string();
    println!("Upkeep over {reports} reports");
    println!("job         report each  time s  s a million  reports  p50 ms  p99 ms  max ms");
    for job in [Job::Correction, Job::Repair, Job::Purge] {
        if matches!(job, Job::Repair) {
            // A server closes them before it carries out an order.
            runtime.block_on(close_hours(&filled, settings));
        }
        for load in LOADS {
            let file = folder.path().join("telemetry.db");
            std::fs::copy(&filled, &file).unwrap();
            let (time, times) = runtime.block_on(measure(job, &file, &instance, load));
            std::fs::remove_file(&file).unwrap();
            let place = |share: usize| times.get(times.len().saturating_sub(1) * share / 100);
            let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
            println!(
                "{:10}  {:11}  {:6.1}  {:11.1}  {:7}  {:6.1}  {:6.1}  {:6.1}",
                format!("{job:?}"),
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
}

async fn fill(file: &Path, settings: Settings) -> u64 {
    let database = Database::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let mut writer = database.writer();
    let reports =
        writer.import_reports(Fleet::new(settings), settings.until, |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    reports
}

async fn close_hours(file: &Path, settings: Settings) {
    let database = Database::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let mut writer = database.writer();
    writer.close_hours(settings.until).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
}

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Begins a job.
async fn begin(job: Job, file: &Path, instance: &str, connection: &mut SqliteConnection) -> Ending {
    let (order, question) = match job {
        Job::Correction => (CORRECT, "SELECT NOT EXISTS (SELECT 1 FROM corrections)"),
        Job::Repair => ("INSERT INTO repairs DEFAULT VALUES", "SELECT min(done) FROM repairs"),
        Job::Purge => {
            let mut command = server::command(Path::new(server::OWN), file);
            command.args(["purge", "--instance", instance, "--apply"]);
            return Ending::Command(command.stdout(Stdio::null()).spawn().unwrap());
        }
    };
    sqlx::query(order).execute(connection).await.unwrap();
    Ending::Question(question)
}

/// Time until the job is done, and the times of the reports that came meanwhile, sorted.
async fn measure(
    job: Job,
    file: &Path,
    instance: &str,
    load: Option<Duration>,
) -> (Duration, Vec<Duration>) {
    let mut connection = connect(file).await;
    let (server, begun, mut ending);
    if matches!(job, Job::Correction) {
        // A server looks for corrections when it starts.
        ending = begin(job, file, instance, &mut connection).await;
        begun = Instant::now();
        server = Server::telemetry(file);
    } else {
        server = Server::telemetry(file);
        begun = Instant::now();
        ending = begin(job, file, instance, &mut connection).await;
    }
    let url = format!("http://{}/collect", server.address);
    let (client, mut times) = (reqwest::Client::new(), Vec::new());
    while !is_over(&mut ending, &mut connection).await {
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

async fn is_over(ending: &mut Ending, connection: &mut SqliteConnection) -> bool {
    match ending {
        Ending::Question(question) => {
            sqlx::query_scalar(*question).fetch_one(connection).await.unwrap()
        }
        Ending::Command(command) => match command.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{status}");
                true
            }
            None => false,
        },
    }
}
