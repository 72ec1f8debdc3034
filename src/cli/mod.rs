//! The commands of the binary, one file each; and what they share: `client` sends requests, `environment`
//! reads settings, and `orders` waits for orders or carries them out.

mod backup;
mod client;
mod clock;
mod environment;
mod export;
mod grafana;
mod healthcheck;
mod import;
mod openapi;
mod orders;
mod purge;
mod quarantine;
mod restore;
mod rules;
mod selection;
mod simulate;
mod values;
mod verify;

use std::{ffi::OsStr, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};
use tokio::runtime::{Builder, Runtime};

use crate::{app, config::ServeSettings, log};

#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeSettings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive and answer (the default)
    Serve(Box<ServeSettings>),
    /// Ask a running server whether it is ready; for a container's health check
    Healthcheck(healthcheck::Arguments),
    /// Write a consistent copy of the database into a new file, while the server runs
    Backup(backup::Arguments),
    /// Put a backup in place of the database, which is put aside; the server must not run
    Restore(restore::Arguments),
    /// Write the reports, or the history of the metrics, for other programs
    Export(export::Arguments),
    /// Copy the reports of a reference server's database, or of an exported file, into this one
    Import(import::Arguments),
    /// Confirm the clock of the machine where the server doubts it
    Clock(clock::Arguments),
    /// Recount everything and compare it with the stored counts, or repair these
    Verify(verify::Arguments),
    /// Take reports out of every number, reversibly
    Quarantine(quarantine::Arguments),
    /// Forget an instance for good
    Purge(purge::Arguments),
    /// List the values that count as `other`, or give one a label
    Values(values::Arguments),
    /// Fill a database with the reports of a made-up fleet, or post them to a running server
    Simulate(simulate::Arguments),
    /// Provision Grafana
    Grafana(grafana::Arguments),
    /// Print the description of the HTTP interface
    Openapi,
    /// Print the alert rules for Prometheus
    Rules,
}

/// Reads the arguments and does what they say.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(carry_out(arguments)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// The runtime, with half of the processors for requests: the other half works for SQLite, which
/// has threads of its own. A thread less is memory saved.
fn runtime() -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = (processors / 2).clamp(1, 4);
    Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

async fn carry_out(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        None => serve(arguments.serve).await,
        Some(Command::Serve(settings)) => serve(*settings).await,
        Some(Command::Healthcheck(arguments)) => healthcheck::run(&arguments).await,
        Some(Command::Backup(arguments)) => backup::run(&arguments).await,
        Some(Command::Restore(arguments)) => restore::run(&arguments).await,
        Some(Command::Export(arguments)) => export::run(arguments).await,
        Some(Command::Import(arguments)) => import::run(&arguments).await,
        Some(Command::Clock(arguments)) => clock::run(&arguments).await,
        Some(Command::Verify(arguments)) => verify::run(&arguments).await,
        Some(Command::Quarantine(arguments)) => quarantine::run(arguments).await,
        Some(Command::Purge(arguments)) => purge::run(&arguments).await,
        Some(Command::Values(arguments)) => values::run(arguments).await,
        Some(Command::Simulate(arguments)) => simulate::run(&arguments).await,
        Some(Command::Grafana(arguments)) => grafana::run(&arguments),
        Some(Command::Openapi) => Ok(openapi::run()),
        Some(Command::Rules) => Ok(rules::run()),
    }
}

async fn serve(settings: ServeSettings) -> anyhow::Result<ExitCode> {
    log::start(settings.log.log_format, &settings.log.log_filter)?;
    app::serve(settings.check()?).await?;
    Ok(ExitCode::SUCCESS)
}

/// The arguments, or the exit code where there is nothing more to do. A wrong setting is reported
/// in one line, so that it stands out in a container's log.
fn parse() -> Result<Arguments, ExitCode> {
    let variable = |name: &OsStr| std::env::var_os(name);
    let parsed =
        environment::matches(&Arguments::command(), std::env::args_os().collect(), &variable)
            .and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.to_string();
            // The fault stands before the first blank line, advice after it.
            let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
            eprintln!("{}", lines.collect::<Vec<_>>().join(" "));
            ExitCode::from(2)
        }
    })
}

/// Prints an error and its causes in one line.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {}", one_line(error));
    ExitCode::FAILURE
}

/// An error and its causes, without those that the error before them repeats.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line += &format!(": {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_said_already_is_left_out() {
        let error = anyhow::Error::msg("the disk is full")
            .context("error returned from database: the disk is full")
            .context("cannot write copy.db");
        let line = "cannot write copy.db: error returned from database: the disk is full";
        assert_eq!(one_line(&error), line);
    }
}
