//! A load balancer in front of three servers, configured as docs/scaling.md says.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, interval};

const PAGE: &str = include_str!("../../../docs/scaling.md");
/// Addresses of the servers in the configuration of the page.
const SERVERS: [&str; 3] = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"];
/// Time in which it comes up.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Stopped when it is dropped.
pub struct Balancer {
    pub address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Balancer {
    /// Starts it before three servers. Returns when it accepts connections.
    pub async fn start(servers: [SocketAddr; 3]) -> Self {
        let folder = TempDir::new().unwrap();
        // Free for the moment that it takes to give it on.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (_, rest) = PAGE.split_once("```haproxy\n").unwrap();
        let (block, _) = rest.split_once("```\n").unwrap();
        let mut config = block.replace("bind :80", &format!("bind {address}"));
        for (written, server) in SERVERS.iter().zip(servers) {
            assert_eq!(config.matches(written).count(), 1, "{written}");
            config = config.replace(written, &server.to_string());
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let log = folder.path().join("log");
        // Debian has it where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        let mut process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .env("PATH", format!("{path}:/usr/sbin"))
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("haproxy is needed: apt-get install haproxy");
        let deadline = Instant::now() + TIME_LIMIT;
        let mut tick = interval(Duration::from_millis(20));
        while TcpStream::connect(address).is_err() {
            let runs = process.try_wait().unwrap().is_none() && Instant::now() < deadline;
            assert!(runs, "it does not listen: {}", std::fs::read_to_string(&log).unwrap());
            tick.tick().await;
        }
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(!log.contains("[WARNING]") && !log.contains("[ALERT]"), "{log}");
        Self { address, process, _folder: folder }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
