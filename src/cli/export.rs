//! The command `export`: writes what is stored in forms that other programs read.

mod output;
mod reports;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::output::Output;
use super::selection::SelectionArguments;
use crate::{
    config::DatabaseSettings,
    storage::{Database, RecordFormat},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Form of the output
    #[arg(long)]
    format: Format,
    #[command(flatten)]
    reports: SelectionArguments,
    /// The file; must not exist. Standard output by default
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Reports, comma-separated
    Csv,
    /// Reports, one JSON object a line
    Jsonl,
}

/// Exit code of a program that a signal has ended, as a shell reports it.
const INTERRUPTED: u8 = 130;

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let database = Database::open_existing(&arguments.database.database_url).await?;
    let selection = arguments.reports.selection()?;
    let is_file = arguments.output.is_some();
    let mut output = Output::begin(arguments.output)?;
    let format = match arguments.format {
        Format::Csv => RecordFormat::Csv,
        Format::Jsonl => RecordFormat::Jsonl,
    };
    let written = reports::write(&database, format, &selection, &mut output);
    let result = if is_file {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            result = written => Some(result),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        }
    } else {
        // A signal ends the program, also while nobody reads what it writes.
        Some(written.await)
    };
    database.close().await;
    let Some(result) = result else { return Ok(ExitCode::from(INTERRUPTED)) };
    match result.and_then(|()| output.finish()) {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

/// True if the reader of standard output has what it wanted, such as `head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
}
