//! Distinct instances of windows of the calendar, and cohorts.

use sqlx::{Connection as _, SqliteConnection};

use super::table::count;
use crate::{
    domain::CalendarWindow,
    storage::{
        Database, Result,
        calendar::{CalendarCounts, Recounts, pending},
    },
};

/// Distinct instances of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowCount {
    /// Its first day, in days since 1970.
    pub first_day: i64,
    /// Instances.
    pub instances: u64,
    /// False if the number is not known to be exact.
    pub complete: bool,
}

/// Instances of a cohort that were seen in a later week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortCount {
    /// First day of the week in which they were first seen, in days since 1970.
    pub week: i64,
    /// Weeks from there.
    pub later_weeks: i64,
    /// Instances.
    pub instances: u64,
    /// False if the number is not known to be exact.
    pub complete: bool,
}

impl Database {
    /// Distinct instances of the windows from the one of a first day to the one of a last day, and of those
    /// between them.
    ///
    /// # Errors
    /// The database's error.
    pub async fn calendar(
        &self,
        window: CalendarWindow,
        first_day: i64,
        last_day: i64,
    ) -> Result<Vec<WindowCount>> {
        let (first, last) = (window.first_day(first_day), window.first_day(last_day));
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let (counts, recounts) = windows(&mut snapshot, window, first, last).await?;
        let mut rows = Vec::new();
        let mut day = first;
        while day <= last {
            let stored = counts.windows.get(&(window, day)).copied().unwrap_or_default();
            rows.push(WindowCount {
                first_day: day,
                instances: count(stored.instances),
                complete: stored.complete && !recounts.have_window(window, day),
            });
            day = window.next(day);
        }
        Ok(rows)
    }

    /// First day of the first window of a kind that has instances.
    ///
    /// # Errors
    /// The database's error.
    pub async fn calendar_begin(&self, window: CalendarWindow) -> Result<Option<i64>> {
        let kind = window.name();
        let first = sqlx::query!(
            r#"SELECT
                   (SELECT min(first_day) FROM calendar_counts WHERE kind = ?) AS "counted: i64",
                   (SELECT min(day) FROM calendar_moves) AS "unadded: i64""#,
            kind
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        let unadded = first.unadded.map(|day| window.first_day(day));
        Ok([first.counted, unadded].into_iter().flatten().min())
    }

    /// Cohorts of the weeks from one to another one, each by its first day: one row for each later week in
    /// which some of them were seen, `limit` of them at most.
    ///
    /// # Errors
    /// The database's error.
    pub async fn cohorts(
        &self,
        first_week: i64,
        last_week: i64,
        limit: usize,
    ) -> Result<Vec<CohortCount>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let (counts, recounts) = cohorts(&mut snapshot, first_week, last_week).await?;
        let rows = counts.cohorts.into_iter().filter(|(_, stored)| stored.instances > 0);
        let rows = rows.take(limit).map(|((week, later_weeks), stored)| CohortCount {
            week,
            later_weeks,
            instances: count(stored.instances),
            complete: stored.complete && !recounts.have_cohort(week, later_weeks),
        });
        Ok(rows.collect())
    }
}

async fn windows(
    snapshot: &mut SqliteConnection,
    window: CalendarWindow,
    first: i64,
    last: i64,
) -> sqlx::Result<(CalendarCounts, Recounts)> {
    let kind = window.name();
    let (mut counts, recounts) = pending(snapshot).await?;
    let rows = sqlx::query!(
        "SELECT first_day, instances, complete FROM calendar_counts
         WHERE kind = ? AND first_day BETWEEN ? AND ?",
        kind,
        first,
        last
    )
    .fetch_all(&mut *snapshot)
    .await?;
    for row in rows {
        let count = counts.windows.entry((window, row.first_day)).or_default();
        count.add(row.instances, row.complete);
    }
    Ok((counts, recounts))
}

async fn cohorts(
    snapshot: &mut SqliteConnection,
    first: i64,
    last: i64,
) -> sqlx::Result<(CalendarCounts, Recounts)> {
    let (mut counts, recounts) = pending(snapshot).await?;
    counts.cohorts.retain(|(week, _), _| (first..=last).contains(week));
    let rows = sqlx::query!("SELECT * FROM cohorts WHERE week BETWEEN ? AND ?", first, last)
        .fetch_all(&mut *snapshot)
        .await?;
    for row in rows {
        let count = counts.cohorts.entry((row.week, row.later_weeks)).or_default();
        count.add(row.instances, row.complete);
    }
    Ok((counts, recounts))
}
