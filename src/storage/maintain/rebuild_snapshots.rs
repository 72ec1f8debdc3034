//! The snapshots made anew from the reports, after history was imported.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, SqliteConnection};

use super::{
    adoptions, instance_changes,
    pace::Pace,
    snapshots::{hourly_from, is_kept},
};
use crate::{
    domain::{Hour, Window},
    storage::{
        calendar::CalendarCounts,
        write::{Fleet, Snapshot, closed_until},
    },
};

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

/// Makes the changes out of which [`rebuild_of`] rebuilds all snapshots, and counts the windows of the calendar on the
/// way. `temp.history` must have all reports.
pub async fn stored_changes(
    connection: &mut SqliteConnection,
    now: Hour,
    counts: &mut CalendarCounts,
) -> sqlx::Result<()> {
    let hourly_from = hourly_from(now.number());
    instance_changes::store(connection, hourly_from, now.number(), Some(counts)).await
}

/// Rebuilds all snapshots up to `now` from the changes.
pub async fn rebuild_of(
    connection: &mut SqliteConnection,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    replay(connection, i64::MIN, hourly_from(now.number()), now, pace).await
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
    if last >= now.number() {
        return Ok(());
    }
    instance_changes::store(connection, hourly_from, now.number(), None).await?;
    replay(connection, last, hourly_from, now, pace).await
}

/// Rebuilds the snapshots after an hour from `temp.instance_changes`.
async fn replay(
    connection: &mut SqliteConnection,
    last: i64,
    hourly_from: i64,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let (end, now, mut after) = (now, now.number(), last);
    let (mut changes, mut fleet) = (Changes::new(), Fleet::default());
    let mut made = Vec::new();
    pace.begin_rows();
    let mut hour = changes.next_hour(connection).await?;
    while hour <= now {
        while let Some(change) = changes.next_until(hour, connection).await? {
            fleet.add(change.profile, change.active);
            fleet.instances += change.instances;
            fleet.returning += change.returning;
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

/// Changes of `instance_changes`, read a day at a time.
#[derive(Debug)]
struct Changes {
    waiting: VecDeque<Change>,
    last_day: i64,
}

impl Changes {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), last_day: i64::MIN }
    }

    /// The next change, unless it is of an hour after `hour`.
    async fn next_until(
        &mut self,
        hour: i64,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<Option<Change>> {
        let due = self.next_hour(connection).await? <= hour;
        Ok(if due { self.waiting.pop_front() } else { None })
    }

    /// Hour of the next change; after every hour if there is none.
    async fn next_hour(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<i64> {
        while self.waiting.is_empty() && self.last_day < i64::MAX {
            self.read(connection).await?;
        }
        Ok(self.waiting.front().map_or(i64::MAX, |change| change.hour))
    }

    /// Reads the next day. The table is not part of the schema, so these queries cannot be checked against it
    /// when compiled; the tests run them.
    async fn read(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let next: Option<i64> =
            sqlx::query_scalar("SELECT min(day) FROM temp.instance_changes WHERE day > ?")
                .bind(self.last_day)
                .fetch_one(&mut *connection)
                .await?;
        self.last_day = next.unwrap_or(i64::MAX);
        let mut sums: BTreeMap<(i64, i64), instance_changes::Changes> = BTreeMap::new();
        let mut parts =
            sqlx::query_scalar("SELECT changes FROM temp.instance_changes WHERE day = ?")
                .bind(self.last_day)
                .fetch(connection);
        while let Some(part) = parts.try_next().await? {
            let part: Vec<u8> = part;
            let unpacked =
                instance_changes::unpack(self.last_day, &part, |hour, profile, changes| {
                    let sum = sums.entry((hour, profile)).or_default();
                    sum.iter_mut().zip(changes).for_each(|(sum, change)| *sum += change);
                });
            unpacked
                .ok_or_else(|| sqlx::Error::Decode("changes of instances are broken".into()))?;
        }
        let changes = sums.into_iter().map(|((hour, profile), changes)| {
            let [active @ .., instances, returning] = changes.map(i64::from);
            Change { hour, profile, active, instances, returning }
        });
        self.waiting.extend(changes);
        Ok(())
    }
}

/// Change of the counts of a profile at the end of an hour.
#[derive(Debug)]
struct Change {
    hour: i64,
    profile: i64,
    /// As [`Fleet::add`] takes them.
    active: [i64; 6],
    instances: i64,
    returning: i64,
}
