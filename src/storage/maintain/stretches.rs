//! The record of the clock: its stretches, and the corrections that follow from them.

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use super::outages::record_outages;
use crate::{
    domain::{BEFORE_RECORDS, Correction, Reading, Stretch, Timekeeper},
    storage::{Result, Writer, write::Open},
};

/// Time between two records at most, in milliseconds.
const RECORDED_MS: i64 = 600_000;
/// Stretches that are kept at most. Older ones are forgotten.
const KEPT: i64 = 1000;

impl Writer {
    /// Begins a run of the server by the record of the runs before.
    ///
    /// # Errors
    /// The database's error.
    pub async fn begin_run(&mut self, released: Timestamp, reading: Reading) -> Result<Timekeeper> {
        self.run(async |open| {
            let past = load(&mut open.connection).await?;
            let last = last_report(&mut open.connection).await?;
            let (keeper, corrections) = Timekeeper::start(released, past, reading, last);
            open.record_clock(&keeper, &corrections).await?;
            Ok(keeper)
        })
        .await
    }

    /// Number of the last report that is stored; 0 if there is none.
    ///
    /// # Errors
    /// The database's error.
    pub async fn last_report(&mut self) -> Result<i64> {
        self.run(async |open| last_report(&mut open.connection).await).await
    }

    /// Records the stretches and what is to be corrected because of them.
    ///
    /// # Errors
    /// The database's error.
    pub async fn record_clock(
        &mut self,
        keeper: &Timekeeper,
        corrections: &[Correction],
    ) -> Result<()> {
        self.run(async |open| open.record_clock(keeper, corrections).await).await
    }

    /// Records how long the stretch has lasted.
    ///
    /// # Errors
    /// The database's error.
    pub async fn record_moment(&mut self, stretch: &Stretch) -> Result<()> {
        self.run(async |open| {
            // A minute that is lost in a power cut is not worth a sync.
            sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut open.connection).await?;
            sqlx::query!(
                "UPDATE clock_stretches SET ended_at = ?, ran_ms = ?, steady_ms = ? WHERE id = ?",
                stretch.ended_at,
                stretch.ran_ms,
                stretch.steady_ms,
                stretch.id
            )
            .execute(&mut open.connection)
            .await?;
            sqlx::query("PRAGMA synchronous = FULL").execute(&mut open.connection).await?;
            Ok(())
        })
        .await
    }

    /// True if an operator has confirmed the clock of a stretch.
    ///
    /// # Errors
    /// The database's error.
    pub async fn is_confirmed(&mut self, stretch: &Stretch) -> Result<bool> {
        self.run(async |open| {
            let needed = sqlx::query_scalar!(
                "SELECT needed_ms FROM clock_stretches WHERE id = ?",
                stretch.id
            )
            .fetch_optional(&mut open.connection)
            .await?;
            Ok(needed == Some(0))
        })
        .await
    }

    /// Confirms the clock of the last stretch. Returns false if there is none.
    ///
    /// # Errors
    /// The database's error.
    pub async fn confirm_clock(&mut self) -> Result<bool> {
        self.run(async |open| {
            let changed = sqlx::query!(
                "UPDATE clock_stretches SET needed_ms = 0
                 WHERE id = (SELECT max(id) FROM clock_stretches)"
            )
            .execute(&mut open.connection)
            .await?;
            Ok(changed.rows_affected() > 0)
        })
        .await
    }
}

impl Open {
    async fn record_clock(
        &mut self,
        keeper: &Timekeeper,
        corrections: &[Correction],
    ) -> sqlx::Result<()> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query!("DELETE FROM clock_stretches").execute(&mut *transaction).await?;
        let past = keeper.past();
        let skipped = past.len().saturating_sub(usize::try_from(KEPT).unwrap_or(usize::MAX));
        for stretch in past.iter().skip(skipped).chain([keeper.stretch()]) {
            sqlx::query!(
                "INSERT INTO clock_stretches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                stretch.id,
                stretch.run,
                stretch.dated,
                stretch.after_report,
                stretch.began_at,
                stretch.ended_at,
                stretch.ran_ms,
                stretch.steady_ms,
                stretch.needed_ms,
                stretch.moved_ms
            )
            .execute(&mut *transaction)
            .await?;
        }
        record_outages(&mut transaction, keeper).await?;
        for correction in corrections {
            // A clock that was ahead leaves snapshots of hours to come, without a report, too.
            if correction.after_report >= correction.last_report && correction.shift_ms >= 0 {
                continue;
            }
            sqlx::query!(
                "INSERT INTO corrections (
                     after_report, last_report, from_ms, until_ms, shift_ms, earliest_ms, latest_ms,
                     position
                 ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?1)",
                correction.after_report,
                correction.last_report,
                correction.from_ms,
                correction.until_ms,
                correction.shift_ms,
                correction.earliest_ms,
                correction.latest_ms
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }
}

async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Stretch>> {
    let mut stretches = sqlx::query_as!(
        Stretch,
        r#"SELECT id, run, dated AS "dated: bool", after_report, began_at, ended_at, ran_ms, steady_ms,
               needed_ms, moved_ms
           FROM clock_stretches ORDER BY id"#
    )
    .fetch_all(&mut *connection)
    .await?;
    for stretch in &mut stretches {
        stretch.moved_ms = 0;
    }
    // A report may be later than the last record, as after a crash, or older than all of them.
    let last = sqlx::query!(
        r#"SELECT id, received_at, (SELECT received_at FROM reports ORDER BY id LIMIT 1) AS "first!: i64"
           FROM reports ORDER BY id DESC LIMIT 1"#
    )
        .fetch_optional(connection)
        .await?;
    let Some(last) = last.filter(|last| last.received_at >= 0) else { return Ok(stretches) };
    match stretches.last_mut() {
        Some(stretch) if stretch.dated && stretch.after_report < last.id => {
            // One that is later still was imported.
            let more = (last.received_at - stretch.ended_at).clamp(0, RECORDED_MS);
            stretch.ended_at += more;
            stretch.ran_ms += more;
            stretch.steady_ms += more;
        }
        Some(_) => {}
        // The server ran before it kept a record, or another one did.
        None => stretches.push(Stretch {
            id: 1,
            run: BEFORE_RECORDS,
            dated: true,
            after_report: 0,
            began_at: last.first.min(last.received_at),
            ended_at: last.received_at,
            ran_ms: (last.received_at - last.first).max(0),
            steady_ms: 0,
            needed_ms: Stretch::CONFIRMED_MS,
            moved_ms: 0,
        }),
    }
    Ok(stretches)
}

async fn last_report(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let last = sqlx::query_scalar!(r#"SELECT max(id) AS "last: i64" FROM reports"#)
        .fetch_one(connection)
        .await?;
    Ok(last.unwrap_or(0))
}
