//! Whatever the client talks to: the service that it wraps, or a server that behaves badly.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{interval, timeout},
};

const TIME_LIMIT: Duration = Duration::from_mins(1);

/// Behaviour of a peer.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    Works,
    /// Answers 503.
    Fails,
    /// Answers each path with a page of its own, as a network does that wants a login first.
    Captures,
    /// Takes a request and never answers.
    Hangs,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Ends when it is dropped.
pub struct Peer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    mode: Arc<Mutex<Mode>>,
    accepting: JoinHandle<()>,
}

impl Peer {
    pub async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, mode) = (Arc::default(), Arc::new(Mutex::new(mode)));
        let accepting = tokio::spawn({
            let (seen, mode) = (Arc::clone(&seen), Arc::clone(&mode));
            async move {
                let mut open = JoinSet::new();
                loop {
                    let (connection, _) = listener.accept().await.unwrap();
                    open.spawn(answer(connection, Arc::clone(&seen), Arc::clone(&mode)));
                }
            }
        });
        Self { address, seen, mode, accepting }
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub fn reports(&self) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.head.starts_with("POST ")).collect()
    }

    /// The first `count` reports, once they are there.
    pub async fn first(&self, count: usize) -> Vec<Request> {
        eventually(&format!("{count} reports"), async || self.reports().len() >= count).await;
        self.reports()[..count].to_vec()
    }

    /// Stops listening, as a server does that is shut down.
    pub async fn stop(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(mut connection: TcpStream, seen: Arc<Mutex<Vec<Request>>>, mode: Arc<Mutex<Mode>>) {
    let mut text = String::new();
    let (head, body) = loop {
        let mut part = [0; 4096];
        let Ok(length @ 1..) = connection.read(&mut part).await else { return };
        text.push_str(std::str::from_utf8(&part[..length]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let wanted = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.parse().unwrap());
        if body.len() >= wanted {
            break (head.to_owned(), body.to_owned());
        }
    };
    let collects = head.starts_with("POST /collect ");
    let configures = head.starts_with("GET /api/v4/config/client?format=old ");
    seen.lock().unwrap().push(Request { at: Instant::now(), head, body });
    let mode = *mode.lock().unwrap();
    let (status, body) = match mode {
        Mode::Hangs => std::future::pending().await,
        Mode::Fails => ("503 Service Unavailable", json!({"status": 503})),
        Mode::Captures => ("200 OK", json!("Log in first.")),
        Mode::Works if collects => ("200 OK", json!({"status": "success"})),
        Mode::Works if configures => {
            ("200 OK", json!({"BuildNumber": "77", "SiteName": "A", "Version": "11.3.0"}))
        }
        Mode::Works => ("200 OK", json!({"status": "OK"})),
    };
    let body = body.to_string();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    // The client may be gone.
    let _ = connection.write_all(answer.as_bytes()).await;
}

/// Asks again and again, up to a time limit.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut tick = interval(Duration::from_millis(20));
    let asking = async {
        while !is_so().await {
            tick.tick().await;
        }
    };
    timeout(TIME_LIMIT, asking).await.unwrap_or_else(|_| panic!("not there: {what}"));
}
