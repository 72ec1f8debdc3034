//! Acceptance of a value by an operator.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use super::{Labels, is_release_of};
use crate::{
    domain::{Dimension, Profile, Value, is_well_known},
    storage::{Result, Writer, write::Open},
};

impl Writer {
    /// Gives a value a label of its own, whatever bounds there are: its reports from now on count
    /// under it. Returns false if it has one for good already.
    ///
    /// # Errors
    /// The database's error.
    pub async fn accept_value(&mut self, dimension: Dimension, value: &Value) -> Result<bool> {
        if is_well_known(dimension, value) {
            return Ok(false);
        }
        self.run(async |open| open.accept_value(dimension, value).await).await
    }
}

impl Open {
    async fn accept_value(&mut self, dimension: Dimension, value: &Value) -> sqlx::Result<bool> {
        let (dimension, value) = (dimension.name(), &**value);
        let accepted = sqlx::query!(
            "INSERT INTO accepted_values (dimension, value, proven) VALUES (?, ?, 1)
             ON CONFLICT DO UPDATE SET proven = 1 WHERE proven = 0",
            dimension,
            value
        )
        .execute(&mut self.connection)
        .await?;
        self.labels.read(&mut self.connection).await?;
        self.profiles.settle(&self.labels);
        Ok(accepted.rows_affected() > 0)
    }

    /// Gives the values of some profiles labels, since they had them where their reports come from. Those
    /// that are over a bound get none, and releases get theirs by the rules.
    pub async fn accept_labels<'a>(
        &mut self,
        profiles: impl Iterator<Item = &'a Profile>,
    ) -> sqlx::Result<()> {
        let mut wanted = BTreeSet::new();
        for profile in profiles.filter(|profile| self.profiles.settled(profile).is_none()) {
            for dimension in Dimension::ALL {
                let value = profile.get(dimension);
                if self.labels.standing(dimension, value).is_none()
                    && !is_release_of(dimension, value)
                {
                    wanted.insert((dimension, value.clone()));
                }
            }
        }
        for (dimension, value) in wanted {
            if self.labels.proven(dimension) < self.labels.limits.proven {
                self.accept_value(dimension, &value).await?;
            }
        }
        Ok(())
    }
}

impl Labels {
    /// Keeps values of reports that count as `other`, as far as there is room: each with the number of
    /// reports stored after its own, and the instance. Those of a report follow each other.
    pub async fn note_unproven<'a>(
        &mut self,
        connection: &mut SqliteConnection,
        values: impl Iterator<Item = (usize, String, Dimension, &'a Value)>,
    ) -> sqlx::Result<()> {
        self.room = None;
        self.count_room(connection).await?;
        let mut latest = None;
        for (later, instance, dimension, value) in values {
            let is_kept = match latest {
                Some((report, is_kept)) if report == later => is_kept,
                _ => self.take_room(),
            };
            latest = Some((later, is_kept));
            if is_kept {
                let row = (later, instance, dimension.name(), value.to_string());
                self.changes.unproven.push(row);
            }
        }
        Ok(())
    }
}
