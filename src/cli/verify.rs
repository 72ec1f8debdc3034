//! The command `verify`: recounts all counts but the snapshots and compares.

use std::process::ExitCode;

use crate::{clock::Clock, config::DatabaseSettings, storage::Database};

/// Prints each comparison; exit code 1 where something differs.
pub async fn run(settings: &DatabaseSettings) -> anyhow::Result<ExitCode> {
    let database = Database::open_existing(&settings.database_url).await?;
    let verdict = database.verify(Clock::system().now()).await?;
    database.close().await;
    println!("{} reports", verdict.reports);
    for (check, differences) in &verdict.checks {
        println!("{differences} differences: {check}");
    }
    if verdict.is_clean() {
        println!("clean");
        return Ok(ExitCode::SUCCESS);
    }
    println!("NOT CLEAN");
    Ok(ExitCode::FAILURE)
}
