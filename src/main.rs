//! The binary: calls [`mattermost_telemetry::cli`] and exits with its code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// musl's own allocator keeps a group of slots until all of them are free. The server takes 29 MB with
/// it at 256 connections, and 23 MB with this one. SQLite's memory is musl's in both.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    mattermost_telemetry::cli::run()
}
