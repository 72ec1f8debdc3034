//! Orders of an operator that change what is stored: quarantines, purges and repairs. A command writes
//! them down; the server that runs carries them out, or the command where none runs.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use jiff::Timestamp;

use super::{
    import::sort_on_disk, pace::Pace, purge::purge, quarantine, recount_calendar::recount_calendar,
    repair::repair,
};
use crate::{
    domain::{Hour, Selection},
    storage::{
        Database, OpenError, Result, Writer,
        write::{Open, Quarantine, QuarantineState},
    },
};

/// Orders that were carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CarriedOut {
    /// Quarantines that were applied or lifted.
    pub quarantines: u64,
    /// Instances that were purged.
    pub purges: u64,
    /// Reports that a repair gave another label, and rows that it found wrong.
    pub repaired: Option<(i64, i64)>,
}

impl Writer {
    /// Orders a quarantine, and returns its number.
    ///
    /// # Errors
    /// The database's error.
    pub async fn order_quarantine(
        &mut self,
        now: Timestamp,
        selection: &Selection,
        future: bool,
    ) -> Result<i64> {
        self.run(async |open| {
            Quarantine::insert(&mut open.connection, now, selection, future).await
        })
        .await
    }

    /// Orders that a quarantine be lifted. Returns false where it is not active.
    ///
    /// # Errors
    /// The database's error.
    pub async fn order_lift(&mut self, quarantine: i64) -> Result<bool> {
        self.run(async |open| {
            let ordered = sqlx::query!(
                "UPDATE quarantines SET state = 'lifting', phase = 0, position = 0
                 WHERE id = ? AND state = 'active'",
                quarantine
            )
            .execute(&mut open.connection)
            .await?;
            Ok(ordered.rows_affected() > 0)
        })
        .await
    }

    /// Orders a repair, and returns its number.
    ///
    /// # Errors
    /// The database's error.
    pub async fn order_repair(&mut self) -> Result<i64> {
        self.run(async |open| {
            sqlx::query_scalar!(r#"INSERT INTO repairs DEFAULT VALUES RETURNING id AS "id!""#)
                .fetch_one(&mut open.connection)
                .await
        })
        .await
    }

    /// Reports that a repair gave another label, and rows that it found wrong; `None` while it is not done.
    ///
    /// # Errors
    /// The database's error.
    pub async fn repaired(&mut self, order: i64) -> Result<Option<(i64, i64)>> {
        self.run(async |open| {
            let row = sqlx::query!(
                "SELECT relabelled, repaired FROM repairs WHERE done = 1 AND id >= ?",
                order
            )
            .fetch_optional(&mut open.connection)
            .await?;
            Ok(row.map(|row| (row.relabelled, row.repaired)))
        })
        .await
    }

    /// All quarantines, in the order of their numbers.
    ///
    /// # Errors
    /// The database's error.
    pub async fn quarantines(&mut self) -> Result<Vec<Quarantine>> {
        self.run(async |open| Quarantine::all(&mut open.connection).await).await
    }

    /// All quarantines, each with the number of its reports.
    ///
    /// # Errors
    /// The database's error.
    pub async fn quarantines_with_reports(&mut self) -> Result<Vec<(Quarantine, i64)>> {
        self.run(async |open| {
            let mut counted = Vec::new();
            for quarantine in Quarantine::all(&mut open.connection).await? {
                let reports = sqlx::query_scalar!(
                    "SELECT count(*) FROM quarantined_reports WHERE quarantine = ?",
                    quarantine.id
                )
                .fetch_one(&mut open.connection)
                .await?;
                counted.push((quarantine, reports));
            }
            Ok(counted)
        })
        .await
    }

    /// True if there are orders that are not carried out yet.
    ///
    /// # Errors
    /// The database's error.
    pub async fn has_orders(&mut self) -> Result<bool> {
        self.run(async |open| {
            sqlx::query_scalar!(
                r#"SELECT EXISTS (SELECT 1 FROM quarantines WHERE state <> 'active')
                       OR EXISTS (SELECT 1 FROM purges WHERE instance IS NOT NULL)
                       OR EXISTS (SELECT 1 FROM repairs WHERE done = 0) AS "some!: bool""#
            )
            .fetch_one(&mut open.connection)
            .await
        })
        .await
    }
}

/// Upkeep that was done beside the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// Reports whose times were corrected.
    pub redated: u64,
    /// Orders that were carried out; `None` while an import writes.
    pub orders: Option<CarriedOut>,
}

impl Database {
    /// Corrects times ([`Database::correct`]), then carries out all orders.
    ///
    /// # Errors
    /// The database's error. The next call goes on.
    pub async fn keep_up(self, now: Hour) -> Result<Upkeep> {
        let corrects = self.has_corrections().await?;
        let redated = if corrects { self.clone().correct(now).await? } else { 0 };
        Ok(Upkeep { redated, orders: self.carry_out(now).await? })
    }

    /// Carries out all orders, beside the reports that are being stored, all earlier ones of which are
    /// indexed. No report may be indexed meanwhile. `now` is the present hour. `None` while an import
    /// writes.
    ///
    /// # Errors
    /// The database's error. The next call goes on.
    pub async fn carry_out(self, now: Hour) -> Result<Option<CarriedOut>> {
        let mut writer = self.upkeep_writer();
        let done = writer.carry_out(now, &mut Pace::beside(&self.traffic)).await;
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        writer.leave().await?;
        done
    }
}

impl Writer {
    /// As [`Database::carry_out`], where no server runs.
    ///
    /// # Errors
    /// The database's error. The next call goes on.
    pub async fn carry_out_alone(&mut self, now: Timestamp) -> Result<Option<CarriedOut>> {
        self.close_hours(now).await?;
        self.carry_out(Hour::of(now), &mut Pace::alone()).await
    }

    async fn carry_out(&mut self, now: Hour, pace: &mut Pace) -> Result<Option<CarriedOut>> {
        let _lock = match self.lock_imports() {
            Ok(lock) => lock,
            Err(OpenError::Importing(_)) => return Ok(None),
            Err(error) => return Err(sqlx::Error::Configuration(error.into()).into()),
        };
        self.run(async |open| {
            let connection = &mut open.connection;
            sort_on_disk(connection).await?;
            let mut done =
                CarriedOut { purges: purge(open, now, pace).await?, ..CarriedOut::default() };
            let connection = &mut open.connection;
            for mut quarantine in Quarantine::all(connection).await? {
                if quarantine.state != QuarantineState::Active {
                    quarantine::go_on(connection, &mut quarantine, now, pace).await?;
                    done.quarantines += 1;
                }
            }
            let ordered = sqlx::query_scalar!(
                r#"SELECT EXISTS (SELECT 1 FROM repairs WHERE done = 0) AS "some!: bool""#
            )
            .fetch_one(&mut *connection)
            .await?;
            if ordered {
                done.repaired = Some(repair(open, now, pace).await?);
            }
            index_in_steps(open, now, pace).await?;
            if pace.is_alone() {
                // A server does it in the minute to come, and goes on indexing meanwhile.
                recount_calendar(&mut open.connection, pace).await?;
            }
            open.closed_hour = None;
            Ok(Some(done))
        })
        .await
    }
}

/// Indexes the reports that came meanwhile, so that the server has few of them to index at once.
async fn index_in_steps(open: &mut Open, now: Hour, pace: &mut Pace) -> sqlx::Result<()> {
    let (last, mut indexed) = open.indexable(now).await?;
    while indexed < last {
        let (begun, rows, limit) = (Instant::now(), pace.rows(), pace.limit());
        // Numbers have gaps, where reports are in quarantine.
        let next = sqlx::query_scalar!(
            r#"SELECT max(id) AS "next: i64" FROM (
                   SELECT id FROM reports WHERE id > ? AND id <= ? ORDER BY id LIMIT ?
               )"#,
            indexed,
            last,
            limit
        )
        .fetch_one(&mut open.connection)
        .await?;
        let Some(next) = next else { break };
        open.index_up_to(next).await?;
        indexed = next;
        pace.rest(begun, rows).await;
    }
    Ok(())
}
