//! The command `purge`: forgets an instance for good.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{orders::carried_out, selection::instance};
use crate::{clock::Clock, config::DatabaseSettings, domain::InstanceId, storage::Database};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// The instance to forget
    #[arg(long, value_name = "ID", value_parser = instance, required_unless_present = "forgotten_by")]
    instance: Option<InstanceId>,
    /// Forget again what another database has forgotten: the one that a restored backup replaced
    #[arg(long, value_name = "FILE", conflicts_with_all = ["instance", "keep_totals"], requires = "apply")]
    forgotten_by: Option<PathBuf>,
    /// Go on counting its reports; only the single reports and the id are deleted
    #[arg(long)]
    keep_totals: bool,
    /// Print what would be deleted (the default)
    #[arg(long, conflicts_with = "apply")]
    dry_run: bool,
    /// Delete it; nothing brings it back
    #[arg(long)]
    apply: bool,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    clock.right()?;
    let mut database = Database::open_existing(&arguments.database.database_url).await?;
    let mut writer = database.writer();
    let orders = match (&arguments.instance, &arguments.forgotten_by) {
        (Some(instance), _) if arguments.apply => {
            vec![writer.order_purge(instance, arguments.keep_totals).await?]
        }
        (Some(instance), _) => {
            let (reports, quarantined) = writer.reports_of(instance).await?;
            println!("{reports} reports, and {quarantined} in quarantine");
            println!("nothing is changed; --apply deletes them for good");
            vec![]
        }
        (None, Some(file)) => {
            let orders = writer.order_purges_of(file).await?;
            println!("{} instances that were forgotten are there again", orders.len());
            orders
        }
        (None, None) => vec![],
    };
    for order in orders {
        let mut found = None;
        carried_out(&mut database, &mut writer, clock.now(), async |writer| {
            found = writer.purged(order).await?;
            Ok(found.is_some())
        })
        .await?;
        let reports = found.unwrap_or_default();
        println!("{reports} reports of the instance are deleted, and its id is overwritten");
        let kept = if arguments.keep_totals { "count still" } else { "do not count any more" };
        println!("they {kept}; reports that it sends from now on are not stored");
    }
    for copy in database.copies_beside() {
        println!("may still hold them: {}", copy.display());
    }
    println!("backups and replicas elsewhere may still hold them");
    database.close().await;
    writer.leave().await?;
    Ok(ExitCode::SUCCESS)
}
