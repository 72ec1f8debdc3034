//! Docker's command-line client.

use std::{
    ffi::OsStr,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Runs Docker's command-line client, as an operator does, and returns what it printed.
///
/// # Panics
/// If there is no client, no engine, or the command fails.
pub fn docker<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new("docker");
    // Docker 20.10 has to be asked for the builder that later versions take by themselves.
    command.args(arguments).env("DOCKER_BUILDKIT", "1");
    // It can take seconds, in which the other tasks of a test have to go on.
    let output = tokio::task::block_in_place(|| command.output())
        .unwrap_or_else(|error| panic!("cannot run the docker client: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?} failed:\n{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed.trim().to_owned()
}

/// Removes something, and says so if it cannot: a panic would hide why the test failed.
pub fn remove(kind: &str, name: &str) {
    let removed = Command::new("docker").args([kind, "rm", "--force", name]).output();
    if !removed.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("not removed: {kind} {name}: {removed:?}");
    }
}

/// A name that nothing else on the engine has.
pub fn unique(kind: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("telemetry-test-{}-{number}-{kind}", std::process::id())
}
