//! Copy of the reports of a source into the database, each of them once.

use std::{collections::HashSet, panic::resume_unwind, path::PathBuf, sync::Arc, time::Instant};

use sqlx::SqliteConnection;
use tokio::{sync::Mutex, task::JoinHandle};

use super::{
    import::{settle, sort_on_disk},
    index_in_bulk::CACHE,
    pace::Pace,
    record_file::RecordFile,
    reference::name_of_older_versions,
    reference_row::SourceRow,
    reference_rows::ReferenceRows,
};
use crate::{
    clock::Clock,
    domain::Hour,
    storage::{
        Error, Fault, OpenError, Result, Writer, instance_key, json,
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
    /// A file of reports has a line that is none, or cannot be read.
    #[error("{file}: {fault}", file = .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Its fault.
        fault: Fault,
    },
    /// A database failed.
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Reports to be copied.
pub enum Source {
    /// The table of a reference server.
    Reference(ReferenceRows),
    /// A file that an export wrote.
    File(RecordFile),
}

impl Source {
    /// The next rows; those after a number where they are read in the order of their numbers.
    async fn read(
        &mut self,
        after: i64,
        rows: usize,
        clock: &Clock,
    ) -> std::result::Result<Vec<SourceRow>, ImportError> {
        Ok(match self {
            Self::Reference(source) => {
                source.read(after, rows, clock.now()).await.map_err(Error::from)?
            }
            Self::File(file) => file.read(rows)?,
        })
    }
}

impl Writer {
    /// Ends an import: indexes what it stored, and corrects what depends on the order of reports.
    pub(super) async fn finish_import(&mut self, now: Hour, pace: &mut Pace) -> Result<()> {
        if pace.is_alone() {
            self.index_and_settle(now).await?;
        } else {
            self.run(async |open| {
                open.index_all().await?;
                no_sync(&mut open.connection).await?;
                settle(&mut open.connection, now, pace).await?;
                open.closed_hour = None;
                Ok(())
            })
            .await?;
        }
        self.run(async |open| {
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
pub struct Copy {
    source: Arc<Mutex<Source>>,
    pace: Pace,
    /// Last row that an older version stored, which has noted no single rows.
    stored_before: i64,
    /// Last report that the database had before the copy: a file has none of a later number that came out of it.
    last_own: i64,
    /// Highest number of a row that was read.
    last: i64,
    moved: Moved,
}

impl Copy {
    /// Copies all reports of a source. `alone` says that no server is running, whose reports would wait for
    /// a large step.
    pub async fn of_all(
        writer: &mut Writer,
        source: Source,
        alone: bool,
        clock: &Clock,
        on_moved: impl Fn(Moved),
    ) -> std::result::Result<Moved, ImportError> {
        let pace = if alone { Pace::alone() } else { Pace::beside_strangers() };
        let mut copy = Self::begin(writer, source, pace).await?;
        copy.go_on(writer, clock, &on_moved).await?;
        if writer.run(async |open| is_importing(&mut open.connection).await).await? {
            writer.finish_import(Hour::of(clock.now()), &mut copy.pace).await?;
        }
        Ok(copy.moved)
    }

    pub async fn begin(writer: &mut Writer, mut source: Source, pace: Pace) -> Result<Self> {
        let name = match &mut source {
            Source::Reference(source) => Some(name_of_older_versions(source.source()).await?),
            Source::File(_) => None,
        };
        let (last_own, stored_before) = writer
            .run(async |open| {
                sort_on_disk(&mut open.connection).await?;
                if pace.is_alone() {
                    sqlx::query(CACHE).execute(&mut open.connection).await?;
                }
                let last = sqlx::query_scalar!(r#"SELECT max(id) AS "last: i64" FROM reports"#)
                    .fetch_one(&mut open.connection)
                    .await?;
                let Some(name) = name else { return Ok((last, None)) };
                let stored =
                    sqlx::query_scalar!("SELECT last_row FROM imports WHERE source = ?", name)
                        .fetch_optional(&mut open.connection)
                        .await?;
                Ok((last, stored))
            })
            .await?;
        Ok(Self {
            source: Arc::new(Mutex::new(source)),
            pace,
            stored_before: stored_before.unwrap_or(i64::MIN),
            last_own: last_own.unwrap_or(0),
            last: i64::MIN,
            moved: Moved::default(),
        })
    }

    /// Highest number of a row that was read.
    pub const fn last(&self) -> i64 {
        self.last
    }

    pub const fn moved(&self) -> Moved {
        self.moved
    }

    pub const fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    /// Copies the rows after the last one. Where no server waits for a step, the next rows are read
    /// while the ones before them are stored.
    pub async fn go_on(
        &mut self,
        writer: &mut Writer,
        clock: &Clock,
        on_moved: &impl Fn(Moved),
    ) -> std::result::Result<(), ImportError> {
        let Self { source, pace, stored_before, last_own, last, moved } = self;
        let of_file = matches!(*source.lock().await, Source::File(_));
        let read = |after, rows| {
            let (source, clock) = (Arc::clone(source), clock.clone());
            tokio::spawn(async move { source.lock().await.read(after, rows, &clock).await })
        };
        let mut some_are_known = false;
        let mut rows = done(read(*last, pace.rows())).await?;
        while let Some(highest) = rows.iter().map(|row| row.number).max() {
            *last = highest.max(*last);
            let of_rows = rows.len() as u64;
            let alone = pace.is_alone();
            let next = alone.then(|| read(*last, pace.rows()));
            let stored = writer.run(async |open| {
                // The rows are lost together with their reports, so no sync is needed within the
                // lock.
                no_sync(&mut open.connection).await?;
                rows.retain(|row| !open.set_aside.is_purged(&row.report));
                let purged = of_rows - rows.len() as u64;
                if some_are_known {
                    retain_new(&mut open.connection, &mut rows).await?;
                }
                let begun = Instant::now();
                if of_file {
                    retain_foreign(&mut open.connection, &mut rows, *last_own).await?;
                    open.accept_labels(rows.iter().map(|row| &row.report.profile)).await?;
                }
                let stored = store(open, rows, *stored_before).await?;
                if !alone {
                    open.index_all().await?;
                }
                pace.rest(begun, usize::try_from(of_rows).unwrap_or(usize::MAX)).await;
                Ok(Moved { purged, ..stored })
            });
            let stored = stored.await?;
            some_are_known = stored.reports + stored.purged < of_rows;
            moved.purged += stored.purged;
            moved.reports += stored.reports;
            moved.altered += stored.altered;
            moved.known += of_rows - stored.reports - stored.purged;
            on_moved(*moved);
            rows = done(next.unwrap_or_else(|| read(*last, pace.rows()))).await?;
        }
        Ok(())
    }
}

/// The rows that a task has read.
async fn done(
    reading: JoinHandle<std::result::Result<Vec<SourceRow>, ImportError>>,
) -> std::result::Result<Vec<SourceRow>, ImportError> {
    match reading.await {
        Ok(read) => read,
        Err(panicked) => resume_unwind(panicked.into_panic()),
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
pub async fn no_sync(connection: &mut SqliteConnection) -> sqlx::Result<()> {
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
        let reports = new().map(|row| (row.received_at, &row.report));
        note_unproven(open, &rows).await?;
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

/// Removes the reports that came out of this very database: those with their number, up to the last one that it had,
/// time and instance.
async fn retain_foreign(
    connection: &mut SqliteConnection,
    rows: &mut Vec<SourceRow>,
    last_own: i64,
) -> sqlx::Result<()> {
    let numbered = rows.iter().filter_map(|row| {
        let id = row.id.filter(|id| *id <= last_own)?;
        Some((id, row.received_at, instance_key::to_hex(&row.report.instance_id)))
    });
    let numbered: Vec<_> = numbered.collect();
    if numbered.is_empty() {
        return Ok(());
    }
    let numbered = json::encode(&numbered)?;
    let own: HashSet<i64> = sqlx::query_scalar!(
        r#"SELECT reports.id AS "id!: i64"
           FROM json_each(?) AS given
           CROSS JOIN reports ON reports.id = given.value ->> 0
           WHERE reports.instance = unhex(given.value ->> 2)
               AND (
                   reports.received_at = given.value ->> 1
                   OR (reports.received_at < 0 AND given.value ->> 1 < 0)
               )"#,
        numbered
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .collect();
    rows.retain(|row| row.id.is_none_or(|id| !own.contains(&id)));
    Ok(())
}

/// Keeps the own values of reports that count as `other`, in the transaction that stores them.
async fn note_unproven(open: &mut Open, rows: &[SourceRow]) -> sqlx::Result<()> {
    if rows.iter().all(|row| row.unproven.is_empty()) {
        return Ok(());
    }
    let last = rows.len() - 1;
    let noted = rows.iter().enumerate().flat_map(|(place, row)| {
        let instance = instance_key::to_hex(&row.report.instance_id);
        let values = row.unproven.iter();
        values.map(move |(dimension, value)| (last - place, instance.clone(), *dimension, value))
    });
    open.labels.note_unproven(&mut open.connection, noted).await
}
