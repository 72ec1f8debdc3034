//! The binary: calls [`mattermost_telemetry::cli`] and exits with its code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mattermost_telemetry::cli::run()
}
