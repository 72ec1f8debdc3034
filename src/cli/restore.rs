//! The command `restore`: puts a backup in place of the database.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{
    backups,
    clock::Clock,
    config::DatabaseSettings,
    storage::{Locked, Watch, beside, check, forget_again},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// The backup: one that the server made, or a copy that `backup` wrote
    file: PathBuf,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = &arguments.file;
    let bytes = backups::expected_bytes(file)?;
    let locked = Locked::new(&arguments.database.database_url)?;
    let _no_import = locked.lock_out_imports()?;
    let path = locked.path().to_owned();
    ensure!(
        file.canonicalize().ok() != path.canonicalize().ok(),
        "{} is the database itself",
        file.display()
    );
    let log = beside(file, "-wal");
    ensure!(
        log.metadata().map_or(true, |log| log.len() == 0),
        "{} is not complete without {}; write a copy with `backup`",
        file.display(),
        log.display()
    );
    let folder = path.parent().context("the database has no folder")?;
    backups::room_for(bytes, folder, "the restore")?;

    let part = locked.part()?;
    let unpacked = backups::unpack_alone(file, part.file(), folder)?;
    let whole: Watch = Arc::new(|| true);
    let contents = check(part.path(), &whole).await?;
    let forgotten = if path.exists() { forget_again(part.path(), &path).await } else { Ok(0) };
    let at = Clock::system().now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let replaced = locked.replace(part, &at).with_context(|| {
        format!("cannot put the restored database in place of {}", path.display())
    })?;

    println!("restored {contents} from {}", file.display());
    if !unpacked.summed {
        println!("there was no checksum beside it; SQLite finds no fault");
    }
    if let Some(replaced) = replaced {
        println!("the database that was there is {}", replaced.display());
        match forgotten {
            Ok(0) => {}
            Ok(instances) => println!(
                "{instances} instances that were purged since are purged again by the next start"
            ),
            Err(error) => println!("cannot read what was purged in it, so that is back: {error}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
