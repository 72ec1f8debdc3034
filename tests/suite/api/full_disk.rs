//! A full disk: what was acknowledged stays, and the server recovers without a restart.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Server, in_own_namespace, report};

/// Puts a file system of 8 MiB at $DISK, fills half of it, and becomes the server.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size=8m tmpfs "$DISK" &&
dd if=/dev/zero of="$DISK/ballast" bs=1k count=4096 status=none &&
exec "$SERVER"
"#;

/// A disk that is full costs clients a 503 each, nothing that was acknowledged, and no restart.
#[tokio::test]
async fn a_full_disk_is_reported_and_recovered_from() {
    let test = "a_full_disk_is_reported_and_recovered_from";
    let Some(mut command) = in_own_namespace(test, ON_A_SMALL_DISK) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let (server, disk) = Server::start_on_disk(&mut command, folder.path());
    let client = Client::new();
    let send = |id: String| {
        // Long ids fill the disk sooner.
        let body = report(&format!("{id:0>128}"), serde_json::json!({}));
        client.post(server.url("/collect")).json(&body).send()
    };
    let mut acknowledged = 0;
    let refused = loop {
        let answer = send(format!("before-{acknowledged}")).await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 20_000, "the disk does not fill");
    };
    assert!(acknowledged > 50, "{acknowledged}");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/not-stored");
    assert!(!problem.to_string().contains("full"), "the cause is not the client's: {problem}");

    // Reading goes on, and says what was acknowledged.
    let metrics = async || -> Value {
        client.get(server.url("/metrics")).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(metrics().await["total_deployments"], acknowledged);
    assert_eq!(client.get(server.url("/ready")).send().await.unwrap().status(), 503);
    assert_eq!(client.get(server.url("/health")).send().await.unwrap().status(), 200);
    let status: Value =
        client.get(server.url("/status")).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["reasons"][0]["reason"], "disk");

    // Two tries to write come within this time.
    let ready = async || client.get(server.url("/ready")).send().await.unwrap().status() == 200;
    let full = Instant::now();
    while full.elapsed() < Duration::from_secs(4) {
        assert!(!ready().await, "ready {:.1?} after the disk was full", full.elapsed());
    }

    // The mount is only to be seen from within the server's namespace.
    let seen_by_server = PathBuf::from(format!("/proc/{}/root", server.pid()));
    let ballast = disk.join("ballast");
    fs::remove_file(seen_by_server.join(ballast.strip_prefix("/").unwrap())).unwrap();
    // A proxy sends nothing to a server that is not ready, so it has to find out without a report.
    let becomes_ready = async { while !ready().await {} };
    tokio::time::timeout(Duration::from_secs(30), becomes_ready).await.expect("it stays unready");
    for number in 0..50 {
        assert_eq!(send(format!("after-{number}")).await.unwrap().status(), 200);
    }
    assert!(ready().await);
    assert_eq!(metrics().await["total_deployments"], acknowledged + 50);
    assert_eq!(metrics().await["unique_instances"], acknowledged + 50);
    let (status, log) = server.terminate();
    assert!(status.success());
    assert_eq!(log.matches("cannot store reports").count(), 1, "logged once: {log}");
    assert!(log.contains("the database can be written again"), "{log}");
}
