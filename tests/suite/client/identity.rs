//! One id for one installation.

use super::{
    peer::{Mode, Peer},
    shell::{Client, Shell},
};

/// The id of the next start.
async fn next_id(client: &Client, server: &Peer) -> String {
    let count = server.reports().len();
    let _running = client.start();
    let report = server.first(count + 1).await[count].json();
    let id = report["instance_id"].as_str().unwrap().to_owned();
    assert_eq!(client.kept().unwrap().lines().next(), Some(&*id), "{:?}", client.shell);
    id
}

fn assert_is_uuid(id: &str) {
    let lengths: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{id}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn an_id_is_kept_and_a_damaged_one_replaced() {
    let peer = Peer::start(Mode::Works).await;
    for shell in Shell::ALL {
        let client = Client::new(shell).between(&peer.url("/"), &peer.url("/collect"));
        let first = next_id(&client, &peer).await;
        assert_is_uuid(&first);
        assert_eq!(next_id(&client, &peer).await, first, "{shell:?}");

        for damage in ["", "\0\0\0\0", "x\n", &first[..35], "\"}'$(false)\n"] {
            std::fs::write(client.path("data/.telemetry-id"), damage).unwrap();
            let second = next_id(&client, &peer).await;
            assert_is_uuid(&second);
            assert_ne!(second, first, "{shell:?}");
        }
        let files: Vec<_> = std::fs::read_dir(client.path("data")).unwrap().collect();
        assert_eq!(files.len(), 1, "{shell:?}: {files:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn a_volume_that_was_cloned_gets_an_id_of_its_own() {
    const MACHINES: [&str; 2] =
        ["0123456789abcdef0123456789abcdef\n", "fedcba9876543210fedcba9876543210\n"];
    let peer = Peer::start(Mode::Works).await;
    for shell in Shell::ALL {
        let client = Client::new(shell).between(&peer.url("/"), &peer.url("/collect"));
        let file = client.path("machine-id");
        let client = client.set("TELEMETRY_MACHINE_ID_FILE", file.display());

        // Mounted after the first start: nothing is known of a clone.
        let first = next_id(&client, &peer).await;
        std::fs::write(&file, MACHINES[0]).unwrap();
        assert_eq!(next_id(&client, &peer).await, first, "{shell:?}");
        assert_eq!(next_id(&client, &peer).await, first, "{shell:?}");

        std::fs::write(&file, MACHINES[1]).unwrap();
        let second = next_id(&client, &peer).await;
        assert_ne!(second, first, "{shell:?}");
        assert_eq!(next_id(&client, &peer).await, second, "{shell:?}");

        // Without the machine's id the kept one stays.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(next_id(&client, &peer).await, second, "{shell:?}");

        // The machine's id is nowhere, and its hash is kept and not sent.
        let kept = client.kept().unwrap();
        let hash = kept.split_whitespace().last().unwrap();
        assert_eq!(hash.len(), 64, "{shell:?}: {kept}");
        for request in peer.seen() {
            let sent = request.head + &request.body;
            assert!(!sent.contains(hash) && !sent.contains(MACHINES[1].trim()), "{sent}");
        }
        assert!(!kept.contains(MACHINES[1].trim()), "{shell:?}: {kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn a_start_is_reported_where_no_id_can_be_kept_or_the_kernel_gives_none() {
    let peer = Peer::start(Mode::Works).await;
    for shell in Shell::ALL {
        let client = Client::new(shell).between(&peer.url("/"), &peer.url("/collect"));
        std::fs::remove_dir(client.path("data")).unwrap();
        let count = peer.reports().len();
        let _running = client.start();
        let report = peer.first(count + 1).await[count].json();
        assert_is_uuid(report["instance_id"].as_str().unwrap());

        let output = client
            .altered_command("/proc/sys/kernel/random/uuid", "/nowhere", &["--show"])
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let report = output.lines().find(|line| line.starts_with('{')).unwrap();
        let report: serde_json::Value = serde_json::from_str(report).unwrap();
        assert_is_uuid(report["instance_id"].as_str().unwrap());
        assert_is_uuid(report["report_id"].as_str().unwrap());
        assert!(output.contains("the id is lost"), "{output}");
    }
}
