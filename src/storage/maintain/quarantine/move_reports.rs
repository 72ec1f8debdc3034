//! Reports that move out of the numbers into quarantine, and back, in steps.

use std::time::Instant;

use sqlx::{Connection as _, SqliteConnection};

use super::{
    super::{
        pace::Pace,
        report_changes::{Counted, ReportChanges},
    },
    match_reports::matched_after,
};
use crate::storage::{json, write::Quarantine};

/// Moves the reports of `temp.matched` into quarantine.
pub async fn move_out(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let mut position = quarantine.position;
    pace.begin_rows();
    loop {
        let reports = matched_after(connection, position, pace.limit()).await?;
        let Some(&last) = reports.last() else { return Ok(()) };
        let begun = Instant::now();
        let numbers = json::encode(&reports)?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        subtract(&mut transaction, &numbers).await?;
        sqlx::query!(
            "INSERT INTO quarantined_reports
             SELECT ?, id, received_at, instance, profile, heartbeat, startup_ms, client_at, nullif((
                 SELECT json_group_array(json_array(dimension, value)) FROM unproven_values
                 WHERE report = reports.id
             ), '[]')
             FROM reports WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            quarantine.id,
            numbers
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("DELETE FROM reports WHERE id IN (SELECT value FROM json_each(?))", numbers)
            .execute(&mut *transaction)
            .await?;
        reach(&mut transaction, quarantine.id, last).await?;
        transaction.commit().await?;
        position = last;
        pace.rest(begun, reports.len()).await;
    }
}

/// Takes indexed reports out of the counts and startup times.
pub async fn subtract(connection: &mut SqliteConnection, numbers: &str) -> sqlx::Result<()> {
    let mut changes = ReportChanges::begin(connection).await?;
    let reports = sqlx::query_as!(
        Counted,
        "SELECT id, received_at, profile, heartbeat, startup_ms
         FROM reports WHERE id IN (SELECT value FROM json_each(?))",
        numbers
    )
    .fetch_all(&mut *connection)
    .await?;
    reports.iter().for_each(|report| changes.add(report, -1));
    changes.store(connection).await
}

/// Moves the reports of a quarantine back, and leaves copies behind: what follows is derived from these.
pub async fn move_back(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let mut position = quarantine.position;
    pace.begin_rows();
    loop {
        let begun = Instant::now();
        let limit = pace.limit();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let reports = sqlx::query_as!(
            Counted,
            "SELECT id, received_at, profile, heartbeat, startup_ms
             FROM quarantined_reports WHERE quarantine = ? AND id > ? ORDER BY id LIMIT ?",
            quarantine.id,
            position,
            limit
        )
        .fetch_all(&mut *transaction)
        .await?;
        let Some(last) = reports.last().map(|report| report.id) else {
            return transaction.rollback().await;
        };
        let mut changes = ReportChanges::begin(&mut transaction).await?;
        reports.iter().for_each(|report| changes.add(report, 1));
        changes.store(&mut transaction).await?;
        sqlx::query!(
            "INSERT INTO reports
             SELECT id, received_at, instance, profile, heartbeat, startup_ms, client_at
             FROM quarantined_reports WHERE quarantine = ? AND id > ? AND id <= ? ORDER BY id",
            quarantine.id,
            position,
            last
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "INSERT INTO unproven_values
             SELECT moved.id, pair.value ->> 0, pair.value ->> 1
             FROM quarantined_reports AS moved CROSS JOIN json_each(unproven) AS pair
             WHERE moved.quarantine = ? AND moved.id > ? AND moved.id <= ?",
            quarantine.id,
            position,
            last
        )
        .execute(&mut *transaction)
        .await?;
        reach(&mut transaction, quarantine.id, last).await?;
        transaction.commit().await?;
        position = last;
        pace.rest(begun, reports.len()).await;
    }
}

/// Deletes the copies that a quarantine left of its reports.
pub async fn forget(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    pace.begin_rows();
    loop {
        let begun = Instant::now();
        let (rows, limit) = (pace.rows(), pace.limit());
        let deleted = sqlx::query!(
            "DELETE FROM quarantined_reports WHERE quarantine = ?1 AND id IN (
                 SELECT id FROM quarantined_reports WHERE quarantine = ?1 ORDER BY id LIMIT ?2
             )",
            quarantine.id,
            limit
        )
        .execute(&mut *connection)
        .await?
        .rows_affected();
        if deleted == 0 {
            return Ok(());
        }
        pace.rest(begun, rows).await;
    }
}

/// Notes how far a phase has come.
pub async fn reach(
    connection: &mut SqliteConnection,
    quarantine: i64,
    position: i64,
) -> sqlx::Result<()> {
    sqlx::query!("UPDATE quarantines SET position = ? WHERE id = ?", position, quarantine)
        .execute(connection)
        .await?;
    Ok(())
}
