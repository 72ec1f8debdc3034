//! Nothing that was acknowledged is lost, however the container ends.

use std::time::{Duration, Instant};

use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    Acknowledged,
    containers::{Base, Image, Server, Volume, docker},
    stock,
};

/// Docker's own grace period, the shortest that an operator gets without asking for it.
const GRACE: &str = "10";
/// Half of it.
const WELL_WITHIN: Duration = Duration::from_secs(5);

fn without_limits(request: ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage> {
    request
        .with_env_var("RATE_LIMIT_PER_MINUTE", "0")
        .with_env_var("INSTANCE_RATE_LIMIT_PER_HOUR", "0")
}

/// Asserts that all that was acknowledged is stored, and that the database holds together.
async fn assert_stored(acknowledged: &Acknowledged, server: &Server) {
    acknowledged.assert_stored(&server.url("").await).await;
    let verdict = server.exec(&["/usr/bin/mattermost-telemetry", "verify"]);
    assert!(verdict.ends_with("\nclean"), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn nothing_acknowledged_is_lost_when_the_container_is_killed() {
    let (image, volume) = (Image::build(Base::Scratch), Volume::new());
    let server = Server::start_with(&image, &volume, without_limits).await;
    let acknowledged = Acknowledged::default();
    for round in 0..3 {
        server.wait_until_ready().await;
        // Ended at a different point each round, in the middle of many open requests.
        let senders = acknowledged.send(&server.url("").await, round, 150 + 70 * round);
        senders.reached().await;
        docker(["kill", "--signal=KILL", server.id()]);
        senders.cut_off().await;
        assert_eq!(server.wait_until_ended().await, 137);
        server.start_again().await;
    }
    server.wait_until_ready().await;
    assert_stored(&acknowledged, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn nothing_acknowledged_is_lost_when_the_container_is_stopped() {
    let (image, volume) = (Image::build(Base::Alpine), Volume::new());
    let server = Server::start_with(&image, &volume, without_limits).await;
    let acknowledged = Acknowledged::default();
    server.wait_until_ready().await;
    let senders = acknowledged.send(&server.url("").await, 0, 300);
    senders.reached().await;
    let begin = Instant::now();
    docker(["stop", "-t", GRACE, server.id()]);
    let took = begin.elapsed();
    senders.cut_off().await;
    println!("stopped under load in {took:?}");
    assert!(took < WELL_WITHIN, "{took:?}");
    assert_eq!(server.wait_until_ended().await, 0, "{}", server.log());
    // All is in the database itself: its log was emptied into it and is gone. The lock is an empty file.
    assert_eq!(volume.run(&["ls", "/data"]), "telemetry.db\ntelemetry.db-server.lock");

    server.start_again().await;
    server.wait_until_ready().await;
    assert_stored(&acknowledged, &server).await;
}

/// A request that has begun is finished and answered before the container ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn an_open_request_is_answered_before_the_container_stops() {
    let (image, volume) = (Image::build(Base::Scratch), Volume::new());
    let server = Server::start(&image, &volume).await;
    server.wait_until_ready().await;

    // The server asks for the body once it is at work on the request.
    let body = stock("open").to_string();
    let url = server.url("/collect").await;
    let address = url.trim_start_matches("http://").trim_end_matches("/collect");
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /collect HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    connection.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&go_on));

    docker(["kill", "--signal=TERM", server.id()]);
    // It is about to end when it takes no new connection.
    let health = server.url("/health").await;
    server
        .wait_until("closed", async || {
            let client =
                reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
            client.get(&health).send().await.is_err()
        })
        .await;
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(server.wait_until_ended().await, 0, "{}", server.log());

    server.start_again().await;
    server.wait_until_ready().await;
    let acknowledged = Acknowledged::default();
    acknowledged.add("open");
    assert_stored(&acknowledged, &server).await;
}
