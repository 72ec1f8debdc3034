//! Startup times: of all time or some days, by dimension; and as they stood at moments of the past.

use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, SqliteConnection};

use super::{
    packed::{Column, packed_days},
    stretches::{Part, before_each, empty_table, stretches},
    table::{GroupOf, Groups, Table, group_count, groups_by},
};
use crate::{
    domain::{BUCKETS, BucketSum, Dimension, Hour, Moment, StartupTimes, Value},
    storage::{
        Database, Result, json,
        packed_days::{PackedBucket, unpack_buckets},
    },
};

/// Factor of the group in the number of a cell of startup.sql; larger than every bucket's upper bound.
const CELLS_PER_GROUP: i64 = 100_000_000;

/// Startup times of the starts that reported one value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupBreakdown {
    /// The value; `None` where no dimension was asked for.
    pub value: Option<Value>,
    /// Their startup times.
    pub startup: StartupTimes,
}

impl Database {
    /// Startup times by the values of a dimension in the order of these, or of all starts together;
    /// of all time, or of the days from the one that begins at the first hour to before the one
    /// that begins at the second.
    ///
    /// # Errors
    /// The database's error.
    pub async fn startup(
        &self,
        dimension: Option<Dimension>,
        days: Option<(Hour, Hour)>,
    ) -> Result<Vec<StartupBreakdown>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let profiles = self.profiles_in(&mut snapshot).await?;
        let (groups, values) = groups_by(&profiles, dimension);
        let part = days.map_or(Part::ALL_TIME, |(from, until)| Part::days(from, until));
        let mut startup = empty_table(0, &groups);
        read(&mut snapshot, &[part], &groups, &mut startup).await?;
        let mut breakdown: Vec<_> = values
            .into_iter()
            .zip(startup)
            .map(|(value, startup)| StartupBreakdown {
                value,
                startup: startup.into_iter().next().unwrap_or_default(),
            })
            .collect();
        breakdown.sort_by(|a, b| a.value.cmp(&b.value));
        Ok(breakdown)
    }

    /// Starts of each version and bucket since the day that begins at an hour, in the order of the bounds.
    ///
    /// # Errors
    /// The database's error.
    pub async fn startup_of_versions(&self, since: Hour) -> Result<Vec<(Value, Vec<BucketSum>)>> {
        let mut reader = self.reader().await?;
        let profiles = self.profiles_in(&mut reader).await?;
        let (groups, values) = groups_by(&profiles, Some(Dimension::ImageVersion));
        let none = BucketSum { starts: 0, sum_ms: 0 };
        let mut sums = vec![vec![none; BUCKETS]; values.len()];
        walk(&mut reader, &[Part::days(since, Hour::MAX)], &groups, |counted| {
            let sum = &mut sums[counted.group][counted.bucket];
            sum.starts += counted.starts;
            sum.sum_ms += counted.sum_ms;
        })
        .await?;
        Ok(values.into_iter().zip(sums).filter_map(|(value, sums)| Some((value?, sums))).collect())
    }

    /// Startup times of the starts before each of `moments`, which must be in order and different.
    ///
    /// # Errors
    /// The database's error.
    pub async fn startup_at(
        &self,
        moments: &[Moment],
        groups: &Groups,
    ) -> Result<Table<StartupTimes>> {
        let mut connection = self.reader().await?;
        let mut table = empty_table(moments.len(), groups);
        read(&mut connection, &stretches(moments), groups, &mut table).await?;
        Ok(before_each(table, StartupTimes::subtract))
    }

    /// Adds up the startup times of the stretches from each of `moments` to the next, or to the present.
    /// They must be in order and different. Returns those of each stretch, and those of each group in all
    /// of them.
    ///
    /// # Errors
    /// The database's error.
    pub async fn startup_between(
        &self,
        moments: &[Moment],
        groups: &Groups,
    ) -> Result<(Vec<StartupTimes>, Vec<StartupTimes>)> {
        let mut parts = stretches(moments);
        parts.retain(|part| part.stretch > 0);
        let mut by_stretch = vec![StartupTimes::default(); moments.len()];
        let mut by_group = vec![StartupTimes::default(); group_count(groups)];
        walk(&mut *self.reader().await?, &parts, groups, |counted| {
            by_stretch[counted.stretch - 1].add(counted.bucket, counted.starts, counted.sum_ms);
            by_group[counted.group].add(counted.bucket, counted.starts, counted.sum_ms);
        })
        .await?;
        Ok((by_stretch, by_group))
    }
}

/// Adds the histograms of some parts of time to the cells of their stretches and groups.
async fn read(
    connection: &mut SqliteConnection,
    parts: &[Part],
    groups: &Groups,
    table: &mut Table<StartupTimes>,
) -> sqlx::Result<()> {
    walk(connection, parts, groups, |counted| {
        let cell = &mut table[counted.group][counted.stretch];
        cell.add(counted.bucket, counted.starts, counted.sum_ms);
    })
    .await
}

/// Starts of a bucket in a stretch, of the profiles of a group.
struct Counted {
    stretch: usize,
    group: usize,
    bucket: usize,
    starts: u64,
    sum_ms: u64,
}

/// Visits the starts of each bucket in some parts of time, which follow each other.
async fn walk(
    connection: &mut SqliteConnection,
    parts: &[Part],
    groups: &Groups,
    mut visit: impl FnMut(Counted),
) -> sqlx::Result<()> {
    let mut snapshot = connection.begin().await?;
    let group_of = GroupOf::new(groups);
    let rows = packed_days(&mut snapshot, Column::StartupTimes, parts, |part, day| {
        let stretch = part.stretch;
        Ok(unpack_buckets(day, |row| {
            let PackedBucket { profile, bucket, starts, sum_ms } = row;
            if let Some(group) = group_of.get(profile) {
                visit(Counted { stretch, group, bucket, starts, sum_ms });
            }
        })?)
    })
    .await?;
    let (parts, members) = (json::encode(&rows)?, json::encode(groups)?);
    let mut rows =
        sqlx::query_file!("src/storage/read/startup.sql", parts, members).fetch(&mut *snapshot);
    while let Some(row) = rows.try_next().await? {
        let Ok(stretch) = usize::try_from(row.stretch) else { continue };
        for (number, starts, sum_ms) in json::decode::<Vec<(i64, i64, i64)>>(&row.cells)? {
            let bucket = StartupTimes::bucket(number % CELLS_PER_GROUP);
            let Ok(group) = usize::try_from(number / CELLS_PER_GROUP) else { continue };
            // A cell that is below zero is a fault of its own, which `verify` reports.
            let [starts, sum_ms] = [starts, sum_ms].map(|count| u64::try_from(count).unwrap_or(0));
            visit(Counted { stretch, group, bucket, starts, sum_ms });
        }
    }
    Ok(())
}
