//! Nothing that was acknowledged is lost, however the server ends.

use tempfile::TempDir;

use crate::support::{Acknowledged, Server, binary};

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

/// A server that is stopped while it does its first chores.
#[test]
fn a_stop_at_once_is_no_error() {
    let folder = TempDir::new().unwrap();
    for _ in 0..16 {
        let (status, log) = Server::start(&folder.path().join("telemetry.db")).terminate();
        assert!(status.success() && !log.contains("ERROR"), "{log}");
    }
}

/// Ends the server under load, `rounds` times, and compares what it has with what it
/// acknowledged.
async fn nothing_is_lost(rounds: usize, end: impl Fn(Server)) {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("telemetry.db");
    let acknowledged = Acknowledged::default();
    for round in 0..rounds {
        let server = Server::start(&database);
        // Ended at a different point each round, in the middle of many open requests.
        let senders = acknowledged.send(&server.url(""), round, 40 + 37 * round);
        senders.reached().await;
        end(server);
        senders.cut_off().await;
    }
    assert!(acknowledged.len() >= rounds * 40);

    let server = Server::start(&database);
    acknowledged.assert_stored(&server.url("")).await;
    let (status, _) = server.terminate();
    assert!(status.success());
    let verified = binary()
        .args(["verify", "--database-url", &format!("sqlite://{}", database.display())])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
