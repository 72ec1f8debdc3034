//! Startup times: of all time or some days, by dimension; and as they stood at moments of the past.

use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, SqliteConnection};

use super::{
    stretches::{Part, before_each, empty_table, stretches},
    table::{Groups, Table, cell, groups_by},
};
use crate::{
    domain::{Dimension, Hour, Moment, StartupTimes, Value},
    storage::{Database, Result, json},
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
}

/// Adds the histograms of some parts of time to the cells of their stretches and groups.
async fn read(
    connection: &mut SqliteConnection,
    parts: &[Part],
    groups: &Groups,
    table: &mut Table<StartupTimes>,
) -> sqlx::Result<()> {
    let (parts, members) = (json::encode(parts)?, json::encode(groups)?);
    let mut rows =
        sqlx::query_file!("src/storage/read/startup.sql", parts, members).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        for (number, starts, sum_ms) in json::decode::<Vec<(i64, u64, u64)>>(&row.cells)? {
            let (group, up_to_ms) = (number / CELLS_PER_GROUP, number % CELLS_PER_GROUP);
            if let Some(startup) = cell(table, group, row.stretch) {
                startup.add(up_to_ms, starts, sum_ms);
            }
        }
    }
    Ok(())
}
