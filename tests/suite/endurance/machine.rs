//! A machine: a disk of its own that can be filled, a clock that can be set, and the server on it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::RETENTION_DAYS;
use crate::support::{Disk, REFERENCE_SCHEMA, Server, binary};

/// Space of the disk, in MiB: for the log and for hours of reports.
const DISK_MB: u64 = 512;

pub struct Machine {
    /// Files outside of the disk.
    folder: TempDir,
    pub disk: Disk,
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
        let disk = Disk::mount("endurance", folder.path(), DISK_MB).expect("a disk");
        let machine = Self { folder, disk, server: None };
        machine.set_clock("+0d");
        machine
    }

    fn database(&self) -> PathBuf {
        self.disk.path.join("telemetry.db")
    }

    /// Folder of the backups that the server makes, which is not on the disk.
    fn backup_dir(&self) -> PathBuf {
        self.folder.path().join("backups")
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
            .arg(format!("--target={}", self.disk.holder()))
            .args(["--user", "--mount", "--preserve-credentials", "--"])
            .args(["env", &format!("LD_PRELOAD={library}")])
            .arg(binary().get_program())
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("DATABASE_URL", format!("sqlite://{}", self.database().display()))
            .env("RETENTION_DAYS", RETENTION_DAYS)
            .env("BACKUP_DIR", self.backup_dir())
            .env("BACKUP_EVERY", "1h")
            // Else each thread keeps what it has freed, which looks like growth.
            .env("MALLOC_ARENA_MAX", "1")
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

    /// The backups that the server has made, the oldest first.
    pub fn backups(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.backup_dir()).into_iter().flatten();
        let files = files.map(|file| file.unwrap().path());
        let mut backups: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|ending| ending == "gz")).collect();
        backups.sort();
        backups
    }

    /// Deletes all of them but the oldest and the newest. The server deletes none by a doubtful clock.
    pub fn thin_backups(&self) {
        if let [_, between @ .., _] = &*self.backups() {
            for backup in between {
                fs::remove_file(backup).unwrap();
                fs::remove_file(format!("{}.sha256", backup.display())).unwrap();
            }
        }
    }

    /// Restores a backup into a new file.
    pub async fn restore(&self, backup: &Path) -> PathBuf {
        let database = self.folder.path().join("restored/telemetry.db");
        let url = format!("sqlite://{}", database.display());
        let backup = backup.to_str().unwrap();
        self.command(&["restore", "--database-url", &url, backup]).await;
        database
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

    /// Verdict of the recount of a database, and its output.
    pub async fn verify(&self, database: &str) -> (bool, String) {
        self.run(&["verify", "--database-url", &format!("sqlite://{database}")]).await
    }

    pub async fn verify_own(&self) -> (bool, String) {
        self.verify(&self.database().display().to_string()).await
    }

    /// True if times of reports are as the clock's steps ask for, and the recount agrees.
    pub async fn is_corrected(&self) -> bool {
        let (clean, verdict) = self.verify_own().await;
        assert!(clean || verdict.contains("unfinished:"), "{verdict}");
        clean
    }

    pub fn sizes(&self) -> Sizes {
        let process = format!("/proc/{}", self.server().pid());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let bytes =
            |file: &str| self.disk.seen().join(file).metadata().map_or(0, |file| file.size());
        Sizes {
            memory_kb: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            open_files: fs::read_dir(format!("{process}/fd")).unwrap().count() as u64,
            log_bytes: bytes("telemetry.db-wal"),
            database_bytes: bytes("telemetry.db"),
        }
    }
}
