//! The real binary on a machine whose clock is wrong: libfaketime is loaded before it, and leaves the
//! monotonic clock alone. Run by `.ci/wrong-clock`, which installs it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Server, binary};

/// A machine with a database and a clock.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// A machine whose clock shows a time, in the words of libfaketime: `+400d` or `@1970-01-01 00:01:00`.
    fn new(time: &str) -> Self {
        let machine = Self { folder: TempDir::new().unwrap() };
        machine.set(time);
        machine
    }

    fn set(&self, time: &str) {
        // Written whole: the server reads it at each look at the clock.
        let next = self.folder.path().join("time.next");
        fs::write(&next, format!("{time}\n")).unwrap();
        fs::rename(next, self.folder.path().join("time")).unwrap();
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("telemetry.db")
    }

    fn serve(&self) -> Server {
        let library = std::env::var("LIBFAKETIME").expect("LIBFAKETIME names the library");
        assert!(Path::new(&library).exists(), "{library}");
        Server::start_command(
            binary()
                .env("DATABASE_URL", format!("sqlite://{}", self.database().display()))
                .env("RETENTION_DAYS", "30")
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("time"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        )
    }

    /// The output of `verify`, which holds the counts to a recount, and whether they agree.
    fn verify(&self) -> (bool, String) {
        let url = format!("sqlite://{}", self.database().display());
        let output = binary().arg("verify").env("DATABASE_URL", url).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stops the server when nothing is left to be corrected, and holds the counts to a recount. A correction ends
    /// with the windows of the calendar, later than its last report has its place.
    async fn finish(&self, server: Server) {
        let begun = Instant::now();
        while self.verify().1.contains("unfinished:") {
            assert!(begun.elapsed() < Duration::from_secs(90), "{}", self.verify().1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(server.terminate());
        let (clean, output) = self.verify();
        assert!(clean, "{output}");
    }
}

async fn report(server: &Server, instance: &str) {
    let body = json!({ "instance_id": instance, "startup_time_ms": 900 });
    let client = reqwest::Client::new();
    let answer = client.post(server.url("/collect")).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

async fn get(server: &Server, path: &str) -> Value {
    reqwest::get(server.url(path)).await.unwrap().json().await.unwrap()
}

/// Waits until an answer is as wanted, for at most 90 seconds: housekeeping is done each minute.
async fn wait(server: &Server, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = get(server, path).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{path}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the days have so many starts. Returns the number of days that have some. A correction moves
/// reports in steps, so an answer in between may be one of neither time.
async fn days_with_starts(server: &Server, starts: u64) -> usize {
    let count = |day: &Value| day["starts"].as_u64().unwrap();
    let days = wait(server, "/stats/timeseries?interval=day", |days| {
        days.as_array().unwrap().iter().map(count).sum::<u64>() == starts
    })
    .await;
    days.as_array().unwrap().iter().filter(|day| count(day) > 0).count()
}

/// Waits until so many instances are active, none of them returning. A correction moves reports in steps.
async fn all_new(server: &Server, instances: u64) {
    let new = |answer: &Value| {
        answer[0]["active_instances"] == instances && answer[0]["returning_instances"] == 0
    };
    wait(server, "/stats/active", new).await;
}

#[tokio::test]
#[ignore = "needs libfaketime: run .ci/wrong-clock"]
async fn a_clock_400_days_ahead_deletes_nothing_and_comes_back() {
    let machine = Machine::new("+0d");
    let server = machine.serve();
    for instance in ["a", "b"] {
        report(&server, instance).await;
    }
    drop(server.terminate());

    machine.set("+400d");
    let server = machine.serve();
    report(&server, "b").await;
    report(&server, "c").await;
    let ready = wait(&server, "/ready", |ready| ready["clock"].is_string()).await;
    assert!(ready["clock"].as_str().unwrap().contains("30 days"), "{ready}");
    assert_eq!(get(&server, "/metrics").await["total_deployments"], 4);
    assert_eq!(get(&server, "/deployments").await.as_array().unwrap().len(), 4);
    machine.finish(server).await;

    machine.set("+0d");
    let server = machine.serve();
    all_new(&server, 3).await;
    report(&server, "d").await;
    all_new(&server, 4).await;
    assert_eq!(days_with_starts(&server, 5).await, 1);
    assert!(get(&server, "/ready").await["clock"].is_null());
    machine.finish(server).await;
}

#[tokio::test]
#[ignore = "needs libfaketime: run .ci/wrong-clock"]
async fn a_first_start_in_1970_is_dated_when_the_clock_is_set() {
    let machine = Machine::new("@1970-01-01 00:01:00");
    let server = machine.serve();
    report(&server, "a").await;
    report(&server, "b").await;
    let ready = get(&server, "/ready").await;
    assert!(ready["clock"].as_str().is_some_and(|clock| clock.contains("dated")), "{ready}");
    assert_eq!(get(&server, "/metrics").await["total_deployments"], 2);
    let reports = get(&server, "/deployments").await;
    let reports = reports.as_array().unwrap();
    assert!(reports.len() == 2 && reports[0]["created_at"].is_null(), "{reports:?}");
    let days = get(&server, "/stats/timeseries?interval=day").await;
    assert!(days.as_array().unwrap().iter().all(|day| day["starts"] == 0), "{days}");

    machine.set("+0d");
    report(&server, "c").await;
    all_new(&server, 3).await;
    days_with_starts(&server, 3).await;
    machine.finish(server).await;
}

#[tokio::test]
#[ignore = "needs libfaketime: run .ci/wrong-clock"]
async fn a_clock_that_jumps_and_comes_back_within_a_run_leaves_no_trace() {
    let machine = Machine::new("+0d");
    let server = machine.serve();
    report(&server, "a").await;
    for jump in ["+3d", "+9000d", "-2h"] {
        machine.set(jump);
        report(&server, jump).await;
        machine.set("+0d");
        report(&server, "a").await;
    }
    all_new(&server, 4).await;
    days_with_starts(&server, 7).await;
    machine.finish(server).await;
}
