//! The replica that docs/replication.md describes, kept and restored by the real Litestream with the
//! project's own configuration. These tests need `litestream`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, interval, sleep};

use crate::support::{Acknowledged, Server, binary};

/// The interval of a test.
const INTERVAL: Duration = Duration::from_secs(1);
/// Age from which on an acknowledged report is in the replica: the interval, and the time in which Litestream
/// notices a change (1 s) and writes it, on a machine that has other work.
const BEHIND: Duration = Duration::from_secs(5);
/// Time in which a replica is begun.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The most that the log may have, by docs/replication.md: what Litestream lets it have, and what is written
/// while it is cut.
const LOG_BYTES: u64 = 96 << 20;

/// A server's folder and the replica of its database.
struct Replicated {
    folder: TempDir,
}

impl Replicated {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["data", "replica"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("data/telemetry.db")
    }

    /// A command of Litestream on the project's configuration.
    fn litestream(&self, arguments: &[&str]) -> Command {
        let program = std::env::var_os("LITESTREAM").unwrap_or_else(|| "litestream".into());
        let mut command = Command::new(program);
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("litestream.yml");
        command
            .arg(arguments[0])
            .arg("-config")
            .arg(config)
            .args(&arguments[1..])
            .env("TELEMETRY_DATABASE", self.database())
            .env("REPLICA_URL", format!("file://{}/replica", self.folder.path().display()))
            .env("REPLICA_SYNC_INTERVAL", format!("{}s", INTERVAL.as_secs()));
        command
    }

    /// Begins to keep the replica; returns when it can be restored.
    async fn replicate(&self) -> Replica {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let process = self
            .litestream(&["replicate"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("Litestream is needed (.ci/replication): {error}"));
        let replica = Replica { process };
        let deadline = Instant::now() + TIME_LIMIT;
        let mut tick = interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let to = self.folder.path().join("first.db");
            if self.restore(&["-force", "-o", to.to_str().unwrap()]).status.success() {
                return replica;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "no replica: {}", log());
        }
    }

    /// Restores the database, or a copy of it.
    fn restore(&self, options: &[&str]) -> Output {
        let database = self.database();
        let arguments = [&["restore"], options, &[database.to_str().unwrap()]].concat();
        self.litestream(&arguments).output().unwrap()
    }

    /// Restores as telemetry-restore of docker-compose.backup.yml does.
    fn restore_where_there_is_none(&self) {
        let stack = include_str!("../../docker-compose.backup.yml");
        let options = ["-if-db-not-exists", "-if-replica-exists"];
        assert!(stack.contains(&format!("litestream restore {} /data", options.join(" "))));
        let restored = self.restore(&options);
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    }

    fn log_bytes(&self) -> u64 {
        let log = self.folder.path().join("data/telemetry.db-wal");
        log.metadata().map_or(0, |log| log.len())
    }
}

/// A Litestream that keeps a replica. Killed when dropped.
struct Replica {
    process: Child,
}

impl Replica {
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn metrics(server: &Server) -> Value {
    reqwest::get(server.url("/metrics")).await.unwrap().json().await.unwrap()
}

fn assert_clean(database: &Path) {
    let verified = binary()
        .args(["verify", "--database-url", &format!("sqlite://{}", database.display())])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// The machine of the server is lost under load, twice: what was acknowledged some seconds before is there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs litestream: .ci/replication"]
async fn a_lost_machine_loses_some_seconds_at_most() {
    let here = Replicated::new();
    // The first start: nothing to restore.
    here.restore_where_there_is_none();
    assert!(!here.database().exists());

    let (mut kept, mut taken) = (Acknowledged::default(), 0);
    for round in 0..2 {
        let server = Server::start(&here.database());
        let replica = here.replicate().await;
        let acknowledged = kept.copy();
        let senders = acknowledged.send(&server.url(""), round, 1000);
        senders.reached().await;
        let before = acknowledged.copy();
        let mut most = 0;
        // The time itself is under test: what is older than this at the end must not be lost.
        let lost_at = Instant::now() + BEHIND;
        while Instant::now() < lost_at {
            most = most.max(here.log_bytes());
            sleep(Duration::from_millis(50)).await;
        }
        server.kill();
        replica.kill();
        senders.cut_off().await;
        assert!(most <= LOG_BYTES, "{most} bytes of log");
        assert!(acknowledged.len() >= before.len() + 1000, "too little load");
        // Each sender may have had a report under way.
        taken += acknowledged.len() - kept.len() + 24;

        // Another machine with an empty volume.
        std::fs::remove_dir_all(here.folder.path().join("data")).unwrap();
        std::fs::create_dir(here.folder.path().join("data")).unwrap();
        here.restore_where_there_is_none();
        let server = Server::start(&here.database());
        // Asserts that all of these are stored.
        before.assert_stored(&server.url("")).await;
        let stored = metrics(&server).await["total_deployments"].as_u64().unwrap();
        assert!(stored <= taken as u64, "{stored}");
        let (status, log) = server.terminate();
        assert!(status.success(), "{log}");
        assert_clean(&here.database());
        kept = before;
    }
}

/// A database that is there is not touched by the restore of the next start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs litestream: .ci/replication"]
async fn a_database_that_is_there_is_kept() {
    let here = Replicated::new();
    let acknowledged = Acknowledged::default();
    let server = Server::start(&here.database());
    let replica = here.replicate().await;
    replica.kill();
    // These reports are not in the replica.
    let senders = acknowledged.send(&server.url(""), 0, 100);
    senders.reached().await;
    server.kill();
    senders.cut_off().await;
    here.restore_where_there_is_none();
    let server = Server::start(&here.database());
    acknowledged.assert_stored(&server.url("")).await;
    // A Litestream that was away makes the replica whole.
    let _replica = here.replicate().await;
    let deadline = Instant::now() + TIME_LIMIT;
    let stored = metrics(&server).await;
    let copy = here.folder.path().join("copy.db");
    let mut tick = interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        let restored = here.restore(&["-force", "-o", copy.to_str().unwrap()]);
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        let other = Server::start(&copy);
        let same = metrics(&other).await == stored;
        let (status, log) = other.terminate();
        assert!(status.success(), "{log}");
        if same {
            break;
        }
        assert!(Instant::now() < deadline, "the replica lacks reports");
    }
    assert_clean(&copy);
}
