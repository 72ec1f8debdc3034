//! The command `clock`: confirms a clock that the server doubts.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{config::DatabaseSettings, storage::Database};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// State that the present clock is right, although the server that runs doubts it
    Confirm(DatabaseSettings),
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Action::Confirm(settings) = &arguments.action;
    let database = Database::open_existing(&settings.database_url).await?;
    let mut writer = database.writer();
    let confirmed = writer.confirm_clock().await?;
    database.close().await;
    writer.leave().await?;
    anyhow::ensure!(confirmed, "no server has run on this database yet: its clock has no record");
    println!("confirmed; a server that runs takes note within a minute");
    Ok(ExitCode::SUCCESS)
}
