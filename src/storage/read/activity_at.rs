//! Active instances, at present and as they stood at moments of the past.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
};

use jiff::Timestamp;

use super::{
    instances_at::hours,
    table::{GroupOf, Groups, Table, count, group_count},
};
use crate::{
    domain::{Hour, Moment, Window},
    storage::{Database, Result, json},
};

/// Snapshots that are held at a time.
const SNAPSHOTS_AT_A_TIME: usize = 20;

/// Active and returning instances within each of [`Window::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Seen within the window.
    pub active: [u64; Window::ALL.len()],
    /// Those of them that were seen on two or more days, ever.
    pub returning: [u64; Window::ALL.len()],
}

/// Active instances at present.
#[derive(Debug, Default)]
pub struct ActivityNow {
    /// State that they depend on: the hour, the watermark `indexed`, and the totals.
    state: [i64; 4],
    by_profile: Vec<(i64, Activity)>,
}

impl ActivityNow {
    /// Activity of each profile that is the latest of an active instance.
    pub fn by_profile(&self) -> &[(i64, Activity)] {
        &self.by_profile
    }
}

impl Activity {
    /// Adds the activity of other instances.
    pub fn add(&mut self, other: &Self) {
        for window in 0..Window::ALL.len() {
            self.active[window] += other.active[window];
            self.returning[window] += other.returning[window];
        }
    }
}

impl Database {
    /// Active instances at each of `moments`; `None` where a group has no snapshot.
    ///
    /// # Errors
    /// The database's error.
    pub async fn activity_at(
        &self,
        now: Timestamp,
        moments: &[Moment],
        groups: &Groups,
    ) -> Result<Table<Option<Activity>>> {
        let mut table = vec![vec![None::<Activity>; moments.len()]; group_count(groups)];
        let group_of = GroupOf::new(groups);
        let group_of = |profile| usize::try_from(profile).ok().and_then(|at| group_of.get(at));
        // Nothing is after the present, which no snapshot has.
        let present = moments.iter().position(|&moment| moment == Moment::Now);
        let at = self.snapshots_before(&moments[..present.unwrap_or(moments.len())]).await?;
        let wanted: Vec<i64> = at.keys().copied().collect();
        // A few at a time: each may be long.
        for wanted in wanted.chunks(SNAPSHOTS_AT_A_TIME) {
            let wanted = json::encode(wanted)?;
            let rows = sqlx::query!(
                r#"SELECT hour AS "hour!", active FROM snapshots
                   WHERE hour IN (SELECT value FROM json_each(?))"#,
                wanted
            )
            .fetch_all(&mut *self.reader().await?)
            .await?;
            for row in rows {
                let active: Vec<[i64; 7]> = json::decode(&row.active)?;
                let mut sums: Vec<Option<Activity>> = vec![None; table.len()];
                for [profile, a1, a7, a30, r1, r7, r30] in active {
                    if let Some(group) = group_of(profile) {
                        sums[group].get_or_insert_default().add(&Activity {
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
        if let Some(present) = present {
            for (profile, activity) in self.activity_now(now).await?.by_profile() {
                if let Some(group) = group_of(*profile) {
                    table[group][present].get_or_insert_default().add(activity);
                }
            }
        }
        Ok(table)
    }

    /// The latest snapshots before `moments`: their hours, and the places of the moments that each
    /// is the latest of.
    async fn snapshots_before(&self, moments: &[Moment]) -> Result<BTreeMap<i64, Vec<usize>>> {
        let moments = json::encode(&hours(moments))?;
        let rows = sqlx::query!(
            r#"SELECT key + 0 AS "moment!: i64",
                      (SELECT max(hour) FROM snapshots WHERE hour <= value) AS "hour: i64"
               FROM json_each(?)"#,
            moments
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut at: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for row in rows {
            if let (Ok(moment), Some(hour)) = (usize::try_from(row.moment), row.hour) {
                at.entry(hour).or_default().push(moment);
            }
        }
        Ok(at)
    }

    /// Active instances at present, by profile. The read is a walk over a month of hours, so its
    /// answer is kept until a report is indexed.
    pub(super) async fn activity_now(&self, now: Timestamp) -> Result<Arc<ActivityNow>> {
        let hour = Hour::of(now);
        let indexed = sqlx::query!(
            r#"SELECT position, instances, returning_instances FROM totals
               INNER JOIN watermarks ON name = 'indexed'"#
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        let state =
            [hour.number(), indexed.position, indexed.instances, indexed.returning_instances];
        let known = Arc::clone(&self.activity.lock().unwrap_or_else(PoisonError::into_inner));
        if known.state == state {
            return Ok(known);
        }
        let first_hour = Window::LONGEST.first_hour(hour).number();
        // One row an hour, whose order is that of the table: sums by profile would sort all of them.
        let rows = sqlx::query!(
            r#"SELECT
                   hour,
                   json_group_array(profile) AS "profiles!: String",
                   json_group_array(instances) AS "active!: String",
                   json_group_array(returning_instances) AS "returning!: String"
               FROM activity
               WHERE hour >= ? AND instances > 0
               GROUP BY hour"#,
            first_hour
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut sums: HashMap<i64, Activity> = HashMap::new();
        for row in rows {
            let within = Window::ALL.map(|window| row.hour >= window.first_hour(hour).number());
            let profiles: Vec<i64> = json::decode(&row.profiles)?;
            let active: Vec<u64> = json::decode(&row.active)?;
            let returning: Vec<u64> = json::decode(&row.returning)?;
            for ((profile, active), returning) in profiles.into_iter().zip(active).zip(returning) {
                sums.entry(profile).or_default().add(&Activity {
                    active: within.map(|within| if within { active } else { 0 }),
                    returning: within.map(|within| if within { returning } else { 0 }),
                });
            }
        }
        let mut by_profile: Vec<_> = sums.into_iter().collect();
        by_profile.sort_unstable_by_key(|&(profile, _)| profile);
        let known = Arc::new(ActivityNow { state, by_profile });
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        Ok(known)
    }
}
