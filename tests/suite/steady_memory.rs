//! Memory of the server while reports come, for ever: that of the released binary, whose C library brings an
//! allocator of its own, or of any that `TEST_BINARY` names.

use std::fs;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use mattermost_telemetry::{
    domain::ReportBody,
    simulation::{Clients, Fleet, Settings},
};
use tempfile::TempDir;

use crate::support::{Server, named_binary, url};

/// Connections at a time, which make large batches.
const CONNECTIONS: usize = 256;
/// Reports after which all caches are full.
const WARM: usize = 30_000;
/// Reports after that.
const MORE: usize = 60_000;
/// Memory that they may take, in kB. An allocator that took 70 bytes a report for good took 4000.
const GROWTH_KB: i64 = 1500;

/// Memory that is not of files, in kB.
fn memory_kb(server: &Server) -> i64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Reports of stock clients over many versions and machines, each with an id of its own.
fn reports() -> impl Iterator<Item = String> {
    let from: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    let until = "2026-01-01T00:00:00Z".parse().unwrap();
    let clients = Clients::Stock;
    Fleet::new(Settings { installations: 10_000, from, until, seed: 1, clients })
        .map(|(_, report)| serde_json::to_string(&ReportBody::from(report)).unwrap())
}

async fn send(server: &Server, client: &reqwest::Client, bodies: impl Iterator<Item = String>) {
    stream::iter(bodies)
        .for_each_concurrent(CONNECTIONS, async |body| {
            let request = client.post(server.url("/collect")).body(body);
            let request = request.header("content-type", "application/json");
            assert_eq!(request.send().await.unwrap().status(), 200);
        })
        .await;
}

#[tokio::test]
#[ignore = "takes half a minute; run it on the released binary: .ci/memory"]
async fn reports_take_disk_and_no_memory() {
    let folder = TempDir::new().unwrap();
    let mut command = named_binary();
    command.env("DATABASE_URL", url(&folder.path().join("telemetry.db")));
    let server = Server::start_command(&mut command);
    let client = reqwest::Client::new();
    let mut reports = reports();
    send(&server, &client, reports.by_ref().take(WARM)).await;
    let warm = memory_kb(&server);
    send(&server, &client, reports.take(MORE)).await;
    let growth = memory_kb(&server) - warm;
    println!("{MORE} reports: from {warm} kB by {growth} kB");
    assert!(growth <= GROWTH_KB, "{MORE} reports take {growth} kB of memory, beside {warm} kB");
}
