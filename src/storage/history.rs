//! What was counted as it stood at moments of the past.
//!
//! A moment is an hour's number: everything before that hour is counted. [`NOW`] is the present
//! moment, with all that the running hour has brought. Profiles are asked for in groups, which
//! the caller makes: what is selected and what is added up is not decided here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
};

use jiff::Timestamp;

use super::{
    Database, Result,
    active::WINDOWS_HOURS,
    profiles::{self, Numbered},
    stats::count,
    time,
};
use crate::domain::{BUCKETS, Profile, StartupTimes};

/// The present moment, after every hour.
pub const NOW: i64 = i64::MAX;

/// Snapshots that are held at a time.
const SNAPSHOTS_AT_A_TIME: usize = 20;

/// Which group each wanted profile belongs to: pairs of a profile's number and a group, counted
/// from 0.
pub type Groups = Vec<(i64, usize)>;

/// Counts of groups at moments: a row a group, a column a moment.
pub type Table<T> = Vec<Vec<T>>;

/// Active and returning instances within each of [`WINDOWS_HOURS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Seen within the window.
    pub active: [u64; WINDOWS_HOURS.len()],
    /// Those of them that were seen on two or more days, ever.
    pub returning: [u64; WINDOWS_HOURS.len()],
}

/// Active instances at present.
#[derive(Debug, Default)]
pub struct ActivityNow {
    /// What it depends on: the hour, the last event that is counted, and the totals.
    state: [i64; 4],
    by_profile: Vec<(i64, Activity)>,
}

impl ActivityNow {
    /// Each profile that is the latest of an active instance.
    pub fn by_profile(&self) -> &[(i64, Activity)] {
        &self.by_profile
    }
}

impl Activity {
    pub(super) fn add(&mut self, other: &Self) {
        for window in 0..WINDOWS_HOURS.len() {
            self.active[window] += other.active[window];
            self.returning[window] += other.returning[window];
        }
    }
}

impl Database {
    /// Every profile that was ever reported, with its number. They are never changed, so only
    /// those that are new since the last time are read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn profiles(&self) -> Result<Arc<Numbered>> {
        let known = Arc::clone(&self.profiles.lock().unwrap_or_else(PoisonError::into_inner));
        let last = known.last().map_or(0, |(number, _)| *number);
        let new = profiles::after(&mut *self.readers.acquire().await?, last).await?;
        if new.is_empty() {
            return Ok(known);
        }
        let known = Arc::new(known.iter().cloned().chain(new).collect::<Numbered>());
        *self.profiles.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        Ok(known)
    }

    /// Starts before each of `moments`, which must be in order and different.
    ///
    /// # Errors
    /// What the database says.
    pub async fn starts_at(&self, moments: &[i64], groups: &Groups) -> Result<Table<u64>> {
        let (stretches, members) = (json(&stretches(moments))?, json(groups)?);
        let rows = sqlx::query_file!("src/storage/sql/counts.sql", stretches, members)
            .fetch_all(&self.readers)
            .await?;
        let rows = rows.into_iter().map(|row| (row.stretch, row.member, count(row.starts)));
        Ok(before_each(moments.len(), groups, rows, |total, after| {
            *total = total.saturating_sub(*after);
        }))
    }

    /// Startup times of the starts before each of `moments`, which must be in order and different.
    ///
    /// # Errors
    /// What the database says.
    pub async fn startup_at(
        &self,
        moments: &[i64],
        groups: &Groups,
    ) -> Result<Table<StartupTimes>> {
        let (stretches, members) = (json(&stretches(moments))?, json(groups)?);
        let rows = sqlx::query_file!("src/storage/sql/startup_counts.sql", stretches, members)
            .fetch_all(&self.readers)
            .await?;
        let rows = rows
            .into_iter()
            .map(|row| {
                let buckets: [u64; BUCKETS] = serde_json::from_str(&row.buckets)
                    .map_err(|error| sqlx::Error::Decode(error.into()))?;
                let startup = StartupTimes { sum_ms: count(row.sum_ms), buckets };
                Ok((row.stretch, row.member, startup))
            })
            .collect::<sqlx::Result<Vec<_>>>()?;
        Ok(before_each(moments.len(), groups, rows.into_iter(), |total, after| {
            total.sum_ms = total.sum_ms.saturating_sub(after.sum_ms);
            for (total, after) in total.buckets.iter_mut().zip(after.buckets) {
                *total = total.saturating_sub(after);
            }
        }))
    }

    /// Active instances at each of `moments`; `None` where nothing is known of a group.
    ///
    /// # Errors
    /// What the database says.
    pub async fn activity_at(
        &self,
        now: Timestamp,
        moments: &[i64],
        groups: &Groups,
    ) -> Result<Table<Option<Activity>>> {
        let mut table = vec![vec![None::<Activity>; moments.len()]; group_count(groups)];
        let group_of: HashMap<i64, usize> = groups.iter().copied().collect();
        let at = self.snapshots_before(moments).await?;
        let hours: Vec<i64> = at.keys().copied().collect();
        // A few at a time: each may be long.
        for hours in hours.chunks(SNAPSHOTS_AT_A_TIME) {
            let wanted = json(hours)?;
            let rows = sqlx::query!(
                r#"SELECT hour AS "hour!", active FROM snapshots
                   WHERE hour IN (SELECT value FROM json_each(?))"#,
                wanted
            )
            .fetch_all(&self.readers)
            .await?;
            for row in rows {
                let active: Vec<[i64; 7]> = serde_json::from_str(&row.active)
                    .map_err(|error| sqlx::Error::Decode(error.into()))?;
                let mut sums: Vec<Option<Activity>> = vec![None; table.len()];
                for [profile, a1, a7, a30, r1, r7, r30] in active {
                    if let Some(group) = group_of.get(&profile) {
                        sums[*group].get_or_insert_default().add(&Activity {
                            active: [a1, a7, a30].map(count),
                            returning: [r1, r7, r30].map(count),
                        });
                    }
                }
                for moment in at.get(&row.hour).into_iter().flatten() {
                    for (row, sum) in table.iter_mut().zip(&sums) {
                        row[*moment] = *sum;
                    }
                }
            }
        }
        if let Some(present) = moments.iter().position(|&moment| moment == NOW) {
            table.iter_mut().for_each(|row| row[present] = None);
            for (profile, activity) in self.activity_now(now).await?.by_profile() {
                if let Some(group) = group_of.get(profile) {
                    table[*group][present].get_or_insert_default().add(activity);
                }
            }
        }
        Ok(table)
    }

    /// The latest snapshots before `moments`: their hours, and the places of the moments that each
    /// is the latest of.
    async fn snapshots_before(&self, moments: &[i64]) -> Result<BTreeMap<i64, Vec<usize>>> {
        let moments = json(moments)?;
        let rows = sqlx::query!(
            r#"SELECT key + 0 AS "moment!: i64",
                      (SELECT max(hour) FROM snapshots WHERE hour <= value) AS "hour: i64"
               FROM json_each(?)"#,
            moments
        )
        .fetch_all(&self.readers)
        .await?;
        let mut at: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for row in rows {
            if let (Ok(moment), Some(hour)) = (usize::try_from(row.moment), row.hour) {
                at.entry(hour).or_default().push(moment);
            }
        }
        Ok(at)
    }

    /// Distinct instance ids at each of `moments`, and those of them seen on two or more days;
    /// `None` before the first one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn instances_at(&self, moments: &[i64]) -> Result<Vec<Option<[u64; 2]>>> {
        let hours = json(moments)?;
        let rows = sqlx::query!(
            r#"SELECT
                   key + 0 AS "moment!: i64",
                   iif(value = 9223372036854775807, totals.instances, past.instances)
                       AS "instances: i64",
                   iif(value = 9223372036854775807, totals.returning_instances,
                       past.returning_instances) AS "returning: i64"
               FROM json_each(?)
               CROSS JOIN totals
               LEFT JOIN snapshots AS past
                   ON past.hour = (SELECT max(hour) FROM snapshots WHERE hour <= value)"#,
            hours
        )
        .fetch_all(&self.readers)
        .await?;
        let mut table = vec![vec![None; moments.len()]];
        for row in rows {
            // At present there is a total before there is an instance.
            if let (Some(instances @ 1..), Some(returning)) = (row.instances, row.returning) {
                set(&mut table, 0, row.moment, Some([instances, returning].map(count)));
            }
        }
        Ok(table.swap_remove(0))
    }

    /// The first day on which each profile was reported, in hours since 1970.
    ///
    /// # Errors
    /// What the database says.
    pub async fn first_days(&self) -> Result<Vec<(Arc<Profile>, i64)>> {
        let first = sqlx::query!(
            r#"SELECT profile AS "profile!", min(day) AS "hour!: i64"
               FROM (
                   SELECT profile, min(period) AS day FROM rollups
                   WHERE span = 24 AND starts > 0 GROUP BY profile
                   UNION ALL
                   SELECT profile, min(period - period % 24) FROM rollups
                   WHERE span = 1 AND period >= (SELECT hour FROM running) AND starts > 0
                   GROUP BY profile
               )
               GROUP BY profile"#
        )
        .fetch_all(&self.readers)
        .await?;
        let first: HashMap<i64, i64> =
            first.into_iter().map(|row| (row.profile, row.hour)).collect();
        let profiles = self.profiles().await?;
        Ok(profiles
            .iter()
            .filter_map(|(number, profile)| Some((Arc::clone(profile), *first.get(number)?)))
            .collect())
    }

    /// Active instances at present, by profile. It takes a walk over a month of hours, so the
    /// answer is kept until something is counted.
    pub(super) async fn activity_now(&self, now: Timestamp) -> Result<Arc<ActivityNow>> {
        let hour = time::hour(now);
        let counted = sqlx::query!(
            r#"SELECT position, instances, returning_instances FROM totals
               INNER JOIN progress ON job = 'counted'"#
        )
        .fetch_one(&self.readers)
        .await?;
        let state = [hour, counted.position, counted.instances, counted.returning_instances];
        let known = Arc::clone(&self.activity.lock().unwrap_or_else(PoisonError::into_inner));
        if known.state == state {
            return Ok(known);
        }
        let rows = sqlx::query!(
            r#"SELECT
                   profile AS "profile!",
                   coalesce(sum(instances) FILTER (WHERE hour >= ?1 - 24), 0) AS "a1!: i64",
                   coalesce(sum(instances) FILTER (WHERE hour >= ?1 - 168), 0) AS "a7!: i64",
                   sum(instances) AS "a30!: i64",
                   coalesce(sum(returning_instances) FILTER (WHERE hour >= ?1 - 24), 0)
                       AS "r1!: i64",
                   coalesce(sum(returning_instances) FILTER (WHERE hour >= ?1 - 168), 0)
                       AS "r7!: i64",
                   sum(returning_instances) AS "r30!: i64"
               FROM activity
               WHERE hour >= ?1 - 720
               GROUP BY profile
               HAVING sum(instances) > 0"#,
            hour
        )
        .fetch_all(&self.readers)
        .await?;
        let by_profile = rows
            .into_iter()
            .map(|row| {
                let activity = Activity {
                    active: [row.a1, row.a7, row.a30].map(count),
                    returning: [row.r1, row.r7, row.r30].map(count),
                };
                (row.profile, activity)
            })
            .collect();
        let known = Arc::new(ActivityNow { state, by_profile });
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        Ok(known)
    }
}

/// The stretches of time that are read to know what was counted before each moment: of all
/// time (number 0), and from each moment to the next or to the present (its position, from 1).
/// As rows of `[stretch, span, from, to]`: whole days are read from the rollups of days.
///
/// Backwards, since nearly all questions are about the latest part of the history.
fn stretches(moments: &[i64]) -> Vec<(usize, i64, i64, i64)> {
    let mut rows = vec![(0, 0, 0, 1)];
    for (position, &from) in moments.iter().enumerate() {
        let to = moments.get(position + 1).copied().unwrap_or(NOW);
        let first_day = from.saturating_add(23).div_euclid(24).saturating_mul(24);
        let past_day = if to == NOW { NOW } else { to.div_euclid(24) * 24 };
        let stretch = position + 1;
        if first_day < past_day {
            rows.push((stretch, 1, from, first_day));
            rows.push((stretch, 24, first_day, past_day));
            rows.push((stretch, 1, past_day, to));
        } else {
            rows.push((stretch, 1, from, to));
        }
    }
    rows.retain(|(_, _, from, to)| from < to);
    rows
}

/// From what was counted of all time and in the stretches after each moment to what was counted
/// before each.
fn before_each<T: Clone + Default>(
    moments: usize,
    groups: &Groups,
    rows: impl Iterator<Item = (i64, i64, T)>,
    take_away: impl Fn(&mut T, &T),
) -> Table<T> {
    let mut table = vec![vec![T::default(); moments + 1]; group_count(groups)];
    for (stretch, group, counted) in rows {
        set(&mut table, group, stretch, counted);
    }
    for row in &mut table {
        let mut left = std::mem::take(&mut row[0]);
        for counted in row[1..].iter_mut().rev() {
            take_away(&mut left, counted);
            *counted = left.clone();
        }
        row.remove(0);
    }
    table
}

fn group_count(groups: &Groups) -> usize {
    groups.iter().map(|(_, group)| group + 1).max().unwrap_or(0)
}

/// Puts a value into a cell whose place the database tells.
pub(super) fn set<T>(table: &mut Table<T>, row: i64, column: i64, value: T) {
    let cell = usize::try_from(row)
        .ok()
        .zip(usize::try_from(column).ok())
        .and_then(|(row, column)| table.get_mut(row).and_then(|row| row.get_mut(column)));
    if let Some(cell) = cell {
        *cell = value;
    }
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}
