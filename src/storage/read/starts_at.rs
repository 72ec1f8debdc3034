//! Starts as they stood at moments of the past.

use super::{
    stretches::{before_each, empty_table, stretches},
    table::{Groups, Table, cell, count},
};
use crate::{
    domain::Moment,
    storage::{Database, Result, json},
};

impl Database {
    /// Starts before each of `moments`, which must be in order and different.
    ///
    /// # Errors
    /// The database's error.
    pub async fn starts_at(&self, moments: &[Moment], groups: &Groups) -> Result<Table<u64>> {
        let (parts, members) = (json::encode(&stretches(moments))?, json::encode(groups)?);
        let rows = sqlx::query_file!("src/storage/read/starts_at.sql", parts, members)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut table = empty_table(moments.len(), groups);
        for row in rows {
            if let Some(cell) = cell(&mut table, row.member, row.stretch) {
                *cell += count(row.starts);
            }
        }
        Ok(before_each(table, |total: &mut u64, after| *total = total.saturating_sub(*after)))
    }
}
