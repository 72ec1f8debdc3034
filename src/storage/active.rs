//! Instances that reported within a window, out of `activity`.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use jiff::Timestamp;

use super::{Activity, Database, Result, time};
use crate::domain::{Dimension, Profile};

/// The windows, in hours: 24 h, 7 d, 30 d.
pub const WINDOWS_HOURS: [i64; 3] = [24, 168, 720];
/// Place of the longest one.
const LONGEST: usize = WINDOWS_HOURS.len() - 1;
/// Their names.
pub const WINDOW_NAMES: [&str; 3] = ["24h", "7d", "30d"];

/// How many instances reported within each of [`WINDOWS_HOURS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActiveInstances {
    /// The value of the dimension in the latest report of these instances; empty where no
    /// dimension was asked for.
    pub value: String,
    /// Distinct instances, by window.
    pub instances: [u64; 3],
    /// Those of them that were seen on two or more days, by window.
    pub returning: [u64; 3],
}

impl Database {
    /// When a window that ends now begins: whole hours back from the start of the present
    /// one, so that it is never shorter than its name.
    #[must_use]
    pub fn window_start(now: Timestamp, hours: i64) -> Timestamp {
        time::start_of_hour(time::hour(now) - hours)
    }

    /// Active instances now, by the values of a dimension if one is given, most first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn active(
        &self,
        now: Timestamp,
        by: Option<Dimension>,
    ) -> Result<Vec<ActiveInstances>> {
        let (activity, profiles) = (self.activity_now(now).await?, self.profiles().await?);
        let profiles: HashMap<i64, &Profile> =
            profiles.iter().map(|(number, profile)| (*number, &**profile)).collect();
        let mut by_value: BTreeMap<&str, Activity> = BTreeMap::new();
        for (number, activity) in activity.by_profile() {
            let value = by.and_then(|by| Some(profiles.get(number)?.get(by)));
            by_value.entry(value.unwrap_or_default()).or_default().add(activity);
        }
        let mut found: Vec<ActiveInstances> = by_value
            .into_iter()
            .map(|(value, Activity { active, returning })| ActiveInstances {
                value: value.to_owned(),
                instances: active,
                returning,
            })
            .collect();
        found.sort_by_key(|of| Reverse(of.instances[LONGEST]));
        Ok(found)
    }
}
