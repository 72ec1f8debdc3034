//! A machine: a disk of its own that can be filled, a clock that can be set, and the server on it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::RETENTION_DAYS;
use crate::support::{REFERENCE_SCHEMA, Server, binary};

/// Space of the disk, in MiB: for the log and for hours of reports.
const DISK_MB: u64 = 512;
/// Time in which the disk is mounted.
const TIME_LIMIT: Duration = Duration::from_secs(10);

pub struct Machine {
    /// Files outside of the disk.
    folder: TempDir,
    /// Process that holds the namespace in which the disk is mounted.
    holder: Child,
    server: Option<Server>,
}

/// Of the server's process and files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    pub memory_kb: u64,
    pub open_files: u64,
    pub log_bytes: u64,
    pub database_bytes: u64,
}

impl Machine {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let script = format!(
            "mount -t tmpfs -o size={DISK_MB}m tmpfs \"$DISK\" && touch \"$DISK/mounted\" && exec sleep infinity"
        );
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .env("DISK", &disk)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let machine = Self { folder, holder, server: None };
        machine.set_clock("+0d");
        let begun = Instant::now();
        while !machine.seen(&disk).join("mounted").exists() {
            assert!(begun.elapsed() < TIME_LIMIT, "no disk: `unshare --mount` is needed");
            thread::sleep(Duration::from_millis(10));
        }
        machine
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn database(&self) -> PathBuf {
        self.disk().join("telemetry.db")
    }

    /// A path as this process sees what is mounted in the namespace.
    fn seen(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), path.display()))
    }

    /// Path of a file that is not on the disk.
    pub fn outside(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn forget(&self, name: &str) {
        fs::remove_file(self.outside(name)).unwrap();
    }

    /// The binary on this machine, with its clock.
    fn binary(&self) -> Command {
        let library = std::env::var("LIBFAKETIME").expect("LIBFAKETIME names the library");
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .arg(format!("--target={}", self.holder.id()))
            .args(["--user", "--mount", "--preserve-credentials", "--"])
            .args(["env", &format!("LD_PRELOAD={library}")])
            .arg(binary().get_program())
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("DATABASE_URL", format!("sqlite://{}", self.database().display()))
            .env("RETENTION_DAYS", RETENTION_DAYS)
            .env("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("time"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }

    pub fn start(&mut self) {
        self.server = Some(Server::start_command(&mut self.binary()));
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.server().address
    }

    pub fn kill(&mut self) {
        self.server.take().unwrap().kill();
    }

    /// Stops the server; its log.
    pub fn terminate(&mut self) -> String {
        let (status, log) = self.server.take().unwrap().terminate();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Sets the clock, in the words of libfaketime.
    pub fn set_clock(&self, time: &str) {
        let next = self.folder.path().join("time.next");
        fs::write(&next, format!("{time}\n")).unwrap();
        fs::rename(next, self.folder.path().join("time")).unwrap();
    }

    pub fn fill_disk(&self) {
        let ballast = self.seen(&self.disk()).join("ballast");
        let zeros = vec![0; 1 << 20];
        let mut file = fs::File::create(ballast).unwrap();
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    }

    pub fn free_disk(&self) {
        fs::remove_file(self.seen(&self.disk()).join("ballast")).unwrap();
    }

    /// Runs a command beside the server; what it prints.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let (done, output) = self.run(arguments).await;
        assert!(done, "{arguments:?}: {output}");
        output
    }

    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = self.binary();
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Imports the first rows of a reference's database; the number of those that are added.
    pub async fn import(&self, rows: u64) -> u64 {
        let file = self.folder.path().join("reference.db");
        let _ = fs::remove_file(&file);
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(REFERENCE_SCHEMA).execute(&mut connection).await.unwrap();
        // The ages are whole days before a fixed day, so that a longer file begins with the same rows.
        let statement = format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows})
             INSERT INTO deployments (instance_id, image_version, architecture,
                 container_runtime, startup_time_ms, db_type, telemetry_version, created_at)
             SELECT printf('%032x', i * 7919), 'v11.' || (i % 7) || '.0', 'aarch64', '',
                    i % 9000, 'postgres', '1.0',
                    datetime('2026-06-30', '-' || (i * 31 % 60) || ' days', '-' || (i % 1000) || ' seconds')
             FROM n"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let printed = self.command(&["import", file.to_str().unwrap()]).await;
        let number = printed.split_whitespace().find_map(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("{printed}"))
    }

    /// Whether the recount of a database agrees, and what it prints.
    pub async fn verify(&self, database: &str) -> (bool, String) {
        self.run(&["verify", "--database-url", &format!("sqlite://{database}")]).await
    }

    pub async fn verify_own(&self) -> (bool, String) {
        self.verify(&self.database().display().to_string()).await
    }

    pub fn sizes(&self) -> Sizes {
        let process = format!("/proc/{}", self.server().pid());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let bytes = |file: &str| {
            self.seen(&self.disk()).join(file).metadata().map_or(0, |file| file.size())
        };
        Sizes {
            memory_kb: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            open_files: fs::read_dir(format!("{process}/fd")).unwrap().count() as u64,
            log_bytes: bytes("telemetry.db-wal"),
            database_bytes: bytes("telemetry.db"),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.server = None;
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
