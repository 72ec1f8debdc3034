//! File systems that a test mounts in a namespace of its own.

use std::{io::Write as _, process::Command};

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
