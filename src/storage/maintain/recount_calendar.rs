//! Recount of the windows of the calendar and of the cohorts, where reports came in no order of time or
//! were changed.
//!
//! Reports go on being indexed meanwhile: a recount changes the counts by what it finds wrong with them in
//! one state of the database.

use std::{collections::BTreeSet, time::Instant};

use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, SqliteConnection};

use super::pace::Pace;
use crate::{
    domain::{CalendarWindow, day_of_ms},
    storage::{
        Database, Result, Writer,
        calendar::{
            self, COHORT, CalendarCounts, CohortKey, Count, DaysOfInstance, Recount, Recounts,
            WindowKey,
        },
    },
};

/// Rows of `calendar_moves` that are added in one transaction, at most a few milliseconds.
const MOVES_AT_A_TIME: usize = 500;

impl Writer {
    /// Adds some of the steps of instances to the windows of the calendar. Returns whether there may be
    /// more.
    ///
    /// # Errors
    /// The database's error.
    pub async fn add_calendar_moves(&mut self) -> Result<bool> {
        self.run(async |open| add_moves(&mut open.connection).await).await
    }
}

impl Database {
    /// True if windows of the calendar are to be counted anew.
    ///
    /// # Errors
    /// The database's error.
    pub async fn has_calendar_recounts(&self) -> Result<bool> {
        let some = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM calendar_recounts) AS "some!: bool""#
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        Ok(some)
    }

    /// Counts the windows of the calendar anew that are to be, beside a server. Does nothing while an import
    /// runs, which does it at its end.
    ///
    /// # Errors
    /// The database's error. The next call begins anew.
    pub async fn recount_calendar(self) -> Result<()> {
        let mut writer = self.upkeep_writer();
        let Ok(_lock) = writer.lock_imports() else { return Ok(()) };
        writer
            .run(async |open| {
                super::import::sort_on_disk(&mut open.connection).await?;
                recount_calendar(&mut open.connection, &mut Pace::beside(&self.traffic)).await
            })
            .await?;
        writer.leave().await
    }
}

async fn add_moves(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let more = calendar::add_moves(&mut transaction, MOVES_AT_A_TIME).await?;
    transaction.commit().await?;
    Ok(more)
}

/// Notes that the windows are to be counted anew which the reports from one time to another touch, in
/// milliseconds since 1970: after a change of these reports, in its last transaction.
pub async fn note_recounts(
    connection: &mut SqliteConnection,
    from_ms: i64,
    until_ms: i64,
) -> sqlx::Result<()> {
    if until_ms < 0 {
        return Ok(());
    }
    let [from, until] = [from_ms.max(0), until_ms].map(day_of_ms);
    let windows = CalendarWindow::ALL.map(|window| Recount {
        kind: window.name().to_owned(),
        first_day: window.first_day(from),
        last_day: window.first_day(until),
    });
    let week = CalendarWindow::Week.first_day(from);
    // Instances that lost their first report are of a later cohort.
    let cohorts = Recount { kind: COHORT.to_owned(), first_day: week, last_day: i64::MAX };
    calendar::note(connection, windows.into_iter().chain([cohorts])).await
}

/// Counts the windows anew that are to be. Nobody else may do so at the same time: the lock of imports is
/// held.
pub async fn recount_calendar(
    connection: &mut SqliteConnection,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    recount_of(connection, None, pace).await
}

/// The same with the counts of all indexed reports, where they are known.
pub async fn recount_of(
    connection: &mut SqliteConnection,
    counted: Option<CalendarCounts>,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    add_all_moves(connection, pace).await?;
    let mut snapshot = connection.begin().await?;
    let wanted = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM calendar_recounts) AS "wanted!: bool""#
    )
    .fetch_one(&mut *snapshot)
    .await?;
    if !wanted {
        return snapshot.rollback().await;
    }
    let counted = match counted {
        Some(counted) => counted,
        None => count(&mut snapshot).await?,
    };
    let found = Found::read(&mut snapshot, counted).await?;
    snapshot.rollback().await?;
    found.store(connection, pace).await
}

/// Adds all steps of instances to the windows.
pub async fn add_all_moves(connection: &mut SqliteConnection, pace: &mut Pace) -> sqlx::Result<()> {
    loop {
        let begun = Instant::now();
        let more = add_moves(connection).await?;
        pace.rest(begun, 1).await;
        if !more {
            return Ok(());
        }
    }
}

/// Change of a stored count.
enum Change {
    Window(WindowKey, Count),
    Cohort(CohortKey, Count),
}

/// Windows and cohorts in one state of the database, as they are stored and as they are counted.
pub struct Found {
    stored: CalendarCounts,
    counted: CalendarCounts,
    recounts: Recounts,
    /// Last one of those.
    last: i64,
    /// First day from which on all reports are there.
    whole_from: i64,
    /// First day of which anything is known.
    first_day: i64,
}

impl Found {
    /// Reads what is stored beside what is counted.
    pub async fn read(
        snapshot: &mut SqliteConnection,
        counted: CalendarCounts,
    ) -> sqlx::Result<Self> {
        let last = sqlx::query_scalar!(
            r#"SELECT coalesce(max(id), 0) AS "last!: i64" FROM calendar_recounts"#
        )
        .fetch_one(&mut *snapshot)
        .await?;
        let first_hour =
            sqlx::query_scalar!(r#"SELECT min(period) AS "hour: i64" FROM rollups WHERE span = 1"#)
                .fetch_one(&mut *snapshot)
                .await?;
        let (stored, recounts) = CalendarCounts::stored(snapshot).await?;
        let whole_from = whole_from(snapshot).await?;
        let first_day = first_hour.map_or(i64::MAX, |hour| hour.div_euclid(24));
        Ok(Self { stored, counted, recounts, last, whole_from, first_day })
    }

    /// Changes what is stored, in steps.
    pub async fn store(
        &self,
        connection: &mut SqliteConnection,
        pace: &mut Pace,
    ) -> sqlx::Result<()> {
        let mut changes = self.changes().into_iter().peekable();
        pace.begin_rows();
        while changes.peek().is_some() {
            let begun = Instant::now();
            let mut step = CalendarCounts::default();
            let rows = pace.rows();
            for change in changes.by_ref().take(rows) {
                match change {
                    Change::Window(key, count) => {
                        step.windows.insert(key, count);
                    }
                    Change::Cohort(key, count) => {
                        step.cohorts.insert(key, count);
                    }
                }
            }
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            step.store(&mut transaction).await?;
            transaction.commit().await?;
            pace.rest(begun, rows).await;
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query!("DELETE FROM calendar_counts WHERE instances = 0 AND complete = 1")
            .execute(&mut *transaction)
            .await?;
        sqlx::query!("DELETE FROM cohorts WHERE instances = 0 AND complete = 1")
            .execute(&mut *transaction)
            .await?;
        sqlx::query!("DELETE FROM calendar_recounts WHERE id <= ?", self.last)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    fn changes(&self) -> Vec<Change> {
        let windows: BTreeSet<WindowKey> = (self.stored.windows.keys())
            .chain(self.counted.windows.keys())
            .copied()
            .chain(self.pruned_windows())
            .collect();
        let windows = windows.into_iter().filter_map(|key| {
            let (window, first) = key;
            let stored = self.stored.windows.get(&key).copied();
            let counted = self.counted.windows.get(&key).copied().unwrap_or_default();
            let wanted = || self.recounts.have_window(window, first);
            change(stored, counted, first >= self.whole_from, wanted)
                .map(|count| Change::Window(key, count))
        });
        let cohorts: BTreeSet<CohortKey> =
            self.stored.cohorts.keys().chain(self.counted.cohorts.keys()).copied().collect();
        let cohorts = cohorts.into_iter().filter_map(|key| {
            let (week, later) = key;
            let later_week = week + 7 * later;
            let stored = self.stored.cohorts.get(&key).copied();
            let counted = self.counted.cohorts.get(&key).copied().unwrap_or_default();
            let wanted = || self.recounts.have_cohort(week, later);
            change(stored, counted, later_week >= self.whole_from, wanted)
                .map(|count| Change::Cohort(key, count))
        });
        windows.chain(cohorts).collect()
    }

    /// Windows that are to be counted and of which no report may be left.
    fn pruned_windows(&self) -> impl Iterator<Item = WindowKey> {
        CalendarWindow::ALL.into_iter().flat_map(move |window| {
            let mut day = self.first_day;
            std::iter::from_fn(move || {
                let pruned = day < self.whole_from;
                let first = pruned.then(|| window.first_day(day))?;
                day = window.next(day);
                Some((window, first))
            })
            .filter(|&(window, first)| self.recounts.have_window(window, first))
        })
    }
}

/// Change of a count that was stored, where another one was found; `None` if there is none.
fn change(
    stored: Option<Count>,
    counted: Count,
    is_whole: bool,
    is_wanted: impl Fn() -> bool,
) -> Option<Count> {
    let known = stored.unwrap_or_default();
    if is_whole {
        let difference = counted.instances - known.instances;
        return (difference != 0).then_some(Count { instances: difference, complete: true });
    }
    // The known number stays, unless more than that are left.
    let difference = (counted.instances - known.instances).max(0);
    let changes = is_wanted() && (difference != 0 || known.complete || stored.is_none());
    changes.then_some(Count { instances: difference, complete: false })
}

/// Number of the windows and cohorts that differ from a recount, of those that can be counted and are not
/// about to be.
pub async fn differences(
    snapshot: &mut SqliteConnection,
    counted: &CalendarCounts,
) -> sqlx::Result<i64> {
    let whole_from = whole_from(snapshot).await?;
    let (stored, recounts) = CalendarCounts::stored(snapshot).await?;
    let windows: BTreeSet<_> = stored.windows.keys().chain(counted.windows.keys()).collect();
    let windows = windows.into_iter().filter(|key| {
        let number = |counts: &CalendarCounts| counts.windows.get(key).map_or(0, |c| c.instances);
        number(&stored) != number(counted)
            && key.1 >= whole_from
            && !recounts.have_window(key.0, key.1)
    });
    // The week in which these were first seen is not known yet.
    let undated = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM instances WHERE first_seen < 0) AS "some!: bool""#
    )
    .fetch_one(snapshot)
    .await?;
    let cohorts: BTreeSet<_> = stored.cohorts.keys().chain(counted.cohorts.keys()).collect();
    let cohorts = cohorts.into_iter().filter(|key| {
        let (week, later) = key;
        let number = |counts: &CalendarCounts| counts.cohorts.get(key).map_or(0, |c| c.instances);
        number(&stored) != number(counted)
            && !undated
            && week + 7 * later >= whole_from
            && !recounts.have_cohort(*week, *later)
    });
    Ok(i64::try_from(windows.count() + cohorts.count()).unwrap_or(i64::MAX))
}

/// First day from which on all reports are there.
pub async fn whole_from(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let pruned_until =
        sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'pruned_until'")
            .fetch_one(connection)
            .await?;
    Ok(if pruned_until > 0 { day_of_ms(pruned_until - 1) + 1 } else { i64::MIN })
}

/// Counts from the indexed reports. They are sorted on disk.
async fn count(snapshot: &mut SqliteConnection) -> sqlx::Result<CalendarCounts> {
    let mut counts = CalendarCounts::default();
    let (mut instance, mut days) = (Vec::new(), DaysOfInstance::default());
    let mut rows = sqlx::query!(
        r#"SELECT instance, day AS "day!: i64", iif(
               (SELECT position > 0 FROM watermarks WHERE name = 'pruned'),
               (SELECT first_seen FROM instances WHERE instances.id = instance),
               NULL
           ) AS "first_seen: i64"
           FROM (
               SELECT DISTINCT instance, received_at / 86400000 AS day
               FROM reports
               WHERE received_at >= 0
                   AND id <= (SELECT position FROM watermarks WHERE name = 'indexed')
               ORDER BY instance, day
           )"#
    )
    .fetch(snapshot);
    while let Some(seen) = rows.try_next().await? {
        days.pass(seen.instance == instance, seen.day, seen.first_seen, &mut counts);
        instance = seen.instance;
    }
    Ok(counts)
}
