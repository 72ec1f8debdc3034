//! Distinct instances as they stood at moments of the past.

use super::table::{cell, count};
use crate::{
    domain::Moment,
    storage::{Database, Result, json},
};

impl Database {
    /// Distinct instance ids at each of `moments`, and those of them seen on two or more days;
    /// `None` before the first one.
    ///
    /// # Errors
    /// The database's error.
    pub async fn instances_at(&self, moments: &[Moment]) -> Result<Vec<Option<[u64; 2]>>> {
        let hours = json::encode(&hours(moments))?;
        let rows = sqlx::query!(
            r#"SELECT
                   key + 0 AS "moment!: i64",
                   iif(value IS NULL, totals.instances, past.instances) AS "instances: i64",
                   iif(value IS NULL, totals.returning_instances, past.returning_instances)
                       AS "returning: i64"
               FROM json_each(?)
               CROSS JOIN totals
               LEFT JOIN snapshots AS past
                   ON past.hour = (SELECT max(hour) FROM snapshots WHERE hour <= value)"#,
            hours
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut table = vec![vec![None; moments.len()]];
        for row in rows {
            // At present there is a total before there is an instance.
            if let (Some(instances @ 1..), Some(returning)) = (row.instances, row.returning)
                && let Some(cell) = cell(&mut table, 0, row.moment)
            {
                *cell = Some([instances, returning].map(count));
            }
        }
        Ok(table.swap_remove(0))
    }
}

/// Hour of each moment, `None` for the present: a statement's parameter.
pub fn hours(moments: &[Moment]) -> Vec<Option<i64>> {
    let hour = |moment: &Moment| match moment {
        Moment::At(hour) => Some(hour.number()),
        Moment::Now => None,
    };
    moments.iter().map(hour).collect()
}
