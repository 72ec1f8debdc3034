//! The command `export`: writes what is stored in forms that other programs read.

mod openmetrics;
mod output;
mod progress;
mod reports;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::{output::Output, progress::Progress};
use super::selection::SelectionArguments;
use crate::{
    clock::Clock,
    config::DatabaseSettings,
    promql::duration,
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
    /// Time between the samples of a series, for `openmetrics`: such as `5m`, `1h` or `1d`
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = step)]
    step: i64,
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
    /// History of the metrics, for `promtool tsdb create-blocks-from openmetrics`
    Openmetrics,
}

/// Bytes that are written at a time.
const BUFFER: usize = 64 * 1024;

/// Exit code of a program that a signal has ended, as a shell reports it.
const INTERRUPTED: u8 = 130;

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let database = Database::open_existing(&arguments.database.database_url).await?;
    let selection = arguments.reports.selection()?;
    let is_file = arguments.output.is_some();
    let mut output = Output::begin(arguments.output)?;
    let clock = Clock::system();
    let written = async {
        let format = match arguments.format {
            Format::Csv => RecordFormat::Csv,
            Format::Jsonl => RecordFormat::Jsonl,
            Format::Openmetrics => {
                let step = arguments.step;
                return openmetrics::write(&database, &clock, &selection, step, &mut output).await;
            }
        };
        reports::write(&database, format, &selection, &mut output).await
    };
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

/// A step in milliseconds, of whole seconds.
fn step(text: &str) -> Result<i64, String> {
    let step = duration(text).map_err(|error| error.to_string())?;
    if step % 1000 == 0 { Ok(step) } else { Err("it is a whole number of seconds".to_owned()) }
}
