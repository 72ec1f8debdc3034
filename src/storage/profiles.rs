//! Interned profiles, and the bound on their number.

use std::{collections::HashMap, sync::Arc};

use sqlx::SqliteConnection;

use super::write::{Labels, Standing};
use crate::domain::{Dimension, OTHER, Profile, Value};

/// Number of profiles up to which a new one is added, by how many of its values are `other`. A real
/// fleet has some hundreds. Past the first bound, which made-up combinations reach, a new combination
/// counts as a coarser one: `other` in its least-known dimensions. A release on trust has half the room,
/// so that a flood of made-up ones leaves the other half to the rest.
const MOST: [usize; Dimension::ALL.len() + 1] =
    [10_000, 10_400, 10_800, 11_200, 12_000, 14_000, usize::MAX];

/// Dimensions in the order in which they become `other`, where their values are equally well known.
const COARSENED: [Dimension; Dimension::ALL.len()] = [
    Dimension::TelemetryVersion,
    Dimension::ContainerRuntime,
    Dimension::Os,
    Dimension::DbType,
    Dimension::Architecture,
    Dimension::ImageVersion,
];

/// The numbers of all profiles known so far.
#[derive(Debug, Default)]
pub struct Profiles {
    numbers: HashMap<Profile, Known>,
    last: i64,
    /// True if those that another process added before the batch are known.
    up_to_date: bool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    number: i64,
    /// True if each of its values keeps its label for ever.
    settled: bool,
}

impl Profiles {
    /// Reads all profiles of the database.
    pub async fn load(connection: &mut SqliteConnection, labels: &Labels) -> sqlx::Result<Self> {
        let mut known = Self::default();
        known.read(connection, labels).await?;
        Ok(known)
    }

    /// Begins a batch. Its first new profile has those of other processes read, which count against
    /// the bounds as well.
    pub fn begin_batch(&mut self) {
        self.up_to_date = false;
    }

    async fn read(
        &mut self,
        connection: &mut SqliteConnection,
        labels: &Labels,
    ) -> sqlx::Result<()> {
        for (number, profile) in after(connection, self.last).await? {
            self.remember(Arc::unwrap_or_clone(profile), number, labels);
        }
        self.up_to_date = true;
        Ok(())
    }

    /// The number of a profile whose reports can change nothing.
    pub fn settled(&self, profile: &Profile) -> Option<i64> {
        self.numbers.get(profile).filter(|known| known.settled).map(|known| known.number)
    }

    /// The number of a profile, if it is at hand.
    pub fn known(&self, profile: &Profile) -> Option<i64> {
        self.numbers.get(profile).map(|known| known.number)
    }

    /// Finds out anew which profiles are settled.
    pub fn settle(&mut self, labels: &Labels) {
        for (profile, known) in &mut self.numbers {
            known.settled = labels.settles(profile);
        }
    }

    /// The number of a profile whose values all have labels, or of the one that it counts as past the
    /// bounds. A new one is added to the database at once, outside of any transaction: without a report
    /// it counts for nothing.
    pub async fn number(
        &mut self,
        connection: &mut SqliteConnection,
        profile: &Profile,
        labels: &Labels,
    ) -> sqlx::Result<i64> {
        if let Some(known) = self.numbers.get(profile) {
            return Ok(known.number);
        }
        if !self.up_to_date {
            self.read(connection, labels).await?;
        }
        let counted = self.bounded(profile, labels);
        if let Some(known) = self.numbers.get(&counted) {
            return Ok(known.number);
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
        self.remember(counted, number, labels);
        Ok(number)
    }

    fn remember(&mut self, profile: Profile, number: i64, labels: &Labels) {
        self.last = self.last.max(number);
        let settled = labels.settles(&profile);
        self.numbers.insert(profile, Known { number, settled });
    }

    /// The profile with `other` in as few dimensions as it takes to be known or to have room, the
    /// least-known ones first.
    fn bounded(&self, profile: &Profile, labels: &Labels) -> Profile {
        let mut order = COARSENED;
        order.sort_by_key(|&dimension| labels.standing(dimension, profile.get(dimension)));
        let mut counted = profile.clone();
        for coarser in order {
            let others = Dimension::ALL.iter().filter(|&&other| **counted.get(other) == *OTHER);
            let version = counted.get(Dimension::ImageVersion);
            let standing = labels.standing(Dimension::ImageVersion, version);
            let on_trust = standing == Some(Standing::OnTrust);
            let most = MOST[others.count()] / if on_trust { 2 } else { 1 };
            if self.numbers.contains_key(&counted) || self.numbers.len() < most {
                break;
            }
            counted = Profile::new(|dimension| {
                if dimension == coarser { Value::other() } else { counted.get(dimension).clone() }
            });
        }
        counted
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

    /// So many combinations.
    fn crowd(profiles: usize) -> Profiles {
        let mut known = Profiles::default();
        for number in 1..=profiles {
            let profile = profile(&format!("v{number}.0"), "freebsd");
            known.remember(profile, i64::try_from(number).unwrap(), &Labels::default());
        }
        known
    }

    /// The values that a new combination counts as, beside so many others.
    fn counted(profiles: usize) -> [String; Dimension::ALL.len()] {
        // No version is accepted here, so the version is known least.
        let bounded = crowd(profiles).bounded(&profile("v0.1", "linux"), &Labels::default());
        Dimension::ALL.map(|dimension| bounded.get(dimension).to_string())
    }

    #[test]
    fn a_combination_past_the_bound_is_other_in_its_least_known_dimensions() {
        let [o, unknown] = ["other", "unknown"];
        let cases = [
            (MOST[0] - 1, ["v0.1", "aarch64", "linux", unknown, "postgres", "1.0"]),
            (MOST[0], [o, "aarch64", "linux", unknown, "postgres", "1.0"]),
            (MOST[1], [o, "aarch64", "linux", unknown, "postgres", o]),
            (MOST[2], [o, "aarch64", "linux", o, "postgres", o]),
            (MOST[3], [o, "aarch64", o, o, "postgres", o]),
            (MOST[4], [o, "aarch64", o, o, o, o]),
            (MOST[5], [o, o, o, o, o, o]),
        ];
        for (profiles, expected) in cases {
            assert_eq!(counted(profiles), expected, "beside {profiles}");
        }
    }

    /// A coarser combination that is there already is better than a still coarser new one.
    #[test]
    fn a_combination_past_the_bound_counts_as_a_known_one() {
        let mut known = crowd(MOST[5]);
        let without_version = profile("other", "linux");
        known.remember(without_version.clone(), -1, &Labels::default());
        assert_eq!(known.bounded(&profile("v0.1", "linux"), &Labels::default()), without_version);
    }
}
