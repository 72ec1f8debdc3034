//! The command `openapi`: prints the description of the HTTP interface.

use std::process::ExitCode;

use crate::http;

pub fn run() -> ExitCode {
    print!("{}", http::DOCUMENT);
    ExitCode::SUCCESS
}
