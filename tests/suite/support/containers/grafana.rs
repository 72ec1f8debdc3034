//! The stack's Grafana.

use std::{
    env,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use testcontainers::{
    ContainerRequest, GenericImage, ImageExt as _,
    core::{AccessMode, Mount},
};

use super::server::{Server, Volume};
use crate::support::binary;

/// The port inside of the container.
const PORT: u16 = 3000;
/// Time to pull an image of a few hundred megabytes.
const PULL_LIMIT: Duration = Duration::from_mins(10);

/// Pulls an image. What the client says against it is seen past the test harness.
async fn pull(image: &str) -> bool {
    let mut client = Command::new("docker")
        .args(["pull", "--quiet", image])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while begin.elapsed() < PULL_LIMIT {
        if let Some(status) = client.try_wait().unwrap() {
            return status.success();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.kill().unwrap();
    client.wait().unwrap();
    false
}

/// The image in `GRAFANA_IMAGE`, or else the stack's: here, or pulled now.
pub async fn grafana_image(service: &Value) -> String {
    let asked = env::var("GRAFANA_IMAGE").ok().filter(|image| !image.is_empty());
    let image = asked.unwrap_or_else(|| service["image"].as_str().unwrap().to_owned());
    let inspected = Command::new("docker").args(["image", "inspect", &image]).output().unwrap();
    let there = inspected.status.success() || pull(&image).await;
    assert!(there, "{image} is neither here nor can it be pulled");
    image
}

/// Grafana as the stack starts it. Asked as its administrator.
#[derive(Debug)]
pub struct Grafana {
    server: Server,
    user: String,
    password: String,
    /// Removed after the container.
    _data: Volume,
    _provisioning: TempDir,
}

impl Grafana {
    /// Starts the service of the compose file, which Compose has read, on a network, with the files that
    /// the service beside it writes into a volume.
    pub async fn start(image: &str, service: &Value, network: &str) -> Self {
        let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let data = Volume::new();
        let provisioning = TempDir::new().unwrap();
        let provisioned = provisioning.path().join("volume");
        let mut provision = binary();
        provision.args(["grafana", "provision"]).arg(&provisioned);
        let written = provision.env("ALERT_WEBHOOK_URL", "http://127.0.0.1:9/alerts").status();
        assert!(written.unwrap().success());
        let mut request: ContainerRequest<GenericImage> = GenericImage::new(name, tag).into();
        request = request.with_network(network);
        for (name, value) in service["environment"].as_object().unwrap() {
            request = request.with_env_var(name, value.as_str().unwrap_or_default());
        }
        for mount in service["volumes"].as_array().unwrap() {
            let target = mount["target"].as_str().unwrap();
            let source = mount["source"].as_str().unwrap();
            request = request.with_mount(if mount["type"] == "bind" {
                Mount::bind_mount(source, target).with_access_mode(AccessMode::ReadOnly)
            } else if source.contains("provisioning") {
                Mount::bind_mount(provisioned.to_str().unwrap(), target)
                    .with_access_mode(AccessMode::ReadOnly)
            } else {
                Mount::volume_mount(&data.name, target)
            });
        }
        for option in service["security_opt"].as_array().unwrap() {
            request = request.with_security_opt(option.as_str().unwrap());
        }
        let memory = &service["deploy"]["resources"]["limits"]["memory"];
        let memory: i64 = memory.as_str().unwrap().parse().unwrap();
        let setting = |name: &str| service["environment"][name].as_str().unwrap().to_owned();
        Self {
            server: Server::run(request, PORT, Some(memory)).await,
            user: setting("GF_SECURITY_ADMIN_USER"),
            password: setting("GF_SECURITY_ADMIN_PASSWORD"),
            _data: data,
            _provisioning: provisioning,
        }
    }

    async fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.server.client().request(method, self.server.url(path).await);
        request.basic_auth(&self.user, Some(&self.password))
    }

    /// The answer, if it is JSON.
    async fn ask(request: RequestBuilder) -> Option<(u16, Value)> {
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// Waits until it answers with something that `is_so`, and returns that.
    pub async fn wait_for(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        self.server
            .wait_until(path, async || {
                let state = &self.server.inspect()["State"];
                assert_eq!(state["Running"], true, "ended: {state}\n{}", self.server.log());
                let answer = Self::ask(self.request(Method::GET, path).await).await;
                let waits =
                    answer.as_ref().is_none_or(|(status, answer)| *status != 200 || !is_so(answer));
                // Why it goes on waiting, once.
                if waits && answer != last {
                    println!("{path}: {answer:?}");
                }
                last = answer;
                !waits
            })
            .await;
        last.unwrap().1
    }

    /// Asks the data sources. Returns the results by `refId`.
    ///
    /// # Panics
    /// If one of the questions is not answered.
    pub async fn query(&self, body: &Value) -> Value {
        let request = self.request(Method::POST, "/api/ds/query?ds_type=prometheus").await;
        let (status, answer) = Self::ask(request.json(body)).await.expect("no answer in JSON");
        assert_eq!(status, 200, "{body}\n{answer}");
        let results = &answer["results"];
        for query in body["queries"].as_array().unwrap() {
            let result = &results[query["refId"].as_str().unwrap()];
            assert_eq!(result["error"], Value::Null, "{query}\n{result}");
            assert_eq!(result["status"], 200, "{query}\n{result}");
            assert!(result["frames"].is_array(), "{query}\n{result}");
        }
        results.clone()
    }
}
