//! Purge: an instance that asks to be forgotten is deleted for good, beside a server.

mod again;
mod delete;
mod overwrite;
mod pages;

use sqlx::SqliteConnection;

use self::{
    delete::delete,
    overwrite::{cut_log, overwrite},
};
use super::{import::sort_history, pace::Pace, rebuild_snapshots::rebuild_since};
use crate::{
    domain::{Hour, InstanceId},
    storage::{
        Database, Result, Writer, instance_key,
        write::{Open, Purged},
    },
};

const DELETE: i64 = 0;
const SNAPSHOTS: i64 = 1;
const OVERWRITE: i64 = 2;
/// The id is forgotten, and the log may still have it.
const CUT_LOG: i64 = 3;
const DONE: i64 = 4;

/// An order that is not done.
#[derive(Debug)]
struct Purge {
    id: i64,
    /// Empty once it is forgotten.
    instance: Vec<u8>,
    keep_totals: bool,
    phase: i64,
    from_hour: Option<i64>,
}

impl Writer {
    /// Orders that an instance be forgotten, and returns the number of the order. From now on no
    /// import, and no server that was told, stores a report of it.
    ///
    /// # Errors
    /// The database's error.
    pub async fn order_purge(&mut self, instance: &InstanceId, keep_totals: bool) -> Result<i64> {
        self.run(async |open| {
            let connection = &mut open.connection;
            secure_delete(connection).await?;
            sqlx::query!("INSERT INTO purge_key VALUES (1, randomblob(32)) ON CONFLICT DO NOTHING")
                .execute(&mut *connection)
                .await?;
            let hash = Purged::load(connection).await?.hash(instance);
            sqlx::query!("INSERT INTO purged_instances VALUES (?) ON CONFLICT DO NOTHING", hash)
                .execute(&mut *connection)
                .await?;
            let key = instance_key::to_hex(instance);
            sqlx::query_scalar!(
                r#"INSERT INTO purges (instance, keep_totals) VALUES (unhex(?), ?)
                   RETURNING id AS "id!""#,
                key,
                keep_totals
            )
            .fetch_one(connection)
            .await
        })
        .await
    }

    /// Number of the stored reports of an instance, and of those in quarantine.
    ///
    /// # Errors
    /// The database's error.
    pub async fn reports_of(&mut self, instance: &InstanceId) -> Result<(i64, i64)> {
        let key = instance_key::to_hex(instance);
        self.run(async |open| {
            let row = sqlx::query!(
                r#"SELECT
                       (SELECT count(*) FROM reports WHERE instance = unhex(?1)) AS "stored!: i64",
                       (SELECT count(*) FROM quarantined_reports WHERE instance = unhex(?1))
                           AS "quarantined!: i64""#,
                key
            )
            .fetch_one(&mut open.connection)
            .await?;
            Ok((row.stored, row.quarantined))
        })
        .await
    }

    /// Number of the reports that a purge deleted; `None` while it is not done.
    ///
    /// # Errors
    /// The database's error.
    pub async fn purged(&mut self, order: i64) -> Result<Option<i64>> {
        self.run(async |open| {
            sqlx::query_scalar!(
                "SELECT reports FROM purges WHERE id = ? AND phase = ?",
                order,
                DONE
            )
            .fetch_optional(&mut open.connection)
            .await
        })
        .await
    }
}

impl Database {
    /// Copies of the database in its folder, which may still hold what was purged.
    #[must_use]
    pub fn copies_beside(&self) -> Vec<std::path::PathBuf> {
        let folder = self.path().parent().and_then(|folder| std::fs::read_dir(folder).ok());
        let own = ["", "-wal", "-shm", "-server.lock", "-import.lock"]
            .map(|ending| crate::storage::place::beside(self.path(), ending));
        let mut copies: Vec<_> = folder
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| !own.contains(path) && is_database(path))
            .collect();
        copies.sort();
        copies
    }
}

/// True for a file that begins as SQLite's do, or as its logs.
fn is_database(path: &std::path::Path) -> bool {
    use std::io::Read as _;
    let mut begin = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut begin));
    let is_log = path.to_string_lossy().ends_with("-wal");
    path.is_file() && (read.is_ok() && begin == *b"SQLite format 3\0" || is_log)
}

/// Rows that are deleted on this connection are overwritten with zeros.
async fn secure_delete(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA secure_delete = ON").fetch_all(connection).await?;
    Ok(())
}

/// Number of the last purge that is not done.
pub async fn last_purge(connection: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(r#"SELECT max(id) AS "last: i64" FROM purges WHERE phase < ?"#, DONE)
        .fetch_one(connection)
        .await
}

/// Carries out the purges up to a number, from where they stopped. All reports are indexed, and none is
/// indexed meanwhile. Returns how many there were.
pub async fn purge(open: &mut Open, last: i64, now: Hour, pace: &mut Pace) -> sqlx::Result<u64> {
    let connection = &mut open.connection;
    let mut done = 0;
    secure_delete(connection).await?;
    while let Some(mut order) = next(connection, last).await? {
        if order.phase == DELETE {
            order.from_hour = delete(connection, &order, pace).await?;
            order.phase = SNAPSHOTS;
        }
        if order.phase == SNAPSHOTS {
            if let Some(from) = order.from_hour.filter(|_| !order.keep_totals) {
                sort_history(connection).await?;
                rebuild_since(connection, Hour::new(from), now, pace).await?;
                sqlx::query("DROP TABLE temp.history").execute(&mut *connection).await?;
            }
            enter(connection, &mut order, OVERWRITE).await?;
        }
        if order.phase == OVERWRITE {
            overwrite(connection, &order, pace).await?;
            order.phase = CUT_LOG;
        }
        cut_log(connection).await?;
        enter(connection, &mut order, DONE).await?;
        done += 1;
    }
    Ok(done)
}

async fn enter(
    connection: &mut SqliteConnection,
    order: &mut Purge,
    phase: i64,
) -> sqlx::Result<()> {
    order.phase = phase;
    sqlx::query!("UPDATE purges SET phase = ? WHERE id = ?", phase, order.id)
        .execute(connection)
        .await?;
    Ok(())
}

async fn next(connection: &mut SqliteConnection, last: i64) -> sqlx::Result<Option<Purge>> {
    let row = sqlx::query!(
        "SELECT id, instance, keep_totals, phase, from_hour FROM purges
         WHERE phase < ? AND id <= ? ORDER BY id LIMIT 1",
        DONE,
        last
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Purge {
        id: row.id,
        // An older version forgot the id in the phase before.
        phase: if row.instance.is_none() { CUT_LOG } else { row.phase },
        instance: row.instance.unwrap_or_default(),
        keep_totals: row.keep_totals != 0,
        from_hour: row.from_hour,
    }))
}
