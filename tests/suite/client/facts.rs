//! Facts that are sent, in a form that the server takes, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    PING,
    peer::{Mode, Peer, eventually},
    shell::{Client, Shell},
};
use crate::support::App;

/// The start that `--show` prints.
fn shown(client: &Client) -> Value {
    let output = client.output(&["--show"]);
    let report = output.lines().find(|line| line.starts_with('{')).expect(&output);
    serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

/// A client whose service does not answer.
fn alone(shell: Shell) -> Client {
    Client::new(shell).between("http://127.0.0.1:9/", "http://127.0.0.1:9/collect")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn the_server_takes_all_that_is_sent() {
    let service = Peer::start(Mode::Works).await;
    for shell in Shell::ALL {
        let app = App::start().await;
        let client = Client::new(shell)
            .between(&service.url(PING), &format!("http://{}/collect", app.address))
            .set("MM_SQLSETTINGS_DRIVERNAME", "postgres")
            .set("KUBERNETES_SERVICE_HOST", "10.96.0.1")
            .set("TELEMETRY_HEARTBEAT_SECONDS", 1);
        let running = client.start();
        eventually("a heartbeat", async || {
            app.json("/metrics").await["total_heartbeats"].as_u64().unwrap() > 0
        })
        .await;
        running.kill().await;

        let reports = app.json("/deployments").await;
        let start = reports.as_array().unwrap().last().unwrap();
        let expected = json!({
            "id": 1,
            "created_at": start["created_at"],
            "instance_id": client.kept().unwrap().lines().next(),
            "image_version": "v11.3.0",
            "architecture": std::env::consts::ARCH,
            "os": "linux",
            "container_runtime": "kubernetes",
            "startup_time_ms": start["startup_time_ms"],
            "db_type": "postgres",
            "telemetry_version": "1.1",
            "event": "start",
            "timestamp": null,
        });
        assert_eq!(start, &expected, "{shell:?}");
        let (_, metrics) = app.scrape("text/plain;version=0.0.4").await;
        let dropped: Vec<_> =
            metrics.lines().filter(|line| line.starts_with("telemetry_fields_dropped")).collect();
        assert!(
            !dropped.is_empty() && dropped.iter().all(|line| line.ends_with(" 0")),
            "{dropped:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn what_is_shown_is_what_is_sent() {
    let service = Peer::start(Mode::Works).await;
    for shell in Shell::ALL {
        let server = Peer::start(Mode::Works).await;
        let endpoint = server.url("/collect");
        let client = Client::new(shell)
            .between(&service.url(PING), &endpoint)
            .set("MM_SQLSETTINGS_DATASOURCE", "postgres://user:secret@host/database")
            .set("TELEMETRY_HEARTBEAT_SECONDS", 1);
        let output = client.output(&["--show"]);
        assert!(server.seen().is_empty(), "{shell:?}");
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines.len(), 6, "{output}");
        let _running = client.start();
        let sent = server.first(2).await;
        for (request, lines) in sent.iter().zip(lines.chunks(3)) {
            assert_eq!(lines[1], format!("POST {endpoint}"), "{shell:?}");
            let (mut shown, mut sent) = (serde_json::from_str(lines[2]).unwrap(), request.json());
            let fields = |report: &Value| -> BTreeSet<String> {
                report.as_object().unwrap().keys().cloned().collect()
            };
            assert_eq!(fields(&shown), fields(&sent), "{shell:?}");
            for report in [&mut shown, &mut sent] {
                report["report_id"] = Value::Null;
                report["startup_time_ms"] = Value::Null;
            }
            assert_eq!(shown, sent, "{shell:?}");
        }

        let head = &sent[0].head;
        let headers: BTreeSet<_> = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(": ").unwrap().0.to_lowercase())
            .filter(|name| !["accept", "accept-encoding", "connection"].contains(&&**name))
            .collect();
        let expected = ["content-length", "content-type", "host", "user-agent"];
        assert!(headers.iter().eq(&expected), "{shell:?}: {head}");
        assert!(head.contains("User-Agent: mattermost-telemetry\r\n"), "{shell:?}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn an_opt_out_is_shown() {
    for shell in Shell::ALL {
        let client = alone(shell).set("CI", "true").set("DO_NOT_TRACK", "1");
        let output = client.output(&["--show"]);
        assert!(output.starts_with("off, because of DO_NOT_TRACK, CI: "), "{shell:?}: {output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn the_version_is_that_of_the_service() {
    let service = Peer::start(Mode::Works).await;
    let program = "echo 'Version: 10.5.1'; echo 'Build Number: 10.5.1'";
    for shell in Shell::ALL {
        let answers = || alone(shell).set("TELEMETRY_SERVICE_URL", service.url(PING));
        let version = |client: Client| shown(&client)["image_version"].clone();
        assert_eq!(version(alone(shell)), "unknown", "{shell:?}");
        assert_eq!(
            version(alone(shell).with_program("mattermost", program)),
            "10.5.1",
            "{shell:?}"
        );
        assert_eq!(version(answers().with_program("mattermost", program)), "11.3.0", "{shell:?}");
        assert_eq!(version(answers().set("MM_VERSION", "v9.1.0")), "v9.1.0", "{shell:?}");
        // Behind a proxy the service itself is not.
        let proxy = answers().set("http_proxy", "http://127.0.0.1:9");
        assert_eq!(version(proxy), "11.3.0", "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn any_text_becomes_json_within_the_limits() {
    let long = "9".repeat(100);
    let texts = [
        (r#"11.0 "a\b" $(false) `false`"#, r#"11.0 "a\b" $(false) `false`"#),
        ("\"11.3.0\"\r", "11.3.0"),
        ("1\u{1}1\t.\n0\u{e9}", "11.0"),
        (&*long, &long[..64]),
        ("-n", "-n"),
        ("%s", "%s"),
    ];
    for shell in Shell::ALL {
        for (given, expected) in texts {
            let report = shown(&alone(shell).set("MM_VERSION", given));
            assert_eq!(report["image_version"], expected, "{shell:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn the_database_is_the_one_that_mattermost_uses() {
    const DRIVER: &str = "MM_SQLSETTINGS_DRIVERNAME";
    const SOURCE: &str = "MM_SQLSETTINGS_DATASOURCE";
    let settings = [
        (DRIVER, "postgres", "postgres"),
        (DRIVER, "MySQL", "unknown"),
        (DRIVER, "mysql", "mysql"),
        (SOURCE, "postgres://user:secret@host/db", "postgres"),
        (SOURCE, "postgresql://user:secret@host/db", "postgres"),
        (SOURCE, "user:secret@tcp(host:3306)/db", "mysql"),
        (SOURCE, "secret", "unknown"),
        ("MM_CONFIG", "postgres://user:secret@host/db", "postgres"),
    ];
    let config = json!({
        "ServiceSettings": {"SiteURL": "http://a", "ListenAddress": ":8000"},
        "SqlSettings": {"DriverName": "mysql", "DataSource": "a,{b}"},
        "FileSettings": {"DriverName": "local"},
    });
    let other = json!({
        "FileSettings": {"DriverName": "local"},
        "SqlSettings": {"DriverName": "postgres"},
    });
    let files = [
        (config.to_string(), "mysql"),
        (serde_json::to_string_pretty(&config).unwrap(), "mysql"),
        (serde_json::to_string_pretty(&other).unwrap(), "postgres"),
    ];
    for shell in Shell::ALL {
        assert_eq!(shown(&alone(shell))["db_type"], "unknown", "{shell:?}");
        for (name, value, expected) in settings {
            let report = shown(&alone(shell).set(name, value));
            assert_eq!(report["db_type"], expected, "{shell:?}: {name}={value}");
        }
        for (content, expected) in &files {
            let client = alone(shell);
            std::fs::write(client.path("config.json"), content).unwrap();
            assert_eq!(shown(&client)["db_type"], *expected, "{shell:?}: {content}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs shells; run it with: cargo test --test suite client:: -- --ignored"]
async fn the_service_is_asked_where_it_listens() {
    let addresses = [
        ("", "", "127.0.0.1:8065"),
        (":8000", "", "127.0.0.1:8000"),
        (":8000", ":8001", "127.0.0.1:8001"),
        ("", "10.0.0.1:80", "10.0.0.1:80"),
    ];
    for shell in Shell::ALL {
        for (configured, set, expected) in addresses {
            let client = alone(shell)
                .set("TELEMETRY_SERVICE_URL", "")
                .set("MM_SERVICESETTINGS_LISTENADDRESS", set);
            let config = json!({"ServiceSettings": {"ListenAddress": configured}});
            std::fs::write(client.path("config.json"), config.to_string()).unwrap();
            let output = client.output(&["--show"]);
            let expected = format!("once http://{expected}/api/v4/system/ping answers");
            assert!(output.contains(&expected), "{shell:?}: {output}");
        }
    }
}
