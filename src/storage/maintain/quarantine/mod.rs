//! Quarantine: reports that are taken out of every number, reversibly.

mod match_reports;
mod move_reports;
mod preview;
mod pruned;
mod recount;

use sqlx::SqliteConnection;

pub use self::{
    match_reports::{match_reports, matched_after},
    move_reports::subtract,
    preview::Preview,
    recount::replace_instances,
};
use self::{
    move_reports::{forget, move_back, move_out},
    pruned::{move_counts_back, move_counts_out},
    recount::recount,
};
use super::{
    import::sort_history, pace::Pace, rebuild_snapshots::rebuild_since, report_changes::indexed,
};
use crate::{
    domain::{Correction, Hour},
    storage::write::{Quarantine, QuarantineState},
};

/// Phases of applying and of lifting.
const MOVE: i64 = 0;
const RECOUNT: i64 = 1;
const SNAPSHOTS: i64 = 2;
const FORGET: i64 = 3;

/// Applies or lifts a quarantine, from where it stopped. All reports are indexed, and none is indexed
/// meanwhile. `now` is the present hour.
pub async fn go_on(
    connection: &mut SqliteConnection,
    quarantine: &mut Quarantine,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let lifting = quarantine.state == QuarantineState::Lifting;
    begin(connection, quarantine).await?;
    if quarantine.phase == MOVE {
        if lifting {
            move_counts_back(connection, quarantine, pace).await?;
            move_back(connection, quarantine, pace).await?;
        } else {
            let last = quarantine.last_report.unwrap_or(0);
            match_reports(connection, &quarantine.selection, quarantine.position, last).await?;
            move_out(connection, quarantine, pace).await?;
            move_counts_out(connection, quarantine, pace).await?;
        }
        enter(connection, quarantine, RECOUNT).await?;
    }
    if quarantine.phase == RECOUNT {
        recount(connection, quarantine, lifting, pace).await?;
        enter(connection, quarantine, SNAPSHOTS).await?;
    }
    if quarantine.phase == SNAPSHOTS {
        if let Some(from) = first_hour(connection, quarantine).await? {
            sort_history(connection).await?;
            rebuild_since(connection, from, now, pace).await?;
            sqlx::query("DROP TABLE temp.history").execute(&mut *connection).await?;
        }
        enter(connection, quarantine, FORGET).await?;
    }
    if lifting {
        forget(connection, quarantine, pace).await?;
        sqlx::query!("DELETE FROM quarantines WHERE id = ?", quarantine.id)
            .execute(connection)
            .await?;
    } else {
        sqlx::query!(
            "UPDATE quarantines SET state = 'active', phase = 0, position = 0 WHERE id = ?",
            quarantine.id
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Notes the last report, once: later ones are taken as they come.
async fn begin(connection: &mut SqliteConnection, quarantine: &mut Quarantine) -> sqlx::Result<()> {
    if quarantine.last_report.is_some() {
        return Ok(());
    }
    let last = indexed(connection).await?;
    quarantine.last_report = Some(last);
    sqlx::query!("UPDATE quarantines SET last_report = ? WHERE id = ?", last, quarantine.id)
        .execute(connection)
        .await?;
    Ok(())
}

async fn enter(
    connection: &mut SqliteConnection,
    quarantine: &mut Quarantine,
    phase: i64,
) -> sqlx::Result<()> {
    (quarantine.phase, quarantine.position) = (phase, 0);
    sqlx::query!(
        "UPDATE quarantines SET phase = ?, position = 0 WHERE id = ?",
        phase,
        quarantine.id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// First hour of the reports that moved.
async fn first_hour(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
) -> sqlx::Result<Option<Hour>> {
    let first = sqlx::query_scalar!(
        r#"SELECT min(received_at) AS "first: i64" FROM quarantined_reports
           WHERE quarantine = ? AND received_at >= 0"#,
        quarantine.id
    )
    .fetch_one(connection)
    .await?;
    Ok(first.map(Hour::of_ms))
}

/// Gives the reports in quarantine the times of a correction, so that they come back with these.
pub async fn redate(
    connection: &mut SqliteConnection,
    correction: &Correction,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE quarantined_reports SET received_at = max(min(received_at + ?, ?), ?)
         WHERE id > ? AND id <= ? AND received_at >= ? AND received_at <= ?",
        correction.shift_ms,
        correction.latest_ms,
        correction.earliest_ms,
        correction.after_report,
        correction.last_report,
        correction.from_ms,
        correction.until_ms
    )
    .execute(connection)
    .await?;
    Ok(())
}
