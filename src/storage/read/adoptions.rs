//! Adoption of versions.

use std::collections::BTreeMap;

use crate::{
    domain::{Dimension, Hour, OTHER, UNKNOWN, Value},
    storage::{Database, Result},
};

/// Adoption of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The version.
    pub version: Value,
    /// First hour of the first day on which it started.
    pub first_day: Hour,
    /// End of the hour at which half of the active instances ran it for the first time.
    pub half: Option<Hour>,
}

impl Database {
    /// Adoption of each version that ever started, in the order of their first days.
    ///
    /// # Errors
    /// The database's error.
    pub async fn adoptions(&self) -> Result<Vec<Adoption>> {
        let mut first: BTreeMap<Value, Hour> = BTreeMap::new();
        for (profile, day) in self.first_days().await? {
            let version = profile.get(Dimension::ImageVersion);
            if **version != *OTHER && **version != *UNKNOWN {
                let first = first.entry(version.clone()).or_insert(day);
                *first = day.min(*first);
            }
        }
        let half: BTreeMap<String, i64> = sqlx::query!("SELECT image_version, hour FROM adoptions")
            .fetch_all(&mut *self.reader().await?)
            .await?
            .into_iter()
            .map(|row| (row.image_version, row.hour))
            .collect();
        let mut adoptions: Vec<Adoption> = first
            .into_iter()
            .map(|(version, first_day)| Adoption {
                half: half.get(&*version).copied().map(Hour::new),
                version,
                first_day,
            })
            .collect();
        adoptions.sort_by_key(|adoption| adoption.first_day);
        Ok(adoptions)
    }
}
