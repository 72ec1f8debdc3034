//! The command `backup`: writes a consistent copy of the database.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{config::DatabaseSettings, storage::Database};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// The copy; must not exist
    file: String,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = &arguments.file;
    ensure!(!std::path::Path::new(file).exists(), "{file} exists; name a new file");
    let database = Database::open_existing(&arguments.database.database_url).await?;
    database.backup(file).await.with_context(|| format!("cannot write {file}"))?;
    database.close().await;
    println!("{file}");
    Ok(ExitCode::SUCCESS)
}
