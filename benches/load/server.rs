//! A process that serves, and its figures at the operating system.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Pid;

/// This crate's binary.
pub const OWN: &str = env!("CARGO_BIN_EXE_mattermost-telemetry");

/// A command of a binary on a database file, with no other setting.
pub fn command(binary: &Path, database: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().env("DATABASE_URL", format!("sqlite://{}", database.display()));
    command
}

pub struct Server {
    process: Child,
    pub address: String,
    /// Time from the start of the process to its listening.
    pub start: Duration,
}

impl Server {
    /// This crate's binary on a database file.
    pub fn telemetry(database: &Path) -> Self {
        Self::start_binary(Path::new(OWN), database)
    }

    /// Any binary on a database file, without a limit for the one client that there is.
    pub fn start_binary(binary: &Path, database: &Path) -> Self {
        let mut command = self::command(binary, database);
        command.env("SERVER_ADDRESS", "127.0.0.1:0").env("RATE_LIMIT_PER_MINUTE", "0");
        Self::start(command)
    }

    /// The reference.
    pub fn parse_only() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("parse-only");
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let begun = Instant::now();
        let process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut server = Self { process, address: String::new(), start: Duration::ZERO };
        let log = BufReader::new(server.process.stderr.take().unwrap());
        for line in log.lines() {
            let line = line.unwrap();
            if let Some((_, rest)) = line.split_once("serving address=") {
                server.start = begun.elapsed();
                rest.split(' ').next().unwrap().clone_into(&mut server.address);
                return server;
            }
        }
        panic!("the server did not start");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// A figure of /proc/PID/status in MB: `VmRSS` is the present, `VmHWM` the highest.
    pub fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024.0 / 1e6
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.process.wait();
    }
}
