//! Volumes, and containers that serve.

use std::{
    collections::HashMap,
    process::Command,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt as _,
    bollard::models::PortBinding,
    core::{IntoContainerPort as _, Mount, WaitFor, wait::ExitWaitStrategy},
    runners::AsyncRunner as _,
};

use super::{
    docker::{docker, remove, unique},
    image::{Image, base_image, platform},
};

/// The port inside of the container.
const PORT: u16 = 8080;
/// Much more than a start under emulation takes, the first health check after 10 s included, or
/// Grafana's first, which makes a database.
const START_TIME_LIMIT: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(100);

/// A named volume.
#[derive(Debug)]
pub struct Volume {
    pub name: String,
}

impl Volume {
    pub fn new() -> Self {
        Self { name: docker(["volume", "create", &unique("volume")]) }
    }

    /// A volume with this database, which belongs to root.
    pub async fn with_database(content: Vec<u8>) -> Self {
        let volume = Self::new();
        let (name, tag) =
            base_image().split_once(':').map(|(n, t)| (n.to_owned(), t.to_owned())).unwrap();
        // Copied in before the start; the container has nothing more to do.
        GenericImage::new(name, tag)
            .with_wait_for(WaitFor::Exit(ExitWaitStrategy::new().with_exit_code(0)))
            .with_platform(platform())
            .with_mount(Mount::volume_mount(&volume.name, "/data"))
            .with_copy_to("/data/telemetry.db", content)
            .with_cmd(["true"])
            .start()
            .await
            .unwrap();
        volume
    }

    /// Gives all that is on it to the image's user.
    pub fn give_away(&self) {
        self.run(&["chown", "-R", "65532:65532", "/data"]);
    }

    /// Runs a command of the Alpine image on the volume, as root, and returns what it printed.
    pub fn run(&self, command: &[&str]) -> String {
        let (mount, base) = (format!("--volume={}:/data", self.name), base_image());
        let platform = format!("--platform={}", platform());
        let run = ["run", "--rm", "--network=none", &platform, &mount, &base];
        docker(run.iter().chain(command))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        remove("volume", &self.name);
    }
}

/// A container, its port published on the loopback address alone.
#[derive(Debug)]
pub struct Server {
    container: ContainerAsync<GenericImage>,
    port: u16,
    client: Client,
}

impl Server {
    /// Starts it as the image says, with its data on `volume`.
    pub async fn start(image: &Image, volume: &Volume) -> Self {
        Self::start_with(image, volume, |request| request).await
    }

    pub async fn start_with(
        image: &Image,
        volume: &Volume,
        change: impl FnOnce(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
    ) -> Self {
        let request = GenericImage::new(image.name(), "latest")
            .with_platform(platform())
            .with_mount(Mount::volume_mount(&volume.name, "/data"));
        Self::run(change(request), PORT, None).await
    }

    /// Starts any server that listens on this port inside of its container, which may be given a
    /// limit of its memory in bytes.
    pub async fn run(
        request: ContainerRequest<GenericImage>,
        port: u16,
        memory: Option<i64>,
    ) -> Self {
        let request =
            request.with_mapped_port(0, port.tcp()).with_host_config_modifier(move |host| {
                let binding =
                    PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some("0".into()) };
                let bindings = HashMap::from([(port.tcp().to_string(), Some(vec![binding]))]);
                host.port_bindings = Some(bindings);
                host.memory = memory;
            });
        let container = request.start().await.unwrap();
        let client = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { container, port, client }
    }

    pub fn id(&self) -> &str {
        self.container.id()
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The address of a route; the port is another one after each start.
    pub async fn url(&self, path: &str) -> String {
        let port = self.container.get_host_port_ipv4(self.port).await.unwrap();
        format!("http://127.0.0.1:{port}{path}")
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.client.get(self.url(path).await).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// The container as the engine describes it.
    pub fn inspect(&self) -> Value {
        let mut found: Value = serde_json::from_str(&docker(["inspect", self.id()])).unwrap();
        found[0].take()
    }

    /// Runs a command in the container and returns what it printed.
    pub fn exec(&self, command: &[&str]) -> String {
        docker(["exec", self.id()].iter().chain(command))
    }

    /// Everything that the server logged.
    pub fn log(&self) -> String {
        let output = Command::new("docker").args(["logs", self.id()]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Starts a container that ended.
    pub async fn start_again(&self) {
        self.container.start().await.unwrap();
    }

    /// Waits until the engine's own health check, which the image brings, says so.
    pub async fn wait_until_healthy(&self) {
        self.wait_until("healthy", async || {
            let state = &self.inspect()["State"];
            assert_eq!(state["Running"], true, "ended: {state}\n{}", self.log());
            state["Health"]["Status"] == "healthy"
        })
        .await;
    }

    /// Waits until the server says that it can store reports.
    pub async fn wait_until_ready(&self) {
        self.wait_until("ready", async || {
            let state = &self.inspect()["State"];
            assert_eq!(state["Running"], true, "ended: {state}\n{}", self.log());
            let answer = self.client.get(self.url("/ready").await).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    /// Waits until the process has ended, and returns its exit code.
    pub async fn wait_until_ended(&self) -> i64 {
        self.wait_until("ended", async || self.inspect()["State"]["Running"] == false).await;
        self.inspect()["State"]["ExitCode"].as_i64().unwrap()
    }

    /// Asks again and again, up to a time limit.
    pub async fn wait_until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let begin = Instant::now();
        while !is_so().await {
            assert!(
                begin.elapsed() < START_TIME_LIMIT,
                "not {what} after {START_TIME_LIMIT:?}: {}\n{}",
                self.inspect()["State"],
                self.log()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}
