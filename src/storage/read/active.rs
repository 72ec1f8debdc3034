//! Instances that are active at present, by dimension.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use super::Activity;
use crate::{
    domain::{Dimension, Value, Window},
    storage::{Database, Result, profiles::find},
};

/// Active instances of one value of a dimension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActiveInstances {
    /// The value in the latest report of these instances; `None` where no dimension was asked for.
    pub value: Option<Value>,
    /// Their number within each window.
    pub activity: Activity,
}

impl Database {
    /// Active instances now, by the values of a dimension if one is given, most first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn active(
        &self,
        now: Timestamp,
        dimension: Option<Dimension>,
    ) -> Result<Vec<ActiveInstances>> {
        let (activity, profiles) = (self.activity_now(now).await?, self.profiles().await?);
        let mut by_value: BTreeMap<Option<&Value>, Activity> = BTreeMap::new();
        for (number, activity) in activity.by_profile() {
            let value =
                dimension.and_then(|dimension| Some(find(&profiles, *number)?.get(dimension)));
            by_value.entry(value).or_default().add(activity);
        }
        let mut active: Vec<ActiveInstances> = by_value
            .into_iter()
            .map(|(value, activity)| ActiveInstances { value: value.cloned(), activity })
            .collect();
        active.sort_by_key(|group| Reverse(group.activity.active[Window::LONGEST as usize]));
        Ok(active)
    }
}
