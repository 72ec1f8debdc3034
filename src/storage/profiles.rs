//! Interned profiles, and the bound on how many different values there may be.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sqlx::SqliteConnection;

use crate::domain::{Dimension, OTHER, Profile};

/// How many different profiles are kept apart. A real fleet has some hundreds; beyond this
/// bound, which only made-up values reach, a new combination counts as `other` in every
/// dimension but version and architecture.
const MAX_PROFILES: usize = 10_000;
/// Profiles beyond that bound, of versions and architectures alone. When they are used up, too, a
/// new combination is `other` throughout.
const RESERVE: usize = 2_000;

/// The numbers of all profiles known so far.
#[derive(Debug, Default)]
pub struct Profiles {
    numbers: HashMap<Profile, i64>,
    values: HashMap<Dimension, HashSet<String>>,
}

impl Profiles {
    /// Reads all profiles of the database.
    pub async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let mut known = Self::default();
        for (number, profile) in after(connection, 0).await? {
            known.remember(Arc::unwrap_or_clone(profile), number);
        }
        Ok(known)
    }

    /// The number of a profile, or of what it counts as past the bounds. A new one is added to
    /// the database at once, outside of any transaction: without an event it counts for nothing.
    pub async fn number(
        &mut self,
        connection: &mut SqliteConnection,
        profile: &Profile,
    ) -> sqlx::Result<i64> {
        if let Some(&number) = self.numbers.get(profile) {
            return Ok(number);
        }
        let counted = self.bounded(profile);
        if let Some(&number) = self.numbers.get(&counted) {
            return Ok(number);
        }
        // Another process may have added it since ours were loaded.
        let number = sqlx::query_scalar!(
            r#"INSERT INTO profiles (image_version, architecture, os, container_runtime, db_type,
                                     telemetry_version)
               VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET os = os
               RETURNING id AS "id!""#,
            counted.image_version,
            counted.architecture,
            counted.os,
            counted.container_runtime,
            counted.db_type,
            counted.telemetry_version,
        )
        .fetch_one(connection)
        .await?;
        self.remember(counted, number);
        Ok(number)
    }

    fn remember(&mut self, profile: Profile, number: i64) {
        for dimension in Dimension::ALL {
            let values = self.values.entry(dimension).or_default();
            if !values.contains(profile.get(dimension)) {
                values.insert(profile.get(dimension).to_owned());
            }
        }
        self.numbers.insert(profile, number);
    }

    /// The profile with `other` for each new value of a dimension that has all it may have.
    fn bounded(&self, profile: &Profile) -> Profile {
        let mut bounded = profile.clone();
        let full = self.numbers.len() >= MAX_PROFILES;
        let overfull = self.numbers.len() >= MAX_PROFILES + RESERVE;
        for dimension in Dimension::ALL {
            let value = profile.get(dimension);
            let new = !self.values.get(&dimension).is_some_and(|known| known.contains(value));
            let kept = matches!(dimension, Dimension::ImageVersion | Dimension::Architecture);
            if (full && !kept) || overfull || (new && self.is_full(dimension, value)) {
                OTHER.clone_into(bounded.get_mut(dimension));
            }
        }
        bounded
    }

    /// Whether the budget that `value` would be counted against is used up.
    fn is_full(&self, dimension: Dimension, value: &str) -> bool {
        let budget = dimension.limit(value);
        self.values.get(&dimension).is_some_and(|known| {
            known.iter().filter(|other| dimension.limit(other) == budget).count() >= budget
        })
    }
}

/// Profiles with their numbers, in order.
pub type Numbered = Vec<(i64, Arc<Profile>)>;

/// The profiles with numbers after one.
pub async fn after(connection: &mut SqliteConnection, number: i64) -> sqlx::Result<Numbered> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, image_version, architecture, os, container_runtime, db_type,
                telemetry_version
         FROM profiles WHERE id > ? ORDER BY id",
        number
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, Arc::new(row.into()))).collect())
}

#[derive(Debug)]
struct Row {
    id: i64,
    image_version: String,
    architecture: String,
    os: String,
    container_runtime: String,
    db_type: String,
    telemetry_version: String,
}

impl From<Row> for Profile {
    fn from(row: Row) -> Self {
        Self {
            image_version: row.image_version,
            architecture: row.architecture,
            os: row.os,
            container_runtime: row.container_runtime,
            db_type: row.db_type,
            telemetry_version: row.telemetry_version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(version: &str, os: &str) -> Profile {
        Profile {
            image_version: version.to_owned(),
            architecture: "aarch64".to_owned(),
            os: os.to_owned(),
            container_runtime: "unknown".to_owned(),
            db_type: "postgres".to_owned(),
            telemetry_version: "1.0".to_owned(),
        }
    }

    fn knowing(profiles: impl Iterator<Item = Profile>) -> Profiles {
        let mut known = Profiles::default();
        profiles.zip(1..).for_each(|(profile, number)| known.remember(profile, number));
        known
    }

    #[test]
    fn past_its_limit_a_new_value_is_other_and_a_known_one_is_itself() {
        let known = knowing((0..50).map(|number| profile("v1.0.0", &format!("os{number}"))));
        assert_eq!(known.bounded(&profile("v1.0.0", "os50")).os, OTHER);
        assert_eq!(known.bounded(&profile("v1.0.0", "os49")).os, "os49");
        assert_eq!(known.bounded(&profile("v1.0.0", "os50")).image_version, "v1.0.0");
    }

    #[test]
    fn nightly_versions_cannot_push_out_releases() {
        let known = knowing((0..300).map(|night| profile(&format!("nightly-{night}"), "linux")));
        assert_eq!(known.bounded(&profile("nightly-x", "linux")).image_version, OTHER);
        assert_eq!(known.bounded(&profile("v11.0.0", "linux")).image_version, "v11.0.0");
    }

    /// So many combinations of versions and systems.
    fn crowd(profiles: usize) -> impl Iterator<Item = Profile> {
        (0..profiles).map(|n| profile(&format!("v{}.0", n / 12), &format!("os{}", n % 12)))
    }

    #[test]
    fn past_all_profiles_a_release_is_still_itself() {
        let bounded = knowing(crowd(MAX_PROFILES)).bounded(&profile("v9999.0", "linux"));
        assert_eq!(bounded.image_version, "v9999.0");
        assert_eq!(bounded.architecture, "aarch64");
        assert_eq!(bounded.os, OTHER);
        assert_eq!(bounded.db_type, OTHER);
    }

    #[test]
    fn past_the_reserve_a_new_one_is_other_throughout() {
        let bounded = knowing(crowd(MAX_PROFILES + RESERVE)).bounded(&profile("v9999.0", "linux"));
        assert!(Dimension::ALL.iter().all(|&of| bounded.get(of) == OTHER));
    }
}
