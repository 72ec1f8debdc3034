//! One of three servers behind a load balancer is killed under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, interval, timeout},
};

use super::balancer;
use crate::{
    proxies::process::Kind,
    support::{Server, binary, stock},
};

/// Client addresses, each with one sender.
const SENDERS: u8 = 24;
/// Reports that the senders have answered before the kill, after it, and after the return.
const ENOUGH: usize = 300;
/// Time in which the other servers take over.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);
/// Time in which the killed process closes its connections.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// Reports of one sender, as the sender knows them.
#[derive(Default)]
struct Sent {
    acknowledged: BTreeSet<String>,
    /// Times of the other answers.
    failed: Vec<Instant>,
    /// Times of the answers with 200.
    answered: Vec<Instant>,
}

type All = Arc<Mutex<BTreeMap<u8, Sent>>>;

/// Sends reports from an address of its own, each once, until `stop`. Every other one is of an instance that
/// keeps its id.
async fn send(balancer: SocketAddr, sender: u8, all: All, stop: Arc<AtomicBool>) {
    let local = [127, 0, 1, sender].into();
    let client = Client::builder().local_address(Some(local)).timeout(TIME_LIMIT).build().unwrap();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let id = format!("{sender}-{number}");
        let kept = format!("{sender}-keeper");
        let instance = if number % 2 == 0 { &id } else { &kept };
        let request = client.post(format!("http://{balancer}/collect")).json(&stock(instance));
        let status = request.send().await.map(|answer| answer.status().as_u16());
        let mut all = all.lock().unwrap();
        let sent = all.entry(sender).or_default();
        if status.is_ok_and(|status| status == 200) {
            sent.answered.push(Instant::now());
            if number % 2 == 0 {
                sent.acknowledged.insert(id);
            }
        } else {
            sent.failed.push(Instant::now());
        }
    }
}

/// Waits until each sender has had an answer after a time, and all of them many.
async fn flowing(kind: Kind, all: &All, since: Instant, within: Duration) {
    let mut tick = interval(Duration::from_millis(10));
    let flows = async {
        loop {
            tick.tick().await;
            let all = all.lock().unwrap();
            let counts: Vec<usize> = all
                .values()
                .map(|sent| sent.answered.iter().filter(|at| **at > since).count())
                .collect();
            if counts.len() == usize::from(SENDERS)
                && counts.iter().all(|count| *count > 0)
                && counts.iter().sum::<usize>() >= ENOUGH
            {
                return;
            }
        }
    };
    timeout(within, flows).await.unwrap_or_else(|_| panic!("{kind:?}: reports are not taken"));
}

/// The server on a database, at an address where one is given.
fn server(database: &Path, address: &str) -> Server {
    Server::start_as_it_is(
        binary()
            .env("DATABASE_URL", format!("sqlite://{}", database.display()))
            .env("SERVER_ADDRESS", address)
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("RATE_LIMIT_PER_MINUTE", "0")
            .env("INSTANCE_RATE_LIMIT_PER_HOUR", "0"),
    )
}

async fn get(client: &Client, server: &Server, path: &str) -> Value {
    let answer = client.get(server.url(path)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

/// The instances of all reports that a server has stored, in the order of the reports.
async fn stored(client: &Client, server: &Server) -> Vec<String> {
    let (mut stored, mut before) = (Vec::new(), String::new());
    loop {
        let page = get(client, server, &format!("/deployments?limit=1000{before}")).await;
        let page = page.as_array().unwrap();
        stored.extend(page.iter().map(|row| row["instance_id"].as_str().unwrap().to_owned()));
        match page.last() {
            Some(last) => before = format!("&before={}", last["id"]),
            None => break stored,
        }
    }
}

/// A server that is ready and stores nothing.
async fn full() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = connection.read(&mut request).await.unwrap_or(0);
                let ready = request[..read].starts_with(b"GET /ready");
                let status = if ready { "200 OK" } else { "503 Service Unavailable" };
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                // The check may be gone.
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// A 503 states that a report is not stored, so that it may go to another server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs haproxy; run it with: cargo test --test suite federation:: -- --ignored"]
async fn a_report_that_one_server_cannot_store_goes_to_another() {
    let folder = TempDir::new().unwrap();
    let servers = ["a", "b"].map(|name| server(&folder.path().join(name), "127.0.0.1:0"));
    let addresses = [servers[0].address, servers[1].address, full().await];
    let balancer = balancer::start(Kind::Haproxy, addresses).await;
    for sender in 1..=SENDERS {
        let local = [127, 0, 1, sender].into();
        let client = Client::builder().local_address(Some(local)).build().unwrap();
        let request = client.post(format!("http://{}/collect", balancer.address));
        let answer = request.json(&stock(&sender.to_string())).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{sender}");
    }
    let client = Client::new();
    let stored = [stored(&client, &servers[0]).await, stored(&client, &servers[1]).await];
    assert_eq!(stored.iter().map(Vec::len).sum::<usize>(), usize::from(SENDERS), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies; run it with: cargo test --test suite federation:: -- --ignored"]
async fn the_others_take_over_and_nothing_acknowledged_is_lost() {
    for kind in Kind::ALL {
        the_others_take_over(kind).await;
    }
}

async fn the_others_take_over(kind: Kind) {
    let folder = TempDir::new().unwrap();
    let databases: [PathBuf; 3] =
        ["a", "b", "c"].map(|name| folder.path().join(format!("{name}.db")));
    let mut servers: Vec<Server> =
        databases.iter().map(|database| server(database, "127.0.0.1:0")).collect();
    let addresses = [servers[0].address, servers[1].address, servers[2].address];
    let balancer = balancer::start(kind, addresses).await;
    let (all, stop) = (All::default(), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<JoinHandle<()>> = (1..=SENDERS)
        .map(|sender| {
            tokio::spawn(send(balancer.address, sender, Arc::clone(&all), Arc::clone(&stop)))
        })
        .collect();
    let client = Client::new();

    flowing(kind, &all, Instant::now(), TIME_LIMIT).await;
    // An address is kept on one server while that is up.
    let mut homes: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (number, server) in servers.iter().enumerate() {
        let found = stored(&client, server).await;
        assert!(!found.is_empty(), "a server without reports");
        for id in found {
            homes.entry(id.split('-').next().unwrap().to_owned()).or_default().insert(number);
        }
    }
    assert_eq!(homes.len(), usize::from(SENDERS));
    assert!(homes.values().all(|homes| homes.len() == 1), "{kind:?}: {homes:?}");
    assert!(all.lock().unwrap().values().all(|sent| sent.failed.is_empty()));

    let killed = Instant::now();
    let gone = servers.remove(2);
    let address = gone.address.to_string();
    gone.kill();
    flowing(kind, &all, killed, TAKEN_OVER_WITHIN).await;
    let moved = Instant::now();
    flowing(kind, &all, moved, TIME_LIMIT).await;
    // Reports fail while the process ends, which closes its connections one after the other, and none later.
    for (sender, sent) in &*all.lock().unwrap() {
        let failed: Vec<Duration> = sent.failed.iter().map(|at| *at - killed).collect();
        assert!(failed.iter().all(|after| *after < ENDS_WITHIN), "{kind:?} {sender}: {failed:?}");
    }

    // It comes back, and its addresses with it.
    servers.push(server(&databases[2], &address));
    let ready = get(&client, &servers[2], "/metrics").await["total_deployments"].clone();
    let back = async {
        let mut tick = interval(Duration::from_millis(50));
        while get(&client, &servers[2], "/metrics").await["total_deployments"] == ready {
            tick.tick().await;
        }
    };
    timeout(TIME_LIMIT, back).await.unwrap_or_else(|_| panic!("{kind:?}: it gets no reports"));
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        timeout(TIME_LIMIT, task).await.unwrap().unwrap();
    }

    // Sums over the servers are those of all reports.
    let (mut reports, mut instances, mut distinct) = (0, 0, BTreeSet::new());
    let mut at_several = 0;
    for server in &servers {
        let found = stored(&client, server).await;
        let own: BTreeSet<String> = found.iter().cloned().collect();
        let counted = async {
            let mut tick = interval(Duration::from_millis(10));
            loop {
                let metrics = get(&client, server, "/metrics").await;
                if metrics["unique_instances"] == own.len() {
                    return metrics["total_deployments"].clone();
                }
                tick.tick().await;
            }
        };
        let starts = timeout(TIME_LIMIT, counted).await.expect("instances are not counted");
        assert_eq!(starts, found.len());
        reports += found.len();
        instances += own.len();
        for id in own {
            at_several += usize::from(!distinct.insert(id));
        }
    }
    let all = all.lock().unwrap();
    let acknowledged: usize = all.values().map(|sent| sent.answered.len()).sum();
    let failed: usize = all.values().map(|sent| sent.failed.len()).sum();
    let lost: Vec<&String> = all
        .values()
        .flat_map(|sent| &sent.acknowledged)
        .filter(|id| !distinct.contains(*id))
        .collect();
    assert!(lost.is_empty(), "{kind:?}: {lost:?}");
    // A report whose answer was lost may be stored.
    let within = acknowledged..=acknowledged + failed;
    assert!(within.contains(&reports), "{kind:?}: {reports} of {within:?}");
    // Instances that reported to two servers are counted by both: the sum is an upper bound.
    assert_eq!(instances, distinct.len() + at_several);
    assert!((1..=usize::from(SENDERS)).contains(&at_several), "{kind:?}: {at_several}");
    for (server, database) in servers.into_iter().zip(&databases) {
        assert!(server.terminate().0.success());
        let url = format!("sqlite://{}", database.display());
        let verified = binary().args(["verify", "--database-url", &url]).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
}
