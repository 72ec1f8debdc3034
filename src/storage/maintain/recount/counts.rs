//! Differences of the stored counts and startup times from a recount of the reports.
//!
//! An hour that lost reports to retention is taken as it is. Purged reports whose totals are kept count.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection as _, SqliteConnection};

use super::days::{self, Count, Counts, Days, Startups, add_startups};
use crate::storage::{
    json,
    maintain::report_changes::{Counted, indexed},
};

/// Reports that are read together.
const ROWS: i64 = 2_000;
/// Differences that are held in memory.
const HELD: usize = 2_000;

/// Finds all differences in one state of the database, and returns their number: the tables `temp.wrong_counts` and
/// `temp.wrong_startups` of what is to be added. They and `temp.days` are not part of the schema, so what reads them
/// cannot be checked against it when compiled; the tests run it.
pub async fn find(connection: &mut SqliteConnection) -> sqlx::Result<[i64; 2]> {
    let mut snapshot = connection.begin().await?;
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.wrong_counts;
         CREATE TEMP TABLE wrong_counts (
             span INTEGER, period INTEGER, profile INTEGER, starts INTEGER, heartbeats INTEGER,
             first_report INTEGER, last_report INTEGER
         );
         DROP TABLE IF EXISTS temp.wrong_startups;
         CREATE TEMP TABLE wrong_startups (
             span INTEGER, period INTEGER, profile INTEGER, up_to_ms INTEGER, starts INTEGER,
             sum_ms INTEGER
         );",
    )
    .execute(&mut *snapshot)
    .await?;
    let undated = read(&mut snapshot).await?;
    let found = compare(&mut snapshot, undated).await?;
    sqlx::raw_sql("DROP TABLE temp.days").execute(&mut *snapshot).await?;
    snapshot.commit().await?;
    Ok(found)
}

/// Drops the tables.
pub async fn forget(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("DROP TABLE temp.wrong_counts; DROP TABLE temp.wrong_startups;")
        .execute(connection)
        .await?;
    Ok(())
}

/// Reads all reports into `temp.days`. Returns what those without a date count.
async fn read(connection: &mut SqliteConnection) -> sqlx::Result<(Counts, Startups)> {
    let indexed = indexed(connection).await?;
    let (mut days, mut last) = (Days::begin(connection).await?, i64::MIN);
    loop {
        let reports = sqlx::query_as!(
            Counted,
            "SELECT id, received_at, profile, heartbeat, startup_ms FROM reports
             WHERE id > ? ORDER BY id LIMIT ?",
            last,
            ROWS
        )
        .fetch_all(&mut *connection)
        .await?;
        let Some(report) = reports.last() else { break };
        last = report.id;
        for report in &reports {
            days.add(report, report.id <= indexed);
        }
        if days.is_full() {
            days.store(connection).await?;
        }
    }
    days.store(connection).await?;
    Ok(days.undated)
}

/// Compares day by day, and all time at last. Returns the number of differences.
async fn compare(
    connection: &mut SqliteConnection,
    (mut undated, mut undated_startups): (Counts, Startups),
) -> sqlx::Result<[i64; 2]> {
    let rolled_up = position(connection, "rolled_up").await?;
    let pruned = position(connection, "pruned").await?;
    add_purged(connection, i64::MIN, 0, &mut undated, &mut undated_startups).await?;
    let (mut all, mut all_startups) = (Counts::new(), Startups::new());
    for ((_, profile), count) in undated {
        all.entry((0, profile)).or_insert(Count::NONE).add(&count);
    }
    for ((_, profile, up_to), sums) in undated_startups {
        add_startups(&mut all_startups, (0, profile, up_to), sums);
    }
    let mut wrong = Wrong::default();
    let mut days: BTreeSet<i64> = days::days(connection).await?.into_iter().collect();
    days.extend(stored_days(connection).await?);
    for day in days {
        let (first, end) = (24 * day, (24 * day).saturating_add(24));
        let (mut counts, mut startups) = days::count(connection, day).await?;
        add_purged(connection, first, end, &mut counts, &mut startups).await?;
        let stored = stored_counts(connection, 1, first, end).await?;
        let stored_startups = self::stored_startups(connection, 1, first, end).await?;
        take_pruned(pruned, &stored, &stored_startups, &mut counts, &mut startups);
        wrong.compare(1, &counts, &stored);
        wrong.compare_startups(1, &startups, &stored_startups);

        let (mut of_day, mut startups_of_day) = (Counts::new(), Startups::new());
        for (&(hour, profile), count) in &counts {
            if hour < rolled_up {
                of_day.entry((first, profile)).or_insert(Count::NONE).add(count);
                all.entry((0, profile)).or_insert(Count::NONE).add(count);
            }
        }
        for (&(hour, profile, up_to), &sums) in &startups {
            if hour < rolled_up {
                add_startups(&mut startups_of_day, (first, profile, up_to), sums);
                add_startups(&mut all_startups, (0, profile, up_to), sums);
            }
        }
        wrong.compare(24, &of_day, &stored_counts(connection, 24, first, end).await?);
        let stored_startups = self::stored_startups(connection, 24, first, end).await?;
        wrong.compare_startups(24, &startups_of_day, &stored_startups);
        if wrong.counts.len() + wrong.startups.len() >= HELD {
            wrong.store(connection).await?;
        }
    }
    wrong.compare(0, &all, &stored_counts(connection, 0, i64::MIN, i64::MAX).await?);
    let stored_startups = stored_startups(connection, 0, i64::MIN, i64::MAX).await?;
    wrong.compare_startups(0, &all_startups, &stored_startups);
    wrong.store(connection).await?;
    Ok(wrong.found)
}

async fn position(connection: &mut SqliteConnection, name: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = ?", name)
        .fetch_one(connection)
        .await
}

/// Adds purged reports whose totals are kept, from an hour up to before another one.
async fn add_purged(
    connection: &mut SqliteConnection,
    first: i64,
    end: i64,
    counts: &mut Counts,
    startups: &mut Startups,
) -> sqlx::Result<()> {
    let purged = sqlx::query!(
        "SELECT hour, profile, starts, heartbeats FROM purged_counts WHERE hour >= ? AND hour < ?",
        first,
        end
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in purged {
        let count = Count { starts: row.starts, heartbeats: row.heartbeats, ..Count::NONE };
        counts.entry((row.hour, row.profile)).or_insert(Count::NONE).add(&count);
    }
    let purged = sqlx::query!(
        "SELECT hour, profile, up_to_ms, starts, sum_ms FROM purged_startup_times
         WHERE hour >= ? AND hour < ?",
        first,
        end
    )
    .fetch_all(connection)
    .await?;
    for row in purged {
        add_startups(startups, (row.hour, row.profile, row.up_to_ms), (row.starts, row.sum_ms));
    }
    Ok(())
}

/// Days of which something is stored.
async fn stored_days(connection: &mut SqliteConnection) -> sqlx::Result<Vec<i64>> {
    let mut days = Vec::new();
    for span in [1, 24] {
        let mut end = Some(i64::MIN);
        while let Some(from) = end {
            let next = sqlx::query_scalar!(
                r#"SELECT min(period) AS "period: i64" FROM (
                       SELECT min(period) AS period FROM rollups WHERE span = ?1 AND period >= ?2
                       UNION ALL
                       SELECT min(period) FROM startup_times WHERE span = ?1 AND period >= ?2
                       UNION ALL
                       SELECT min(hour) FROM purged_counts WHERE hour >= max(?2, 0)
                   )"#,
                span,
                from
            )
            .fetch_one(&mut *connection)
            .await?;
            let day = next.map(|period| period.div_euclid(24));
            days.extend(day);
            end = day.and_then(|day| (24 * day).checked_add(24));
        }
    }
    Ok(days)
}

async fn stored_counts(
    connection: &mut SqliteConnection,
    span: i64,
    first: i64,
    end: i64,
) -> sqlx::Result<Counts> {
    let rows = sqlx::query!(
        "SELECT period, profile, starts, heartbeats, first_report, last_report FROM rollups
         WHERE span = ? AND period >= ? AND period < ?
         ORDER BY period, profile",
        span,
        first,
        end
    )
    .fetch_all(connection)
    .await?;
    let counts = rows.into_iter().map(|row| {
        let (starts, heartbeats) = (row.starts, row.heartbeats);
        let count = Count { starts, heartbeats, first: row.first_report, last: row.last_report };
        ((row.period, row.profile), count)
    });
    Ok(counts.collect())
}

async fn stored_startups(
    connection: &mut SqliteConnection,
    span: i64,
    first: i64,
    end: i64,
) -> sqlx::Result<Startups> {
    let rows = sqlx::query!(
        "SELECT period, profile, up_to_ms, starts, sum_ms FROM startup_times
         WHERE span = ? AND period >= ? AND period < ?
         ORDER BY period, profile, up_to_ms",
        span,
        first,
        end
    )
    .fetch_all(connection)
    .await?;
    let sums = rows
        .into_iter()
        .map(|row| ((row.period, row.profile, row.up_to_ms), (row.starts, row.sum_ms)));
    Ok(sums.collect())
}

/// Takes the hours that lost reports to retention as they are stored.
fn take_pruned(
    pruned: i64,
    stored: &Counts,
    stored_startups: &Startups,
    counts: &mut Counts,
    startups: &mut Startups,
) {
    let known: Counts = stored
        .iter()
        .filter(|(_, count)| count.first <= pruned)
        .map(|(&key, &count)| (key, count))
        .collect();
    let is_known = |hour, profile| known.contains_key(&(hour, profile));
    if !known.is_empty() {
        startups.retain(|&(hour, profile, _), _| !is_known(hour, profile));
        startups.extend(
            stored_startups.iter().filter(|((hour, profile, _), _)| is_known(*hour, *profile)),
        );
    }
    counts.extend(known);
}

/// Differences that are not stored yet, as rows of their tables.
#[derive(Debug, Default)]
struct Wrong {
    counts: Vec<[i64; 7]>,
    startups: Vec<[i64; 6]>,
    /// Number of those that are stored.
    found: [i64; 2],
}

impl Wrong {
    fn compare(&mut self, span: i64, expected: &Counts, stored: &Counts) {
        each_pair(expected, stored, |&(period, profile), expected, stored| {
            let known = stored.unwrap_or(Count::NONE);
            let (starts, heartbeats, first, last) = match expected {
                Some(expected) => {
                    let is_right = stored.is_some()
                        && (known.starts, known.heartbeats)
                            == (expected.starts, expected.heartbeats)
                        && known.first <= expected.first
                        && known.last >= expected.last;
                    if is_right {
                        return;
                    }
                    let has_report = expected.first <= expected.last;
                    let bounds = if has_report { expected } else { known };
                    let changes =
                        (expected.starts - known.starts, expected.heartbeats - known.heartbeats);
                    (changes.0, changes.1, bounds.first, bounds.last)
                }
                None => (-known.starts, -known.heartbeats, known.first, known.last),
            };
            let (first, last) = if first <= last { (first, last) } else { (0, 0) };
            self.counts.push([span, period, profile, starts, heartbeats, first, last]);
        });
    }

    fn compare_startups(&mut self, span: i64, expected: &Startups, stored: &Startups) {
        each_pair(expected, stored, |&(period, profile, up_to), expected, stored| {
            if expected != stored {
                let (expected, stored) = (expected.unwrap_or_default(), stored.unwrap_or_default());
                let (starts, sum_ms) = (expected.0 - stored.0, expected.1 - stored.1);
                self.startups.push([span, period, profile, up_to, starts, sum_ms]);
            }
        });
    }

    async fn store(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO temp.wrong_counts
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                 value ->> 6
             FROM json_each(?)",
        )
        .bind(json::encode(&self.counts)?)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "INSERT INTO temp.wrong_startups
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
             FROM json_each(?)",
        )
        .bind(json::encode(&self.startups)?)
        .execute(connection)
        .await?;
        for (found, held) in self.found.iter_mut().zip([self.counts.len(), self.startups.len()]) {
            *found += i64::try_from(held).unwrap_or(i64::MAX);
        }
        self.counts.clear();
        self.startups.clear();
        Ok(())
    }
}

/// Visits each key of two maps, with both values.
fn each_pair<K: Ord, V: Copy>(
    left: &BTreeMap<K, V>,
    right: &BTreeMap<K, V>,
    mut visit: impl FnMut(&K, Option<V>, Option<V>),
) {
    for (key, &value) in left {
        visit(key, Some(value), right.get(key).copied());
    }
    for (key, &value) in right.iter().filter(|(key, _)| !left.contains_key(key)) {
        visit(key, None, Some(value));
    }
}
