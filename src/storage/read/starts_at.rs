//! Starts as they stood at moments of the past.

use sqlx::Connection as _;

use super::{
    packed::{Column, packed_days},
    stretches::{before_each, empty_table, stretches},
    table::{GroupOf, Groups, Table, cell, count},
};
use crate::{
    domain::Moment,
    storage::{Database, Result, json, packed_days::unpack_starts},
};

impl Database {
    /// Starts before each of `moments`, which must be in order and different.
    ///
    /// # Errors
    /// The database's error.
    pub async fn starts_at(&self, moments: &[Moment], groups: &Groups) -> Result<Table<u64>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let mut table = empty_table(moments.len(), groups);
        let group_of = GroupOf::new(groups);
        let parts = stretches(moments);
        let rows = packed_days(&mut snapshot, Column::Starts, &parts, |part, day| {
            Ok(unpack_starts(day, |row| {
                if let Some(group) = group_of.get(row.profile) {
                    table[group][part.stretch] += row.starts;
                }
            })?)
        })
        .await?;
        let (parts, members) = (json::encode(&rows)?, json::encode(groups)?);
        let rows = sqlx::query_file!("src/storage/read/starts_at.sql", parts, members)
            .fetch_all(&mut *snapshot)
            .await?;
        for row in rows {
            if let Some(cell) = cell(&mut table, row.member, row.stretch) {
                *cell += count(row.starts);
            }
        }
        Ok(before_each(table, |total: &mut u64, after| *total = total.saturating_sub(*after)))
    }
}
