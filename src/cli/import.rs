//! The command `import`: copies the reports of a reference server's database.

use std::{cell::Cell, process::ExitCode};

use clap::Args;

use crate::{
    clock::Clock,
    config::DatabaseSettings,
    storage::{Database, Moved},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// A database file of the reference server
    file: String,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    clock.right()?;
    let database = Database::open_to_import(&arguments.database.database_url).await?;
    let mut writer = database.writer();
    let printed = Cell::new(0);
    let Moved { reports, known, altered, purged } = writer
        .import_reference(&arguments.file, database.is_alone(), &clock, |moved| {
            let now = moved.reports / 100_000;
            if printed.replace(now) < now {
                eprintln!("imported {} reports", moved.reports);
            }
        })
        .await?;
    database.close().await;
    writer.leave().await?;
    println!(
        "imported {reports} new reports, {known} were there already; {altered} broke a rule and were \
         cut to fit"
    );
    if purged > 0 {
        println!("{purged} rows of instances that were purged are left out");
    }
    Ok(ExitCode::SUCCESS)
}
