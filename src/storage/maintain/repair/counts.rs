//! Repair of counts and startup times: the differences from a recount are added, so that what a server
//! adds meanwhile stays. The tables of a recount are not part of the schema, so these queries cannot be
//! checked against it when compiled; the tests run them.

use futures_util::FutureExt as _;
use sqlx::{Connection as _, SqliteConnection};

use super::super::{
    count_changes::{CountChanges, StartupChanges, add_counts, add_startups},
    pace::Pace,
};
use crate::{domain::Hour, storage::packed_days};

/// Adds what is missing of the counts. Returns how many were wrong.
pub async fn repair_counts(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    find(connection, include_str!("count_differences.sql")).await?;
    let all = differences(connection).await?;
    pace.work_through(connection, 0, all, |transaction, after, until| {
        async move {
            let rows: Vec<(i64, i64, i64, i64, i64, i64, i64)> = sqlx::query_as(
                "SELECT span, period, profile, starts, heartbeats, first_report, last_report
                 FROM temp.differences WHERE rowid > ? AND rowid <= ?",
            )
            .bind(after)
            .bind(until)
            .fetch_all(&mut *transaction)
            .await?;
            let changes: CountChanges = rows
                .into_iter()
                .map(|(span, period, profile, starts, heartbeats, first, last)| {
                    ((span, period, profile), (starts, heartbeats, first, last))
                })
                .collect();
            add_counts(transaction, &changes).await
        }
        .boxed()
    })
    .await?;
    drop_differences(connection).await?;
    Ok(all)
}

/// Adds what is missing of the startup times. Returns how many were wrong.
pub async fn repair_startups(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    find(connection, include_str!("startup_differences.sql")).await?;
    let all = differences(connection).await?;
    pace.work_through(connection, 0, all, |transaction, after, until| {
        async move {
            let rows: Vec<(i64, i64, i64, i64, i64, i64)> = sqlx::query_as(
                "SELECT span, period, profile, up_to_ms, starts, sum_ms
                 FROM temp.differences WHERE rowid > ? AND rowid <= ?",
            )
            .bind(after)
            .bind(until)
            .fetch_all(&mut *transaction)
            .await?;
            let changes: StartupChanges = rows
                .into_iter()
                .map(|(span, period, profile, up_to, starts, sum)| {
                    ((span, period, profile, up_to), (starts, sum))
                })
                .collect();
            add_startups(transaction, &changes).await
        }
        .boxed()
    })
    .await?;
    drop_differences(connection).await?;
    Ok(all)
}

/// Has all days packed anew where one differs from its rows. Returns how many did.
pub async fn repair_packed_days(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let differences = packed_days::differences(connection).await?;
    if differences > 0 {
        packed_days::unpack_from(connection, Hour::new(0)).await?;
    }
    Ok(differences)
}

/// Runs a program that makes `temp.differences`, on one state of the database.
pub async fn find(connection: &mut SqliteConnection, program: &'static str) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(program).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Number of the rows of `temp.differences`.
pub async fn differences(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT coalesce(max(rowid), 0) FROM temp.differences")
        .fetch_one(connection)
        .await
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
