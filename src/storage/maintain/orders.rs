//! Orders of an operator that change what is stored: quarantines, purges and repairs. A command writes
//! them down; the server that runs carries them out, or the command where none runs.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use jiff::Timestamp;

use super::{
    copy_reports::no_sync,
    import::sort_on_disk,
    pace::Pace,
    purge::{last_purge, purge},
    quarantine,
    recount_calendar::recount_calendar,
    repair::repair,
};
use crate::{
    domain::{Hour, Selection},
    storage::{
        Database, OpenError, Result, Writer,
        write::{Open, Quarantine, QuarantineState},
    },
};

/// Orders that are to be carried out, by their numbers. One that is written down later waits for the next
/// time: a server must have read which reports it sets aside, and must have indexed all earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Quarantines whose steps were interrupted. Each finds the instances that it counts anew by their
    /// places in a list, so it goes on before anything else changes.
    begun: Vec<i64>,
    /// The other quarantines.
    quarantines: Vec<i64>,
    /// The last purge.
    purge: Option<i64>,
    /// The last repair.
    repair: Option<i64>,
}

impl Orders {
    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those that were interrupted, if there are some. Until they are done no report may be indexed and
    /// none deleted.
    #[must_use]
    pub fn begun(&self) -> Option<Self> {
        let begun = Self { begun: self.begun.clone(), ..Self::default() };
        (!begun.is_empty()).then_some(begun)
    }
}

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

    /// Orders that are not carried out yet.
    ///
    /// # Errors
    /// The database's error.
    pub async fn orders(&mut self) -> Result<Orders> {
        self.run(async |open| {
            let connection = &mut open.connection;
            let mut orders = Orders::default();
            for quarantine in Quarantine::all(connection).await? {
                if quarantine.state == QuarantineState::Active {
                    continue;
                }
                let begun = quarantine.phase > 0 || quarantine.position > 0;
                let list = if begun { &mut orders.begun } else { &mut orders.quarantines };
                list.push(quarantine.id);
            }
            orders.purge = last_purge(connection).await?;
            orders.repair =
                sqlx::query_scalar!(r#"SELECT max(id) AS "last: i64" FROM repairs WHERE done = 0"#)
                    .fetch_one(connection)
                    .await?;
            Ok(orders)
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
    /// Corrects times ([`Database::correct`]), then carries out orders. Those that were interrupted come
    /// alone.
    ///
    /// # Errors
    /// The database's error. The next call goes on.
    pub async fn keep_up(self, now: Hour, orders: Orders) -> Result<Upkeep> {
        let corrects = orders.begun().is_none() && self.has_corrections().await?;
        let redated = if corrects { self.clone().correct(now).await? } else { 0 };
        Ok(Upkeep { redated, orders: self.carry_out(now, &orders).await? })
    }

    /// Carries out orders, beside the reports that are being stored. All earlier ones are indexed, but
    /// beside an order that was interrupted. No report may be indexed meanwhile. `now` is the present
    /// hour. `None` while an import writes.
    ///
    /// # Errors
    /// The database's error. The next call goes on.
    pub async fn carry_out(self, now: Hour, orders: &Orders) -> Result<Option<CarriedOut>> {
        let mut writer = self.upkeep_writer();
        let done = writer.carry_out(now, orders, &mut Pace::beside(&self.traffic)).await;
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        writer.leave().await?;
        done
    }
}

impl Writer {
    /// As [`Database::carry_out`] with all orders, where no server runs.
    ///
    /// # Errors
    /// The database's error. The next call goes on.
    pub async fn carry_out_alone(&mut self, now: Timestamp) -> Result<Option<CarriedOut>> {
        let (hour, mut pace) = (Hour::of(now), Pace::alone());
        if let Some(begun) = self.orders().await?.begun()
            && self.carry_out(hour, &begun, &mut pace).await?.is_none()
        {
            return Ok(None);
        }
        self.close_hours(now).await?;
        let orders = self.orders().await?;
        self.carry_out(hour, &orders, &mut pace).await
    }

    async fn carry_out(
        &mut self,
        now: Hour,
        orders: &Orders,
        pace: &mut Pace,
    ) -> Result<Option<CarriedOut>> {
        let _lock = match self.lock_imports() {
            Ok(lock) => lock,
            Err(OpenError::Importing(_)) => return Ok(None),
            Err(error) => return Err(sqlx::Error::Configuration(error.into()).into()),
        };
        self.run(async |open| {
            sort_on_disk(&mut open.connection).await?;
            // Steps that a power cut takes away are done again.
            no_sync(&mut open.connection).await?;
            let mut done = CarriedOut::default();
            done.quarantines += quarantines(open, &orders.begun, now, pace).await?;
            if let Some(last) = orders.purge {
                done.purges = purge(open, last, now, pace).await?;
            }
            done.quarantines += quarantines(open, &orders.quarantines, now, pace).await?;
            if let Some(last) = orders.repair {
                done.repaired = Some(repair(open, last, now, pace).await?);
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

/// Applies or lifts quarantines. Returns how many there were.
async fn quarantines(
    open: &mut Open,
    numbers: &[i64],
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<u64> {
    let mut done = 0;
    for mut quarantine in Quarantine::all(&mut open.connection).await? {
        if numbers.contains(&quarantine.id) && quarantine.state != QuarantineState::Active {
            quarantine::go_on(&mut open.connection, &mut quarantine, now, pace).await?;
            done += 1;
        }
    }
    Ok(done)
}

/// Indexes the reports that came meanwhile, so that the server has few of them to index at once.
async fn index_in_steps(open: &mut Open, now: Hour, pace: &mut Pace) -> sqlx::Result<()> {
    let (last, mut indexed) = open.indexable(now).await?;
    pace.begin_rows();
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

#[cfg(test)]
mod tests;
