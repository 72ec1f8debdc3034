//! The numbers that the reports of a time have.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::stretches::stretches;
use crate::{
    domain::{Hour, Moment},
    storage::json,
};

/// First and last number that a report of a time may have. `profiles` is a JSON array of the wanted ones.
pub(super) async fn numbers_of_time(
    snapshot: &mut SqliteConnection,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    profiles: Option<&str>,
) -> sqlx::Result<(i64, i64)> {
    if since.is_none() && until.is_none() {
        return Ok((0, i64::MAX));
    }
    let from = since.map_or(Hour::MIN, Hour::of);
    let until = until.map_or(Hour::MAX, |until| Hour::of(until).plus(1));
    let mut parts = stretches(&[Moment::At(from), Moment::At(until)]);
    parts.retain(|part| part.stretch == 1);
    let parts = json::encode(&parts)?;
    let numbers = sqlx::query_file!("src/storage/read/numbers_of_time.sql", parts, profiles)
        .fetch_one(snapshot)
        .await?;
    Ok((numbers.first.unwrap_or(i64::MAX), numbers.last.unwrap_or(0)))
}
