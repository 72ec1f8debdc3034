//! Instances counted anew, whose reports were corrected. The table of the recount is not part of the schema,
//! so these queries cannot be checked against it when compiled; the tests run them.

use futures_util::FutureExt as _;
use sqlx::{FromRow, SqliteConnection};

use super::super::{pace::Pace, recount_calendar::whole_from};
use crate::{
    domain::CalendarWindow,
    storage::calendar::{CalendarCounts, Count},
};

/// Recounts the instances that sent the corrected reports.
pub async fn recount(connection: &mut SqliteConnection, pace: &mut Pace) -> sqlx::Result<()> {
    drop_recount(connection).await?;
    sqlx::query_file!("src/storage/maintain/recount_instances.sql")
        .execute(&mut *connection)
        .await?;
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM temp.recounted_instances")
        .fetch_one(&mut *connection)
        .await?;
    let whole_from = whole_from(connection).await?;
    pace.work_through(connection, 0, all, |transaction, after, until| {
        async move {
            move_in_calendar(transaction, after, until, whole_from).await?;
            sqlx::query(
                "UPDATE instances SET
                     first_seen = counted.first_seen, last_seen = counted.last_seen,
                     days_seen = counted.days_seen, profile = counted.profile
                 FROM temp.recounted_instances AS counted
                 WHERE counted.rowid > ? AND counted.rowid <= ?
                     AND instances.id = counted.instance",
            )
            .bind(after)
            .bind(until)
            .execute(transaction)
            .await?;
            Ok(())
        }
        .boxed()
    })
    .await?;
    drop_recount(connection).await
}

async fn drop_recount(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("DROP TABLE IF EXISTS temp.recounted_instances").execute(connection).await?;
    Ok(())
}

/// An instance all of whose reports are stored: its first and last day, before and after.
#[derive(Debug, FromRow)]
struct Moved {
    old_first: i64,
    old_last: i64,
    first: i64,
    last: i64,
}

/// Moves instances from windows of the calendar to others, as far as these are not counted anew: some of
/// their reports were pruned. The triggers of `instances` add one to the windows of a later last day.
async fn move_in_calendar(
    transaction: &mut SqliteConnection,
    after: i64,
    until: i64,
    whole_from: i64,
) -> sqlx::Result<()> {
    let moved: Vec<Moved> = sqlx::query_as(
        "SELECT old_first, old_last, first_seen / 86400 AS first, last_seen / 86400 AS last FROM (
             SELECT *, was_first / 86400 AS old_first, was_last / 86400 AS old_last
             FROM temp.recounted_instances
             WHERE rowid > ? AND rowid <= ? AND is_whole AND was_last >= 0
         )
         WHERE old_first <> first_seen / 86400 OR old_last <> last_seen / 86400",
    )
    .bind(after)
    .bind(until)
    .fetch_all(&mut *transaction)
    .await?;
    let mut counts = CalendarCounts::default();
    for window in CalendarWindow::ALL {
        let mut add = |day: i64, instances: i64, elsewhere: (i64, i64)| {
            let first = window.first_day(day);
            let is_elsewhere = elsewhere.1 < first || elsewhere.0 >= window.next(first);
            if first < whole_from && is_elsewhere {
                let count = counts.windows.entry((window, first)).or_insert(Count::default());
                count.instances += instances;
                count.complete = false;
            }
        };
        for &Moved { old_first, old_last, first, last } in &moved {
            let begin = |day| window.first_day(day);
            add(old_last, -1, (first, last));
            if begin(old_first) != begin(old_last) {
                add(old_first, -1, (first, last));
            }
            if last < old_last {
                add(last, 1, (old_first, old_last));
            }
            if begin(first) != begin(last) {
                add(first, 1, (old_first, old_last));
            }
        }
    }
    if counts.windows.is_empty() { Ok(()) } else { counts.store(transaction).await }
}
