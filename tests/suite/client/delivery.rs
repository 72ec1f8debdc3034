//! Reports are sent at the right moment, and arrive once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{
    PING,
    peer::{Mode, Peer, eventually},
    shell::{Client, Shell},
};
use crate::support::App;

/// The service, a server, and a client between them.
async fn scene(shell: Shell, service: Mode, server: Mode) -> (Peer, Peer, Client) {
    let (service, server) = (Peer::start(service).await, Peer::start(server).await);
    let client = Client::new(shell)
        .between(&service.url(PING), &server.url("/collect"))
        .set("TELEMETRY_HEARTBEAT_SECONDS", 1);
    (service, server, client)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn a_start_is_sent_once_when_the_service_answers() {
    join_all(Shell::ALL.map(async |shell| {
        let (service, server, client) = scene(shell, Mode::Fails, Mode::Works).await;
        // A time of day that jumps by decades at each look.
        let client =
            client.with_program("date", "read -r n _ </proc/self/stat; echo $((n * 99999999))");
        let begin = Instant::now();
        let _running = client.start();
        eventually("three looks at the service", async || service.seen().len() >= 3).await;
        assert!(server.reports().is_empty(), "{shell:?}");
        let waited = service.seen()[0].at.elapsed();
        service.set(Mode::Works);

        let reports = server.first(3).await;
        let longest = reports[0].at - begin;
        let reports: Vec<_> = reports.iter().map(super::peer::Request::json).collect();
        let startup_ms = reports[0]["startup_time_ms"].as_u64().unwrap();
        let startup = Duration::from_millis(startup_ms);
        // Its clock counts hundredths of a second.
        let step = Duration::from_millis(10);
        assert!(waited <= startup + step && startup <= longest + step, "{shell:?}: {startup:?}");
        for (report, event) in reports.iter().zip(["start", "heartbeat", "heartbeat"]) {
            assert_eq!(report["event"], event, "{shell:?}");
            assert_eq!(report["instance_id"], reports[0]["instance_id"], "{shell:?}");
        }
        assert_ne!(reports[0]["report_id"], reports[1]["report_id"], "{shell:?}");
        assert_ne!(reports[1]["report_id"], reports[2]["report_id"], "{shell:?}");
        assert!(reports[1].get("startup_time_ms").is_none(), "{shell:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn a_report_that_was_not_taken_is_sent_again_as_it_was() {
    for mode in [Mode::Fails, Mode::Hangs, Mode::Captures] {
        join_all(Shell::ALL.map(async |shell| {
            let (_service, server, client) = scene(shell, Mode::Works, mode).await;
            let running = client.start();
            assert_eq!(running.line, "1", "{shell:?}");
            let failed = server.first(3).await;
            server.set(Mode::Works);
            let all = server.first(5).await;
            for report in &all[1..4] {
                assert_eq!(report.body, failed[0].body, "{shell:?}, {mode:?}");
            }
            assert_eq!(all[4].json()["event"], "heartbeat", "{shell:?}, {mode:?}");
            // Pauses of 1, 2 and 3 or 4 s.
            for (next, shortest) in (1..4).zip([1, 2, 3]) {
                let pause = all[next].at - all[next - 1].at;
                assert!(
                    pause > Duration::from_millis(shortest * 1000 - 50),
                    "{shell:?}: {pause:?}"
                );
            }
        }))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn a_start_arrives_when_the_server_comes_up() {
    join_all(Shell::ALL.map(async |shell| {
        let (_service, server, client) = scene(shell, Mode::Works, Mode::Fails).await;
        let _running = client.start();
        server.first(2).await;
        let address = server.address;
        server.stop().await;

        let app = App::start_with(|config| config.server_address = address).await;
        eventually("a heartbeat", async || {
            app.json("/metrics").await["total_heartbeats"].as_u64().unwrap() > 0
        })
        .await;
        let counted = app.json("/metrics").await;
        assert_eq!(counted["total_deployments"], 1, "{shell:?}");
        assert_eq!(counted["unique_instances"], 1, "{shell:?}");
    }))
    .await;
}
