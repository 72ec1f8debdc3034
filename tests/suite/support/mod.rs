//! A running service (in this process, as the real binary, or in a container) and short ways to
//! talk to it.

mod binary;
pub mod containers;
pub mod history;
mod load;
pub mod milliseconds;
mod mounts;
pub mod past;
pub mod properties;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use mattermost_telemetry::{
    app,
    clock::Clock,
    config::Config,
    domain::{self, Dimension},
    storage::Database,
};
use reqwest::{Method, RequestBuilder, Response, header};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

pub use self::{
    binary::{Server, binary, named_binary, refusal, refused, url},
    load::Acknowledged,
    mounts::{Disk, in_own_namespace},
};

/// The schema of the reference server's database.
pub const REFERENCE_SCHEMA: &str = include_str!("reference_schema.sql");

/// The statement that adds a row to it.
pub fn reference_row(
    id: &str,
    version: &str,
    architecture: &str,
    startup_ms: i64,
    created_at: &str,
) -> String {
    format!(
        "INSERT INTO deployments (instance_id, image_version, architecture, container_runtime,
                                  startup_time_ms, db_type, telemetry_version, created_at)
         VALUES ('{id}', '{version}', '{architecture}', '', {startup_ms}, 'postgres', '1.0',
                 '{created_at}')"
    )
}

/// Runs statements in a database file, which is made if it is not there.
pub async fn execute(file: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The time at which each test begins: a Saturday, 12:34:56.789 UTC.
pub const BEGIN: &str = "2026-01-31T12:34:56.789Z";

/// A service in this process, with a database and a clock of its own.
pub struct App {
    pub address: SocketAddr,
    pub database: Database,
    pub folder: TempDir,
    pub client: reqwest::Client,
    time: Arc<AtomicI64>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
}

/// Settings without limits, for a database in `folder`.
pub fn config(folder: &TempDir) -> Config {
    Config {
        database_url: format!("sqlite://{}/telemetry.db", folder.path().display()),
        server_address: ([127, 0, 0, 1], 0).into(),
        read_token: None,
        trusted_proxies: Vec::new(),
        rate_limit_per_minute: 0,
        instance_rate_limit_per_hour: 0,
        retention: None,
        backups: None,
        public_minimum: None,
        cors_allowed_origins: Vec::new(),
        grafana_url: None,
    }
}

impl App {
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(TempDir::new().unwrap(), change).await
    }

    pub async fn start_in(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&folder);
        change(&mut config);
        let begin: Timestamp = BEGIN.parse().unwrap();
        let time = Arc::new(AtomicI64::new(begin.as_millisecond()));
        let shown = Arc::clone(&time);
        let clock = Clock::from_fn(move || {
            Timestamp::from_millisecond(shown.load(Ordering::Relaxed)).unwrap()
        });
        let database = app::open(&config, &clock).await.unwrap();
        let listener = TcpListener::bind(config.server_address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn({
            let database = database.clone();
            async move {
                let stopped = async {
                    let _ = stopped.await;
                };
                app::run(&config, database, listener, clock, stopped).await
            }
        });
        let client = reqwest::Client::new();
        Self { address, database, folder, client, time, stop, running }
    }

    /// Moves the clock.
    pub fn pass(&self, hours: i64) {
        self.time.fetch_add(hours * 3_600_000, Ordering::Relaxed);
    }

    /// Sets the clock.
    pub fn set(&self, now: Timestamp) {
        self.time.store(now.as_millisecond(), Ordering::Relaxed);
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.time.load(Ordering::Relaxed)).unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// The type and the text of `/metrics` for an `Accept` header.
    pub async fn scrape(&self, accept: &str) -> (String, String) {
        let request = self.request(Method::GET, "/metrics").header(header::ACCEPT, accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let content_type = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        (content_type, answer.text().await.unwrap())
    }

    pub async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    /// The answers of routes, a line a row, for a snapshot.
    pub async fn rows(&self, paths: &[&str]) -> String {
        let mut shown = String::new();
        for path in paths {
            shown += &format!("{path}\n");
            let answer = self.json(path).await;
            match answer.as_array() {
                Some(rows) => rows.iter().for_each(|row| shown += &format!("    {row}\n")),
                None => shown += &format!("    {answer}\n"),
            }
        }
        shown
    }

    /// Sends a report that must be taken.
    pub async fn report(&self, body: &Value) {
        let response = self.request(Method::POST, "/collect").json(body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{body}: {}", response.text().await.unwrap());
        self.indexed().await;
    }

    /// Finds when versions were adopted, which the server does each minute: some tests take longer than until
    /// its first time, and some do not.
    pub async fn find_adoptions(&self) {
        let mut writer = self.database.writer();
        while writer.find_adoptions().await.unwrap() {}
        writer.leave().await.unwrap();
    }

    /// Gives a value a label of its own, as `values accept` does.
    pub async fn accept(&self, dimension: Dimension, value: &str) {
        let value = domain::Value::parse(dimension, Some(value.to_owned())).unwrap();
        let mut writer = self.database.writer();
        assert!(writer.accept_value(dimension, &value).await.unwrap());
        writer.leave().await.unwrap();
    }

    /// Waits until the reports that are stored are indexed, and the hours before them closed. That
    /// is at once, unless an hour has ended.
    async fn indexed(&self) {
        let options = SqliteConnectOptions::new().filename(self.database.path()).read_only(true);
        let mut connection = options.connect().await.unwrap();
        let newest: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM reports")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let done = async {
            while !sqlx::query_scalar::<_, bool>(
                "SELECT min(position >= iif(name = 'indexed', ?, ?)) FROM watermarks
                 WHERE name IN ('indexed', 'rolled_up')",
            )
            .bind(newest)
            .bind(self.now().as_millisecond() / 3_600_000)
            .fetch_one(&mut connection)
            .await
            .unwrap()
            {}
        };
        if timeout(Duration::from_secs(30), done).await.is_err() {
            let marks: Vec<(String, i64)> = sqlx::query_as("SELECT name, position FROM watermarks")
                .fetch_all(&mut connection)
                .await
                .unwrap();
            panic!("reports up to {newest} stay unindexed at {}: {marks:?}", self.now());
        }
        connection.close().await.unwrap();
    }

    pub async fn post(&self, body: impl Into<reqwest::Body>) -> Response {
        self.request(Method::POST, "/collect")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    /// Stops the service as a signal would and gives back its folder.
    pub async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        self.folder
    }
}

/// A report of the stock client, with the given id.
pub fn stock(id: &str) -> Value {
    json!({
        "instance_id": id,
        "image_version": "v11.0.0",
        "architecture": "aarch64",
        "os": "Linux",
        "container_runtime": "",
        "startup_time_ms": 2500,
        "db_type": "postgres",
        "telemetry_version": "1.0"
    })
}

/// A report of the stock client, with the given id and some fields changed.
#[expect(clippy::needless_pass_by_value, reason = "`json!` is a value, and reads better so")]
pub fn report(id: &str, changes: Value) -> Value {
    let mut body = stock(id);
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

/// An answer as a snapshot shows it: the status, the headers that mean something, the body.
pub async fn show(response: Response) -> String {
    let mut text = format!("{}\n", response.status());
    let headers = [
        header::CONTENT_TYPE,
        header::ALLOW,
        header::ACCEPT_ENCODING,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        header::LINK,
        header::VARY,
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
    ];
    for name in headers {
        if let Some(value) = response.headers().get(&name) {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
    }
    // Headers that are the same on every answer are asserted instead of shown.
    let id = response.headers()["x-request-id"].to_str().unwrap();
    let (process, number) = id.split_once('-').unwrap();
    assert!(process.len() == 8 && number.parse::<u64>().is_ok(), "{id}");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["cache-control"], "no-store");

    let body = response.text().await.unwrap();
    text.push('\n');
    match serde_json::from_str::<Value>(&body) {
        Ok(json) => text += &serde_json::to_string_pretty(&json).unwrap(),
        Err(_) => text += &body,
    }
    text
}
