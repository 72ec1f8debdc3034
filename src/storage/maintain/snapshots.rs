//! The snapshots: state of the fleet at the end of each hour.
//!
//! A report is indexed only after the ends of all hours before its own were taken. So `activity`
//! holds exactly the active instances of an end that is next, and taking it needs no walk over
//! instances. The ends of hours in which the server was down are taken the same way. Imported
//! history is replayed from the reports instead, by `rebuild_snapshots`. The public numbers of a day are stored
//! with its last snapshot.

use sqlx::SqliteConnection;

use crate::{
    domain::{Hour, PublicNumbers, Window},
    storage::{
        Database, Result,
        write::{Fleet, Snapshot},
    },
};

/// Days for which a snapshot of each hour is kept; older ones are kept for each day.
const HOURLY_DAYS: i64 = 90;
/// Ends of hours that are taken together.
pub const ENDS_AT_A_TIME: i64 = 24;
/// Ends of hours whose snapshots are to be taken. No report is indexed meanwhile.
#[derive(Debug)]
pub struct Ends {
    /// The first end.
    pub first: Hour,
    /// The last end.
    pub last: Hour,
    /// State at the end before the first, if it is known.
    pub before: Option<Fleet>,
    /// The end of the last day that is over, if it is one of them.
    pub midnight: Option<Hour>,
}

/// Snapshots that are not stored yet.
#[derive(Debug)]
pub struct Taken {
    /// The last end.
    pub last: Hour,
    /// State at the last end.
    pub fleet: Fleet,
    snapshots: Vec<Snapshot>,
    /// Numbers of the public view of the day that ends at a midnight.
    pub public: Option<(Hour, PublicNumbers)>,
}

impl Database {
    /// Takes the snapshots of some ends, beside the reports that are being stored. With `public_minimum`
    /// the numbers of the public view are made at the end of a day.
    ///
    /// # Errors
    /// The database's error.
    pub async fn take_snapshots(self, ends: Ends, public_minimum: Option<u64>) -> Result<Taken> {
        let public = match ends.midnight.zip(public_minimum) {
            Some((midnight, minimum)) => {
                let numbers = self.make_public_numbers(midnight, minimum).await?;
                numbers.map(|numbers| (midnight, numbers))
            }
            None => None,
        };
        let taken = take(&mut *self.reader().await?, ends).await?;
        Ok(Taken { public, ..taken })
    }
}

/// Takes the snapshots of some ends.
pub async fn take(connection: &mut SqliteConnection, ends: Ends) -> sqlx::Result<Taken> {
    let before = ends.first.plus(-1);
    let mut fleet = match ends.before {
        Some(fleet) => fleet,
        None => at_end(connection, before.number()).await?,
    };
    let mut snapshots = Vec::new();
    let mut end = ends.first.number();
    while end <= ends.last.number() {
        pass_hour(connection, &mut fleet, end).await?;
        fleet.end(end);
        // Those of hours long past are thinned later, once the clock is trusted.
        if !fleet.rests(end) {
            snapshots.push(fleet.snapshot(end)?);
        }
        end = if fleet.rests(end) { next_change(connection, end).await? } else { end + 1 };
    }
    Ok(Taken { last: ends.last, fleet, snapshots, public: None })
}

/// The end of the next hour from `end` on in which an instance was seen.
async fn next_change(connection: &mut SqliteConnection, end: i64) -> sqlx::Result<i64> {
    let next = sqlx::query_scalar!(
        r#"SELECT hour + 1 AS "end!" FROM activity
           WHERE hour >= ? AND instances > 0 ORDER BY hour LIMIT 1"#,
        end
    )
    .fetch_optional(connection)
    .await?;
    Ok(next.unwrap_or(i64::MAX))
}

/// True if there is to be a snapshot of an end, where those of single hours are kept from one on.
pub fn is_kept(fleet: &Fleet, end: i64, hourly_from: i64) -> bool {
    (end % 24 == 0 || end >= hourly_from) && !fleet.rests(end)
}

/// State at the end of an hour, from all of the windows.
async fn at_end(connection: &mut SqliteConnection, end: i64) -> sqlx::Result<Fleet> {
    let totals = sqlx::query!("SELECT instances, returning_instances FROM totals")
        .fetch_one(&mut *connection)
        .await?;
    let active =
        sqlx::query_file!("src/storage/maintain/active_at_end.sql", end, end, end, end, end, end)
            .fetch_all(&mut *connection)
            .await?;
    let mut fleet = Fleet {
        active: active
            .into_iter()
            .map(|row| (row.profile, [row.a1, row.a7, row.a30, row.r1, row.r7, row.r30]))
            .collect(),
        instances: totals.instances,
        returning: totals.returning_instances,
        empty_from: None,
    };
    fleet.end(end);
    if fleet.empty_from.is_some() {
        let last = sqlx::query_scalar!(
            r#"SELECT hour AS "hour!" FROM activity WHERE hour < ? AND instances > 0
               ORDER BY hour DESC LIMIT 1"#,
            end
        )
        .fetch_optional(connection)
        .await?;
        let passed = |hour| hour + Window::LONGEST.hours() + 1;
        fleet.empty_from = Some(last.map_or(i64::MIN, passed));
    }
    Ok(fleet)
}

/// Moves on to the next end: one hour enters all windows, and one leaves each.
async fn pass_hour(
    connection: &mut SqliteConnection,
    fleet: &mut Fleet,
    end: i64,
) -> sqlx::Result<()> {
    let entering = end - 1;
    let [day, week, month] = Window::ALL.map(|window| entering - window.hours());
    let changes = sqlx::query!(
        "SELECT hour, profile, instances, returning_instances FROM activity
         WHERE hour IN (?, ?, ?, ?)",
        entering,
        day,
        week,
        month
    )
    .fetch_all(connection)
    .await?;
    for change in changes {
        let mut counts = [0; 6];
        for (place, leaving) in [day, week, month].into_iter().enumerate() {
            let sign = match change.hour {
                hour if hour == entering => 1,
                hour if hour == leaving => -1,
                _ => 0,
            };
            counts[place] = sign * change.instances;
            counts[place + 3] = sign * change.returning_instances;
        }
        fleet.add(change.profile, counts);
    }
    Ok(())
}

/// Stores snapshots.
pub async fn store(transaction: &mut SqliteConnection, taken: &Taken) -> sqlx::Result<()> {
    for snapshot in &taken.snapshots {
        snapshot.insert(transaction).await?;
    }
    Ok(())
}

/// First hour from which a snapshot of each hour is kept. It changes once a day.
pub const fn hourly_from(now: i64) -> i64 {
    (now / 24 - HOURLY_DAYS) * 24
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::{collection::vec, prelude::*};
    use tempfile::TempDir;

    use super::{
        super::{import::sort_history, pace::Pace, rebuild_snapshots::rebuild},
        *,
    };
    use crate::{domain::ReportBody, storage::Database};

    /// Hour, instances, returning instances, and the active ones by profile.
    type Rows = Vec<(i64, i64, i64, String)>;

    async fn rows(connection: &mut SqliteConnection) -> Rows {
        sqlx::query_as("SELECT * FROM snapshots ORDER BY hour").fetch_all(connection).await.unwrap()
    }

    /// Reports `(hours since the one before, instance, version, whether hours are closed then)`, and then the
    /// snapshots made anew from the reports.
    async fn live_and_rebuilt(reports: Vec<(i64, u8, u8, bool)>) -> (Rows, Rows) {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let mut now: Timestamp = "2026-01-31T22:10:00Z".parse().unwrap();
        for (gap, instance, version, closes) in reports {
            now += SignedDuration::from_hours(gap);
            let body = ReportBody {
                instance_id: Some(format!("i{instance}")),
                image_version: Some(format!("v{version}.0")),
                ..ReportBody::default()
            };
            writer.store(now, &[body.into_report().unwrap()]).await.unwrap();
            if closes {
                writer.close_hours(now).await.unwrap();
            }
        }
        now += SignedDuration::from_hours(1);
        writer.close_hours(now).await.unwrap();
        while writer.thin(now).await.unwrap() {}
        let result = writer
            .run(async |open| {
                let live = rows(&mut open.connection).await;
                sort_history(&mut open.connection).await?;
                rebuild(&mut open.connection, Hour::of(now), &mut Pace::alone()).await?;
                Ok((live, rows(&mut open.connection).await))
            })
            .await;
        result.unwrap()
    }

    #[tokio::test]
    async fn a_snapshot_counts_active_and_returning_instances() {
        // Two instances in one hour; one of them again two hours later, on the next day.
        let (live, _) =
            live_and_rebuilt(vec![(0, 1, 1, false), (0, 2, 1, true), (2, 1, 2, false)]).await;
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

    /// A fleet that no report comes from has snapshots until the first midnight at which it rests.
    #[tokio::test]
    async fn years_without_a_report_have_no_snapshots() {
        let decade = 10 * 365 * 24;
        let (live, rebuilt) =
            live_and_rebuilt(vec![(0, 1, 1, true), (decade, 1, 1, true), (1, 1, 1, true)]).await;
        assert_eq!(live, rebuilt);
        assert!(live.len() < 40, "{} snapshots", live.len());
        assert_eq!(live.iter().filter(|row| row.3 == "[]").count(), 1);
    }

    /// Two reports, so far apart that hourly ends of the first month are dropped on the way, while
    /// each hour is closed as it passes.
    #[tokio::test]
    async fn after_a_quarter_only_the_ends_of_days_are_left() {
        let days = HOURLY_DAYS + 2;
        let reports = (0..days * 24).map(|hour| (i64::from(hour > 0), 1, 1, true)).collect();
        let (live, rebuilt) = live_and_rebuilt(reports).await;
        assert_eq!(live, rebuilt);
        let last = live[live.len() - 1].0;
        assert!(live.iter().all(|row| row.0 % 24 == 0 || row.0 >= hourly_from(last)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn snapshots_made_anew_from_the_reports_are_the_same(
            reports in vec((prop_oneof![4 => 0..4i64, 4 => 0..60i64, 1 => 0..1200i64], 0..5u8, 0..3u8, any::<bool>()), 1..12)
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (live, rebuilt) = runtime.block_on(live_and_rebuilt(reports));
            prop_assert_eq!(live, rebuilt);
        }
    }
}
