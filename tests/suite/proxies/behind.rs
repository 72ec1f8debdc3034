//! The server sees the clients behind each proxy, and its connections are used again.

use std::net::SocketAddr;

use http_body_util::BodyExt as _;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use reqwest::{Client, Response};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::{process::Kind, relay::Relay};
use crate::support::{Server, binary, stock};

/// A server that trusts these proxies and takes two reports of a client.
fn server(folder: &TempDir, trusted: &str) -> Server {
    Server::start_command(
        binary()
            .env("DATABASE_URL", format!("sqlite://{}/telemetry.db", folder.path().display()))
            .env("TRUSTED_PROXIES", trusted)
            .env("RATE_LIMIT_PER_MINUTE", "2"),
    )
}

/// A client with an address of its own: 127.0.0.`number`.
fn client(number: u8) -> Client {
    Client::builder().local_address(Some([127, 0, 0, number].into())).build().unwrap()
}

async fn send(client: &Client, proxy: SocketAddr, id: &str) -> Response {
    let request = client.post(format!("http://{proxy}/collect")).json(&stock(id));
    // Another invention each time.
    request.header("x-forwarded-for", format!("198.51.100.{}", id.len())).send().await.unwrap()
}

/// Sends two reports over one connection, from an address of its own. A pool of connections could open a
/// second one: it has the first one back only some time after the answer.
async fn send_twice(number: u8, proxy: SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, number], 0).into()).unwrap();
    let stream = socket.connect(proxy).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for id in ["a", "bb"] {
        let request = Request::post("/collect")
            .header("host", proxy.to_string())
            .header("content-type", "application/json")
            .body(stock(id).to_string())
            .unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        // Read to its end, so that the connection is free for the next.
        answer.into_body().collect().await.unwrap();
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(" WARN ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies; run it with: cargo test --test suite proxies:: -- --ignored"]
async fn each_client_has_a_limit_of_its_own() {
    for kind in Kind::ALL {
        let folder = TempDir::new().unwrap();
        let server = server(&folder, "127.0.0.1");
        let proxy = kind.start(server.address, |config| config).await;
        let (first, second) = (client(2), client(3));
        for (id, status) in [("a", 200), ("bb", 200), ("ccc", 429), ("dddd", 429)] {
            assert_eq!(send(&first, proxy.address, id).await.status(), status, "{kind:?} {id}");
        }
        assert_eq!(send(&second, proxy.address, "e").await.status(), 200, "{kind:?}");
        let (_, log) = server.terminate();
        assert!(warnings(&log).is_empty(), "{kind:?}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies; run it with: cargo test --test suite proxies:: -- --ignored"]
async fn a_connection_is_used_again() {
    for kind in Kind::ALL {
        let folder = TempDir::new().unwrap();
        let server = server(&folder, "127.0.0.1");
        let relay = Relay::start(server.address).await;
        let proxy = kind.start(relay.address, |config| config).await;
        for number in 2..=6 {
            send_twice(number, proxy.address).await;
        }
        // HAProxy sends the first request of each client over a connection of its own: it could not
        // send a report twice.
        let most = if kind == Kind::Haproxy { 5 } else { 1 };
        assert!((1..=most).contains(&relay.connections()), "{kind:?}: {}", relay.connections());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies; run it with: cargo test --test suite proxies:: -- --ignored"]
async fn a_proxy_that_is_not_trusted_is_named_in_the_log() {
    for kind in Kind::ALL {
        let folder = TempDir::new().unwrap();
        let server = server(&folder, "");
        let proxy = kind.start(server.address, |config| config).await;
        for (number, status) in [(2, 200), (3, 200), (4, 429)] {
            assert_eq!(
                send(&client(number), proxy.address, "a").await.status(),
                status,
                "{kind:?}"
            );
        }
        let (_, log) = server.terminate();
        let warnings = warnings(&log);
        assert_eq!(warnings.len(), 1, "{kind:?}: {log}");
        assert!(warnings[0].contains("TRUSTED_PROXIES=127.0.0.0/8"), "{kind:?}: {log}");
    }
}

/// Clients share no limit where the proxy hides them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies; run it with: cargo test --test suite proxies:: -- --ignored"]
async fn a_proxy_that_drops_the_header_is_named_in_the_log() {
    let folder = TempDir::new().unwrap();
    let server = server(&folder, "127.0.0.1");
    let without = |config: String| config.replace("$proxy_add_x_forwarded_for", "\"\"");
    let proxy = Kind::Nginx.start(server.address, without).await;
    for number in 2..=6 {
        assert_eq!(send(&client(number), proxy.address, "a").await.status(), 200);
    }
    let (_, log) = server.terminate();
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("sends no X-Forwarded-For"), "{log}");
}
