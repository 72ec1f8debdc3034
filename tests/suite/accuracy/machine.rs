//! The server, on a machine with a clock that may be wrong, and its clients' connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use mattermost_telemetry::{app, clock::Clock, storage::Database};
use reqwest::header;
use serde_json::Value;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::world::Bodies;
use crate::support;
use crate::support::milliseconds::HOUR;

/// Connections of the clients.
const CONNECTIONS: usize = 64;
/// Longest time for which the server may be busy with a correction.
const PATIENCE: Duration = Duration::from_mins(15);

/// Pause between two looks at the progress of the server.
const POLLED: Duration = Duration::from_millis(5);

/// The true time, and how far the machine's clock is ahead of it, in milliseconds.
#[derive(Debug, Default)]
struct Time {
    now: AtomicI64,
    ahead: AtomicI64,
}

struct Running {
    address: SocketAddr,
    database: Database,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<anyhow::Result<()>>,
}

pub struct Machine {
    folder: TempDir,
    time: Arc<Time>,
    client: reqwest::Client,
    server: Option<Running>,
    file: Option<SqliteConnection>,
    /// Number of starts.
    runs: i64,
}

impl Machine {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let client = reqwest::Client::new();
        Self { folder, time: Arc::default(), client, server: None, file: None, runs: 0 }
    }

    pub fn now(&self) -> i64 {
        self.time.now.load(Ordering::Relaxed)
    }

    /// Lets time pass until a moment.
    pub fn pass_to(&self, now: i64) {
        self.time.now.store(now, Ordering::Relaxed);
    }

    /// Sets the clock.
    pub fn set(&self, ahead: i64) {
        self.time.ahead.store(ahead, Ordering::Relaxed);
    }

    pub async fn start(&mut self, ahead: i64) {
        self.set(ahead);
        let begun = self.now();
        let (wall, running) = (Arc::clone(&self.time), Arc::clone(&self.time));
        let clock = Clock::new(
            move || {
                let shown = wall.now.load(Ordering::Relaxed) + wall.ahead.load(Ordering::Relaxed);
                Timestamp::from_millisecond(shown).unwrap()
            },
            move || running.now.load(Ordering::Relaxed) - begun,
            "2026-01-01T00:00:00Z".parse().unwrap(),
        );
        // Rate limits go by the real time, in which all of this takes minutes.
        let config = support::config(&self.folder);
        let database = app::open(&config, &clock).await.unwrap();
        let listener = TcpListener::bind(config.server_address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn({
            let database = database.clone();
            async move {
                let stopped = async {
                    let _ = stopped.await;
                };
                app::run(&config, database, listener, clock, stopped).await
            }
        });
        self.server = Some(Running { address, database, stop, ended });
        // It starts at this time, and not at that of the first report.
        self.runs += 1;
        self.wait("SELECT EXISTS (SELECT 1 FROM clock_stretches WHERE run = ?)", self.runs).await;
    }

    pub async fn stop(&mut self) {
        self.file = None;
        let server = self.server.take().unwrap();
        server.stop.send(()).unwrap();
        server.ended.await.unwrap().unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.as_ref().unwrap().address)
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// The value of a metric without labels, as Prometheus scrapes it.
    pub async fn metric(&self, name: &str) -> f64 {
        let request = self.client.get(self.url("/metrics")).header(header::ACCEPT, "text/plain");
        let text = request.send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    /// Sends reports, each of which must be taken, and returns when all are.
    pub async fn send(&self, bodies: Bodies) {
        let mut lanes = vec![Vec::new(); CONNECTIONS];
        for (number, body) in bodies {
            lanes[number % CONNECTIONS].push(body);
        }
        let url = self.url("/collect");
        let senders: Vec<_> = lanes
            .into_iter()
            .filter(|lane| !lane.is_empty())
            .map(|lane| {
                let (client, url) = (self.client.clone(), url.clone());
                tokio::spawn(async move {
                    for body in lane {
                        let request = client.post(&url).body(body);
                        let request = request.header(header::CONTENT_TYPE, "application/json");
                        let answer = request.send().await.unwrap();
                        assert_eq!(answer.status(), 200);
                        answer.bytes().await.unwrap();
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
    }

    /// Waits until the times of reports are corrected, hours are closed and reports are indexed.
    pub async fn settle(&mut self) {
        let settled = "SELECT NOT EXISTS (SELECT 1 FROM corrections) AND min(
                 position >= iif(name = 'rolled_up', ?, (SELECT max(id) FROM reports))
             ) FROM watermarks WHERE name IN ('indexed', 'rolled_up')";
        self.wait(settled, self.now().div_euclid(HOUR)).await;
    }

    /// Waits until the chores of a minute are done, too. The server is started anew for it, since its minutes
    /// are real ones.
    pub async fn settle_chores(&mut self) {
        self.settle().await;
        self.stop().await;
        self.start(0).await;
        let done = "SELECT NOT EXISTS (SELECT 1 FROM calendar_recounts)
                 AND position >= min(?, (SELECT max(hour) FROM snapshots))
             FROM watermarks WHERE name = 'adopted'";
        self.wait(done, self.now().div_euclid(HOUR)).await;
        let outages = async {
            while self.metric("telemetry_outage_seconds_total").await == 0.0 {
                sleep(POLLED).await;
            }
        };
        timeout(PATIENCE, outages).await.expect("the server states no outage");
    }

    /// Waits until a question with a parameter has the answer `true`.
    async fn wait(&mut self, question: &'static str, parameter: i64) {
        if self.file.is_none() {
            let path = self.server.as_ref().unwrap().database.path();
            let options = SqliteConnectOptions::new().filename(path).read_only(true);
            self.file = Some(options.connect().await.unwrap());
        }
        let file = self.file.as_mut().unwrap();
        let settled = async {
            while !sqlx::query_scalar::<_, bool>(question)
                .bind(parameter)
                .fetch_one(&mut *file)
                .await
                .unwrap()
            {
                sleep(POLLED).await;
            }
        };
        timeout(PATIENCE, settled).await.expect("the server does not settle");
    }

    /// Runs a command beside the server. Returns what it prints.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let url = support::url(self.server.as_ref().unwrap().database.path());
        let mut command = support::binary();
        command.args(arguments).env("DATABASE_URL", url);
        let run = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = run.await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Orders a repair, as `verify --repair` does, and waits for it.
    pub async fn repair(&self) {
        let mut writer = self.server.as_ref().unwrap().database.writer();
        let order = writer.order_repair().await.unwrap();
        let repaired = async {
            while writer.repaired(order).await.unwrap().is_none() {
                sleep(POLLED).await;
            }
        };
        timeout(PATIENCE, repaired).await.expect("the server does not repair");
        writer.leave().await.unwrap();
    }

    /// Holds what is derived from the reports to a recount.
    pub async fn verify(&self) {
        let now = Timestamp::from_millisecond(self.now()).unwrap();
        let verdict = self.server.as_ref().unwrap().database.verify(now).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}
