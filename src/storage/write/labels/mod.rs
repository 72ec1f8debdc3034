//! The decision which values have a label of their own. It is made in memory, and needs the database
//! for a value that is not proven yet only.

mod accept;
mod evidence;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use sqlx::SqliteConnection;

use self::evidence::Evidence;
pub use self::evidence::Seen;
use crate::{
    domain::{Dimension, Profile, Value, is_plausible_release, is_release, is_well_known},
    storage::json,
};

/// Bounds on what made-up values can use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Releases with a label, proven or on trust.
    releases: usize,
    /// Proven values of a dimension, without releases.
    proven: usize,
    /// Reports with rows in `unproven_values`.
    unproven: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { releases: 1000, proven: 1000, unproven: 100_000 }
    }
}

/// Reason for which a value has a label, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Release that is not proven, while their budget lasts.
    OnTrust,
    /// Proven or accepted value.
    Proven,
    /// Value of a list, or proven release.
    WellKnown,
}

/// The values that have labels, and the changes of the batch that is being stored.
#[derive(Debug, Default)]
pub struct Labels {
    limits: Limits,
    /// Values with a label that are not well known, by dimension; true for those that are proven.
    accepted: [HashMap<Value, bool>; Dimension::ALL.len()],
    /// Releases whose label is on trust, in the order in which they got it.
    on_trust: Vec<Value>,
    /// Releases with a label.
    releases: usize,
    /// Evidence for unproven values: those of the batch, and releases on trust.
    evidence: HashMap<(Dimension, Value), Evidence>,
    /// SQLite's count of commits by other processes, when the labels were read.
    version: i64,
    /// Reports whose values `unproven_values` can take; `None` where they are not counted. A report that was deleted
    /// makes room when another connection has written, such as the one that closes hours.
    room: Option<usize>,
    pub changes: Changes,
}

/// Rows that a batch adds to the tables of values.
#[derive(Debug, Default)]
pub struct Changes {
    /// Number of reports stored after this one, its instance, dimension and value.
    pub unproven: Vec<(usize, String, &'static str, String)>,
    /// Dimension, value, instance and day.
    pub sightings: Vec<(&'static str, String, String, i64)>,
    /// Dimension, value, and whether it is proven.
    pub accepted: Vec<(&'static str, String, bool)>,
    /// Releases that have their label no longer.
    pub displaced: Vec<String>,
}

impl Changes {
    /// Sets what becomes of a value, in the place of what the batch has said of it before.
    fn set(&mut self, dimension: Dimension, value: &Value, proven: Option<bool>) {
        let name = dimension.name();
        self.accepted.retain(|(other, text, _)| *other != name || *text != **value);
        if dimension == Dimension::ImageVersion {
            self.displaced.retain(|text| *text != **value);
        }
        match proven {
            Some(proven) => self.accepted.push((name, value.to_string(), proven)),
            None => self.displaced.push(value.to_string()),
        }
    }
}

impl Labels {
    /// Reads the labels of the database.
    pub async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let mut labels = Self { version: version(connection).await?, ..Self::default() };
        labels.read(connection).await?;
        Ok(labels)
    }

    async fn read(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let rows = sqlx::query!("SELECT dimension, value, proven FROM accepted_values ORDER BY id")
            .fetch_all(connection)
            .await?;
        self.accepted = Default::default();
        self.on_trust.clear();
        self.releases = 0;
        for row in rows {
            let Some(dimension) = Dimension::named(&row.dimension) else { continue };
            let Some(value) = Value::parse(dimension, Some(row.value)) else { continue };
            if is_well_known(dimension, &value) {
                continue; // It was not, for an earlier version of this program.
            }
            self.releases += usize::from(is_release_of(dimension, &value));
            if row.proven == 0 {
                self.on_trust.push(value.clone());
            }
            self.accepted[dimension as usize].insert(value, row.proven != 0);
        }
        Ok(())
    }

    /// The reason for which a value has a label; `None` if it counts as `other`.
    pub fn standing(&self, dimension: Dimension, value: &Value) -> Option<Standing> {
        match self.accepted[dimension as usize].get(value) {
            Some(true) if is_release_of(dimension, value) => Some(Standing::WellKnown),
            Some(true) => Some(Standing::Proven),
            Some(false) => Some(Standing::OnTrust),
            None => is_well_known(dimension, value).then_some(Standing::WellKnown),
        }
    }

    /// True if reports of a profile can change nothing: each of its values keeps its label for ever.
    pub fn settles(&self, profile: &Profile) -> bool {
        Dimension::ALL
            .iter()
            .all(|&dimension| self.settles_value(dimension, profile.get(dimension)))
    }

    fn settles_value(&self, dimension: Dimension, value: &Value) -> bool {
        self.standing(dimension, value).is_some_and(|standing| standing > Standing::OnTrust)
    }

    /// Reads what reports need that may change something. Returns whether another process has changed
    /// labels. It is noticed then only, or with [`crate::storage::Writer::notice_labels`].
    pub async fn prepare<'a>(
        &mut self,
        connection: &mut SqliteConnection,
        reports: impl Iterator<Item = (&'a Profile, &'a Seen)>,
    ) -> sqlx::Result<bool> {
        let version = version(connection).await?;
        let changed = version != self.version;
        if changed {
            self.read(connection).await?;
            self.evidence.clear();
            self.room = None;
            self.version = version;
        }
        let mut wanted = Vec::new();
        for (profile, seen) in reports {
            for dimension in Dimension::ALL {
                let value = profile.get(dimension);
                if self.is_wanted(dimension, value, seen) {
                    wanted.push((dimension.name(), value.to_string()));
                    self.evidence.entry((dimension, value.clone())).or_default();
                }
            }
        }
        if !wanted.is_empty() {
            self.read_evidence(connection, &wanted).await?;
        }
        Ok(changed)
    }

    /// True if a report can change what is known of its values, or has one without a label.
    pub fn may_change(&self, profile: &Profile, seen: &Seen) -> bool {
        Dimension::ALL.iter().any(|&dimension| {
            let value = profile.get(dimension);
            self.standing(dimension, value).is_none() || self.is_wanted(dimension, value, seen)
        })
    }

    /// True if the evidence for a value is not at hand, or grows by a report.
    fn is_wanted(&self, dimension: Dimension, value: &Value, seen: &Seen) -> bool {
        !self.settles_value(dimension, value)
            && self
                .evidence
                .get(&(dimension, value.clone()))
                .is_none_or(|evidence| evidence.grows_by(seen))
    }

    async fn read_evidence(
        &mut self,
        connection: &mut SqliteConnection,
        wanted: &[(&'static str, String)],
    ) -> sqlx::Result<()> {
        let wanted = json::encode(&wanted)?;
        let rows = sqlx::query!(
            r#"SELECT dimension, value, lower(hex(instance)) AS "instance!: String", day
               FROM sightings
               WHERE (dimension, value) IN (
                   SELECT wanted.value ->> 0, wanted.value ->> 1 FROM json_each(?) AS wanted
               )
               ORDER BY id"#,
            wanted
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in rows {
            let Some(dimension) = Dimension::named(&row.dimension) else { continue };
            let Some(value) = Value::parse(dimension, Some(row.value)) else { continue };
            let seen = Seen { instance: row.instance, day: row.day };
            self.evidence.entry((dimension, value)).or_default().add(&seen);
        }
        self.count_room(connection).await
    }

    /// Counts the reports with rows in `unproven_values`, unless that is known.
    async fn count_room(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        if self.room.is_none() {
            let kept = sqlx::query_scalar!("SELECT count(DISTINCT report) FROM unproven_values")
                .fetch_one(connection)
                .await?;
            let kept = usize::try_from(kept).unwrap_or(usize::MAX);
            self.room = Some(self.limits.unproven.saturating_sub(kept));
        }
        Ok(())
    }

    /// Takes the room of a report. Returns whether there was any.
    fn take_room(&mut self) -> bool {
        let left = self.room.and_then(|room| room.checked_sub(1));
        self.room = left.or(self.room);
        left.is_some()
    }

    /// The profile that a report counts as. `later` is the number of reports after it in its batch.
    pub fn apply(&mut self, profile: &Profile, seen: &Seen, later: usize) -> Profile {
        let mut is_kept = None;
        Profile::new(|dimension| {
            let value = profile.get(dimension);
            if self.has_label(dimension, value, seen) {
                return value.clone();
            }
            if *is_kept.get_or_insert_with(|| self.take_room()) {
                let row = (later, seen.instance.clone(), dimension.name(), value.to_string());
                self.changes.unproven.push(row);
            }
            Value::other()
        })
    }

    /// True if a value has a label, after this report of it.
    fn has_label(&mut self, dimension: Dimension, value: &Value, seen: &Seen) -> bool {
        if self.settles_value(dimension, value) {
            return true;
        }
        let evidence = self.evidence.entry((dimension, value.clone())).or_default();
        if evidence.add(seen) {
            let row = (dimension.name(), value.to_string(), seen.instance.clone(), seen.day);
            self.changes.sightings.push(row);
        }
        let proven = evidence.is_proof();
        if proven && self.prove(dimension, value) {
            return true;
        }
        self.accepted[dimension as usize].contains_key(value)
            || (dimension == Dimension::ImageVersion && self.trust(value))
    }

    /// Gives a proven value its label for good, if there is room.
    fn prove(&mut self, dimension: Dimension, value: &Value) -> bool {
        if self.accepted[dimension as usize].contains_key(value) {
            self.on_trust.retain(|release| release != value);
        } else if !is_release_of(dimension, value) {
            if self.proven(dimension) >= self.limits.proven {
                return false;
            }
        } else if self.releases < self.limits.releases {
            self.releases += 1;
        } else {
            // The latest one: a flood has come after what it would push out.
            let Some(displaced) = self.on_trust.pop() else { return false };
            self.accepted[dimension as usize].remove(&displaced);
            self.changes.set(dimension, &displaced, None);
        }
        self.accepted[dimension as usize].insert(value.clone(), true);
        self.changes.set(dimension, value, Some(true));
        true
    }

    /// Values of a dimension that have labels and are no releases.
    fn proven(&self, dimension: Dimension) -> usize {
        let releases = if dimension == Dimension::ImageVersion { self.releases } else { 0 };
        self.accepted[dimension as usize].len() - releases
    }

    /// Gives a release its label on trust, while the budget lasts.
    fn trust(&mut self, version: &Value) -> bool {
        if self.releases >= self.limits.releases || !is_plausible_release(version) {
            return false;
        }
        self.releases += 1;
        self.on_trust.push(version.clone());
        self.accepted[Dimension::ImageVersion as usize].insert(version.clone(), false);
        self.changes.set(Dimension::ImageVersion, version, Some(false));
        true
    }

    /// True if the batch changes what is known of values.
    pub fn has_changes(&self) -> bool {
        let Changes { unproven, sightings, accepted, displaced } = &self.changes;
        !(unproven.is_empty()
            && sightings.is_empty()
            && accepted.is_empty()
            && displaced.is_empty())
    }

    /// Ends a batch that is stored. Returns whether values are proven that were not before.
    pub fn end_batch(&mut self) -> bool {
        let changes = std::mem::take(&mut self.changes);
        let on_trust = &self.accepted[Dimension::ImageVersion as usize];
        self.evidence.retain(|(dimension, value), _| {
            *dimension == Dimension::ImageVersion && on_trust.get(value) == Some(&false)
        });
        changes.accepted.iter().any(|(_, _, proven)| *proven)
    }
}

/// True for a value that counts against the budget of releases.
fn is_release_of(dimension: Dimension, value: &str) -> bool {
    dimension == Dimension::ImageVersion && (is_release(value) || is_plausible_release(value))
}

/// A number that changes when another process has written.
async fn version(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await
}
