//! A front of a server through which engines scrape it at chosen moments alone.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedRwLockWriteGuard, RwLock},
    time::{interval, timeout},
};

const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The answers since the front was opened, by request, and how many each engine has had.
#[derive(Default)]
struct Served {
    answers: BTreeMap<String, String>,
    engines: BTreeMap<String, usize>,
}

#[derive(Clone)]
pub struct Front {
    pub address: SocketAddr,
    /// Requests are refused while it is locked.
    gate: Arc<RwLock<()>>,
    served: Arc<Mutex<Served>>,
}

impl Front {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let front = Self { address, gate: Arc::default(), served: Arc::default() };
        let own = front.clone();
        tokio::spawn(async move {
            let client = reqwest::Client::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (own, client) = (own.clone(), client.clone());
                tokio::spawn(async move { own.answer(connection, server, client).await });
            }
        });
        front
    }

    /// Passes one request on.
    async fn answer(self, mut connection: TcpStream, server: SocketAddr, client: reqwest::Client) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match connection.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let request = String::from_utf8(request).unwrap();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let agent =
            |line: &str| line.to_lowercase().strip_prefix("user-agent: ").map(str::to_owned);
        let engine = request.lines().find_map(agent).unwrap();
        let Ok(open) = self.gate.try_read() else {
            let refused = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = connection.write_all(refused).await;
            return;
        };
        let known = self.served.lock().unwrap().answers.get(&path).cloned();
        let text = if let Some(text) = known {
            text
        } else {
            let answer = client.get(format!("http://{server}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            let text = answer.text().await.unwrap();
            self.served.lock().unwrap().answers.insert(path, text.clone());
            text
        };
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        // An engine that has waited for too long is gone, and asks again.
        let sent = connection.write_all(answer.as_bytes()).await;
        if sent.is_ok() && connection.shutdown().await.is_ok() {
            *self.served.lock().unwrap().engines.entry(engine).or_default() += 1;
        }
        drop(open);
    }

    /// Number of series of the answers since the front was opened.
    pub fn series(&self) -> usize {
        let served = self.served.lock().unwrap();
        let lines = served.answers.values().flat_map(|text| text.lines());
        lines.filter(|line| !line.starts_with('#')).count()
    }

    /// Has requests refused until the guard is dropped.
    pub async fn shut(&self) -> OwnedRwLockWriteGuard<()> {
        let shut = Arc::clone(&self.gate).write_owned().await;
        *self.served.lock().unwrap() = Served::default();
        shut
    }

    /// Waits until as many engines have had two answers since the front was opened: the first one takes the
    /// server's time and may come too late.
    pub async fn scraped(&self, engines: usize) {
        let mut tick = interval(Duration::from_millis(5));
        let scraped = async {
            let twice =
                |served: &Served| served.engines.values().filter(|count| **count > 1).count();
            while twice(&self.served.lock().unwrap()) < engines {
                tick.tick().await;
            }
        };
        timeout(TIME_LIMIT, scraped).await.expect("an engine does not scrape");
    }
}
