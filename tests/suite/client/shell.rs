//! The client in one of the shells, with nothing on its path but what it is said to need.

use std::{
    env,
    fmt::Display,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use super::peer::eventually;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/client/telemetry.sh");
/// Programs that the client uses, beside those that it sends by, and `sleep` for the service.
const PROGRAMS: [&str; 14] = [
    "cat",
    "chmod",
    "cut",
    "grep",
    "head",
    "mv",
    "od",
    "sed",
    "sha256sum",
    "sleep",
    "sync",
    "timeout",
    "tr",
    "uname",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// Dash and curl.
    Dash,
    /// Bash and GNU wget.
    Bash,
    /// `BusyBox` alone, its wget among it.
    BusyBox,
}

impl Shell {
    pub const ALL: [Self; 3] = [Self::Dash, Self::Bash, Self::BusyBox];
}

/// Path of a program of this machine.
fn find(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("there is no {program}: .ci/client installs it"))
}

/// A client with a volume and a path of its own.
pub struct Client {
    pub shell: Shell,
    pub folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Client {
    pub fn new(shell: Shell) -> Self {
        let folder = TempDir::new().unwrap();
        let programs = folder.path().join("programs");
        for folder in [&programs, &folder.path().join("data")] {
            std::fs::create_dir(folder).unwrap();
        }
        let link = |program: &str| symlink(find(program), programs.join(program)).unwrap();
        match shell {
            Shell::Dash => PROGRAMS.iter().chain(&["dash", "curl"]).copied().for_each(link),
            Shell::Bash => {
                PROGRAMS.iter().chain(&["bash", "wget"]).copied().for_each(link);
            }
            Shell::BusyBox => {
                let mut install = Command::new(find("busybox"));
                assert!(
                    install.arg("--install").arg("-s").arg(&programs).status().unwrap().success()
                );
            }
        }
        let client = Self { shell, folder, environment: Vec::new() };
        let data = client.path("data");
        let config = client.path("config.json");
        client
            .set("PATH", programs.display())
            .set("TELEMETRY_DATA_DIR", data.display())
            .set("MM_CONFIG", config.display())
            .set("TELEMETRY_RETRY_SECONDS", 1)
            .set("TELEMETRY_TIMEOUT_SECONDS", 2)
    }

    /// With this service and this server.
    pub fn between(self, service: &str, server: &str) -> Self {
        self.set("TELEMETRY_SERVICE_URL", service).set("TELEMETRY_ENDPOINT", server)
    }

    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Content of the file on the volume.
    pub fn kept(&self) -> Option<String> {
        std::fs::read_to_string(self.path("data/.telemetry-id")).ok()
    }

    /// Puts a program of the test's own before all others.
    pub fn with_program(self, name: &str, script: &str) -> Self {
        let file = self.path("programs").join(name);
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(CLIENT), arguments)
    }

    /// The same for a copy of the client in which `original` is `replacement`.
    pub fn altered_command(
        &self,
        original: &str,
        replacement: &str,
        arguments: &[&str],
    ) -> Command {
        let text = std::fs::read_to_string(CLIENT).unwrap();
        assert!(text.contains(original), "{original}");
        let copy = self.path("telemetry.sh");
        std::fs::write(&copy, text.replace(original, replacement)).unwrap();
        self.command_of(&copy, arguments)
    }

    fn command_of(&self, script: &Path, arguments: &[&str]) -> Command {
        let name = match self.shell {
            Shell::Dash => "dash",
            Shell::Bash => "bash",
            Shell::BusyBox => "ash",
        };
        let mut command = Command::new(self.path("programs").join(name));
        command.env_clear().envs(self.environment.iter().cloned());
        command.arg(script).args(arguments).stdin(Stdio::null());
        command
    }

    /// Output of a run that ends by itself.
    pub fn output(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{:?}: {output:?}", self.shell);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a service that prints one line, the stock client's opt-out, and runs until it is stopped.
    pub fn start(&self) -> Running {
        self.start_script("echo \"$DISABLE_TELEMETRY\"; exec sleep 1000")
    }

    /// Starts a service that prints one line.
    pub fn start_script(&self, service: &str) -> Running {
        let mut command = self.command(&["/bin/sh", "-c", service]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        Running { process, output, line: line.trim().to_owned() }
    }
}

/// A service that runs beside the client. Killed when it is dropped.
pub struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    pub line: String,
}

impl Running {
    /// Numbers of the processes that run beside the service: the client and nothing else.
    pub fn beside(&self) -> Vec<u32> {
        let id = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    /// Waits until the client has let go of the service's output.
    pub async fn wait_until_detached(&self) {
        let links = |id: u32| -> Vec<PathBuf> {
            let files = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
            files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok()).collect()
        };
        let own = std::fs::read_link(format!("/proc/{}/fd/1", self.process.id())).unwrap();
        let [client] = self.beside()[..] else { panic!("there is one client") };
        eventually("a client without the output", async || !links(client).contains(&own)).await;
    }

    pub fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until the service has ended, and everything that holds its output.
    pub fn end(mut self) -> Ended {
        let mut output = String::new();
        self.output.read_to_string(&mut output).unwrap();
        let mut messages = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
        let status = self.process.wait().unwrap();
        Ended { status, messages }
    }

    /// Kills the service; the client ends with it.
    pub async fn kill(mut self) {
        let beside = self.beside();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        eventually("the end of the client", async || {
            // One that nobody has waited for has ended, too.
            beside.iter().all(|id| {
                std::fs::read_to_string(format!("/proc/{id}/stat"))
                    .map_or(true, |stat| stat.contains(") Z "))
            })
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Debug)]
pub struct Ended {
    status: ExitStatus,
    pub messages: String,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}
