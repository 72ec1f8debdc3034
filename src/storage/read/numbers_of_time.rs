//! The numbers that the reports of a time have.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::{domain::Hour, storage::report_lists::NUMBERS_OF_BLOCK};

/// Time of receipt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// First time, in milliseconds since 1970.
    pub from: i64,
    /// First one after it.
    pub until: i64,
}

impl Received {
    /// Any time, for reports without a date too, if there are no bounds.
    pub fn new(from: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        let earliest = if until.is_some() { 0 } else { i64::MIN };
        Self {
            from: from.map_or(earliest, |from| from.as_millisecond().max(0)),
            until: until.map_or(i64::MAX, Timestamp::as_millisecond),
        }
    }

    fn first_hour(self) -> i64 {
        Hour::of_ms(self.from).number()
    }

    fn last_hour(self) -> i64 {
        Hour::of_ms(self.until.saturating_sub(1)).number()
    }

    fn is_any(self) -> bool {
        self.from == i64::MIN && self.until == i64::MAX
    }
}

/// Numbers among which the newest of the reports up to `last` are that were received at a time. All of these are
/// indexed. Older ones have lower numbers. `None` if there are none.
pub(super) async fn newest_numbers(
    snapshot: &mut SqliteConnection,
    received: Received,
    last: i64,
) -> sqlx::Result<Option<RangeInclusive<i64>>> {
    if last <= 0 {
        return Ok(None);
    }
    if received.is_any() {
        return Ok(Some(1..=last));
    }
    let (block, first_hour, last_hour) =
        (last / NUMBERS_OF_BLOCK, received.first_hour(), received.last_hour());
    let blocks =
        sqlx::query_file!("src/storage/read/newest_blocks.sql", block, first_hour, last_hour)
            .fetch_optional(snapshot)
            .await?;
    Ok(blocks.map(|blocks| {
        let end = blocks.last * NUMBERS_OF_BLOCK + (NUMBERS_OF_BLOCK - 1);
        blocks.first * NUMBERS_OF_BLOCK..=last.min(end)
    }))
}

/// First and last number that a report of a time may have.
pub(super) async fn numbers_of_time(
    snapshot: &mut SqliteConnection,
    received: Received,
) -> sqlx::Result<(i64, i64)> {
    if received.is_any() {
        return Ok((0, i64::MAX));
    }
    let (first_hour, last_hour) = (received.first_hour(), received.last_hour());
    let numbers = sqlx::query!(
        r#"SELECT
               position + 1 AS unindexed,
               (SELECT max(id) FROM reports WHERE id > position) AS "last_unindexed: i64",
               (
                   SELECT min(block) FROM report_blocks WHERE last_hour >= ?1 AND first_hour <= ?2
               ) AS "first: i64",
               (
                   SELECT max(block) FROM report_blocks WHERE last_hour >= ?1 AND first_hour <= ?2
               ) AS "last: i64"
           FROM watermarks WHERE name = 'indexed'"#,
        first_hour,
        last_hour
    )
    .fetch_one(snapshot)
    .await?;
    let first = numbers.first.map_or(numbers.unindexed, |block| block * NUMBERS_OF_BLOCK);
    let last = numbers.last.map_or(0, |block| (block + 1) * NUMBERS_OF_BLOCK - 1);
    Ok((first, numbers.last_unindexed.unwrap_or(last)))
}
