//! Reports of a database file of the reference server. It has one table, `deployments`, with a text
//! for each field and no record of its schema's version.

use std::{path::Path, time::Instant};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    import::{CHUNK, settle, sort_on_disk},
    pace::Pace,
    rebuild_snapshots::rebuild,
};
use crate::{
    clock::Clock,
    domain::{Hour, Report, ReportBody},
    storage::{
        CANNOT_OPEN, Error, OpenError, Result, Writer, open_error, place::beside, sqlite_code,
        write::Open,
    },
};

/// Reports that were moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Reports stored.
    pub reports: u64,
    /// Reports among them that broke a rule and were cut to fit.
    pub altered: u64,
}

/// A row of the reference server's table. Its columns were declared without STRICT, so each may
/// hold a value of any type: texts are read as bytes.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: i64,
    instance_id: Option<Vec<u8>>,
    image_version: Option<Vec<u8>>,
    architecture: Option<Vec<u8>>,
    container_runtime: Option<Vec<u8>>,
    startup_time_ms: Option<i64>,
    db_type: Option<Vec<u8>>,
    telemetry_version: Option<Vec<u8>>,
    created_at: Option<Vec<u8>>,
}

impl Writer {
    /// Moves the reports that a reference server left in this very file, and drops its table. Goes on
    /// where an earlier call was interrupted, and with rows that come in meanwhile. `None` if
    /// there is no such table.
    ///
    /// # Errors
    /// The database's error; the rows moved so far stay moved.
    pub async fn take_over(
        &mut self,
        clock: &Clock,
        on_moved: impl Fn(Moved),
    ) -> Result<Option<Moved>> {
        let found = self.run(async |open| is_reference(&mut open.connection).await).await?;
        if !found {
            return Ok(None);
        }
        self.run(async |open| sort_on_disk(&mut open.connection).await).await?;
        let source = self.run(async |open| source_name(&mut open.connection).await).await?;
        let mut moved = Moved::default();
        loop {
            let chunk = self
                .run(async |open| {
                    let after = position(&mut open.connection, &source).await?;
                    let rows = read(&mut open.connection, after, CHUNK).await?;
                    store(open, &source, &rows, clock.now()).await
                })
                .await?;
            moved.reports += chunk.reports;
            moved.altered += chunk.altered;
            if chunk.reports > 0 {
                on_moved(moved);
            } else if self.run(async |open| finish(open, &source, clock).await).await? {
                return Ok(Some(moved));
            }
        }
    }

    /// Copies the reports of a reference server's file that were not imported before. Goes on
    /// where an earlier call was interrupted.
    ///
    /// # Errors
    /// [`OpenError`] where the file is not such a database, or a database's error.
    pub async fn import_reference(
        &mut self,
        file: &str,
        clock: &Clock,
        on_moved: impl Fn(Moved),
    ) -> std::result::Result<Moved, ImportError> {
        let Some(mut source) = open_source(Path::new(file)).await? else {
            return Err(ImportError::NotReference(file.to_owned()));
        };
        let name = source_name(&mut source).await.map_err(Error)?;
        self.run(async |open| sort_on_disk(&mut open.connection).await).await?;
        let mut moved = Moved::default();
        // A server may be storing reports, which wait for each step.
        let mut pace = Pace::beside_a_server();
        loop {
            let chunk = self
                .run(async |open| {
                    let after = position(&mut open.connection, &name).await?;
                    let rows = read(&mut source, after, pace.rows()).await?;
                    // The position is lost together with the reports, so no sync is needed within
                    // the lock.
                    no_sync(&mut open.connection).await?;
                    let begun = Instant::now();
                    let chunk = store(open, &name, &rows, clock.now()).await?;
                    open.index_all().await?;
                    pace.rest(begun, rows.len()).await;
                    Ok(chunk)
                })
                .await?;
            if chunk.reports == 0 {
                break;
            }
            moved.reports += chunk.reports;
            moved.altered += chunk.altered;
            on_moved(moved);
        }
        self.run(async |open| {
            no_sync(&mut open.connection).await?;
            let mut pace = Pace::beside_a_server();
            settle(&mut open.connection, Hour::of(clock.now()), &mut pace).await?;
            sqlx::query("PRAGMA synchronous = FULL").execute(&mut open.connection).await
        })
        .await?;
        Ok(moved)
    }
}

/// Leaves syncing to the checkpoint at the end.
async fn no_sync(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA synchronous = NORMAL").execute(connection).await?;
    Ok(())
}

/// Reason for which a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is a database of something else.
    #[error("{0} has no table `deployments`: it is not a database of the reference server")]
    NotReference(String),
    /// A database failed.
    #[error(transparent)]
    Storage(#[from] Error),
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

/// Name of a source in `imports`: its first row, which differs from that of other sources wherever
/// the file lies. A copy of a database that was taken over is the same source.
async fn source_name(source: &mut SqliteConnection) -> sqlx::Result<String> {
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

/// Ends a take-over: indexes, makes the snapshots anew and drops the table, unless it has rows that
/// are not moved yet.
async fn finish(open: &mut Open, source: &str, clock: &Clock) -> sqlx::Result<bool> {
    // All instances at once, in the order of their ids, so that page after page is filled.
    open.index_all().await?;
    rebuild(&mut open.connection, Hour::of(clock.now()), &mut Pace::alone()).await?;
    let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
    let after = position(&mut transaction, source).await?;
    let more: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM deployments WHERE id > ?)")
        .bind(after)
        .fetch_one(&mut *transaction)
        .await?;
    if more {
        transaction.rollback().await?;
        return Ok(false);
    }
    sqlx::query("DROP TABLE deployments").execute(&mut *transaction).await?;
    transaction.commit().await?;
    open.closed_hour = None;
    Ok(true)
}

/// Last row of a source that is stored.
async fn position(connection: &mut SqliteConnection, source: &str) -> sqlx::Result<i64> {
    let position = sqlx::query_scalar!("SELECT last_row FROM imports WHERE source = ?", source)
        .fetch_optional(connection)
        .await?;
    Ok(position.unwrap_or(i64::MIN))
}

/// The next rows after one. The table is not part of our schema, so this query cannot be
/// checked against it when compiled; the tests run it.
async fn read(
    connection: &mut SqliteConnection,
    after: i64,
    rows: usize,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as(
        "SELECT id,
                CAST(instance_id AS BLOB) AS instance_id,
                CAST(image_version AS BLOB) AS image_version,
                CAST(architecture AS BLOB) AS architecture,
                CAST(container_runtime AS BLOB) AS container_runtime,
                CAST(startup_time_ms AS INTEGER) AS startup_time_ms,
                CAST(db_type AS BLOB) AS db_type,
                CAST(telemetry_version AS BLOB) AS telemetry_version,
                CAST(created_at AS BLOB) AS created_at
         FROM deployments WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(i64::try_from(rows).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
}

/// Stores a chunk and its last row, in one transaction.
async fn store(open: &mut Open, source: &str, rows: &[Row], now: Timestamp) -> sqlx::Result<Moved> {
    let Some(last) = rows.last().map(|row| row.id) else {
        return Ok(Moved::default());
    };
    let mut moved = Moved::default();
    let mut reports: Vec<(Timestamp, Report)> = Vec::with_capacity(rows.len());
    for row in rows {
        let created = text(row.created_at.as_deref()).as_deref().and_then(created_at);
        // A row without a usable time gets that of the row before it, if that is at hand.
        let received_at = created.or_else(|| reports.last().map(|report| report.0)).unwrap_or(now);
        let salvaged = row.body().salvage();
        moved.reports += 1;
        moved.altered += u64::from(salvaged.altered || created.is_none());
        reports.push((received_at, salvaged.report));
    }
    let batch = reports.iter().map(|(time, report)| (time.as_millisecond(), report));
    open.store_batch(batch, Some((source, last))).await?;
    Ok(moved)
}

impl Row {
    fn body(&self) -> ReportBody {
        ReportBody {
            instance_id: text(self.instance_id.as_deref()),
            image_version: text(self.image_version.as_deref()),
            architecture: text(self.architecture.as_deref()),
            os: None, // The reference server threw it away.
            container_runtime: text(self.container_runtime.as_deref()),
            startup_time_ms: self.startup_time_ms,
            db_type: text(self.db_type.as_deref()),
            telemetry_version: text(self.telemetry_version.as_deref()),
            timestamp: None,
            event: None,
        }
    }
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// `YYYY-MM-DD HH:MM:SS` in UTC as SQLite's CURRENT_TIMESTAMP writes it, or RFC 3339.
fn created_at(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        text.parse::<DateTime>()
            .ok()?
            .to_zoned_datetime(TimeZone::UTC)
            .ok()
            .map(|at| at.timestamp())
    })
}
