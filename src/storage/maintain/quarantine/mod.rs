//! Quarantine: reports that are taken out of every number, reversibly.

mod match_reports;
mod move_reports;
mod preview;
mod pruned;
mod recount;

use sqlx::{Connection as _, SqliteConnection};

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
    import::sort_history, pace::Pace, rebuild_snapshots::rebuild_since,
    recount_calendar::note_recounts, report_changes::indexed,
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
    let moved = moved_times(connection, quarantine).await?;
    if quarantine.phase == SNAPSHOTS {
        if let Some((from, _)) = moved {
            let from = Hour::of_ms(from);
            sort_history(connection).await?;
            rebuild_since(connection, from, now, pace).await?;
            sqlx::query("DROP TABLE temp.history").execute(&mut *connection).await?;
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        if let Some((from, until)) = moved {
            note_recounts(&mut transaction, from, until).await?;
        }
        enter(&mut transaction, quarantine, FORGET).await?;
        transaction.commit().await?;
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

/// First and last time of the reports that moved, in milliseconds since 1970.
async fn moved_times(
    connection: &mut SqliteConnection,
    quarantine: &Quarantine,
) -> sqlx::Result<Option<(i64, i64)>> {
    let times = sqlx::query!(
        r#"SELECT min(received_at) AS "first: i64", max(received_at) AS "last: i64"
           FROM quarantined_reports WHERE quarantine = ? AND received_at >= 0"#,
        quarantine.id
    )
    .fetch_one(connection)
    .await?;
    Ok(times.first.zip(times.last))
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
