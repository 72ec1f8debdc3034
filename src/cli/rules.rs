//! The command `rules`: prints the alert rules for Prometheus.

use std::process::ExitCode;

const RULES: &str = include_str!("../../prometheus/telemetry.rules.yml");

pub fn run() -> ExitCode {
    print!("{RULES}");
    ExitCode::SUCCESS
}
