//! The client is no burden to the service that it wraps.

use super::{
    PING,
    peer::{Mode, Peer},
    shell::{Client, Shell},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn a_service_ends_as_it_would_alone_while_everything_hangs() {
    let (service, server) = (Peer::start(Mode::Hangs).await, Peer::start(Mode::Hangs).await);
    for shell in Shell::ALL {
        let client = Client::new(shell).between(&service.url(PING), &server.url("/collect"));
        assert_eq!(client.start_script("echo; exit 42").end().code(), Some(42), "{shell:?}");

        let running = client.start();
        running.wait_until_detached().await;
        running.signal("-TERM");
        assert_eq!(running.end().signal(), Some(15), "{shell:?}");

        let running = client.start_script("trap 'exit 7' TERM; echo; while :; do sleep 0.01; done");
        running.signal("-TERM");
        assert_eq!(running.end().code(), Some(7), "{shell:?}");

        let ended = client.command(&["/there/is/no/such/program"]).output().unwrap();
        assert_eq!(ended.status.code(), Some(127), "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn arguments_and_environment_reach_the_service() {
    for shell in Shell::ALL {
        let client = Client::new(shell)
            .between("http://127.0.0.1:9/", "http://127.0.0.1:9/")
            .set("A", "a  b\n*");
        let script = r#"printf '%s|' "$A" "$0" "$@""#;
        let output = client.output(&["/bin/sh", "-c", script, "--show", "", " x  y", "*"]);
        assert_eq!(output, "a  b\n*|--show|| x  y|*|", "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn an_opt_out_leaves_the_service_alone() {
    let service = Peer::start(Mode::Works).await;
    let address = service.url(PING);
    let off = [
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_TELEMETRY", "true"),
        ("DISABLE_TELEMETRY", "\"1\"\r"),
        ("DO_NOT_TRACK", "1"),
        ("CI", "true"),
        ("CI", "1"),
    ];
    let on = [("DISABLE_TELEMETRY", ""), ("DISABLE_TELEMETRY", "0\r"), ("CI", "false"), ("A", "")];
    for shell in Shell::ALL {
        for (settings, expected) in [(&off[..], 0), (&on[..], 1)] {
            for (name, value) in settings {
                let client = Client::new(shell).between(&address, &address).set(name, value);
                let running = client.start();
                assert_eq!(running.beside().len(), expected, "{shell:?}: {name}={value}");
                // Whatever it was, the stock entrypoint does not send.
                assert_eq!(running.line, "1", "{shell:?}: {name}={value}");
                running.signal("-KILL");
                let messages = running.end().messages;
                assert_eq!(messages.lines().count(), expected, "{shell:?}: {messages}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn a_service_starts_where_nothing_can_be_sent_by() {
    for shell in Shell::ALL {
        let client = Client::new(shell);
        for program in ["curl", "wget", "timeout"] {
            let _ = std::fs::remove_file(client.path("programs").join(program));
        }
        let running = client.start();
        assert_eq!(running.line, "1", "{shell:?}");
        assert!(running.beside().is_empty(), "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn the_client_ends_with_the_service() {
    let (service, server) = (Peer::start(Mode::Fails).await, Peer::start(Mode::Works).await);
    for shell in Shell::ALL {
        let client = Client::new(shell).between(&service.url(PING), &server.url("/collect"));
        // Once while it waits for the service, once between heartbeats.
        service.set(Mode::Fails);
        client.start().kill().await;
        service.set(Mode::Works);
        let running = client.start();
        let before = server.reports().len();
        server.first(before + 1).await;
        running.kill().await;
    }
}
