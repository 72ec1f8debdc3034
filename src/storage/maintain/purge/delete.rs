//! Deletion of what is stored of an instance.

use std::time::Instant;

use sqlx::{Connection as _, SqliteConnection};

use super::{
    super::{
        pace::Pace,
        quarantine::{match_reports, matched_after, subtract},
        recount_calendar::note_recounts,
        report_changes::indexed,
    },
    Purge,
};
use crate::{
    domain::{InstanceId, Selection},
    storage::{instance_key, json, report_lists::ListChanges},
};

/// Deletes all that is stored of an instance. Returns the first hour in which it was seen.
pub async fn delete(
    connection: &mut SqliteConnection,
    purge: &Purge,
    pace: &mut Pace,
) -> sqlx::Result<Option<i64>> {
    // Without an id that can be read there is nothing that it could have been stored under.
    if let Some(id) = InstanceId::parse(instance_key::to_id(&purge.instance)) {
        let selection = Selection { instance: Some(id), ..Selection::default() };
        let last = indexed(connection).await?;
        match_reports(connection, &selection, 0, last).await?;
        let mut position = 0;
        pace.begin_rows();
        loop {
            let reports = matched_after(connection, position, pace.limit()).await?;
            let Some(&last) = reports.last() else { break };
            let begun = Instant::now();
            delete_reports(connection, purge, &reports).await?;
            position = last;
            pace.rest(begun, reports.len()).await;
        }
    }
    delete_quarantined(connection, purge, pace).await?;
    delete_instance(connection, purge).await
}

async fn delete_reports(
    connection: &mut SqliteConnection,
    purge: &Purge,
    reports: &[i64],
) -> sqlx::Result<()> {
    let numbers = json::encode(reports)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if purge.keep_totals {
        keep_counts(&mut transaction, &numbers).await?;
    } else {
        subtract(&mut transaction, &numbers).await?;
    }
    let deleted =
        sqlx::query!("DELETE FROM reports WHERE id IN (SELECT value FROM json_each(?))", numbers)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
    let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
    sqlx::query!("UPDATE purges SET reports = reports + ? WHERE id = ?", deleted, purge.id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Notes the counts of reports that are about to be deleted and go on to count. They leave their lists.
async fn keep_counts(connection: &mut SqliteConnection, numbers: &str) -> sqlx::Result<()> {
    let reports = sqlx::query!(
        "SELECT id, profile FROM reports WHERE id IN (SELECT value FROM json_each(?))",
        numbers
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut lists = ListChanges::default();
    reports.iter().for_each(|report| lists.add(report.profile, report.id, -1));
    lists.store(&mut *connection).await?;
    sqlx::query!(
        "INSERT INTO purged_counts
         SELECT
             iif(received_at >= 0, received_at / 3600000, -1), profile, sum(1 - heartbeat),
             sum(heartbeat)
         FROM reports WHERE id IN (SELECT value FROM json_each(?))
         GROUP BY 1, 2
         ON CONFLICT DO UPDATE SET
             starts = starts + excluded.starts, heartbeats = heartbeats + excluded.heartbeats",
        numbers
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO purged_startup_times
         SELECT iif(hour >= 0, hour, -1), profile, up_to_ms, count(*), sum(startup_ms)
         FROM measured_starts WHERE id IN (SELECT value FROM json_each(?))
         GROUP BY 1, 2, 3
         ON CONFLICT DO UPDATE SET
             starts = starts + excluded.starts, sum_ms = sum_ms + excluded.sum_ms",
        numbers
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes what quarantines hold of an instance, and those that were made for it alone.
async fn delete_quarantined(
    connection: &mut SqliteConnection,
    purge: &Purge,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    pace.begin_rows();
    loop {
        let begun = Instant::now();
        let found: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT quarantine, id FROM quarantined_reports WHERE instance = ? LIMIT ?",
        )
        .bind(&purge.instance)
        .bind(pace.limit())
        .fetch_all(&mut *connection)
        .await?;
        if found.is_empty() {
            break;
        }
        let numbers = json::encode(&found)?;
        let deleted = found.len();
        let deleted_rows = i64::try_from(deleted).unwrap_or(i64::MAX);
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query!(
            "DELETE FROM quarantined_reports WHERE (quarantine, id) IN (
                 SELECT value ->> 0, value ->> 1 FROM json_each(?)
             )",
            numbers
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "UPDATE purges SET reports = reports + ? WHERE id = ?",
            deleted_rows,
            purge.id
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        pace.rest(begun, deleted).await;
    }
    sqlx::query!("DELETE FROM quarantines WHERE instance = ?", purge.instance)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes an instance and its sightings, and notes the next phase.
async fn delete_instance(
    connection: &mut SqliteConnection,
    purge: &Purge,
) -> sqlx::Result<Option<i64>> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found = sqlx::query!(
        "SELECT first_seen, last_seen, last_seen / 3600 AS hour, profile, days_seen > 1 AS returning_
         FROM instances WHERE id = ?",
        purge.instance
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let from_hour = found.as_ref().map(|row| row.first_seen.max(0) / 3600);
    sqlx::query!("DELETE FROM sightings WHERE instance = ?", purge.instance)
        .execute(&mut *transaction)
        .await?;
    sqlx::query!("DELETE FROM instances WHERE id = ?", purge.instance)
        .execute(&mut *transaction)
        .await?;
    if let Some(row) = &found {
        // Windows of the calendar count instances that are known.
        let (first, last) = (row.first_seen, row.last_seen);
        note_recounts(&mut transaction, first * 1000, last * 1000).await?;
    }
    if let Some(row) = found.filter(|_| purge.keep_totals) {
        // Counts that the trigger took away.
        sqlx::query!(
            "INSERT INTO activity VALUES (?, ?, 1, ?)
             ON CONFLICT DO UPDATE SET
                 instances = instances + 1,
                 returning_instances = returning_instances + excluded.returning_instances",
            row.hour,
            row.profile,
            row.returning_
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "UPDATE totals SET
                 instances = instances + 1, returning_instances = returning_instances + ?",
            row.returning_
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "INSERT INTO purged_activity VALUES (?, ?, 1, ?)
             ON CONFLICT DO UPDATE SET
                 instances = instances + 1,
                 returning_instances = returning_instances + excluded.returning_instances",
            row.hour,
            row.profile,
            row.returning_
        )
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query!(
        "UPDATE purges SET phase = ?, from_hour = ? WHERE id = ?",
        super::SNAPSHOTS,
        from_hour,
        purge.id
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(from_hour)
}
