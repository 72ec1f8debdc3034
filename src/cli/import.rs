//! The command `import`: copies the reports of a reference server's database, or of a file that an export
//! wrote.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use crate::{
    clock::Clock,
    config::DatabaseSettings,
    storage::{Database, Moved, RecordFormat},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Form of the file; by default that of its name, `.csv` or `.jsonl`, and of any other name a reference
    /// server's database
    #[arg(long)]
    format: Option<Format>,
    /// A database file of the reference server, or a file that `export` wrote
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Reports, comma-separated
    Csv,
    /// Reports, one JSON object a line
    Jsonl,
    /// A database file of the reference server
    Reference,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    clock.right()?;
    let database = Database::open_to_import(&arguments.database.database_url).await?;
    let mut writer = database.writer();
    let printed = Cell::new(0);
    let on_moved = |moved: Moved| {
        let now = moved.reports / 100_000;
        if printed.replace(now) < now {
            eprintln!("imported {} reports", moved.reports);
        }
    };
    let (file, alone) = (&arguments.file, database.is_alone());
    let format = match arguments.format.unwrap_or_else(|| named(file)) {
        Format::Csv => Some(RecordFormat::Csv),
        Format::Jsonl => Some(RecordFormat::Jsonl),
        Format::Reference => None,
    };
    let moved = if let Some(format) = format {
        writer.import_file(file, format, alone, &clock, on_moved).await?
    } else {
        writer.import_reference(&file.to_string_lossy(), alone, &clock, on_moved).await?
    };
    let Moved { reports, known, altered, purged } = moved;
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

/// The form that a file has by its name.
fn named(file: &Path) -> Format {
    let is = |ending| file.extension().is_some_and(|end| end.eq_ignore_ascii_case(ending));
    if is("csv") {
        Format::Csv
    } else if is("jsonl") || is("ndjson") {
        Format::Jsonl
    } else {
        Format::Reference
    }
}
