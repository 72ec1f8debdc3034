use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{Server, binary, stock};

const SENDERS: usize = 24;

/// Whatever was answered with 200 is there after SIGKILL, however often, and the counts agree.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    nothing_is_lost(12, Server::kill).await;
}

/// SIGTERM ends open requests, empties the queue and exits with 0.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_stopped() {
    let stop = |server: Server| {
        let (status, log) = server.terminate();
        assert_eq!(status.code(), Some(0), "{log}");
    };
    nothing_is_lost(3, stop).await;
}

/// Ends the server under load, `rounds` times, and compares what it has with what it
/// acknowledged.
async fn nothing_is_lost(rounds: usize, end: impl Fn(Server)) {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("telemetry.db");
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));

    for round in 0..rounds {
        let server = Server::start(&database);
        // Ended at a different point each round, in the middle of many open requests.
        let enough = 40 + 37 * round;
        let (count, reached) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (count, reached) = (Arc::clone(&count), Arc::clone(&reached));
                let acknowledged = Arc::clone(&acknowledged);
                let url = server.url("/collect");
                tokio::spawn(async move {
                    let client = Client::new();
                    for number in 0.. {
                        let id = format!("{round}-{sender}-{number}");
                        match client.post(&url).json(&stock(&id)).send().await {
                            Ok(answer) if answer.status() == 200 => {
                                acknowledged.lock().unwrap().insert(id);
                                if count.fetch_add(1, Ordering::Relaxed) + 1 == enough {
                                    reached.notify_one();
                                }
                            }
                            Ok(answer) => panic!("{}", answer.status()),
                            Err(_) => return, // The server is gone.
                        }
                    }
                })
            })
            .collect();
        reached.notified().await;
        end(server);
        for sender in senders {
            sender.await.unwrap();
        }
    }

    let server = Server::start(&database);
    let client = Client::new();
    let (mut stored, mut before) = (BTreeSet::new(), String::new());
    loop {
        let url = server.url(&format!("/deployments?limit=1000{before}"));
        let page: Vec<Value> = client.get(url).send().await.unwrap().json().await.unwrap();
        for report in &page {
            let new = stored.insert(report["instance_id"].as_str().unwrap().to_owned());
            assert!(new, "stored twice: {report}");
        }
        match page.last() {
            Some(last) => before = format!("&before={}", last["id"]),
            None => break,
        }
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= rounds * 40);
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());

    let metrics: Value =
        client.get(server.url("/metrics")).send().await.unwrap().json().await.unwrap();
    assert_eq!(metrics["total_deployments"], stored.len());
    assert_eq!(metrics["unique_instances"], stored.len());
    let (status, _) = server.terminate();
    assert!(status.success());
    let verified = binary()
        .args(["verify", "--database-url", &format!("sqlite://{}", database.display())])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
