use std::process::ExitCode;

use crate::http;

pub fn run() -> anyhow::Result<ExitCode> {
    println!("{}", http::document().to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}
