//! The command `verify`: recounts all counts but the snapshots and compares, or repairs them.

use std::process::ExitCode;

use clap::Args;

use super::orders::carried_out;
use crate::{clock::Clock, config::DatabaseSettings, storage::Database};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Make everything that is derived anew from the reports before, and decide anew which values have
    /// labels
    #[arg(long)]
    repair: bool,
}

/// Prints each comparison; exit code 1 where something differs.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut database = Database::open_existing(&arguments.database.database_url).await?;
    if arguments.repair {
        repair(&mut database).await?;
    }
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
    for unfinished in &verdict.unfinished {
        println!("unfinished: {unfinished}; the server goes on with it, or at its next start");
    }
    println!("NOT CLEAN");
    Ok(ExitCode::FAILURE)
}

async fn repair(database: &mut Database) -> anyhow::Result<()> {
    let clock = Clock::system();
    clock.right()?;
    let mut writer = database.writer();
    let order = writer.order_repair().await?;
    let mut found = None;
    carried_out(database, &mut writer, clock.now(), async |writer| {
        found = writer.repaired(order).await?;
        Ok(found.is_some())
    })
    .await?;
    writer.leave().await?;
    let (relabelled, repaired) = found.unwrap_or_default();
    println!("repaired {repaired} rows; {relabelled} reports count under their own value now");
    Ok(())
}
