//! Reports that are sent until the server is gone, and what must be stored of them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::stock;

const SENDERS: usize = 24;
/// Reports of one sender at most, so that the load ends by itself.
const MOST: usize = 5000;
/// Time in which a round gets its reports taken, and in which the senders find the server gone.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// Time in which a request is answered or cut off.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Time in which instances have followed the reports.
const INDEXED_WITHIN: Duration = Duration::from_secs(10);

/// Ids of the reports that were answered with 200.
#[derive(Debug, Default, Clone)]
pub struct Acknowledged(Arc<Mutex<BTreeSet<String>>>);

/// Connections that send one report after the other until the server is gone.
pub struct Senders {
    tasks: Vec<JoinHandle<()>>,
    enough: Arc<Notify>,
    stop: Arc<AtomicBool>,
}

impl Senders {
    /// Waits until as many reports were acknowledged as [`Acknowledged::send`] was given.
    pub async fn reached(&self) {
        timeout(TIME_LIMIT, self.enough.notified()).await.expect("too few reports were taken");
    }

    /// Waits until each sender has found that the server is gone. None sends another report: a server
    /// of another test may have got the same port by now.
    pub async fn cut_off(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            timeout(TIME_LIMIT, task).await.expect("the server is still there").unwrap();
        }
    }
}

impl Acknowledged {
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Reports that were acknowledged up to now; later ones are not added to it.
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    pub fn add(&self, id: &str) {
        self.0.lock().unwrap().insert(id.to_owned());
    }

    /// Sends reports, named after the round, to the server at `base`, and collects the ids of those
    /// that were acknowledged.
    pub fn send(&self, base: &str, round: usize, enough: usize) -> Senders {
        let (count, reached) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let send = |sender: usize| {
            let acknowledged = self.clone();
            let (count, reached) = (Arc::clone(&count), Arc::clone(&reached));
            let stop = Arc::clone(&stop);
            let url = format!("{base}/collect");
            tokio::spawn(async move {
                let client = client();
                for number in 0..MOST {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = format!("{round}-{sender}-{number}");
                    match client.post(&url).json(&stock(&id)).send().await {
                        Ok(answer) if answer.status() == 200 => {
                            acknowledged.add(&id);
                            if count.fetch_add(1, Ordering::Relaxed) + 1 == enough {
                                reached.notify_one();
                            }
                        }
                        Ok(answer) => panic!("{}", answer.status()),
                        Err(error) => {
                            let gone = stop.load(Ordering::Relaxed) || !error.is_timeout();
                            assert!(gone, "no answer to {id}");
                            return;
                        }
                    }
                }
                panic!("the server outlived the load");
            })
        };
        let tasks = (0..SENDERS).map(send).collect();
        Senders { tasks, enough: reached, stop }
    }

    /// Asserts that everything that was acknowledged is stored, nothing is stored twice, and the
    /// counts of the server at `base` agree.
    pub async fn assert_stored(&self, base: &str) {
        let client = client();
        let get = async |path: &str| -> Value {
            let answer = client.get(format!("{base}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            answer.json().await.unwrap()
        };
        let (mut stored, mut before) = (BTreeSet::new(), String::new());
        loop {
            let page = get(&format!("/deployments?limit=1000{before}")).await;
            let page = page.as_array().unwrap();
            for report in page {
                let new = stored.insert(report["instance_id"].as_str().unwrap().to_owned());
                assert!(new, "stored twice: {report}");
            }
            match page.last() {
                Some(last) => before = format!("&before={}", last["id"]),
                None => break,
            }
        }
        let acknowledged = self.0.lock().unwrap().clone();
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
        // Instances follow the reports, after a restart too.
        let begun = Instant::now();
        let metrics = loop {
            let metrics = get("/metrics").await;
            if metrics["unique_instances"] == stored.len() || begun.elapsed() > INDEXED_WITHIN {
                break metrics;
            }
        };
        assert_eq!(metrics["total_deployments"], stored.len());
        assert_eq!(metrics["unique_instances"], stored.len());
    }
}

fn client() -> Client {
    Client::builder().timeout(REQUEST_LIMIT).build().unwrap()
}
