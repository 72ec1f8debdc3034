//! The snapshots made anew from the reports, after history was imported.

use std::{collections::VecDeque, time::Instant};

use sqlx::{Connection as _, SqliteConnection};

use super::{
    adoptions, instance_changes,
    pace::Pace,
    snapshots::{hourly_from, is_kept},
};
use crate::{
    domain::{Hour, Window},
    storage::write::{Fleet, Snapshot, closed_until},
};

/// Changes that are held in memory; there are a million for three million reports.
const CHANGES_AT_A_TIME: i64 = 1000;
/// Snapshots that are held in memory, each some ten kilobytes.
const MADE_AT_A_TIME: usize = 100;

/// Rebuilds all snapshots up to `now` from `temp.history`, which must have all reports: none may be
/// pruned. A server may take later ones meanwhile.
pub async fn rebuild(
    connection: &mut SqliteConnection,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    rebuild_after(connection, i64::MIN, hourly_from(now.number()), now, pace).await
}

/// Rebuilds the snapshots after the midnight before an hour, where the times of reports have changed.
/// Where reports were pruned, those of the first day after them stay as they are.
pub async fn rebuild_from(
    connection: &mut SqliteConnection,
    from: Hour,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let after = stays_until(connection, from, Window::ALL[0]).await?;
    // The clock may be wrong: those of single hours are thinned later.
    let hourly_from = hourly_from(now.number()).min(from.day().number());
    rebuild_after(connection, after, hourly_from, now, pace).await
}

/// Rebuilds the snapshots likewise, where the times of reports stay: those of single hours are kept where
/// there are some now. Where reports were pruned, the snapshots that may count instances by them stay.
pub async fn rebuild_since(
    connection: &mut SqliteConnection,
    from: Hour,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let after = stays_until(connection, from, Window::LONGEST).await?;
    let kept = sqlx::query_scalar!(
        r#"SELECT min(hour) AS "hour: i64" FROM snapshots WHERE hour % 24 <> 0"#
    )
    .fetch_one(&mut *connection)
    .await?;
    let kept = kept.map_or(i64::MAX, |hour| Hour::new(hour).day().number());
    let hourly_from = hourly_from(now.number()).min(kept);
    rebuild_after(connection, after, hourly_from, now, pace).await
}

/// Midnight of the last snapshot that stays, where something has changed from an hour on. Those in whose
/// window there may be a report that was pruned stay, too.
async fn stays_until(
    connection: &mut SqliteConnection,
    from: Hour,
    window: Window,
) -> sqlx::Result<i64> {
    let from = from.day().number();
    let before = sqlx::query_scalar!(
        r#"SELECT max(hour) AS "hour: i64" FROM snapshots WHERE hour <= ? AND hour % 24 = 0"#,
        from
    )
    .fetch_one(&mut *connection)
    .await?;
    let before = before.unwrap_or(i64::MIN);
    let pruned_until =
        sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'pruned_until'")
            .fetch_one(connection)
            .await?;
    if pruned_until == 0 {
        return Ok(before);
    }
    let shown = Hour::of_ms(pruned_until - 1).plus(window.hours() + 24).day();
    Ok(before.max(shown.number()))
}

/// Rebuilds the snapshots after an hour. The state at that hour is counted anew, too: the snapshot of it
/// may count what has changed.
async fn rebuild_after(
    connection: &mut SqliteConnection,
    last: i64,
    hourly_from: i64,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let (end, now, mut after) = (now, now.number(), last);
    if after >= now {
        return Ok(());
    }
    instance_changes::store(connection, hourly_from, now).await?;
    let (mut changes, mut fleet) = (Changes::default(), Fleet::default());
    let mut made = Vec::new();
    let mut hour = changes.next_hour(connection).await?;
    while hour <= now {
        while let Some(change) = changes.next_until(hour, connection).await? {
            fleet.add(change.profile, change.active());
            fleet.instances += change.instances;
            fleet.returning += change.returning_instances;
        }
        fleet.end(hour);
        if hour > last && is_kept(&fleet, hour, hourly_from) {
            made.push(fleet.snapshot(hour)?);
        }
        if made.len() >= pace.rows().min(MADE_AT_A_TIME) {
            replace(connection, after, hour, &made, pace).await?;
            after = hour;
            made.clear();
        }
        hour = if fleet.rests(hour) { changes.next_hour(connection).await? } else { hour + 1 };
    }
    replace(connection, after, now, &made, pace).await?;
    sqlx::query("DROP TABLE temp.instance_changes").execute(&mut *connection).await?;
    adoptions::forget(connection, last).await?;
    closed_until(connection, end).await
}

/// Puts snapshots in place of all after an hour up to another one.
async fn replace(
    connection: &mut SqliteConnection,
    after: i64,
    last: i64,
    made: &[Snapshot],
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let begun = Instant::now();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query!("DELETE FROM snapshots WHERE hour > ? AND hour <= ?", after, last)
        .execute(&mut *transaction)
        .await?;
    for snapshot in made {
        snapshot.insert(&mut transaction).await?;
    }
    transaction.commit().await?;
    pace.rest(begun, made.len()).await;
    Ok(())
}

/// Rows of `instance_changes`, read some at a time.
#[derive(Debug, Default)]
struct Changes {
    waiting: VecDeque<Change>,
    last: i64,
}

impl Changes {
    /// The next change, unless it is of an hour after `hour`.
    async fn next_until(
        &mut self,
        hour: i64,
        transaction: &mut SqliteConnection,
    ) -> sqlx::Result<Option<Change>> {
        if self.waiting.is_empty() {
            self.read(transaction).await?;
        }
        let due = self.waiting.front().is_some_and(|change| change.hour <= hour);
        Ok(if due { self.waiting.pop_front() } else { None })
    }

    /// Hour of the next change; after every hour if there is none.
    async fn next_hour(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<i64> {
        if self.waiting.is_empty() {
            self.read(connection).await?;
        }
        Ok(self.waiting.front().map_or(i64::MAX, |change| change.hour))
    }

    /// Reads the next rows. The table is not part of the schema, so this query cannot be checked against it
    /// when compiled; the tests run it.
    async fn read(&mut self, transaction: &mut SqliteConnection) -> sqlx::Result<()> {
        let rows: Vec<Change> = sqlx::query_as(
            "SELECT rowid, * FROM temp.instance_changes WHERE rowid > ? ORDER BY rowid LIMIT ?",
        )
        .bind(self.last)
        .bind(CHANGES_AT_A_TIME)
        .fetch_all(transaction)
        .await?;
        self.last = rows.last().map_or(i64::MAX, |change| change.rowid);
        self.waiting.extend(rows);
        Ok(())
    }
}

#[derive(Debug, sqlx::FromRow)]
struct Change {
    rowid: i64,
    hour: i64,
    profile: i64,
    active_24h: i64,
    active_7d: i64,
    active_30d: i64,
    returning_24h: i64,
    returning_7d: i64,
    returning_30d: i64,
    instances: i64,
    returning_instances: i64,
}

impl Change {
    const fn active(&self) -> [i64; 6] {
        [
            self.active_24h,
            self.active_7d,
            self.active_30d,
            self.returning_24h,
            self.returning_7d,
            self.returning_30d,
        ]
    }
}
