//! The record of outages, which follows the stretches of the clock.

use sqlx::SqliteConnection;

use crate::{
    domain::{Outage, Timekeeper},
    storage::json,
};

/// Records the outages between the stretches that are known. Those before the first of them stay.
pub async fn record_outages(
    connection: &mut SqliteConnection,
    keeper: &Timekeeper,
) -> sqlx::Result<()> {
    let outages = Outage::between(keeper.past(), keeper.stretch());
    let rows: Vec<_> = outages
        .iter()
        .map(|outage| {
            let reason = if outage.down { "down" } else { "clock" };
            (outage.stretch, outage.began_at, outage.ended_at, reason)
        })
        .collect();
    let rows = json::encode(&rows)?;
    let first = keeper.past().first().unwrap_or(keeper.stretch()).id;
    sqlx::query!(
        "DELETE FROM outages
         WHERE stretch > ? AND stretch NOT IN (SELECT value ->> 0 FROM json_each(?))",
        first,
        rows
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO outages
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET
             began_at = excluded.began_at, ended_at = excluded.ended_at, reason = excluded.reason
         WHERE began_at <> excluded.began_at OR ended_at IS NOT excluded.ended_at
             OR reason <> excluded.reason",
        rows
    )
    .execute(connection)
    .await?;
    Ok(())
}
