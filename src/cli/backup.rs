//! The command `backup`: writes a consistent copy of the database.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{config::DatabaseSettings, storage::Database};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// The copy; must not exist
    file: PathBuf,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = &arguments.file;
    let database = Database::open_existing(&arguments.database.database_url).await?;
    database.backup(file).await?;
    database.close().await;
    println!("{}", file.display());
    Ok(ExitCode::SUCCESS)
}
