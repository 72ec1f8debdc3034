//! Repair of what is derived from single reports: lists, instances, windows of the calendar, activity and
//! totals. None of these changes meanwhile. The tables of a recount are not part of the schema, so these queries
//! cannot be checked against it when compiled; the tests run them.

use std::time::Instant;

use futures_util::FutureExt as _;
use sqlx::{Connection as _, SqliteConnection};

use super::super::{
    pace::Pace,
    quarantine::replace_instances,
    recount::{self, instances::Rule},
    recount_calendar::{self, add_all_moves},
};
use crate::{
    domain::{Hour, Window},
    storage::report_lists::{self, Lists},
};

/// Makes the lists of reports by profile anew. Returns how many reports were in none, or in that of another profile.
pub async fn repair_lists(connection: &mut SqliteConnection, pace: &mut Pace) -> sqlx::Result<i64> {
    let (mut wrong, mut block) = (0, 0);
    pace.begin_rows();
    while let Some(blocks) = report_lists::listed_from(connection, block).await? {
        block = blocks.end;
        let compared = report_lists::compare(connection, blocks).await?;
        wrong += compared.wrong;
        let mut right = compared.right.into_iter().peekable();
        while right.peek().is_some() {
            let begun = Instant::now();
            let lists: Lists = right.by_ref().take(pace.rows()).collect();
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            report_lists::write(&mut transaction, &lists).await?;
            transaction.commit().await?;
            pace.rest(begun, lists.len()).await;
        }
    }
    Ok(wrong)
}

/// Measures the blocks of numbers anew. Returns how many were wrong or too wide. Another process may index reports
/// of the last one meanwhile.
pub async fn repair_blocks(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.differences;
         CREATE TEMP TABLE differences AS
         SELECT measured.block, measured.first_hour, measured.last_hour,
             block < (SELECT position / 4096 FROM watermarks WHERE name = 'indexed') AS is_full
         FROM measured_blocks AS measured
         LEFT JOIN report_blocks AS stored USING (block)
         WHERE (measured.first_hour, measured.last_hour)
             IS NOT (stored.first_hour, stored.last_hour);",
    )
    .execute(&mut *connection)
    .await?;
    steps(
        connection,
        pace,
        [
            "DELETE FROM report_blocks WHERE block IN (
                 SELECT block FROM temp.differences
                 WHERE rowid > ? AND rowid <= ? AND is_full
             )",
            "INSERT INTO report_blocks
             SELECT block, first_hour, last_hour FROM temp.differences
             WHERE rowid > ? AND rowid <= ?
             ON CONFLICT DO UPDATE SET
                 first_hour = min(first_hour, excluded.first_hour),
                 last_hour = max(last_hour, excluded.last_hour)",
        ],
    )
    .await
}

/// Counts all instances, windows of the calendar and cohorts anew. Returns how many instances were wrong. Leaves
/// `temp.history`.
pub async fn repair_instances(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    add_all_moves(connection, pace).await?;
    let mut snapshot = connection.begin().await?;
    let (all, counted) = recount::instances::find(&mut snapshot, Rule::Exact).await?;
    let calendar = recount_calendar::Found::read(&mut snapshot, counted).await?;
    snapshot.commit().await?;
    pace.work_through(connection, 0, all, |transaction, after, until| {
        replace_instances(transaction, after, until).boxed()
    })
    .await?;
    calendar.store(connection, pace).await?;
    Ok(all)
}

/// Counts activity and totals anew from the instances. Returns how many rows were wrong.
pub async fn repair_activity(
    connection: &mut SqliteConnection,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    let since = Window::LONGEST.first_hour(now).number();
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("DROP TABLE IF EXISTS temp.differences;").execute(&mut *transaction).await?;
    sqlx::raw_sql(
        "CREATE TEMP TABLE differences (
             hour INTEGER, profile INTEGER, instances INTEGER, returning_instances INTEGER
         );",
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query(include_str!("activity_differences.sql"))
        .bind(since)
        .execute(&mut *transaction)
        .await?;
    let totals: (i64, i64) = sqlx::query_as(
        "SELECT count(*) + (SELECT coalesce(sum(instances), 0) FROM purged_activity),
             coalesce(sum(days_seen > 1), 0)
                 + (SELECT coalesce(sum(returning_instances), 0) FROM purged_activity)
         FROM instances",
    )
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let wrong_totals = sqlx::query!(
        "UPDATE totals SET instances = ?1, returning_instances = ?2
         WHERE instances <> ?1 OR returning_instances <> ?2",
        totals.0,
        totals.1
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    let wrong = steps(
        connection,
        pace,
        [
            "INSERT INTO activity
             SELECT * FROM temp.differences WHERE rowid > ? AND rowid <= ?
             ON CONFLICT DO UPDATE SET
                 instances = instances + excluded.instances,
                 returning_instances = returning_instances + excluded.returning_instances",
            "DELETE FROM activity WHERE instances = 0 AND (hour, profile) IN (
                 SELECT hour, profile FROM temp.differences WHERE rowid > ? AND rowid <= ?
             )",
        ],
    )
    .await?;
    Ok(wrong + i64::try_from(wrong_totals).unwrap_or(i64::MAX))
}

/// Runs two statements over the rows of `temp.differences`, in steps. Returns how many rows there were.
async fn steps(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
    statements: [&'static str; 2],
) -> sqlx::Result<i64> {
    let all = differences(connection).await?;
    pace.work_through(connection, 0, all, |transaction, after, until| {
        async move {
            for statement in statements {
                sqlx::query(statement).bind(after).bind(until).execute(&mut *transaction).await?;
            }
            Ok(())
        }
        .boxed()
    })
    .await?;
    sqlx::query("DROP TABLE temp.differences").execute(connection).await?;
    Ok(all)
}

/// Number of the rows of `temp.differences`.
async fn differences(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT coalesce(max(rowid), 0) FROM temp.differences")
        .fetch_one(connection)
        .await
}
