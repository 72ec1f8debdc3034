//! The real binary, as a command and as a server.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

/// The real binary, with no setting but those that a test gives.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mattermost-telemetry"));
    command.env_clear().env("RUST_BACKTRACE", "1");
    command
}

/// The binary that `TEST_BINARY` names, by a path from the project's folder, or else the real one.
pub fn named_binary() -> Command {
    let Some(named) = env::var_os("TEST_BINARY") else { return binary() };
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(named));
    command.env_clear();
    command
}

/// The URL of a database file.
pub fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// The one line that a command prints which is refused.
pub fn refused(command: &mut Command) -> String {
    refusal(command.output().unwrap())
}

/// The one line in the output of a command that was refused.
pub fn refusal(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// The real binary as a server on a free port of 127.0.0.1. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    pub first_line: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Server {
    /// Starts it on a database file, without rate limits.
    pub fn start(database: &Path) -> Self {
        Self::start_command(binary().env("DATABASE_URL", url(database)))
    }

    /// Starts it by a command that ends up as the server, without a rate limit that it does not set.
    pub fn start_command(command: &mut Command) -> Self {
        let given: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        for limit in ["RATE_LIMIT_PER_MINUTE", "INSTANCE_RATE_LIMIT_PER_HOUR"] {
            if !given.iter().any(|name| name == limit) {
                command.env(limit, "0");
            }
        }
        Self::start_as_it_is(command.env("SERVER_ADDRESS", "127.0.0.1:0"))
    }

    /// Starts it with its database at $DISK, by a command that mounts a disk there and becomes $SERVER. Returns the
    /// path of the disk, too.
    pub fn start_on_disk(command: &mut Command, folder: &Path) -> (Self, PathBuf) {
        let disk = folder.join("disk");
        fs::create_dir(&disk).unwrap();
        command
            .env("DISK", &disk)
            .env("SERVER", binary().get_program())
            .env("DATABASE_URL", url(&disk.join("telemetry.db")));
        (Self::start_command(command), disk)
    }

    /// Starts it by a command that has all settings, the address among them.
    pub fn start_as_it_is(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let address = ([0, 0, 0, 0], 0).into();
        let mut server = Self { process, address, first_line: String::new(), log };
        loop {
            let mut line = String::new();
            assert!(server.log.read_line(&mut line).unwrap() > 0, "ended early: {server:?}");
            server.first_line.clone_from(&line);
            if let Some((_, rest)) = line.split_once("serving address=") {
                server.address = rest.split(' ').next().unwrap().parse().unwrap();
                return server;
            }
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM; returns how it ended and the rest of its log.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (self.process.wait().unwrap(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
