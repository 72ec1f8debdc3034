//! Packed days: the starts of a day by profile, and its startup times by profile and bucket, each in some bytes
//! instead of in a thousand rows.

use sqlx::{Connection as _, SqliteConnection};

use super::{
    json,
    leb128::{self, put},
};
use crate::domain::{BUCKETS, Hour, StartupTimes};

/// Factor of the profile in the key of a bucket.
const KEYS_PER_PROFILE: u64 = 32;
const _: () = assert!(BUCKETS as u64 <= KEYS_PER_PROFILE, "a bucket has a key of its own");

/// Starts of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedStarts {
    pub profile: usize,
    pub starts: u64,
}

/// Starts of a profile in a bucket, and the sum of their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBucket {
    pub profile: usize,
    pub bucket: usize,
    pub starts: u64,
    pub sum_ms: u64,
}

/// Packs pairs of profile and starts, in the order of the profiles.
pub fn pack_starts(rows: impl Iterator<Item = (i64, i64)>) -> Vec<u8> {
    let (mut packed, mut last) = (Vec::new(), 0);
    for (profile, starts) in rows {
        let key = count(profile);
        put(&mut packed, key - last);
        put(&mut packed, count(starts));
        last = key;
    }
    packed
}

/// Packs profile, upper bound, starts and sum of their times, in the order of the first two.
pub fn pack_buckets(rows: impl Iterator<Item = (i64, i64, i64, i64)>) -> Vec<u8> {
    let (mut packed, mut last) = (Vec::new(), 0);
    for (profile, up_to_ms, starts, sum_ms) in rows {
        let key = count(profile) * KEYS_PER_PROFILE + StartupTimes::bucket(up_to_ms) as u64;
        put(&mut packed, key - last);
        put(&mut packed, count(starts));
        put(&mut packed, count(sum_ms));
        last = key;
    }
    packed
}

/// Visits what [`pack_starts`] packed.
pub fn unpack_starts(mut packed: &[u8], mut visit: impl FnMut(PackedStarts)) -> Result<(), Broken> {
    let mut profile = 0;
    while !packed.is_empty() {
        profile = take(&mut packed)?.checked_add(profile).ok_or(Broken)?;
        let starts = take(&mut packed)?;
        visit(PackedStarts { profile: index(profile)?, starts });
    }
    Ok(())
}

/// Visits what [`pack_buckets`] packed.
pub fn unpack_buckets(
    mut packed: &[u8],
    mut visit: impl FnMut(PackedBucket),
) -> Result<(), Broken> {
    let mut key = 0;
    while !packed.is_empty() {
        key = take(&mut packed)?.checked_add(key).ok_or(Broken)?;
        let (starts, sum_ms) = (take(&mut packed)?, take(&mut packed)?);
        let (profile, bucket) = (index(key / KEYS_PER_PROFILE)?, index(key % KEYS_PER_PROFILE)?);
        visit(PackedBucket { profile, bucket: bucket.min(BUCKETS - 1), starts, sum_ms });
    }
    Ok(())
}

/// A packed day that is none.
#[derive(Debug, thiserror::Error)]
#[error("a packed day is broken; `verify --repair` packs it anew")]
pub struct Broken;

impl From<Broken> for sqlx::Error {
    fn from(broken: Broken) -> Self {
        Self::Decode(broken.into())
    }
}

/// A count below zero is a fault of its own, which `verify` reports.
fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

fn index(number: u64) -> Result<usize, Broken> {
    usize::try_from(number).map_err(|_| Broken)
}

fn take(packed: &mut &[u8]) -> Result<u64, Broken> {
    leb128::take(packed).ok_or(Broken)
}

/// First hour that the packed days do not have.
pub async fn packed_until(connection: &mut SqliteConnection) -> sqlx::Result<Hour> {
    let position = sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'packed'")
        .fetch_one(connection)
        .await?;
    Ok(Hour::new(position))
}

/// Has the days from the one of an hour on packed anew: their rows change in this transaction.
pub async fn unpack_from(connection: &mut SqliteConnection, hour: Hour) -> sqlx::Result<()> {
    let day = hour.day().number();
    sqlx::query!(
        "UPDATE watermarks SET position = ?1 WHERE name = 'packed' AND position > ?1",
        day
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A day, packed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PackedDay {
    pub starts: Vec<u8>,
    pub startup_times: Vec<u8>,
}

impl PackedDay {
    /// Packs the rows of the day that begins at an hour.
    pub async fn of_rows(connection: &mut SqliteConnection, day: i64) -> sqlx::Result<Self> {
        let rows = sqlx::query!(
            r#"SELECT
                   (
                       SELECT json_group_array(json_array(profile, starts)) FROM (
                           SELECT profile, starts FROM rollups
                           WHERE span = 24 AND period = ?1 AND starts <> 0 ORDER BY profile
                       )
                   ) AS "starts!: String",
                   (
                       SELECT json_group_array(json_array(profile, up_to_ms, starts, sum_ms)) FROM (
                           SELECT profile, up_to_ms, starts, sum_ms FROM startup_times
                           WHERE span = 24 AND period = ?1 ORDER BY profile, up_to_ms
                       )
                   ) AS "buckets!: String""#,
            day
        )
        .fetch_one(connection)
        .await?;
        let starts: Vec<(i64, i64)> = json::decode(&rows.starts)?;
        let buckets: Vec<(i64, i64, i64, i64)> = json::decode(&rows.buckets)?;
        Ok(Self {
            starts: pack_starts(starts.into_iter()),
            startup_times: pack_buckets(buckets.into_iter()),
        })
    }
}

/// Number of the packed days that differ from their rows.
pub async fn differences(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let mut snapshot = connection.begin().await?;
    let until = packed_until(&mut snapshot).await?.number();
    let days = sqlx::query_scalar!(
        r#"SELECT period AS "day!: i64" FROM packed_days WHERE period < ?1
           UNION
           SELECT period FROM rollups WHERE span = 24 AND period < ?1
           UNION
           SELECT period FROM startup_times WHERE span = 24 AND period < ?1"#,
        until
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let mut differences = 0;
    for day in days {
        let packed = sqlx::query_as!(
            PackedDay,
            "SELECT starts, startup_times FROM packed_days WHERE period = ?",
            day
        )
        .fetch_optional(&mut *snapshot)
        .await?;
        let expected = PackedDay::of_rows(&mut snapshot, day).await?;
        differences += i64::from(packed.unwrap_or_default() != expected);
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            rows in btree_map((0..5_000_i64, 0..BUCKETS), (0..i64::MAX, 0..i64::MAX), 0..50),
        ) {
            let bounds: Vec<i64> = StartupTimes::bucket_bounds_ms().collect();
            let stored = rows.iter().map(|(&(profile, bucket), &(starts, sum_ms))| {
                (profile, bounds[bucket], starts, sum_ms)
            });
            let packed = pack_buckets(stored);
            let mut found = BTreeMap::new();
            unpack_buckets(&packed, |row| {
                let key = (i64::try_from(row.profile).unwrap(), row.bucket);
                let counts = [row.starts, row.sum_ms].map(|count| i64::try_from(count).unwrap());
                found.insert(key, counts.into());
            }).unwrap();
            prop_assert_eq!(&found, &rows);

            let starts: BTreeMap<_, _> =
                rows.iter().map(|(&(profile, _), &(starts, _))| (profile, starts)).collect();
            let packed = pack_starts(starts.clone().into_iter());
            let mut found = BTreeMap::new();
            unpack_starts(&packed, |row| {
                let starts = i64::try_from(row.starts).unwrap();
                found.insert(i64::try_from(row.profile).unwrap(), starts);
            }).unwrap();
            prop_assert_eq!(found, starts);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in any::<Vec<u8>>()) {
            let _ = unpack_buckets(&bytes, drop);
            let _ = unpack_starts(&bytes, drop);
        }
    }
}
