//! Reports of a database file of the reference server. It has one table, `deployments`, with a text
//! for each field but an integer for the startup time, and no record of its schema's version.

use std::path::Path;

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    copy_reports::{Copy, ImportError, Moved, Source},
    pace::Pace,
    reference_rows::ReferenceRows,
};
use crate::{
    clock::Clock,
    domain::Hour,
    storage::{
        CANNOT_OPEN, Error, OpenError, Result, Writer, open_error, place::beside, sqlite_code,
    },
};

/// Rows that SQLite's thread reads before the one that takes them: each change of threads takes as long
/// as some rows.
const ROWS_AHEAD: usize = 1_000;

impl Writer {
    /// Moves the reports that a reference server left in this very file, and drops its table. Goes on
    /// where an earlier call was interrupted, and with rows that come in meanwhile. `None` if
    /// there is no such table.
    ///
    /// # Errors
    /// [`ImportError`] where an import is running, or the database's error; the rows moved so far stay
    /// moved.
    pub async fn take_over(
        &mut self,
        clock: &Clock,
        on_moved: impl Fn(Moved),
    ) -> std::result::Result<Option<Moved>, ImportError> {
        let found = self.run(async |open| is_reference(&mut open.connection).await).await?;
        if !found {
            return Ok(None);
        }
        let _lock = self.lock_imports()?;
        let path = self.path().to_owned();
        let Some(source) = open_source(&path).await? else {
            return Ok(None);
        };
        let rows = ReferenceRows::new(source).await.map_err(Error::from)?;
        let mut copy = Copy::begin(self, Source::Reference(rows), Pace::alone()).await?;
        loop {
            copy.go_on(self, clock, &on_moved).await?;
            self.finish_import(Hour::of(clock.now()), copy.pace()).await?;
            if drop_source(self, copy.last()).await? {
                return Ok(Some(copy.moved()));
            }
        }
    }

    /// Copies the reports of a reference server's file that are not stored yet. `alone` says that no
    /// server is running, whose reports would wait for a large step.
    ///
    /// # Errors
    /// [`OpenError`] where the file is not such a database or another import is running, or a
    /// database's error; the rows copied so far stay.
    pub async fn import_reference(
        &mut self,
        file: &str,
        alone: bool,
        clock: &Clock,
        on_moved: impl Fn(Moved),
    ) -> std::result::Result<Moved, ImportError> {
        let _lock = self.lock_imports()?;
        let Some(source) = open_source(Path::new(file)).await? else {
            return Err(ImportError::NotReference(file.to_owned()));
        };
        let rows = ReferenceRows::new(source).await.map_err(Error::from)?;
        Copy::of_all(self, Source::Reference(rows), alone, clock, on_moved).await
    }
}

/// Opens a reference database to read it; `None` if it is something else.
async fn open_source(path: &Path) -> std::result::Result<Option<SqliteConnection>, OpenError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let source = match open_reference(&options).await {
        // A database in WAL mode: its readers share memory through a file beside it, which SQLite
        // cannot make in a read-only folder. Without a log nothing is in the way of reading the
        // file as it is.
        Err(error) if sqlite_code(&error) == Some(CANNOT_OPEN) => {
            let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let logs = ["-wal", "-journal"].map(|ending| beside(&path, ending));
            if let Some(log) = logs.into_iter().find(|log| holds_something(log)) {
                return Err(OpenError::UnreadLog { path, log });
            }
            open_reference(&options.immutable(true)).await
        }
        result => result,
    };
    source.map_err(|error| open_error(path, error))
}

async fn open_reference(options: &SqliteConnectOptions) -> sqlx::Result<Option<SqliteConnection>> {
    let options = options.clone().disable_statement_logging().row_buffer_size(ROWS_AHEAD);
    let mut source = options.connect().await?;
    let found = is_reference(&mut source).await?;
    Ok(found.then_some(source))
}

fn holds_something(file: &Path) -> bool {
    file.metadata().is_ok_and(|file| file.len() > 0)
}

async fn is_reference(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'deployments'",
    )
    .fetch_one(connection)
    .await?;
    Ok(tables > 0)
}

/// Name of a source in the table `imports` of older versions: its first row.
pub async fn name_of_older_versions(source: &mut SqliteConnection) -> sqlx::Result<String> {
    let first: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT id, CAST(instance_id || ' ' || created_at AS BLOB)
         FROM deployments ORDER BY id LIMIT 1",
    )
    .fetch_optional(source)
    .await?;
    Ok(first.map_or_else(
        || "import".to_owned(),
        |(id, row)| format!("import {id} {}", String::from_utf8_lossy(&row)),
    ))
}

/// Drops the table of a take-over, unless it has rows that are not moved yet.
async fn drop_source(writer: &mut Writer, last: i64) -> Result<bool> {
    writer
        .run(async |open| {
            let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
            let more: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM deployments WHERE id > ?)")
                    .bind(last)
                    .fetch_one(&mut *transaction)
                    .await?;
            if more {
                transaction.rollback().await?;
                return Ok(false);
            }
            sqlx::query("DROP TABLE deployments").execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
}
