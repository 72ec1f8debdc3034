//! The snapshots: state of the fleet at the end of each hour.
//!
//! A running server closes an hour before it writes the first report of the next one. At that
//! moment `activity` holds exactly the active instances, so closing needs no walk over instances.
//! Hours in which the server was down are closed the same way. Imported history is replayed from
//! the reports instead ([`rebuild`]).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use sqlx::{Connection as _, SqliteConnection};

use super::pace::Pace;
use crate::{
    domain::{Hour, Window},
    storage::json,
};

/// Days for which a snapshot of each hour is kept; older ones are kept for each day.
const HOURLY_DAYS: i64 = 90;
/// Changes that a rebuild holds in memory; there are a million for three million reports.
const CHANGES_AT_A_TIME: i64 = 1000;
/// Snapshots that it holds in memory, each some ten kilobytes.
const MADE_AT_A_TIME: usize = 100;

/// Takes the snapshots of all hours before `now`, each once. Returns the hour up to which there are all;
/// `None` while nothing was ever reported.
pub async fn take(transaction: &mut SqliteConnection, now: Hour) -> sqlx::Result<Option<Hour>> {
    let number = now.number();
    let last = sqlx::query_scalar!(
        r#"SELECT max(hour) AS "hour: i64" FROM snapshots WHERE hour <= ?"#,
        number
    )
    .fetch_one(&mut *transaction)
    .await?;
    let first = match last {
        Some(last) if last >= number => return Ok(Some(Hour::new(last))),
        Some(last) => last + 1,
        None => {
            let first = sqlx::query_scalar!(
                r#"SELECT min(hour) AS "hour: i64" FROM activity WHERE instances > 0"#
            )
            .fetch_one(&mut *transaction)
            .await?;
            match first {
                Some(first) => first + 1,
                None => return Ok(None),
            }
        }
    };
    let hourly_from = hourly_from(number);
    sqlx::query_file!("src/storage/maintain/take_snapshots.sql", first, number, hourly_from)
        .execute(&mut *transaction)
        .await?;
    let unreachable = Window::LONGEST.first_hour(now).number() - 1;
    sqlx::query!("DELETE FROM activity WHERE hour < ?", unreachable)
        .execute(&mut *transaction)
        .await?;
    // A new day has begun since the hour that was closed last.
    if (first - 1) / 24 != number / 24 {
        thin_out(transaction, hourly_from).await?;
    }
    Ok(Some(now))
}

/// First hour from which a snapshot of each hour is kept. It changes once a day.
const fn hourly_from(now: i64) -> i64 {
    (now / 24 - HOURLY_DAYS) * 24
}

/// Deletes the snapshots older than the hourly quarter, but for those at the ends of days.
async fn thin_out(transaction: &mut SqliteConnection, before: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM snapshots WHERE hour < ? AND hour % 24 <> 0", before)
        .execute(&mut *transaction)
        .await?;
    Ok(())
}

/// Rebuilds all snapshots up to `now` from the reports, none of which may be pruned. A server may
/// take later ones meanwhile.
pub async fn rebuild(
    connection: &mut SqliteConnection,
    now: Hour,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let now = now.number();
    sqlx::query("DROP TABLE IF EXISTS temp.instance_changes").execute(&mut *connection).await?;
    sqlx::query_file!("src/storage/maintain/instance_changes.sql")
        .execute(&mut *connection)
        .await?;
    let mut changes = Changes::default();
    changes.read(connection).await?;
    let first = changes.waiting.front().map_or(i64::MAX, |change| change.hour);
    let mut active: BTreeMap<i64, [i64; 6]> = BTreeMap::new();
    let (mut instances, mut returning) = (0, 0);
    let mut made = Vec::new();
    let mut after = i64::MIN;
    for hour in first..=now {
        while let Some(change) = changes.next_until(hour, connection).await? {
            let counts = active.entry(change.profile).or_default();
            for (count, difference) in counts.iter_mut().zip(change.active()) {
                *count += difference;
            }
            instances += change.instances;
            returning += change.returning_instances;
        }
        if hour % 24 == 0 || hour >= hourly_from(now) {
            active.retain(|_, counts| counts.iter().any(|&count| count > 0));
            made.push(Snapshot { hour, instances, returning, active: encode(&active)? });
        }
        if made.len() >= pace.rows().min(MADE_AT_A_TIME) {
            replace(connection, after, &made, pace).await?;
            after = hour;
            made.clear();
        }
    }
    replace(connection, after, &made, pace).await?;
    sqlx::query("DROP TABLE temp.instance_changes").execute(&mut *connection).await?;
    Ok(())
}

#[derive(Debug)]
struct Snapshot {
    hour: i64,
    instances: i64,
    returning: i64,
    active: String,
}

fn encode(active: &BTreeMap<i64, [i64; 6]>) -> sqlx::Result<String> {
    let active: Vec<[i64; 7]> = active
        .iter()
        .map(|(&profile, &[a1, a7, a30, r1, r7, r30])| [profile, a1, a7, a30, r1, r7, r30])
        .collect();
    json::encode(&active)
}

/// Puts snapshots in place of all after an hour up to the last of them.
async fn replace(
    connection: &mut SqliteConnection,
    after: i64,
    made: &[Snapshot],
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let Some(last) = made.last().map(|snapshot| snapshot.hour) else {
        return Ok(());
    };
    let begun = Instant::now();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query!("DELETE FROM snapshots WHERE hour > ? AND hour <= ?", after, last)
        .execute(&mut *transaction)
        .await?;
    for Snapshot { hour, instances, returning, active } in made {
        sqlx::query!(
            "INSERT INTO snapshots VALUES (?, ?, ?, ?)",
            hour,
            instances,
            returning,
            active
        )
        .execute(&mut *transaction)
        .await?;
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

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::{collection::vec, prelude::*};
    use tempfile::TempDir;

    use super::*;
    use crate::{domain::ReportBody, storage::Database};

    /// Hour, instances, returning instances, and the active ones by profile.
    type Rows = Vec<(i64, i64, i64, String)>;

    async fn rows(connection: &mut SqliteConnection) -> Rows {
        sqlx::query_as("SELECT * FROM snapshots ORDER BY hour").fetch_all(connection).await.unwrap()
    }

    /// Reports `(hours since the one before, instance, version)` while hours are closed as
    /// they pass, and then the same made anew from the reports.
    async fn live_and_rebuilt(reports: Vec<(i64, u8, u8)>) -> (Rows, Rows) {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let mut writer = database.writer();
        let mut now: Timestamp = "2026-01-31T22:10:00Z".parse().unwrap();
        for (gap, instance, version) in reports {
            now += SignedDuration::from_hours(gap);
            let body = ReportBody {
                instance_id: Some(format!("i{instance}")),
                image_version: Some(format!("v{version}.0")),
                ..ReportBody::default()
            };
            writer.store(now, &[body.into_report().unwrap()]).await.unwrap();
        }
        now += SignedDuration::from_hours(1);
        writer.close_hours(now).await.unwrap();
        let result = writer
            .run(async |open| {
                let live = rows(&mut open.connection).await;
                rebuild(&mut open.connection, Hour::of(now), &mut Pace::alone()).await?;
                Ok((live, rows(&mut open.connection).await))
            })
            .await;
        result.unwrap()
    }

    #[tokio::test]
    async fn a_snapshot_counts_active_and_returning_instances() {
        // Two instances in one hour; one of them again two hours later, on the next day.
        let (live, _) = live_and_rebuilt(vec![(0, 1, 1), (0, 2, 1), (2, 1, 2)]).await;
        let first = Hour::of("2026-01-31T23:00:00Z".parse().unwrap()).number();
        let expected = [
            (first, 2, 0, "[[1,2,2,2,0,0,0]]"),
            (first + 1, 2, 0, "[[1,2,2,2,0,0,0]]"),
            (first + 2, 2, 1, "[[1,1,1,1,0,0,0],[2,1,1,1,1,1,1]]"),
        ];
        assert_eq!(
            live,
            expected.map(|(hour, all, back, active)| (hour, all, back, active.into()))
        );
    }

    /// Two reports, so far apart that hourly ends of the first month are dropped on the way, while
    /// each hour is closed as it passes.
    #[tokio::test]
    async fn after_a_quarter_only_the_ends_of_days_are_left() {
        let days = HOURLY_DAYS + 2;
        let reports = (0..days * 24).map(|hour| (i64::from(hour > 0), 1, 1)).collect();
        let (live, rebuilt) = live_and_rebuilt(reports).await;
        assert_eq!(live, rebuilt);
        let last = live[live.len() - 1].0;
        assert!(live.iter().all(|row| row.0 % 24 == 0 || row.0 >= hourly_from(last)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn snapshots_made_anew_from_the_reports_are_the_same(
            reports in vec((prop_oneof![4 => 0..4i64, 4 => 0..60i64, 1 => 0..1200i64], 0..5u8, 0..3u8), 1..12)
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (live, rebuilt) = runtime.block_on(live_and_rebuilt(reports));
            prop_assert_eq!(live, rebuilt);
        }
    }
}
