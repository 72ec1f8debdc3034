//! File systems that a test mounts in a namespace of its own.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Time in which a disk is mounted.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A command that runs a script as the root of a namespace in which it may mount; `None` where this
/// machine does not allow that, which is then printed with the name of the test.
pub fn in_own_namespace(test: &str, script: &str) -> Option<Command> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command
    };
    if unshare("mount -t tmpfs tmpfs /mnt").output().is_ok_and(|probe| probe.status.success()) {
        return Some(unshare(script));
    }
    // Past the test harness, which hides what a passing test prints.
    let line = format!("NOT RUN: {test} (needs `unshare --mount`)\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// A small disk, mounted in the namespace of a process that does nothing else.
pub struct Disk {
    holder: Child,
    /// Its path within the namespace.
    pub path: PathBuf,
}

impl Disk {
    /// Mounts it in a folder; `None` where this machine does not allow that.
    pub fn mount(test: &str, folder: &Path, megabytes: u64) -> Option<Self> {
        let path = folder.join("disk");
        fs::create_dir(&path).unwrap();
        let script = format!(
            "mount -t tmpfs -o size={megabytes}m tmpfs \"$DISK\" && touch \"$DISK/mounted\" && exec sleep infinity"
        );
        let mut command = in_own_namespace(test, &script)?;
        let holder = command.env("DISK", &path).stdin(Stdio::null()).spawn().unwrap();
        let disk = Self { holder, path };
        let (begun, mounted) = (Instant::now(), disk.seen().join("mounted"));
        while !mounted.exists() {
            assert!(begun.elapsed() < TIME_LIMIT, "no disk");
            thread::sleep(Duration::from_millis(10));
        }
        fs::remove_file(mounted).unwrap();
        Some(disk)
    }

    /// Process that holds the namespace.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// Its path as this process sees it.
    pub fn seen(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.path.display()))
    }

    pub fn fill(&self) {
        let zeros = vec![0; 1 << 20];
        let mut ballast = File::create(self.seen().join("ballast")).unwrap();
        while ballast.write_all(&zeros).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.seen().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
