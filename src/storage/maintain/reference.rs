//! Reports of a database file of the reference server. It has one table, `deployments`, with a text
//! for each field but an integer for the startup time, and no record of its schema's version.

use std::{collections::HashSet, path::Path, time::Instant};

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    import::{settle, sort_on_disk},
    pace::Pace,
    reference_row::{SourceRow, read},
};
use crate::{
    clock::Clock,
    domain::Hour,
    storage::{
        CANNOT_OPEN, Error, OpenError, Result, Writer, json, open_error,
        place::beside,
        sqlite_code,
        write::{Open, RowKey},
    },
};

/// Reports that were moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Reports stored.
    pub reports: u64,
    /// Rows of the source whose reports were there already.
    pub known: u64,
    /// Reports among those stored that broke a rule and were cut to fit.
    pub altered: u64,
    /// Rows of instances that were purged.
    pub purged: u64,
}

/// Reason for which a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened, or another import writes to the database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is a database of something else.
    #[error("{0} has no table `deployments`: it is not a database of the reference server")]
    NotReference(String),
    /// A database failed.
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Size of the page cache where no server needs memory beside the import, in SQLite's unit: minus
/// kibibytes.
const CACHE: &str = "PRAGMA cache_size = -4000";

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
        let mut copy = Copy::begin(self, source, Pace::alone()).await?;
        loop {
            copy.go_on(self, clock, &on_moved).await?;
            self.finish_import(Hour::of(clock.now()), &mut copy.pace).await?;
            if drop_source(self, copy.last).await? {
                return Ok(Some(copy.moved));
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
        let pace = if alone { Pace::alone() } else { Pace::beside_strangers() };
        let mut copy = Copy::begin(self, source, pace).await?;
        copy.go_on(self, clock, &on_moved).await?;
        if self.run(async |open| is_importing(&mut open.connection).await).await? {
            self.finish_import(Hour::of(clock.now()), &mut copy.pace).await?;
        }
        Ok(copy.moved)
    }

    /// Ends an import: indexes what it stored, and corrects what depends on the order of reports.
    async fn finish_import(&mut self, now: Hour, pace: &mut Pace) -> Result<()> {
        self.run(async |open| {
            no_sync(&mut open.connection).await?;
            // All instances at once, in the order of their ids, so that page after page is filled.
            open.index_all().await?;
            no_sync(&mut open.connection).await?;
            settle(&mut open.connection, now, pace).await?;
            open.closed_hour = None;
            sqlx::query!("DELETE FROM watermarks WHERE name = 'importing'")
                .execute(&mut open.connection)
                .await?;
            sqlx::query("PRAGMA synchronous = FULL").execute(&mut open.connection).await
        })
        .await?;
        Ok(())
    }
}

/// A copy of the rows of a source.
struct Copy {
    source: SqliteConnection,
    pace: Pace,
    /// Last row that an older version stored, which has noted no single rows.
    stored_before: i64,
    /// Last row that was read.
    last: i64,
    moved: Moved,
}

impl Copy {
    async fn begin(writer: &mut Writer, mut source: SqliteConnection, pace: Pace) -> Result<Self> {
        let name = name_of_older_versions(&mut source).await?;
        let stored_before = writer
            .run(async |open| {
                sort_on_disk(&mut open.connection).await?;
                if pace.is_alone() {
                    sqlx::query(CACHE).execute(&mut open.connection).await?;
                }
                sqlx::query_scalar!("SELECT last_row FROM imports WHERE source = ?", name)
                    .fetch_optional(&mut open.connection)
                    .await
            })
            .await?;
        Ok(Self {
            source,
            pace,
            stored_before: stored_before.unwrap_or(i64::MIN),
            last: i64::MIN,
            moved: Moved::default(),
        })
    }

    /// Copies the rows after the last one. Where no server waits for a step, the next rows are read
    /// while the ones before them are stored.
    async fn go_on(
        &mut self,
        writer: &mut Writer,
        clock: &Clock,
        on_moved: &impl Fn(Moved),
    ) -> Result<()> {
        let Self { source, pace, stored_before, last, moved } = self;
        let mut read = async |after, rows| read(source, after, rows, clock.now()).await;
        let mut some_are_known = false;
        let mut rows = read(*last, pace.rows()).await?;
        while let Some(row) = rows.last() {
            *last = row.number;
            let of_rows = rows.len() as u64;
            let alone = pace.is_alone();
            let (wanted, mut next) = (pace.rows(), None);
            let store = writer.run(async |open| {
                // The rows are lost together with their reports, so no sync is needed within the
                // lock.
                no_sync(&mut open.connection).await?;
                rows.retain(|row| !open.set_aside.is_purged(&row.report));
                let purged = of_rows - rows.len() as u64;
                if some_are_known {
                    retain_new(&mut open.connection, &mut rows).await?;
                }
                let begun = Instant::now();
                let stored = store(open, rows, *stored_before).await?;
                if !alone {
                    open.index_all().await?;
                }
                pace.rest(begun, usize::try_from(of_rows).unwrap_or(usize::MAX)).await;
                Ok(Moved { purged, ..stored })
            });
            let stored = if alone {
                let (stored, read) = tokio::join!(store, read(*last, wanted));
                next = Some(read?);
                stored?
            } else {
                store.await?
            };
            some_are_known = stored.reports + stored.purged < of_rows;
            moved.purged += stored.purged;
            moved.reports += stored.reports;
            moved.altered += stored.altered;
            moved.known += of_rows - stored.reports - stored.purged;
            on_moved(*moved);
            rows = match next {
                Some(next) => next,
                None => read(*last, pace.rows()).await?,
            };
        }
        Ok(())
    }
}

/// True if an import, this one or one that was interrupted, has stored something and is not finished.
async fn is_importing(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM watermarks WHERE name = 'importing') AS "found: bool""#
    )
    .fetch_one(connection)
    .await
}

/// Leaves syncing to the checkpoint at the end.
async fn no_sync(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA synchronous = NORMAL").execute(connection).await?;
    Ok(())
}

/// Stores the reports of the rows that are new. The table of the rows decides that within the
/// transaction, whoever else writes to it.
async fn store(
    open: &mut Open,
    mut rows: Vec<SourceRow>,
    stored_before: i64,
) -> sqlx::Result<Moved> {
    while !rows.is_empty() {
        let keys: Vec<RowKey> = rows.iter().map(|row| row.key).collect();
        let new = || rows.iter().filter(|row| row.number > stored_before);
        let reports = new().map(|row| (row.received_at.as_millisecond(), &row.report));
        if open.store_rows(reports, &keys).await? {
            return Ok(Moved {
                reports: new().count() as u64,
                altered: new().filter(|row| row.altered).count() as u64,
                ..Moved::default()
            });
        }
        retain_new(&mut open.connection, &mut rows).await?;
    }
    Ok(Moved::default())
}

/// Removes the rows that are stored already.
async fn retain_new(
    connection: &mut SqliteConnection,
    rows: &mut Vec<SourceRow>,
) -> sqlx::Result<()> {
    let keys = json::encode(&rows.iter().map(|row| row.key).collect::<Vec<_>>())?;
    let new: HashSet<RowKey> = sqlx::query!(
        r#"SELECT value ->> 0 AS "created_at!: i64", value ->> 1 AS "row_key!: i64"
           FROM json_each(?)
           WHERE NOT EXISTS (
               SELECT 1 FROM imported_rows
               WHERE created_at = value ->> 0 AND row_key = value ->> 1
           )"#,
        keys
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|row| (row.created_at, row.row_key))
    .collect();
    let mut new = new;
    rows.retain(|row| new.remove(&row.key));
    Ok(())
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
async fn name_of_older_versions(source: &mut SqliteConnection) -> sqlx::Result<String> {
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
