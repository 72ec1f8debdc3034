//! The rows of a reference server's table, in the order in which they are copied.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{
    import::sort_on_disk,
    reference_row::{BUNDLED, Row, SourceRow, created_at, text},
};
use crate::storage::{DISK_FULL, bundle::Bundle, sqlite_code};

/// Rows whose times are compared, to know whether the table is in the order of time.
const SAMPLES: i64 = 10_000;
/// Times that the next sample may be earlier by more than [`JITTER_S`]. A history of more runs than this is sorted.
const MOST_RUNS: usize = 32;
const JITTER_S: i64 = 3600;

/// Rows that are handed over together. Each may be as long as the reference server took a report to be: 2 MB.
const ROWS_OF_BUNDLE: usize = 100;

/// The rows of a source. Reports get their numbers in the order in which they are copied, and those of a time are found
/// by their numbers: a table whose rows follow no time is sorted first, into a temporary table that is as large
/// as it is, by a sort that needs as much again.
pub struct ReferenceRows {
    source: SqliteConnection,
    /// Last row of the sorted table that was read; `None` where there is no such table, or after its end.
    sorted: Option<i64>,
}

impl ReferenceRows {
    pub async fn new(mut source: SqliteConnection) -> sqlx::Result<Self> {
        let scattered = is_scattered(&mut source).await?;
        let sorted = scattered && sort(&mut source).await?;
        Ok(Self { source, sorted: sorted.then_some(0) })
    }

    pub fn source(&mut self) -> &mut SqliteConnection {
        &mut self.source
    }

    /// The next rows: those of the sorted table, then those after a number.
    pub async fn read(
        &mut self,
        after: i64,
        rows: usize,
        now: Timestamp,
    ) -> sqlx::Result<Vec<SourceRow>> {
        if let Some(place) = self.sorted {
            let (read, place) =
                read(&mut self.source, "temp.rows_by_time", "rowid", place, rows, now).await?;
            self.sorted = (!read.is_empty()).then_some(place);
            if self.sorted.is_some() {
                return Ok(read);
            }
        }
        let (read, _) = read(&mut self.source, "deployments", "id", after, rows, now).await?;
        Ok(read)
    }
}

/// The rows of a table after a place, and the place of the last one. The table is not part of our schema, so this query
/// cannot be checked against it when compiled; the tests run it.
async fn read(
    source: &mut SqliteConnection,
    table: &str,
    place: &str,
    mut after: i64,
    rows: usize,
    now: Timestamp,
) -> sqlx::Result<(Vec<SourceRow>, i64)> {
    let statement = format!(
        "SELECT CAST(string_agg(row, '') AS BLOB) FROM (
             SELECT concat({place}, ' ', {BUNDLED}) AS row
             FROM {table} WHERE {place} > ? ORDER BY {place} LIMIT ?
         )"
    );
    let mut read: Vec<SourceRow> = Vec::with_capacity(rows);
    while read.len() < rows {
        let count = ROWS_OF_BUNDLE.min(rows - read.len());
        let answer: Option<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(statement.as_str()))
            .bind(after)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_one(&mut *source)
            .await?;
        let mut bundle = Bundle::new(answer.as_deref());
        if bundle.is_empty() {
            break;
        }
        while !bundle.is_empty() {
            let row = Row::take(&mut bundle)?;
            after = row.place;
            // A row without a usable time gets that of the row before it, if that is at hand.
            let before = read.last().map_or(now.as_millisecond(), |row| row.received_at);
            read.push(row.into_source_row(before));
        }
    }
    Ok((read, after))
}

/// True if a walk over the rows goes back in time again and again.
async fn is_scattered(source: &mut SqliteConnection) -> sqlx::Result<bool> {
    // Each of these two is found at once, while both in one statement are a walk over all rows.
    let (first, last): (Option<i64>, Option<i64>) = sqlx::query_as(
        "SELECT (SELECT min(id) FROM deployments), (SELECT max(id) FROM deployments)",
    )
    .fetch_one(&mut *source)
    .await?;
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let step = (last.saturating_sub(first) / SAMPLES).max(1);
    let times: Vec<Option<Vec<u8>>> = sqlx::query_scalar(
        "WITH RECURSIVE sampled (number) AS (
             SELECT ?1
             UNION ALL
             SELECT (SELECT min(id) FROM deployments WHERE id >= number + ?2) FROM sampled
             WHERE number IS NOT NULL
         )
         SELECT CAST(created_at AS BLOB) FROM sampled CROSS JOIN deployments ON id = number",
    )
    .bind(first)
    .bind(step)
    .fetch_all(source)
    .await?;
    let times = times.iter().filter_map(|time| created_at(&text(time.as_deref())?));
    let times: Vec<i64> = times.map(Timestamp::as_second).collect();
    let back = times.windows(2).filter(|pair| pair[1] < pair[0] - JITTER_S);
    Ok(back.count() > MOST_RUNS)
}

/// Makes the sorted table. Returns false where the disk has no room for it: the rows are then copied as they stand.
async fn sort(source: &mut SqliteConnection) -> sqlx::Result<bool> {
    sort_on_disk(source).await?;
    let made = sqlx::query(
        "CREATE TEMP TABLE rows_by_time AS
         SELECT * FROM deployments
         ORDER BY unixepoch(created_at) IS NULL, unixepoch(created_at), id",
    )
    .execute(source)
    .await;
    match made {
        Err(error) if sqlite_code(&error) == Some(DISK_FULL) => Ok(false),
        made => made.map(|_| true),
    }
}
