//! Connections that are held, and requests that do not end.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpSocket,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    raw,
    trial::{REPORTS, Tally, Trial},
};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Connections that wait. The server has 768.
const IDLE: usize = 3000;
/// Clients that send slowly, all the time.
const SLOW: usize = 1000;
/// Bytes of a head that does not end. The server takes 32 KiB.
const HEAD: usize = 30_000;
/// Clients that send without an end, all the time.
const ENDLESS: usize = 100;
/// Connections that are closed on one side.
const HALF_CLOSED: usize = 3000;
/// Of these, at a time.
const AT_A_TIME: usize = 100;
/// Bytes of an endless body after which the server has not given it up.
const WITHOUT_END: usize = 64 << 20;

/// Time after which a client that was cut off attacks again.
const PAUSE: Duration = Duration::from_millis(200);
/// Receive buffer of a client that does not read.
const NARROW: u32 = 4096;

/// Attacks again and again, by so many clients, for as long as what is returned is there.
fn again_and_again<F>(
    clients: usize,
    tally: &Tally,
    attack: impl Fn(usize) -> F + Clone + Send + 'static,
) -> JoinSet<()>
where
    F: Future<Output = Option<u16>> + Send,
{
    let mut attacks = JoinSet::new();
    for client in 0..clients {
        let (attack, tally) = (attack.clone(), tally.clone());
        attacks.spawn(async move {
            let mut pause = interval(PAUSE);
            pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tally.add(attack(client).await);
                pause.reset();
                pause.tick().await;
            }
        });
    }
    attacks
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn idle_connections() {
    let trial = Trial::begin().await;
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(raw::connect(trial.address, ATTACKER).await.unwrap());
    }
    trial.honest_reports(REPORTS).await;
    drop(idle);
    trial.judge("idle connections", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn slow_heads() {
    let trial = Trial::begin().await;
    let address = trial.address;
    // Nearly all that a head may have.
    let begin = format!("POST /collect HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(HEAD));
    let begin = Arc::new(begin.into_bytes());
    let attacks = again_and_again(SLOW, &trial.tally, move |_| {
        let begin = Arc::clone(&begin);
        async move { raw::send_slowly(address, ATTACKER, &begin, b"a").await }
    });
    trial.honest_reports_and(REPORTS, SLOW).await;
    drop(attacks);
    trial.judge("slow heads", 0).await;
}

/// The beginning of a request with a body, nearly as long as it may be, in chunks. A chunk may be as small as
/// a byte.
fn slow_body(target: &str, content_type: &str, length: usize, chunk: usize) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let chunks = format!("{chunk:x}\r\n{}\r\n", " ".repeat(chunk)).repeat(length / chunk);
    (head + &chunks).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn slow_bodies() {
    let trial = Trial::begin().await;
    let address = trial.address;
    let begins = Arc::new([
        slow_body("/collect", "application/json", 15 * 1024, 1),
        slow_body("/collect", "application/json", 15 * 1024, 5 * 1024),
        slow_body("/api/v1/query", "application/x-www-form-urlencoded", 120 * 1024, 1),
        slow_body("/api/v1/query", "application/x-www-form-urlencoded", 120 * 1024, 8 * 1024),
    ]);
    let attacks = again_and_again(SLOW, &trial.tally, move |client| {
        let begins = Arc::clone(&begins);
        async move {
            let begin = &begins[client % begins.len()];
            raw::send_slowly(address, ATTACKER, begin, b"1\r\n \r\n").await
        }
    });
    trial.honest_reports_and(REPORTS, SLOW).await;
    drop(attacks);
    trial.judge("slow bodies", 0).await;
}

/// Sends a body piece by piece until the server gives it up.
async fn send_endlessly(address: SocketAddr, head: &str, piece: &[u8]) -> Option<u16> {
    let mut stream = raw::connect(address, ATTACKER).await.ok()?;
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut sent = 0;
    while stream.write_all(piece).await.is_ok() {
        sent += piece.len();
        assert!(sent < WITHOUT_END, "an endless body is read: {head}");
    }
    raw::status(&raw::read_all(&mut stream).await.ok()?)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn endless_bodies() {
    let trial = Trial::begin().await;
    let address = trial.address;
    let heads = [
        "POST /collect HTTP/1.1\r\ncontent-type: application/json",
        "POST /api/v1/query HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded",
        "GET /metrics HTTP/1.1",
        "POST /nowhere HTTP/1.1",
    ]
    .map(|head| format!("{head}\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"));
    let pieces = [
        format!("2000\r\n{}\r\n", " ".repeat(0x2000)),
        "1\r\n \r\n".repeat(1000),
        "1;extension=".to_owned() + &"a".repeat(8000),
        "0\r\nx: y\r\n".to_owned() + &"x: y\r\n".repeat(1000),
    ];
    let attacks = again_and_again(ENDLESS, &trial.tally, move |client| {
        let head = heads[client % heads.len()].clone();
        let piece = pieces[client / heads.len() % pieces.len()].clone();
        async move { send_endlessly(address, &head, piece.as_bytes()).await }
    });
    trial.honest_reports(REPORTS).await;
    drop(attacks);
    trial.judge("endless bodies", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn half_closed_connections() {
    let trial = Trial::begin().await;
    let address = trial.address;
    let attacks = stream::iter(0..HALF_CLOSED).for_each_concurrent(AT_A_TIME, |number| {
        let tally = trial.tally.clone();
        async move {
            let report = format!("{{\"instance_id\":\"a{number}\"}}");
            let report = raw::post("/collect", "application/json", report.as_bytes());
            let (request, expected) = match number % 6 {
                0 => (Vec::new(), None),
                1 => (report[..report.len() / 2].to_vec(), None),
                2 => (report[..report.len() - 1].to_vec(), None),
                3 => (raw::get("/metrics"), None),
                4 => (raw::get("/openapi.json"), None),
                _ => (report, Some(200)),
            };
            let mut stream = raw::connect(address, ATTACKER).await.unwrap();
            stream.write_all(&request).await.unwrap();
            let _ = stream.shutdown().await;
            let answer = raw::read_all(&mut stream).await.unwrap_or_default();
            let status = raw::status(&answer);
            assert!(expected.is_none() || expected == status, "{status:?}");
            tally.add(if expected.is_some() { status } else { status.filter(|s| *s != 200) });
        }
    });
    attacks.await;
    trial.honest_reports(REPORTS / 2).await;
    let acknowledged = trial.tally.of(200);
    trial.judge("half-closed connections", acknowledged).await;
}

/// Requests one after the other in each connection, none of whose answers is read.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn unread_answers() {
    let trial = Trial::begin().await;
    let mut open = Vec::with_capacity(SLOW);
    for _ in 0..SLOW {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(NARROW).unwrap();
        let mut stream = socket.connect(trial.address).await.unwrap();
        let request = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(10);
        let _ = stream.write_all(request.as_bytes()).await;
        open.push(stream);
    }
    trial.honest_reports(REPORTS).await;
    drop(open);
    trial.judge("unread answers", 0).await;
}
