//! Counts of windows of the calendar and of cohorts, as they are stored and as they are counted anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::SqliteConnection;

use super::json;
use crate::domain::CalendarWindow;

/// Kind of a recount that stands for the cohorts.
pub const COHORT: &str = "cohort";

/// A window: its kind and its first day.
pub type WindowKey = (CalendarWindow, i64);
/// A cohort in a later week: the first day of its own week, and the number of weeks from there.
pub type CohortKey = (i64, i64);

/// Instances of windows, and of cohorts in later weeks.
#[derive(Debug, Default)]
pub struct CalendarCounts {
    pub windows: BTreeMap<WindowKey, Count>,
    pub cohorts: BTreeMap<CohortKey, Count>,
    /// First days of the windows of days.
    firsts: HashMap<i64, [i64; 5]>,
}

/// A number of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub instances: i64,
    /// False where some of its reports were pruned before it could be counted anew.
    pub complete: bool,
}

impl Default for Count {
    fn default() -> Self {
        Self { instances: 0, complete: true }
    }
}

impl Count {
    /// Adds what is stored.
    pub const fn add(&mut self, instances: i64, complete: i64) {
        self.instances += instances;
        self.complete = complete != 0;
    }
}

/// The days of one instance after another, as its reports are read in the order of their times.
#[derive(Debug, Default)]
pub struct DaysOfInstance {
    previous: Option<i64>,
    first_week: Option<i64>,
}

impl DaysOfInstance {
    /// Counts the day of the next report, of the same instance or of another one. That may have been seen first, in
    /// seconds since 1970, before all reports that are left of it.
    pub fn pass(
        &mut self,
        same: bool,
        day: i64,
        first_seen: Option<i64>,
        counts: &mut CalendarCounts,
    ) {
        if !same {
            let known = first_seen.filter(|&first| first >= 0).map(|first| first / 86_400);
            let first_day = known.map_or(day, |known| known.min(day));
            (self.previous, self.first_week) =
                (None, Some(CalendarWindow::Week.first_day(first_day)));
        }
        if self.previous != Some(day) {
            counts.add(day, self.previous, self.first_week, 1);
            self.previous = Some(day);
        }
    }
}

impl CalendarCounts {
    /// First days of the windows that a day lies in.
    fn windows_of(&mut self, day: i64) -> [i64; 5] {
        *self
            .firsts
            .entry(day)
            .or_insert_with(|| CalendarWindow::ALL.map(|window| window.first_day(day)))
    }

    /// Counts instances that were seen on a day, that were seen last on the previous one if there is one,
    /// and first in a week.
    pub fn add(&mut self, day: i64, previous: Option<i64>, first_week: Option<i64>, moved: i64) {
        let firsts = self.windows_of(day);
        let is_new = |first: i64| previous.is_none_or(|previous| previous < first);
        for (window, first) in CalendarWindow::ALL.into_iter().zip(firsts) {
            if is_new(first) {
                self.windows.entry((window, first)).or_default().instances += moved;
            }
        }
        let week = firsts[CalendarWindow::Week as usize];
        if let Some(first_week) = first_week.filter(|_| is_new(week)) {
            let later = (week - first_week) / 7;
            self.cohorts.entry((first_week, later)).or_default().instances += moved;
        }
    }

    /// Counts the rows of `calendar_moves`, but for those that ask for a recount.
    fn add_moves(&mut self, moves: &[Move]) {
        for step in moves {
            if step.previous_day <= step.day {
                let previous = (step.previous_day >= 0).then_some(step.previous_day);
                self.add(step.day, previous, known_week(step.first_week), step.moved);
            }
        }
    }

    /// All counts up to the last indexed report, and which are to be made anew.
    pub async fn stored(connection: &mut SqliteConnection) -> sqlx::Result<(Self, Recounts)> {
        let (mut counts, recounts) = pending(connection).await?;
        let windows = sqlx::query!("SELECT * FROM calendar_counts").fetch_all(&mut *connection);
        for row in windows.await? {
            if let Some(window) = CalendarWindow::of_name(&row.kind) {
                let count = counts.windows.entry((window, row.first_day)).or_default();
                count.add(row.instances, row.complete);
            }
        }
        let cohorts = sqlx::query!("SELECT * FROM cohorts").fetch_all(&mut *connection).await?;
        for row in cohorts {
            let count = counts.cohorts.entry((row.week, row.later_weeks)).or_default();
            count.add(row.instances, row.complete);
        }
        Ok((counts, recounts))
    }

    /// Adds to the stored counts. A window that is not complete any more stays so.
    pub async fn store(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let windows: Vec<_> = self
            .windows
            .iter()
            .map(|((window, first), count)| {
                (window.name(), first, count.instances, i64::from(count.complete))
            })
            .collect();
        let cohorts: Vec<_> = self
            .cohorts
            .iter()
            .map(|((week, later), count)| (week, later, count.instances, i64::from(count.complete)))
            .collect();
        let (windows, cohorts) = (json::encode(&windows)?, json::encode(&cohorts)?);
        sqlx::query!(
            "INSERT INTO calendar_counts
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
             ON CONFLICT DO UPDATE SET
                 instances = instances + excluded.instances,
                 complete = min(complete, excluded.complete)",
            windows
        )
        .execute(&mut *connection)
        .await?;
        sqlx::query!(
            "INSERT INTO cohorts
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
             ON CONFLICT DO UPDATE SET
                 instances = instances + excluded.instances,
                 complete = min(complete, excluded.complete)",
            cohorts
        )
        .execute(&mut *connection)
        .await?;
        Ok(())
    }
}

/// A row of `calendar_moves`.
#[derive(Debug, Clone, Copy)]
struct Move {
    day: i64,
    previous_day: i64,
    first_week: i64,
    moved: i64,
}

async fn moves(connection: &mut SqliteConnection, limit: i64) -> sqlx::Result<Vec<Move>> {
    sqlx::query_as!(
        Move,
        "SELECT day, previous_day, first_week, moved FROM calendar_moves
         ORDER BY day, previous_day, first_week LIMIT ?",
        limit
    )
    .fetch_all(connection)
    .await
}

/// Counts of the steps that are not added to the stored counts yet, and which are to be made anew.
pub async fn pending(
    connection: &mut SqliteConnection,
) -> sqlx::Result<(CalendarCounts, Recounts)> {
    let moves = moves(connection, i64::MAX).await?;
    let mut counts = CalendarCounts::default();
    counts.add_moves(&moves);
    let mut recounts =
        sqlx::query_as!(Recount, "SELECT kind, first_day, last_day FROM calendar_recounts")
            .fetch_all(connection)
            .await?;
    recounts.extend(recounts_of(&moves));
    Ok((counts, Recounts(recounts)))
}

/// The week that a column names; its sentinel is no Monday.
fn known_week(first_week: i64) -> Option<i64> {
    (first_week != -1).then_some(first_week)
}

/// Windows that are to be counted anew: those of a kind that begin from one day up to another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recount {
    pub kind: String,
    pub first_day: i64,
    pub last_day: i64,
}

/// All that is to be counted anew.
#[derive(Debug)]
pub struct Recounts(Vec<Recount>);

impl Recounts {
    /// True if a window is to be counted anew.
    pub fn have_window(&self, window: CalendarWindow, first_day: i64) -> bool {
        self.have(window.name(), first_day)
    }

    /// True if a cohort is to be counted anew, as it was so many weeks later.
    pub fn have_cohort(&self, week: i64, later_weeks: i64) -> bool {
        self.have(COHORT, week) || self.have_window(CalendarWindow::Week, week + 7 * later_weeks)
    }

    fn have(&self, kind: &str, first_day: i64) -> bool {
        self.0.iter().any(|recount| {
            recount.kind == kind && (recount.first_day..=recount.last_day).contains(&first_day)
        })
    }
}

/// Windows that late reports touch: those of the day of each that have not begun on the later day, and the cohorts
/// that an instance leaves and enters which was first seen earlier than was known.
fn recounts_of(moves: &[Move]) -> BTreeSet<Recount> {
    let mut recounts = BTreeSet::new();
    let mut note = |kind: &str, first_day| {
        recounts.insert(Recount { kind: kind.to_owned(), first_day, last_day: first_day });
    };
    for late in moves.iter().filter(|step| step.previous_day > step.day) {
        for window in CalendarWindow::ALL {
            let first = window.first_day(late.day);
            if first < window.first_day(late.previous_day) {
                note(window.name(), first);
            }
        }
        let week = CalendarWindow::Week.first_day(late.day);
        if let Some(known) = known_week(late.first_week).filter(|&known| week < known) {
            note(COHORT, week);
            note(COHORT, known);
        }
    }
    recounts
}

/// Notes windows that are to be counted anew.
pub async fn note(
    connection: &mut SqliteConnection,
    recounts: impl IntoIterator<Item = Recount>,
) -> sqlx::Result<()> {
    for Recount { kind, first_day, last_day } in recounts {
        sqlx::query!(
            "INSERT INTO calendar_recounts (kind, first_day, last_day) VALUES (?, ?, ?)",
            kind,
            first_day,
            last_day
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Adds some of `calendar_moves` to the counts, within a transaction. Returns whether there may be more.
pub async fn add_moves(transaction: &mut SqliteConnection, limit: usize) -> sqlx::Result<bool> {
    let moves = moves(transaction, i64::try_from(limit).unwrap_or(i64::MAX)).await?;
    let Some(last) = moves.last() else { return Ok(false) };
    let mut counts = CalendarCounts::default();
    counts.add_moves(&moves);
    counts.store(transaction).await?;
    let recounts = recounts_of(&moves);
    note(transaction, recounts).await?;
    sqlx::query!(
        "DELETE FROM calendar_moves WHERE (day, previous_day, first_week) <= (?, ?, ?)",
        last.day,
        last.previous_day,
        last.first_week
    )
    .execute(transaction)
    .await?;
    Ok(moves.len() == limit)
}
