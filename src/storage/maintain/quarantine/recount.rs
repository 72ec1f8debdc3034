//! Instances counted anew, after some of their reports moved.

use futures_util::FutureExt as _;
use sqlx::SqliteConnection;

use super::{super::pace::Pace, move_reports::reach};
use crate::storage::write::Quarantine;

/// Counts the instances of a quarantine's reports anew, where these were moved out, or back. The tables of the
/// recount are not part of the schema, so these queries cannot be checked against it when compiled; the
/// tests run them.
pub async fn recount(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
    lifting: bool,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.touched;
         CREATE TEMP TABLE touched (instance BLOB PRIMARY KEY) WITHOUT ROWID;
         DROP TABLE IF EXISTS temp.recounted;
         CREATE TEMP TABLE recounted (
             instance BLOB, reports INTEGER, first_seen INTEGER, last_seen INTEGER,
             days_seen INTEGER, profile INTEGER
         );",
    )
    .execute(&mut *connection)
    .await?;
    let last_report = if lifting { i64::MAX } else { quarantine.last_report.unwrap_or(0) };
    sqlx::query(
        "INSERT INTO temp.touched
         SELECT DISTINCT instance FROM quarantined_reports WHERE quarantine = ? AND id <= ?",
    )
    .bind(quarantine.id)
    .bind(last_report)
    .execute(&mut *connection)
    .await?;
    sqlx::query(include_str!("recount.sql"))
        .bind(quarantine.id)
        .bind(last_report)
        .bind(lifting)
        .execute(&mut *connection)
        .await?;
    store(connection, quarantine, pace).await?;
    sqlx::raw_sql("DROP TABLE temp.touched; DROP TABLE temp.recounted;")
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts `temp.recounted` in the place of what was counted, in steps.
async fn store(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM temp.recounted")
        .fetch_one(&mut *connection)
        .await?;
    let (id, position) = (quarantine.id, quarantine.position);
    pace.work_through(connection, position, all, |transaction, after, until| {
        async move {
            replace_instances(transaction, after, until).await?;
            reach(transaction, id, until).await
        }
        .boxed()
    })
    .await
}

/// Replaces instances by some rows of `temp.recounted`; one without a report is deleted. The triggers of
/// `instances` take each for one that was just seen: the steps that they note in `calendar_moves` are taken
/// back, since the windows of the calendar are counted anew afterwards.
pub async fn replace_instances(
    connection: &mut SqliteConnection,
    after: i64,
    until: i64,
) -> sqlx::Result<()> {
    sqlx::raw_sql("CREATE TEMP TABLE kept_moves AS SELECT * FROM calendar_moves")
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "DELETE FROM instances WHERE id IN (
             SELECT instance FROM temp.recounted WHERE rowid > ? AND rowid <= ? AND reports = 0
         )",
    )
    .bind(after)
    .bind(until)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO instances (id, reports, first_seen, last_seen, days_seen, profile)
         SELECT instance, reports, first_seen, last_seen, days_seen, profile
         FROM temp.recounted WHERE rowid > ? AND rowid <= ? AND reports > 0
         ON CONFLICT DO UPDATE SET
             reports = excluded.reports, first_seen = excluded.first_seen,
             last_seen = excluded.last_seen, days_seen = excluded.days_seen,
             profile = excluded.profile",
    )
    .bind(after)
    .bind(until)
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql(
        "DELETE FROM calendar_moves;
         INSERT INTO calendar_moves SELECT * FROM temp.kept_moves;
         DROP TABLE temp.kept_moves;",
    )
    .execute(connection)
    .await?;
    Ok(())
}
