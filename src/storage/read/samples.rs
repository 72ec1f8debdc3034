//! Samples of the server's own metrics, as they stood at times of the past.

use jiff::Timestamp;

use super::table::{Table, cell};
use crate::storage::{Database, Result, json, write::minute};

/// The first moment of a minute.
fn start(minute: i64) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::MIN)
}

impl Database {
    /// All series that have or had samples: their numbers and names.
    ///
    /// # Errors
    /// The database's error.
    pub async fn sample_series(&self) -> Result<Vec<(i64, String)>> {
        let rows = sqlx::query!("SELECT id, name FROM sample_series ORDER BY name")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
    }

    /// The oldest sample of each of these series: its time and value.
    ///
    /// # Errors
    /// The database's error.
    pub async fn first_samples(&self, series: &[i64]) -> Result<Vec<Option<(Timestamp, f64)>>> {
        let wanted = json::encode(series)?;
        let rows = sqlx::query!(
            r#"SELECT wanted.key + 0 AS "row!: i64", minute AS "minute!", samples.value AS "value!"
               FROM json_each(?) AS wanted
               INNER JOIN samples
                   ON series = wanted.value
                   AND minute = (
                       SELECT min(minute) FROM samples AS later WHERE later.series = wanted.value
                   )"#,
            wanted
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut table = vec![vec![None; series.len()]];
        for row in rows {
            if let Some(cell) = cell(&mut table, 0, row.row) {
                *cell = Some((start(row.minute), row.value));
            }
        }
        Ok(table.swap_remove(0))
    }

    /// The latest sample of each of these series at each of these times: its time and value.
    ///
    /// # Errors
    /// The database's error.
    pub async fn samples_at(
        &self,
        series: &[i64],
        times: &[Timestamp],
    ) -> Result<Table<Option<(Timestamp, f64)>>> {
        let wanted = json::encode(series)?;
        let minutes = json::encode(&times.iter().map(|time| minute(*time)).collect::<Vec<_>>())?;
        let rows = sqlx::query!(
            r#"SELECT wanted.key + 0 AS "row!: i64", moments.key + 0 AS "column!: i64",
                      minute AS "minute!", samples.value AS "value!"
               FROM json_each(?1) AS wanted
               CROSS JOIN json_each(?2) AS moments
               INNER JOIN samples
                   ON series = wanted.value
                   AND minute = (
                       SELECT max(minute) FROM samples AS earlier
                       WHERE earlier.series = wanted.value AND earlier.minute <= moments.value
                   )"#,
            wanted,
            minutes
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut table = vec![vec![None; times.len()]; series.len()];
        for row in rows {
            if let Some(cell) = cell(&mut table, row.row, row.column) {
                *cell = Some((start(row.minute), row.value));
            }
        }
        Ok(table)
    }
}
