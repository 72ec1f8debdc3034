//! The server's own metrics over the last days: a sample a minute.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};

use super::{Database, Result, Writer, history::Table};

/// Days for which samples are kept.
const DAYS: i64 = 30;
/// Minutes after which a value that stays the same is stored again. A series whose last sample is
/// older has ended: the server was down.
pub const LONGEST_GAP: i64 = 10;

const MINUTES_PER_DAY: i64 = 24 * 60;

/// The value of a series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name and labels, as the text format writes them: `name{label="value"}`.
    pub series: String,
    /// The value; of a counter, since the server's start.
    pub value: f64,
}

/// What was last stored of each series, so that a counter goes on where it stopped when the
/// server was started anew, and nothing is stored twice.
#[derive(Debug, Default)]
pub struct Recorded {
    series: HashMap<String, Last>,
    loaded: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    id: i64,
    minute: i64,
    stored: f64,
    /// The value in this process; 0 when it began.
    told: f64,
}

/// Whole minutes since 1970, UTC.
fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}

/// The first moment of a minute.
fn start(minute: i64) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::MIN)
}

/// Whether a series only ever grows, by the rules of its name.
#[must_use]
pub fn is_counter(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    ["_total", "_bucket", "_sum", "_count"].iter().any(|suffix| name.ends_with(suffix))
}

impl Writer {
    /// Stores a sample of each series, and drops those that are too old.
    ///
    /// # Errors
    /// What the database says. The next sample makes up for it.
    pub async fn record(&mut self, now: Timestamp, samples: &[Sample]) -> Result<()> {
        let mut recorded = std::mem::take(&mut self.recorded);
        let result = self
            .run(async |open| {
                // A sample that is lost in a power cut is not worth a sync.
                sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut open.connection).await?;
                let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
                let next = store(&mut transaction, &mut recorded, minute(now), samples).await?;
                transaction.commit().await?;
                sqlx::query("PRAGMA synchronous = FULL").execute(&mut open.connection).await?;
                Ok(next)
            })
            .await;
        let result = result.map(|next| recorded.series.extend(next));
        self.recorded = recorded;
        result
    }
}

/// Stores what has changed and returns what is then the last of each series.
async fn store(
    transaction: &mut SqliteConnection,
    recorded: &mut Recorded,
    minute: i64,
    samples: &[Sample],
) -> sqlx::Result<Vec<(String, Last)>> {
    if !recorded.loaded {
        recorded.series = load(transaction).await?;
        recorded.loaded = true;
    }
    let mut next = Vec::new();
    let mut rows: Vec<(i64, i64, f64)> = Vec::new();
    for Sample { series, value } in samples {
        let last = if let Some(last) = recorded.series.get(series) {
            *last
        } else {
            let id = sqlx::query_scalar!(
                r#"INSERT INTO sample_series (name) VALUES (?) RETURNING id AS "id!""#,
                series
            )
            .fetch_one(&mut *transaction)
            .await?;
            if is_counter(series) {
                // What it has counted so far, it has counted within the last minute.
                rows.push((id, minute - 1, 0.0));
            }
            Last { id, minute: i64::MIN, stored: 0.0, told: 0.0 }
        };
        let stored =
            if is_counter(series) { last.stored + (value - last.told).max(0.0) } else { *value };
        #[expect(clippy::float_cmp, reason = "whether it is the very same value")]
        let same = stored == last.stored;
        if minute < last.minute || (same && minute < last.minute.saturating_add(LONGEST_GAP)) {
            continue;
        }
        rows.push((last.id, minute, stored));
        next.push((series.clone(), Last { id: last.id, minute, stored, told: *value }));
    }
    let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        "INSERT INTO samples
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET value = excluded.value",
        rows
    )
    .execute(&mut *transaction)
    .await?;
    let oldest = minute - DAYS * MINUTES_PER_DAY;
    sqlx::query!(
        "DELETE FROM samples
         WHERE series IN (SELECT id FROM sample_series) AND minute < ?",
        oldest
    )
    .execute(&mut *transaction)
    .await?;
    Ok(next)
}

async fn load(connection: &mut SqliteConnection) -> sqlx::Result<HashMap<String, Last>> {
    let rows = sqlx::query!(
        r#"SELECT id, name, minute AS "minute?", value AS "value?"
           FROM sample_series LEFT JOIN samples
               ON series = id
               AND minute = (SELECT max(minute) FROM samples WHERE series = sample_series.id)"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let last = Last {
                id: row.id,
                minute: row.minute.unwrap_or(i64::MIN),
                stored: row.value.unwrap_or(0.0),
                told: 0.0,
            };
            (row.name, last)
        })
        .collect())
}

impl Database {
    /// All series that have or had samples: their numbers and names.
    ///
    /// # Errors
    /// What the database says.
    pub async fn sample_series(&self) -> Result<Vec<(i64, String)>> {
        let rows = sqlx::query!("SELECT id, name FROM sample_series ORDER BY name")
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
    }

    /// The oldest sample of each of these series: its time and value.
    ///
    /// # Errors
    /// What the database says.
    pub async fn first_samples(&self, series: &[i64]) -> Result<Vec<Option<(Timestamp, f64)>>> {
        let wanted =
            serde_json::to_string(series).map_err(|error| sqlx::Error::Encode(error.into()))?;
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
        .fetch_all(&self.readers)
        .await?;
        let mut table = vec![vec![None; series.len()]];
        for row in rows {
            super::history::set(&mut table, 0, row.row, Some((start(row.minute), row.value)));
        }
        Ok(table.swap_remove(0))
    }

    /// The latest sample of each of these series at each of these times: its time and value.
    ///
    /// # Errors
    /// What the database says.
    pub async fn samples_at(
        &self,
        series: &[i64],
        times: &[Timestamp],
    ) -> Result<Table<Option<(Timestamp, f64)>>> {
        let encode = |numbers: Vec<i64>| {
            serde_json::to_string(&numbers).map_err(|error| sqlx::Error::Encode(error.into()))
        };
        let wanted = encode(series.to_vec())?;
        let minutes = encode(times.iter().map(|time| minute(*time)).collect())?;
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
        .fetch_all(&self.readers)
        .await?;
        let mut table = vec![vec![None; times.len()]; series.len()];
        for row in rows {
            let sample = (start(row.minute), row.value);
            super::history::set(&mut table, row.row, row.column, Some(sample));
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tempfile::TempDir;

    use super::*;

    const ACCEPTED: &str = "telemetry_reports_accepted_total{event=\"start\"}";
    const QUEUE: &str = "telemetry_queue_reports";

    fn told(accepted: f64, queue: f64) -> [Sample; 2] {
        [(ACCEPTED, accepted), (QUEUE, queue)]
            .map(|(series, value)| Sample { series: series.to_owned(), value })
    }

    async fn rows(database: &Database) -> Vec<(i64, i64, f64)> {
        sqlx::query!("SELECT series, minute, value FROM samples ORDER BY series, minute")
            .fetch_all(&database.readers)
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.series, row.minute, row.value))
            .collect()
    }

    #[tokio::test]
    async fn a_counter_goes_on_and_what_is_the_same_is_stored_now_and_then() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let at = |minute: i64| Timestamp::from_second(minute * 60 + 7).unwrap();
        let mut writer = database.writer();
        writer.record(at(1000), &told(2.0, 5.0)).await.unwrap();
        writer.record(at(1001), &told(2.0, 0.0)).await.unwrap();
        writer.record(at(1002), &told(3.0, 0.0)).await.unwrap();
        for minute in 1003..1013 {
            writer.record(at(minute), &told(3.0, 0.0)).await.unwrap();
        }
        writer.close().await.unwrap();
        // Started anew, it counts from 0 again.
        let mut writer = database.writer();
        writer.record(at(1020), &told(4.0, 1.0)).await.unwrap();

        let accepted = [(999, 0.0), (1000, 2.0), (1002, 3.0), (1012, 3.0), (1020, 7.0)];
        let queue = [(1000, 5.0), (1001, 0.0), (1011, 0.0), (1020, 1.0)];
        let expected: Vec<_> = accepted
            .iter()
            .map(|&(minute, value)| (1, minute, value))
            .chain(queue.iter().map(|&(minute, value)| (2, minute, value)))
            .collect();
        assert_eq!(rows(&database).await, expected);

        let found = database.samples_at(&[2, 1], &[at(998), at(1010), at(1030)]).await.unwrap();
        let minute = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        assert_eq!(found[0], [None, Some((minute(1001), 0.0)), Some((minute(1020), 1.0))]);
        assert_eq!(found[1], [None, Some((minute(1002), 3.0)), Some((minute(1020), 7.0))]);

        let first = database.first_samples(&[2, 1, 3]).await.unwrap();
        assert_eq!(first, [Some((minute(1000), 5.0)), Some((minute(999), 0.0)), None]);

        // A month later only what is new is left.
        let later = at(1020) + SignedDuration::from_hours(31 * 24);
        writer.record(later, &told(4.0, 2.0)).await.unwrap();
        let month = 31 * MINUTES_PER_DAY;
        assert_eq!(rows(&database).await, [(1, 1020 + month, 7.0), (2, 1020 + month, 2.0)]);
    }
}
