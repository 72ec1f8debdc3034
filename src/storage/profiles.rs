//! Interned profiles, and the bound on how many different values there may be.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sqlx::SqliteConnection;

use crate::domain::{Dimension, Profile, Value};

/// Number of different profiles that are kept apart. A real fleet has some hundreds; beyond this
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
    values: HashMap<Dimension, HashSet<Value>>,
    last: i64,
    /// True if those that another process added before the batch are known.
    up_to_date: bool,
}

impl Profiles {
    /// Reads all profiles of the database.
    pub async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let mut known = Self::default();
        known.read(connection).await?;
        Ok(known)
    }

    /// Begins a batch. Its first new profile has those of other processes read, which count against
    /// the bounds as well.
    pub fn begin_batch(&mut self) {
        self.up_to_date = false;
    }

    async fn read(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        for (number, profile) in after(connection, self.last).await? {
            self.remember(Arc::unwrap_or_clone(profile), number);
        }
        self.up_to_date = true;
        Ok(())
    }

    /// The number of a profile, or of the one that it counts as past the bounds. A new one is added to
    /// the database at once, outside of any transaction: without a report it counts for nothing.
    pub async fn number(
        &mut self,
        connection: &mut SqliteConnection,
        profile: &Profile,
    ) -> sqlx::Result<i64> {
        if let Some(&number) = self.numbers.get(profile) {
            return Ok(number);
        }
        if !self.up_to_date {
            self.read(connection).await?;
        }
        let counted = self.bounded(profile);
        if let Some(&number) = self.numbers.get(&counted) {
            return Ok(number);
        }
        // Another process may have added it since ours were read.
        let [image_version, architecture, os, container_runtime, db_type, telemetry_version] =
            Dimension::ALL.map(|dimension| &**counted.get(dimension));
        let number = sqlx::query_scalar!(
            r#"INSERT INTO profiles (image_version, architecture, os, container_runtime, db_type,
                                     telemetry_version)
               VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET os = os
               RETURNING id AS "id!""#,
            image_version,
            architecture,
            os,
            container_runtime,
            db_type,
            telemetry_version,
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
                values.insert(profile.get(dimension).clone());
            }
        }
        self.last = self.last.max(number);
        self.numbers.insert(profile, number);
    }

    /// The profile with `other` for each new value of a dimension that has all it may have.
    fn bounded(&self, profile: &Profile) -> Profile {
        let full = self.numbers.len() >= MAX_PROFILES;
        let overfull = self.numbers.len() >= MAX_PROFILES + RESERVE;
        Profile::new(|dimension| {
            let value = profile.get(dimension);
            let new = !self.values.get(&dimension).is_some_and(|known| known.contains(value));
            let kept = matches!(dimension, Dimension::ImageVersion | Dimension::Architecture);
            if (full && !kept) || overfull || (new && self.is_full(dimension, value)) {
                Value::other()
            } else {
                value.clone()
            }
        })
    }

    /// True if the budget against which `value` counts is used up.
    fn is_full(&self, dimension: Dimension, value: &str) -> bool {
        let budget = dimension.limit(value);
        self.values.get(&dimension).is_some_and(|known| {
            known.iter().filter(|other| dimension.limit(other) == budget).count() >= budget
        })
    }
}

/// Profiles with their numbers, in order.
pub type Numbered = Vec<(i64, Arc<Profile>)>;

/// The profile with a number.
pub fn find(profiles: &Numbered, number: i64) -> Option<&Arc<Profile>> {
    let place = profiles.binary_search_by_key(&number, |(known, _)| *known).ok()?;
    Some(&profiles[place].1)
}

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
        let mut columns = [
            row.image_version,
            row.architecture,
            row.os,
            row.container_runtime,
            row.db_type,
            row.telemetry_version,
        ];
        Self::new(|dimension| {
            let column = std::mem::take(&mut columns[dimension as usize]);
            // A file holds what was parsed before it was stored.
            Value::parse(dimension, Some(column)).unwrap_or_else(Value::other)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OTHER;

    fn profile(version: &str, os: &str) -> Profile {
        Profile::new(|dimension| {
            let text = match dimension {
                Dimension::ImageVersion => version,
                Dimension::Architecture => "aarch64",
                Dimension::Os => os,
                Dimension::ContainerRuntime => "unknown",
                Dimension::DbType => "postgres",
                Dimension::TelemetryVersion => "1.0",
            };
            Value::parse(dimension, Some(text.to_owned())).unwrap()
        })
    }

    /// The version and the operating system of the bounded profile.
    fn bounded(known: &Profiles, profile: &Profile) -> [String; 2] {
        let bounded = known.bounded(profile);
        [Dimension::ImageVersion, Dimension::Os].map(|dimension| bounded.get(dimension).to_string())
    }

    fn knowing(profiles: impl Iterator<Item = Profile>) -> Profiles {
        let mut known = Profiles::default();
        profiles.zip(1..).for_each(|(profile, number)| known.remember(profile, number));
        known
    }

    #[test]
    fn past_its_limit_a_new_value_is_other_and_a_known_one_is_itself() {
        let known = knowing((0..50).map(|number| profile("v1.0.0", &format!("os{number}"))));
        assert_eq!(bounded(&known, &profile("v1.0.0", "os50")), ["v1.0.0", OTHER]);
        assert_eq!(bounded(&known, &profile("v1.0.0", "os49")), ["v1.0.0", "os49"]);
    }

    #[test]
    fn nightly_versions_cannot_push_out_releases() {
        let known = knowing((0..300).map(|night| profile(&format!("nightly-{night}"), "linux")));
        assert_eq!(bounded(&known, &profile("nightly-x", "linux")), [OTHER, "linux"]);
        assert_eq!(bounded(&known, &profile("v11.0.0", "linux")), ["v11.0.0", "linux"]);
    }

    /// So many combinations of versions and systems.
    fn crowd(profiles: usize) -> impl Iterator<Item = Profile> {
        (0..profiles).map(|n| profile(&format!("v{}.0", n / 12), &format!("os{}", n % 12)))
    }

    #[test]
    fn past_all_profiles_a_release_is_still_itself() {
        let bounded = knowing(crowd(MAX_PROFILES)).bounded(&profile("v9999.0", "linux"));
        for dimension in Dimension::ALL {
            let expected = match dimension {
                Dimension::ImageVersion => "v9999.0",
                Dimension::Architecture => "aarch64",
                _ => OTHER,
            };
            assert_eq!(&**bounded.get(dimension), expected);
        }
    }

    #[test]
    fn past_the_reserve_a_new_one_is_other_throughout() {
        let bounded = knowing(crowd(MAX_PROFILES + RESERVE)).bounded(&profile("v9999.0", "linux"));
        assert!(Dimension::ALL.iter().all(|&dimension| &**bounded.get(dimension) == OTHER));
    }
}
