//! The command `quarantine`: takes reports out of every number, and puts them back.

use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};

use super::{orders::carried_out, selection::SelectionArguments};
use crate::{
    clock::Clock,
    config::DatabaseSettings,
    domain::{ReportKind, Selection},
    storage::{Database, Preview, Quarantine, QuarantineState, Writer},
};

/// Values of a dimension that are printed.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    take: Take,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the quarantines
    List(DatabaseSettings),
    /// Put the reports of a quarantine back into every number
    Lift(Lift),
}

#[derive(Debug, Args)]
struct Lift {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Number of the quarantine
    number: i64,
}

#[derive(Debug, Args)]
struct Take {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    reports: SelectionArguments,
    /// Take reports that are still to come, too
    #[arg(long)]
    future: bool,
    /// Print what would be taken (the default)
    #[arg(long, conflicts_with = "apply")]
    dry_run: bool,
    /// Take the reports out
    #[arg(long)]
    apply: bool,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        None => take(arguments.take).await?,
        Some(Command::List(settings)) => list(&settings).await?,
        Some(Command::Lift(arguments)) => lift(&arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn take(arguments: Take) -> anyhow::Result<()> {
    let selection = arguments.reports.selection()?;
    ensure!(
        !selection.is_any(),
        "state which reports: --instance, --value, --kind, --from, --until"
    );
    let clock = Clock::system();
    clock.right()?;
    let mut database = Database::open_existing(&arguments.database.database_url).await?;
    let mut writer = database.writer();
    let preview = writer.preview_quarantine(&selection).await?;
    print(&preview);
    if preview.pruned {
        println!(
            "{}",
            if selection.instance.is_some() {
                "single reports were pruned: those of the instance among them stay counted"
            } else {
                "single reports were pruned: their counts are taken by label and in whole hours"
            }
        );
    }
    if arguments.apply {
        let number = writer.order_quarantine(clock.now(), &selection, arguments.future).await?;
        wait(&mut database, &mut writer, &clock, number, Some(QuarantineState::Active)).await?;
        println!("quarantine {number}: its reports are out of the numbers");
    } else {
        println!("nothing is changed; --apply takes them out");
    }
    leave(database, writer).await
}

async fn lift(arguments: &Lift) -> anyhow::Result<()> {
    let clock = Clock::system();
    clock.right()?;
    let mut database = Database::open_existing(&arguments.database.database_url).await?;
    let mut writer = database.writer();
    let number = arguments.number;
    if !writer.order_lift(number).await? {
        let found = find(&mut writer, number).await?.map(|quarantine| quarantine.state);
        match found {
            None => bail!("there is no quarantine {number}"),
            Some(QuarantineState::Lifting) => {}
            Some(_) => bail!("quarantine {number} is still being applied"),
        }
    }
    wait(&mut database, &mut writer, &clock, number, None).await?;
    println!("quarantine {number} is lifted: its reports count again");
    leave(database, writer).await
}

async fn leave(database: Database, writer: Writer) -> anyhow::Result<()> {
    database.close().await;
    writer.leave().await?;
    Ok(())
}

async fn find(writer: &mut Writer, number: i64) -> anyhow::Result<Option<Quarantine>> {
    Ok(writer.quarantines().await?.into_iter().find(|quarantine| quarantine.id == number))
}

/// Waits until a quarantine is in a state, or gone.
async fn wait(
    database: &mut Database,
    writer: &mut Writer,
    clock: &Clock,
    number: i64,
    state: Option<QuarantineState>,
) -> anyhow::Result<()> {
    carried_out(database, writer, clock.now(), async |writer| {
        let quarantines = writer.quarantines().await?;
        let found = quarantines.iter().find(|quarantine| quarantine.id == number);
        Ok(found.map(|quarantine| quarantine.state) == state)
    })
    .await
}

async fn list(settings: &DatabaseSettings) -> anyhow::Result<()> {
    let database = Database::open_existing(&settings.database_url).await?;
    let mut writer = database.writer();
    println!("number  made                  state     reports  takes");
    for (quarantine, reports) in writer.quarantines_with_reports().await? {
        let state = match quarantine.state {
            QuarantineState::Applying => "applying",
            QuarantineState::Active => "active",
            QuarantineState::Lifting => "lifting",
        };
        let made = quarantine.made_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let takes = describe(&quarantine);
        println!("{:>6}  {made}  {state:<8} {reports:>8}  {takes}", quarantine.id);
    }
    leave(database, writer).await
}

/// The arguments that made a quarantine.
fn describe(quarantine: &Quarantine) -> String {
    let Selection { instance, values, kind, from, until } = &quarantine.selection;
    let mut words = Vec::new();
    words.extend(instance.as_ref().map(|id| format!("--instance {}", id.escape_debug())));
    for (dimension, value) in values {
        words.push(format!("--value {}={}", dimension.name(), value.escape_debug()));
    }
    words.extend(kind.map(|kind| match kind {
        ReportKind::Start => "--kind start".to_owned(),
        ReportKind::Heartbeat => "--kind heartbeat".to_owned(),
    }));
    words.extend(from.map(|time| format!("--from {time}")));
    words.extend(until.map(|time| format!("--until {time}")));
    words.extend(quarantine.future.then(|| "--future".to_owned()));
    words.join(" ")
}

fn print(preview: &Preview) {
    let Preview { stored, reports, heartbeats, instances, whole_instances, times, values, .. } =
        preview;
    println!("{reports} of {stored} reports, {heartbeats} of them heartbeats");
    if *reports == 0 {
        return;
    }
    if let Some((first, last)) = times {
        println!("received from {first} to {last}");
    }
    println!("{instances} instances, {whole_instances} of them with no other report");
    for (dimension, values) in values {
        let shown: Vec<_> = values
            .iter()
            .take(SHOWN)
            .map(|(value, count)| format!("{} {count}", value.escape_debug()))
            .collect();
        let more = if values.len() > SHOWN { ", …" } else { "" };
        println!("{}: {}{more}", dimension.name(), shown.join(", "));
    }
}
