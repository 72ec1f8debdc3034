//! Totals and breakdowns of all time.

use std::{cmp::Reverse, collections::HashMap};

use sqlx::{Connection as _, SqliteConnection};

use super::table::count;
use crate::{
    domain::{Dimension, Hour, Value},
    storage::{
        Database, Result, json,
        profiles::{Numbered, find},
    },
};

/// Totals of all reports.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Reports of a start.
    pub starts: u64,
    /// Reports of a container that is still running.
    pub heartbeats: u64,
    /// Distinct instance ids.
    pub instances: u64,
    /// Ids seen on two or more days.
    pub returning_instances: u64,
    /// Mean startup time in milliseconds of the starts that stated one; `None` where none did.
    pub mean_startup_ms: Option<f64>,
}

/// Starts that reported one value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    /// The value.
    pub value: Value,
    /// Starts.
    pub starts: u64,
}

/// Starts and heartbeats of a profile, of all time.
pub(super) type Counts = (i64, u64, u64);

impl Database {
    /// Totals of all reports.
    ///
    /// # Errors
    /// The database's error.
    pub async fn totals(&self) -> Result<Totals> {
        let (totals, []) = self.summary([]).await?;
        Ok(totals)
    }

    /// Starts by the values of a dimension, most first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn breakdown(&self, dimension: Dimension) -> Result<Vec<Breakdown>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let counts = counts(&mut snapshot).await?;
        let profiles = self.profiles_in(&mut snapshot).await?;
        Ok(breakdown(&profiles, &counts, dimension))
    }

    /// The first hour in which a report with a date came; the first hour of its day where the hours of that
    /// day are not kept any more.
    ///
    /// # Errors
    /// The database's error.
    pub async fn first_hour(&self) -> Result<Option<Hour>> {
        let first = sqlx::query!(
            r#"SELECT
                   (SELECT min(period) FROM rollups WHERE span = 24 AND period >= 0) AS "day: i64",
                   (SELECT min(period) FROM rollups WHERE span = 1 AND period >= 0) AS "hour: i64""#
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        let kept = |hour: &i64| first.day.is_none_or(|day| hour - day < 24);
        Ok(first.hour.filter(kept).or(first.day).map(Hour::new))
    }

    /// Totals and some breakdowns that agree with each other.
    ///
    /// # Errors
    /// The database's error.
    pub async fn summary<const N: usize>(
        &self,
        dimensions: [Dimension; N],
    ) -> Result<(Totals, [Vec<Breakdown>; N])> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let counts = counts(&mut snapshot).await?;
        let row = sqlx::query!(
            r#"SELECT instances, returning_instances,
                      (
                          SELECT 1.0 * sum(sum_ms) / sum(starts) FROM startup_counts WHERE span = 0
                      ) AS "mean_startup_ms: f64"
               FROM totals"#
        )
        .fetch_one(&mut *snapshot)
        .await?;
        let totals = Totals {
            starts: counts.iter().map(|(_, starts, _)| starts).sum(),
            heartbeats: counts.iter().map(|(_, _, heartbeats)| heartbeats).sum(),
            instances: count(row.instances),
            returning_instances: count(row.returning_instances),
            mean_startup_ms: row.mean_startup_ms,
        };
        let mut breakdowns = [const { Vec::new() }; N];
        if N > 0 {
            let profiles = self.profiles_in(&mut snapshot).await?;
            breakdowns = dimensions.map(|dimension| breakdown(&profiles, &counts, dimension));
        }
        Ok((totals, breakdowns))
    }
}

/// Counts of all profiles, in one row: a thousand rows would take longer than their contents. Open hours are added up by
/// profile, since every hour of an import is open until the server has rolled it up: a million rows. A profile may have
/// two rows.
pub(super) async fn counts(snapshot: &mut SqliteConnection) -> sqlx::Result<Vec<Counts>> {
    let counts = sqlx::query_scalar!(
        r#"SELECT json_group_array(json_array(profile, starts, heartbeats)) AS "counts!"
           FROM (
               SELECT profile, starts, heartbeats FROM rollups WHERE span = 0
               UNION ALL
               SELECT profile, sum(starts), sum(heartbeats)
               FROM stored_spans
               CROSS JOIN rollups
                   ON rollups.span = stored_spans.stored_as AND period >= stored_spans.first
               WHERE stored_spans.span = 0 AND stored_spans.stored_as = 1
               GROUP BY profile
           )"#
    )
    .fetch_one(snapshot)
    .await?;
    json::decode(&counts)
}

fn breakdown(profiles: &Numbered, counts: &[Counts], dimension: Dimension) -> Vec<Breakdown> {
    let mut starts: HashMap<&Value, u64> = HashMap::new();
    for (number, profile_starts, _) in counts {
        if let Some(profile) = find(profiles, *number) {
            *starts.entry(profile.get(dimension)).or_default() += profile_starts;
        }
    }
    let mut breakdown: Vec<_> = starts
        .into_iter()
        .filter(|(_, starts)| *starts > 0)
        .map(|(value, starts)| Breakdown { value: value.clone(), starts })
        .collect();
    breakdown.sort_by(|a, b| (Reverse(a.starts), &a.value).cmp(&(Reverse(b.starts), &b.value)));
    breakdown
}
