//! Repair of counts and startup times: the differences from a recount are added, so that what a server
//! adds meanwhile stays. The tables of a recount are not part of the schema, so these queries cannot be
//! checked against it when compiled; the tests run them.

use std::time::Instant;

use sqlx::{Connection as _, SqliteConnection};

use super::super::{
    count_changes::{CountChanges, StartupChanges, add_counts, add_startups},
    pace::Pace,
};

/// Number of the row, span, period, profile, starts, heartbeats, first and last report.
type CountRow = (i64, i64, i64, i64, i64, i64, i64, i64);

/// Adds what is missing of the counts. Returns how many were wrong.
pub async fn repair_counts(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    find(connection, include_str!("count_differences.sql")).await?;
    let mut last = 0;
    loop {
        let rows: Vec<CountRow> = sqlx::query_as(
            "SELECT rowid, span, period, profile, starts, heartbeats, first_report, last_report
             FROM temp.differences WHERE rowid > ? ORDER BY rowid LIMIT ?",
        )
        .bind(last)
        .bind(limit(pace))
        .fetch_all(&mut *connection)
        .await?;
        let Some(&(number, ..)) = rows.last() else { break };
        let begun = Instant::now();
        let changes: CountChanges = rows
            .iter()
            .map(|&(_, span, period, profile, starts, heartbeats, first, last)| {
                ((span, period, profile), (starts, heartbeats, first, last))
            })
            .collect();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        add_counts(&mut transaction, &changes).await?;
        transaction.commit().await?;
        last = number;
        pace.rest(begun, rows.len()).await;
    }
    drop_differences(connection).await?;
    Ok(last)
}

/// Adds what is missing of the startup times. Returns how many were wrong.
pub async fn repair_startups(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    find(connection, include_str!("startup_differences.sql")).await?;
    let mut last = 0;
    loop {
        let rows: Vec<(i64, i64, i64, i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT rowid, span, period, profile, up_to_ms, starts, sum_ms
             FROM temp.differences WHERE rowid > ? ORDER BY rowid LIMIT ?",
        )
        .bind(last)
        .bind(limit(pace))
        .fetch_all(&mut *connection)
        .await?;
        let Some(&(number, ..)) = rows.last() else { break };
        let begun = Instant::now();
        let changes: StartupChanges = rows
            .iter()
            .map(|&(_, span, period, profile, up_to, starts, sum)| {
                ((span, period, profile, up_to), (starts, sum))
            })
            .collect();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        add_startups(&mut transaction, &changes).await?;
        transaction.commit().await?;
        last = number;
        pace.rest(begun, rows.len()).await;
    }
    drop_differences(connection).await?;
    Ok(last)
}

/// Runs a program that makes `temp.differences`, on one state of the database.
pub async fn find(connection: &mut SqliteConnection, program: &'static str) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(program).execute(&mut *transaction).await?;
    transaction.commit().await
}

pub async fn drop_differences(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.differences; DROP TABLE IF EXISTS temp.expected;
         DROP TABLE IF EXISTS temp.hours;",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Rows of the next step.
pub fn limit(pace: &Pace) -> i64 {
    i64::try_from(pace.rows()).unwrap_or(i64::MAX)
}
