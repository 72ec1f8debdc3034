//! Packed days of some parts of time.

use sqlx::SqliteConnection;

use super::stretches::{Part, bounds, part_of_day, split_packed};
use crate::storage::packed_days::packed_until;

/// Packed days that are held at a time, each some kilobytes.
const DAYS_AT_A_TIME: usize = 32;

/// Column of the packed days.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    Starts,
    StartupTimes,
}

/// Visits the packed days of some parts that follow each other. Returns the parts that are left, which are to be
/// read as rows of the same snapshot.
pub async fn packed_days(
    snapshot: &mut SqliteConnection,
    column: Column,
    parts: &[Part],
    mut visit: impl FnMut(&Part, &[u8]) -> sqlx::Result<()>,
) -> sqlx::Result<Vec<Part>> {
    let (parts, rows) = split_packed(parts, packed_until(snapshot).await?);
    let Some((mut from, until)) = bounds(&parts) else { return Ok(rows) };
    let limit = i64::try_from(DAYS_AT_A_TIME).unwrap_or(i64::MAX);
    let is_starts = matches!(column, Column::Starts);
    loop {
        let days = sqlx::query!(
            r#"SELECT period, iif(?4, starts, startup_times) AS "packed!: Vec<u8>"
               FROM packed_days WHERE period >= ?1 AND period < ?2 ORDER BY period LIMIT ?3"#,
            from,
            until,
            limit,
            is_starts
        )
        .fetch_all(&mut *snapshot)
        .await?;
        for day in &days {
            if let Some(part) = part_of_day(&parts, day.period) {
                visit(part, &day.packed)?;
            }
        }
        match days.last() {
            Some(last) if days.len() == DAYS_AT_A_TIME => from = last.period + 1,
            _ => return Ok(rows),
        }
    }
}
