//! A sample a minute of the server's own metrics.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};

use super::Writer;
use crate::storage::{Result, json};

/// Days for which samples are kept.
pub const SAMPLES_KEPT_DAYS: i64 = 30;
/// Minutes after which a value that stays the same is stored again. A series whose last sample is
/// older has ended: the server was down.
pub const LONGEST_GAP: i64 = 10;

/// The value of a series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name and labels, as the text format writes them: `name{label="value"}`.
    pub series: String,
    /// The value; of a counter, since the server's start.
    pub value: f64,
}

/// Last stored sample of each series, so that a counter goes on where it stopped when the
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
    /// Value in this process; 0 when it began.
    seen: f64,
}

impl Recorded {
    /// Lets samples of a time be stored although there were later ones.
    pub fn set_back(&mut self, now: Timestamp) {
        let minute = minute(now);
        self.series.values_mut().for_each(|last| last.minute = last.minute.min(minute));
    }
}

/// Whole minutes since 1970, UTC.
pub fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}

/// True if a series only ever grows, by the rules of its name.
#[must_use]
pub fn is_counter(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    ["_total", "_bucket", "_sum", "_count"].iter().any(|suffix| name.ends_with(suffix))
}

/// True for a counter that goes on by itself when the server is started anew, since a table holds it.
fn goes_on(series: &str) -> bool {
    series == "telemetry_outage_seconds_total"
}

impl Writer {
    /// Stores a sample of each series.
    ///
    /// # Errors
    /// The database's error. The next sample makes up for it.
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

/// Stores the samples that differ from the last ones; returns the new last one of each series.
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
            if is_counter(series) && !goes_on(series) {
                // Its count so far was counted within the last minute.
                rows.push((id, minute - 1, 0.0));
            }
            Last { id, minute: i64::MIN, stored: 0.0, seen: 0.0 }
        };
        let stored = if goes_on(series) {
            value.max(last.stored)
        } else if is_counter(series) {
            last.stored + (value - last.seen).max(0.0)
        } else {
            *value
        };
        #[expect(clippy::float_cmp, reason = "whether it is the very same value")]
        let same = stored == last.stored;
        if minute < last.minute || (same && minute < last.minute.saturating_add(LONGEST_GAP)) {
            continue;
        }
        rows.push((last.id, minute, stored));
        next.push((series.clone(), Last { id: last.id, minute, stored, seen: *value }));
    }
    let rows = json::encode(&rows)?;
    sqlx::query!(
        "INSERT INTO samples
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET value = excluded.value",
        rows
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
                seen: 0.0,
            };
            (row.name, last)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tempfile::TempDir;

    use super::*;
    use crate::storage::Database;

    const ACCEPTED: &str = "telemetry_reports_accepted_total{event=\"start\"}";
    const QUEUE: &str = "telemetry_queue_reports";

    fn sampled(accepted: f64, queue: f64) -> [Sample; 2] {
        [(ACCEPTED, accepted), (QUEUE, queue)]
            .map(|(series, value)| Sample { series: series.to_owned(), value })
    }

    async fn rows(database: &Database) -> Vec<(i64, i64, f64)> {
        sqlx::query!("SELECT series, minute, value FROM samples ORDER BY series, minute")
            .fetch_all(&mut *database.reader().await.unwrap())
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.series, row.minute, row.value))
            .collect()
    }

    #[tokio::test]
    async fn a_counter_goes_on_and_what_is_the_same_is_stored_now_and_then() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let at = |minute: i64| Timestamp::from_second(minute * 60 + 7).unwrap();
        let mut writer = database.writer();
        writer.record(at(1000), &sampled(2.0, 5.0)).await.unwrap();
        writer.record(at(1001), &sampled(2.0, 0.0)).await.unwrap();
        writer.record(at(1002), &sampled(3.0, 0.0)).await.unwrap();
        for minute in 1003..1013 {
            writer.record(at(minute), &sampled(3.0, 0.0)).await.unwrap();
        }
        writer.close().await.unwrap();
        // Started anew, it counts from 0 again.
        let mut writer = database.writer();
        writer.record(at(1020), &sampled(4.0, 1.0)).await.unwrap();

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

        // A month later only new samples are left.
        let later = at(1020) + SignedDuration::from_hours(31 * 24);
        writer.record(later, &sampled(4.0, 2.0)).await.unwrap();
        while writer.thin(later).await.unwrap() {}
        let month = 31 * 24 * 60;
        assert_eq!(rows(&database).await, [(1, 1020 + month, 7.0), (2, 1020 + month, 2.0)]);
    }
}
