//! Values that are not well known: those with a label and those that wait for one.

use std::{cmp::Reverse, collections::HashMap};

use sqlx::Connection as _;

use super::{all_time::counts, table::count};
use crate::{
    domain::{Dimension, Value, is_well_known},
    storage::{Database, Result, profiles::find},
};

/// Progress of a value towards a label of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueState {
    /// It has one for good.
    Accepted,
    /// It has one while the budget of releases lasts.
    OnTrust,
    /// It counts as `other`.
    Waiting,
}

/// A value that is not well known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedValue {
    /// Its dimension.
    pub dimension: Dimension,
    /// The value.
    pub value: Value,
    /// Its state.
    pub state: ValueState,
    /// Reports under its label; of one that waits, the stored reports that count as `other`.
    pub reports: u64,
    /// Instances that were seen with it, up to the number that proves it; 0 if it is accepted.
    pub instances: u64,
    /// Days on which it was seen, up to the number that proves it; 0 if it is accepted.
    pub days: u64,
}

impl Database {
    /// Values that are not well known, by dimension and state, those of most reports first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn values(&self) -> Result<Vec<ListedValue>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let mut reports: HashMap<(Dimension, Value), u64> = HashMap::new();
        let profiles = self.profiles_in(&mut snapshot).await?;
        for (number, starts, heartbeats) in counts(&mut snapshot).await? {
            let Some(profile) = find(&profiles, number) else { continue };
            for dimension in Dimension::ALL {
                let key = (dimension, profile.get(dimension).clone());
                *reports.entry(key).or_default() += starts + heartbeats;
            }
        }
        let rows = sqlx::query!(
            r#"SELECT dimension AS "dimension!: String", value AS "value!: String",
                      max(proven) AS "proven: i64", sum(reports) AS "reports!: i64",
                      sum(instances) AS "instances!: i64", sum(days) AS "days!: i64"
               FROM (
                   SELECT dimension, value, proven, 0 AS reports, 0 AS instances, 0 AS days
                   FROM accepted_values
                   UNION ALL
                   SELECT dimension, value, NULL, count(*), 0, 0
                   FROM unproven_values GROUP BY dimension, value
                   UNION ALL
                   SELECT dimension, value, NULL, 0, count(DISTINCT instance), count(DISTINCT day)
                   FROM sightings GROUP BY dimension, value
               )
               GROUP BY 1, 2"#
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let mut listed = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(dimension) = Dimension::named(&row.dimension) else { continue };
            let Some(value) = Value::parse(dimension, Some(row.value)) else { continue };
            if is_well_known(dimension, &value) {
                continue;
            }
            let state = match row.proven {
                None => ValueState::Waiting,
                Some(0) => ValueState::OnTrust,
                Some(_) => ValueState::Accepted,
            };
            let reports = match state {
                ValueState::Waiting => count(row.reports),
                _ => reports.get(&(dimension, value.clone())).copied().unwrap_or_default(),
            };
            let (instances, days) = (count(row.instances), count(row.days));
            listed.push(ListedValue { dimension, value, state, reports, instances, days });
        }
        listed.sort_by_key(|row| {
            let first = (row.dimension as usize, row.state, Reverse(row.reports));
            (first, row.value.clone())
        });
        Ok(listed)
    }
}
