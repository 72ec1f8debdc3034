//! A Prometheus of our own, on a free port of this machine.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::JoinHandle,
};

use serde_json::Value;

/// Stopped when it is dropped.
pub struct Prometheus {
    pub address: String,
    child: Child,
    log: Option<JoinHandle<String>>,
}

impl Prometheus {
    /// Starts it on the data in `folder`; `config` is its configuration. Returns when it answers.
    pub fn start(folder: &Path, config: &str) -> Self {
        Self::start_with(folder, config, "1h")
    }

    /// The same with another time for which a sample is the value of its series.
    pub fn start_with(folder: &Path, config: &str, lookback: &str) -> Self {
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        // Free for the moment that it takes to give it on.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--query.lookback-delta={lookback}"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("Prometheus is needed: apt-get install prometheus");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended:\n{log}")).unwrap();
            log += &format!("{line}\n");
            if line.contains("Server is ready to receive web requests") {
                break;
            }
        }
        let rest = std::thread::spawn(move || {
            lines.map_while(Result::ok).fold(log, |log, line| format!("{log}{line}\n"))
        });
        Self { address, child, log: Some(rest) }
    }

    pub async fn get(&self, client: &reqwest::Client, path: &str) -> Value {
        let answer = client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Stops it and returns all that it has logged.
    pub fn stop(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs promtool, which must succeed.
pub fn promtool(arguments: &[&str]) -> Output {
    let output = Command::new("promtool")
        .args(arguments)
        .output()
        .expect("promtool is needed: apt-get install prometheus");
    assert!(output.status.success(), "promtool {arguments:?}: {output:?}");
    output
}
