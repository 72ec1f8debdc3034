//! See [`mattermost_telemetry`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mattermost_telemetry::cli::run()
}
