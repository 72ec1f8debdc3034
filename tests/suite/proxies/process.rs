//! Reverse proxies of our own, on free ports of this machine.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, interval};

const PAGE: &str = include_str!("../../../docs/proxies.md");
/// The server's address in the configurations of the page.
const SERVER: &str = "127.0.0.1:8080";
/// Time in which a proxy comes up.
const TIME_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

/// Stopped when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    log: PathBuf,
    process: Child,
    _folder: TempDir,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Caddy];

    /// Starts it before the server with the configuration of docs/proxies.md, which `change` may alter.
    pub async fn start(self, server: SocketAddr, change: impl Fn(String) -> String) -> Proxy {
        let block = self.block(PAGE);
        assert!(block.contains(SERVER), "{block}");
        self.run(&change(block.replace(SERVER, &server.to_string()))).await
    }

    /// Starts it with a configuration. Returns when it accepts connections.
    pub async fn run(self, block: &str) -> Proxy {
        let folder = TempDir::new().unwrap();
        // Free for the moment that it takes to give it on.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = folder.path().join("proxy.conf");
        std::fs::write(&file, self.whole(block, address, folder.path())).unwrap();
        let log = folder.path().join("log");
        let mut process = self
            .command(&file)
            .env("HOME", folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{self:?} is needed (.ci/proxies): {error}"));
        let deadline = Instant::now() + TIME_LIMIT;
        let mut tick = interval(Duration::from_millis(20));
        while TcpStream::connect(address).is_err() {
            let runs = process.try_wait().unwrap().is_none() && Instant::now() < deadline;
            assert!(runs, "{self:?} does not listen: {}", std::fs::read_to_string(&log).unwrap());
            tick.tick().await;
        }
        Proxy { address, log, process, _folder: folder }
    }

    /// The configuration in a page.
    pub fn block(self, page: &'static str) -> &'static str {
        let fence = match self {
            Self::Nginx => "```nginx\n",
            Self::Haproxy => "```haproxy\n",
            Self::Caddy => "```caddyfile\n",
        };
        let (_, rest) = page.split_once(fence).unwrap();
        rest.split_once("```\n").unwrap().0
    }

    /// The configuration on a port of ours, with what a package's own configuration has around it.
    fn whole(self, block: &str, listen: SocketAddr, folder: &Path) -> String {
        let folder = folder.display();
        match self {
            Self::Nginx => {
                let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
                    .concat();
                let block = block.replace("listen 80;", &format!("listen {listen};"));
                format!(
                    "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\n\
                     events {{}}\nhttp {{\naccess_log off;\n{paths}{block}}}\n"
                )
            }
            Self::Haproxy => block.replace("bind :80", &format!("bind {listen}")),
            Self::Caddy => {
                let site = format!("http://{listen}");
                let block = block.replace("telemetry.example.com", &site);
                let block = block.replacen("{\n", "{\nbind 127.0.0.1\n", 1);
                format!("{{\nadmin off\nauto_https off\n}}\n{block}")
            }
        }
    }

    fn command(self, file: &Path) -> Command {
        let mut command = Command::new(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        });
        match self {
            Self::Nginx => command.args(["-e", "stderr", "-c"]).arg(file),
            Self::Haproxy => command.args(["-db", "-f"]).arg(file),
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
        };
        // Debian has two of them where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        command
    }
}

impl Proxy {
    /// Lines that it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
