//! The command `values`: lists the values that are not well known, and gives one a label.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    config::DatabaseSettings,
    domain::{Dimension, Value},
    storage::{Database, ValueState},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the values that are not well known: accepted ones, and those that count as `other`
    List(DatabaseSettings),
    /// Count the reports of a value under its own name from now on
    Accept(Accept),
}

#[derive(Debug, Args)]
struct Accept {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Field of the report, such as `image_version`
    #[arg(value_parser = dimension)]
    dimension: Dimension,
    /// The value
    value: String,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::List(settings) => list(&settings).await?,
        Command::Accept(arguments) => accept(arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(settings: &DatabaseSettings) -> anyhow::Result<()> {
    let database = Database::open_existing(&settings.database_url).await?;
    let values = database.values().await?;
    database.close().await;
    println!("dimension          state     reports  instances  days  value");
    for row in values {
        let state = match row.state {
            ValueState::Accepted => "accepted",
            ValueState::OnTrust => "on trust",
            ValueState::Waiting => "waiting",
        };
        // An accepted value needs no proof, and nobody counts towards it.
        let progress = |count: u64| match row.state {
            ValueState::Accepted => "-".to_owned(),
            _ => count.to_string(),
        };
        println!(
            "{:<17}  {state:<8} {:>8} {:>10} {:>5}  {}",
            row.dimension.name(),
            row.reports,
            progress(row.instances),
            progress(row.days),
            row.value.escape_debug()
        );
    }
    Ok(())
}

async fn accept(arguments: Accept) -> anyhow::Result<()> {
    let value = Value::parse(arguments.dimension, Some(arguments.value))
        .context("the value is too long or has control characters: no report can have it")?;
    let database = Database::open_existing(&arguments.database.database_url).await?;
    let mut writer = database.writer();
    let accepted = writer.accept_value(arguments.dimension, &value).await?;
    database.close().await;
    writer.leave().await?;
    let shown = value.escape_debug();
    if accepted {
        println!("{shown} counts under its own name from now on");
    } else {
        println!("{shown} has a label already");
    }
    Ok(())
}

fn dimension(name: &str) -> Result<Dimension, String> {
    Dimension::named(name).ok_or_else(|| {
        let names = Dimension::ALL.map(Dimension::name).join(", ");
        format!("there are {names}")
    })
}
