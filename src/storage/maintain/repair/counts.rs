//! Repair of counts and startup times: the differences from a recount are added, so that what a server
//! adds meanwhile stays. The tables of a recount are not part of the schema, so these queries cannot be
//! checked against it when compiled; the tests run them.

use futures_util::FutureExt as _;
use sqlx::SqliteConnection;

use super::super::{
    count_changes::{CountChanges, StartupChanges, add_counts, add_startups},
    pace::Pace,
    recount,
};
use crate::{domain::Hour, storage::packed_days};

/// Adds what is missing of the counts and of the startup times. Returns how many of them were wrong.
pub async fn repair_counts(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<i64> {
    let [counts, startups] = recount::counts::find(connection).await?;
    pace.work_through(connection, 0, counts, |transaction, after, until| {
        async move {
            let rows: Vec<(i64, i64, i64, i64, i64, i64, i64)> =
                sqlx::query_as("SELECT * FROM temp.wrong_counts WHERE rowid > ? AND rowid <= ?")
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
    pace.work_through(connection, 0, startups, |transaction, after, until| {
        async move {
            let rows: Vec<(i64, i64, i64, i64, i64, i64)> =
                sqlx::query_as("SELECT * FROM temp.wrong_startups WHERE rowid > ? AND rowid <= ?")
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
    recount::counts::forget(connection).await?;
    Ok(counts + startups)
}

/// Has all days packed anew where one differs from its rows. Returns how many did.
pub async fn repair_packed_days(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let differences = packed_days::differences(connection).await?;
    if differences > 0 {
        packed_days::unpack_from(connection, Hour::new(0)).await?;
    }
    Ok(differences)
}
