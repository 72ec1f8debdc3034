//! The profiles, with the first hour and the number of the starts of each.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, SqliteConnection};

use super::table::count;
use crate::{
    domain::{Hour, Profile},
    storage::{
        Database, Result,
        packed_days::{packed_until, unpack_starts},
        profiles::{self, Numbered},
    },
};

impl Database {
    /// Every profile that was ever reported, with its number, in the order of these.
    ///
    /// # Errors
    /// The database's error.
    pub async fn profiles(&self) -> Result<Arc<Numbered>> {
        Ok(self.profiles_in(&mut *self.reader().await?).await?)
    }

    /// The profiles that a snapshot knows, and perhaps later ones. Profiles are never changed, so
    /// only those that are new since the last time are read.
    pub(super) async fn profiles_in(
        &self,
        snapshot: &mut SqliteConnection,
    ) -> sqlx::Result<Arc<Numbered>> {
        let known = Arc::clone(&self.profiles.lock().unwrap_or_else(PoisonError::into_inner));
        let last = known.last().map_or(0, |(number, _)| *number);
        let new = profiles::after(snapshot, last).await?;
        if new.is_empty() {
            return Ok(known);
        }
        let known = Arc::new(known.iter().cloned().chain(new).collect::<Numbered>());
        *self.profiles.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        Ok(known)
    }

    /// Starts of each profile that has any, of all time.
    ///
    /// # Errors
    /// The database's error.
    pub async fn starts_by_profile(&self) -> Result<Vec<(Arc<Profile>, u64)>> {
        let rows = sqlx::query!(
            r#"SELECT profile AS "profile!", sum(starts) AS "starts!: i64" FROM counts
               WHERE span = 0 GROUP BY profile HAVING sum(starts) > 0"#
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let starts = rows.into_iter().map(|row| (row.profile, count(row.starts))).collect();
        let profiles = self.profiles().await?;
        Ok(with_profiles(&profiles, &starts))
    }

    /// First hour of the first day on which each profile had a start.
    ///
    /// # Errors
    /// The database's error.
    pub async fn first_days(&self) -> Result<Vec<(Arc<Profile>, Hour)>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let packed_until = packed_until(&mut snapshot).await?.number();
        let profiles = self.profiles_in(&mut snapshot).await?;
        // Numbers of profiles are few and dense, and a year has hundreds of thousands of pairs.
        let last = profiles.last().and_then(|(number, _)| usize::try_from(*number).ok());
        let mut first: Vec<Option<Hour>> = vec![None; last.map_or(0, |last| last + 1)];
        // The rows of a year are a million.
        let mut days = sqlx::query!(
            "SELECT period, starts FROM packed_days WHERE period < ? ORDER BY period",
            packed_until
        )
        .fetch(&mut *snapshot);
        while let Some(day) = days.try_next().await? {
            let hour = Hour::new(day.period);
            let visited = unpack_starts(&day.starts, |row| {
                if let Some(first) = first.get_mut(row.profile) {
                    first.get_or_insert(hour);
                }
            });
            visited.map_err(sqlx::Error::from)?;
        }
        drop(days);
        let rows = sqlx::query!(
            r#"SELECT profile AS "profile!", min(period - period % 24) AS "hour!: i64"
               FROM stored_spans
               CROSS JOIN rollups
                   ON rollups.span = stored_spans.stored_as
                   AND rollups.period >= max(stored_spans.first, ?)
               WHERE stored_spans.span = 24 AND starts > 0
               GROUP BY profile"#,
            packed_until
        )
        .fetch_all(&mut *snapshot)
        .await?;
        for row in rows {
            let place = usize::try_from(row.profile).ok();
            if let Some(first) = place.and_then(|place| first.get_mut(place)) {
                first.get_or_insert(Hour::new(row.hour));
            }
        }
        let found = profiles.iter().filter_map(|(number, profile)| {
            let first = usize::try_from(*number).ok().and_then(|place| *first.get(place)?)?;
            Some((Arc::clone(profile), first))
        });
        Ok(found.collect())
    }
}

fn with_profiles<T: Copy>(
    profiles: &Numbered,
    by_number: &HashMap<i64, T>,
) -> Vec<(Arc<Profile>, T)> {
    profiles
        .iter()
        .filter_map(|(number, profile)| Some((Arc::clone(profile), *by_number.get(number)?)))
        .collect()
}
