//! No address of a client is stored or logged.

use std::fs;

use reqwest::Client;
use tempfile::TempDir;

use crate::support::{Server, binary, stock};

/// Addresses are used in memory only: neither the database nor the log holds one.
#[tokio::test]
async fn no_address_of_a_reporter_is_kept() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("telemetry.db");
    let server = Server::start_command(
        binary()
            .env("DATABASE_URL", format!("sqlite://{}", database.display()))
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("RUST_LOG", "trace"),
    );
    let client = Client::new();
    let reporter = "198.51.100.23";
    let send = |body: String| {
        client
            .post(server.url("/collect"))
            .header("x-forwarded-for", reporter)
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    assert_eq!(send(stock("a").to_string()).await.unwrap().status(), 200);
    assert_eq!(send("nonsense".into()).await.unwrap().status(), 400);
    assert_eq!(send("{}".into()).await.unwrap().status(), 422);
    let stored = fs::read(&database).unwrap();
    let log_file = fs::read(folder.path().join("telemetry.db-wal")).unwrap();

    let (status, log) = server.terminate();
    assert!(status.success());
    assert!(log.contains("/collect"), "the log is there: {log}");
    let holds = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    assert!(holds(&log_file, "postgres"), "the report is there");
    for bytes in [&stored, &log_file, &fs::read(&database).unwrap(), log.as_bytes()] {
        assert!(!holds(bytes, reporter));
        assert!(!holds(bytes, &[198, 51, 100, 23].map(char::from).iter().collect::<String>()));
        // The peer of the connection, with its port.
        assert!(!holds(bytes, "127.0.0.1:"), "a peer's address");
    }
}
