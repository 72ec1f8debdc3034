//! Clients that report at a steady rate, and readers. They know what was acknowledged.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::json;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use super::Shared;
use crate::support::report;

/// Time between two reports: 200 a second.
const PACE: Duration = Duration::from_millis(5);
/// Time between two readings of each reader.
const READ: Duration = Duration::from_millis(200);
/// Time before a client sends a report again.
const AGAIN: Duration = Duration::from_millis(200);
/// Time after which a client gives up.
const GIVES_UP: Duration = Duration::from_secs(10);
const READS: [&str; 4] = [
    "/metrics",
    "/?range=7d",
    "/stats/startup?by=image_version",
    "/api/v1/query?query=sum(increase(mattermost_starts_total[1d]))",
];

/// Counts of the clients.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    reads: AtomicU64,
}

#[derive(Debug)]
pub struct Fleet {
    counts: Arc<Counts>,
    address: Shared<SocketAddr>,
    times: Shared<Vec<Duration>>,
    stop: Arc<AtomicBool>,
    reporting: JoinHandle<()>,
    reading: JoinSet<()>,
}

/// Outcome of its reports.
#[derive(Debug)]
pub struct Reported {
    /// Reports that were acknowledged.
    pub acknowledged: u64,
    /// Answers with 503.
    pub refused: u64,
    /// Reports of the stock client that got no answer: stored or not.
    pub unknown: u64,
    pub reads: u64,
    /// Times of the acknowledged ones at the first try, in order.
    pub times: Vec<Duration>,
}

impl Fleet {
    pub fn start(address: SocketAddr) -> Self {
        let counts = Arc::<Counts>::default();
        let address = Arc::new(Mutex::new(address));
        let (stop, times) = (Arc::<AtomicBool>::default(), Shared::<Vec<Duration>>::default());
        let client = Client::builder().timeout(GIVES_UP).build().unwrap();
        let task = Task { counts: Arc::clone(&counts), address: Arc::clone(&address), client };
        let reporting = {
            let (task, stop, times) = (task.clone(), Arc::clone(&stop), Arc::clone(&times));
            tokio::spawn(async move {
                let mut tick = interval(PACE);
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut open = JoinSet::new();
                while !stop.load(Ordering::Relaxed) {
                    tick.tick().await;
                    open.spawn(task.clone().report(Arc::clone(&times)));
                    while open.try_join_next().is_some() {}
                }
                open.join_all().await;
            })
        };
        let mut reading = JoinSet::new();
        for path in READS {
            let (task, stop) = (task.clone(), Arc::clone(&stop));
            reading.spawn(async move {
                let mut tick = interval(READ);
                while !stop.load(Ordering::Relaxed) {
                    tick.tick().await;
                    task.read(path).await;
                }
            });
        }
        Self { counts, address, times, stop, reporting, reading }
    }

    /// Reports go to this address from now on.
    pub fn goes_to(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }

    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops when each report has its answer.
    pub async fn finish(self) -> Reported {
        self.stop.store(true, Ordering::Relaxed);
        self.reporting.await.unwrap();
        self.reading.join_all().await;
        let mut times = std::mem::take(&mut *self.times.lock().unwrap());
        times.sort();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Reported {
            acknowledged: of(&self.counts.acknowledged),
            refused: of(&self.counts.refused),
            unknown: of(&self.counts.unknown),
            reads: of(&self.counts.reads),
            times,
        }
    }
}

#[derive(Debug, Clone)]
struct Task {
    counts: Arc<Counts>,
    address: Shared<SocketAddr>,
    client: Client,
}

impl Task {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address.lock().unwrap())
    }

    /// Sends a report. One of four clients is the stock one, which sends once; the others have an id for
    /// the report and send it until it is acknowledged.
    async fn report(self, times: Shared<Vec<Duration>>) {
        let counts = &self.counts;
        let number = counts.sent.fetch_add(1, Ordering::Relaxed);
        let is_stock = number.is_multiple_of(4);
        let version = format!("v11.{}.0", number % 5);
        let mut changes =
            json!({ "image_version": version, "startup_time_ms": 900 + number % 5000 });
        if !is_stock {
            changes["report_id"] = json!(format!("{number:032x}"));
        }
        // Each instance reports twice.
        let body = report(&format!("{:032x}", number / 2), changes);
        let mut tries = 0;
        loop {
            tries += 1;
            let begun = Instant::now();
            let answer = self.client.post(self.url("/collect")).json(&body).send().await;
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(200) => {
                    counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                    if tries == 1 {
                        times.lock().unwrap().push(begun.elapsed());
                    }
                    return;
                }
                Ok(503) => {
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                    if is_stock {
                        return;
                    }
                }
                Ok(status) => panic!("{status} to {body}"),
                Err(_) if is_stock => {
                    counts.unknown.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(_) => {}
            }
            sleep(AGAIN).await;
        }
    }

    /// Reads; the server may be away.
    async fn read(&self, path: &str) {
        if let Ok(answer) = self.client.get(self.url(path)).send().await {
            let status = answer.status();
            assert!(status == 200 || status == 503, "{path}: {status}");
            if answer.bytes().await.is_ok() {
                self.counts.reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
