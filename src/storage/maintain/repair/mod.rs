//! Repair: everything that is derived is made anew from the reports, in steps, beside a server that stores
//! reports and indexes none meanwhile. What has nothing left to be derived from stays: counts of hours
//! whose single reports were pruned, and those of purged reports.

mod counts;
mod instances;
mod relabel;

use sqlx::Connection as _;

use self::{
    counts::{repair_counts, repair_packed_days},
    instances::{repair_activity, repair_blocks, repair_instances, repair_lists},
    relabel::relabel,
};
use super::{pace::Pace, rebuild_snapshots::rebuild_since, recount};
use crate::{domain::Hour, storage::write::Open};

/// Carries out the repairs up to a number, which are one: all that is derived is repaired. Returns the
/// number of reports that got another label, and of rows that were wrong.
pub async fn repair(
    open: &mut Open,
    last: i64,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<(i64, i64)> {
    let relabelled = relabel(open, pace).await?;
    let connection = &mut open.connection;
    let mut repaired = repair_counts(connection, pace).await?;
    repaired += repair_packed_days(connection).await?;
    repaired += repair_lists(connection, pace).await?;
    repaired += repair_blocks(connection, pace).await?;
    repaired += repair_instances(connection, pace).await?;
    repaired += repair_activity(connection, now, pace).await?;
    let base = sqlx::query_scalar!(
        r#"SELECT (SELECT position FROM watermarks WHERE name = 'pruned')
               + (SELECT count(*) FROM purged_counts) AS "base!: i64""#
    )
    .fetch_one(&mut *connection)
    .await?;
    // Snapshots that counted reports which are gone cannot be made anew.
    if base == 0 {
        rebuild_since(connection, Hour::MIN, now, pace).await?;
    }
    recount::instances::forget(connection).await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query!(
        "UPDATE repairs SET done = 1, relabelled = ?, repaired = ? WHERE done = 0 AND id <= ?",
        relabelled,
        repaired,
        last
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!("DELETE FROM repairs WHERE id < ?", last).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok((relabelled, repaired))
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use tempfile::TempDir;

    use crate::{
        domain::{Report, ReportBody, undated},
        storage::{Database, Writer},
    };

    fn report(instance: &str) -> Report {
        let instance_id = Some(instance.to_owned());
        ReportBody { instance_id, ..ReportBody::default() }.into_report().unwrap()
    }

    /// All snapshots.
    async fn snapshots(writer: &mut Writer) -> Vec<String> {
        let snapshots = writer.run(async |open| {
            sqlx::query_scalar(
                "SELECT json_array(hour, instances, returning_instances, active) FROM snapshots",
            )
            .fetch_all(&mut open.connection)
            .await
        });
        snapshots.await.unwrap()
    }

    /// 5000 reports are read together: the last of these has no date, and is the first one of its instance.
    #[tokio::test]
    async fn each_report_of_a_history_is_counted_once() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (at, instance, reports) in [
            (undated(0), "b", 1),
            (now.as_millisecond(), "a", 4999),
            (now.as_millisecond(), "b", 1),
        ] {
            writer.store_at(at, &vec![report(instance); reports]).await.unwrap();
        }
        let later = now + SignedDuration::from_hours(2);
        writer.close_hours(later).await.unwrap();
        let taken = snapshots(&mut writer).await;
        assert!(!taken.is_empty());

        writer.order_repair().await.unwrap();
        writer.carry_out_alone(later).await.unwrap().unwrap();
        assert_eq!(snapshots(&mut writer).await, taken);
        writer.close().await.unwrap();
        database.close().await;
    }
}
