//! Indexing of a large import while nobody else waits for the database.

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::{
    copy_reports::no_sync,
    import::{correct_days, has_pruned, recount_days, settle, sort_history, sort_on_disk},
    pace::Pace,
    rebuild_snapshots::{rebuild_of, stored_changes},
    recount_calendar::{note_recounts, recount_of},
};
use crate::{
    domain::Hour,
    storage::{
        Result, Writer,
        calendar::CalendarCounts,
        report_lists::{list_aside, store_aside},
        write::{INDEX_WITHIN, Open},
    },
};

/// Size of the page cache where no server needs memory beside the import, in SQLite's unit: minus
/// kibibytes.
pub const CACHE: &str = "PRAGMA cache_size = -4000";

/// Reports that are indexed together at most. The log of the transaction holds nearly all pages of the instances, if
/// their ids are random, so that smaller parts would take longer in all.
const PART: i64 = 16_000_000;

impl Writer {
    /// Indexes what an import stored, and corrects what depends on the order of reports, while nobody else waits for
    /// the database.
    pub(super) async fn index_and_settle(&mut self, now: Hour) -> Result<()> {
        let mut second = self.second_connection().await?;
        self.run(async |open| {
            no_sync(&mut open.connection).await?;
            no_sync(&mut second).await?;
            sort_on_disk(&mut second).await?;
            sqlx::query(CACHE).execute(&mut second).await?;
            if has_pruned(&mut open.connection).await? {
                index_in_parts(open).await?;
                settle(&mut open.connection, now, &mut Pace::alone()).await?;
            } else {
                let ((), (counted, listed)) =
                    tokio::try_join!(index_in_bulk(&mut second, PART, now), async {
                        let counted = read_histories(&mut open.connection, now).await?;
                        Ok((counted, list_aside(&mut open.connection).await?))
                    })?;
                store_aside(&mut open.connection, listed).await?;
                settle_of(&mut open.connection, counted, now).await?;
            }
            (open.closed_hour, open.fleet, open.unindexed) = (None, None, 0);
            second.close().await
        })
        .await
    }
}

/// Reads the history of each instance: the changes of its counts into `temp.instance_changes`, and the windows of the
/// calendar.
async fn read_histories(
    connection: &mut SqliteConnection,
    now: Hour,
) -> sqlx::Result<CalendarCounts> {
    sort_history(connection).await?;
    let mut counts = CalendarCounts::default();
    stored_changes(connection, now, &mut counts).await?;
    Ok(counts)
}

/// Corrects, out of the histories that were read, what depends on the order of reports.
async fn settle_of(
    connection: &mut SqliteConnection,
    counted: CalendarCounts,
    now: Hour,
) -> sqlx::Result<()> {
    let mut pace = Pace::alone();
    recount_days(connection).await?;
    correct_days(connection, &mut pace).await?;
    rebuild_of(connection, now, &mut pace).await?;
    sqlx::query("DROP TABLE temp.history").execute(&mut *connection).await?;
    recount_of(connection, Some(counted), &mut pace).await
}

/// Indexes all reports likewise where some were pruned, with every instance added to the counts at once.
async fn index_in_parts(open: &mut Open) -> sqlx::Result<()> {
    while let Some(part) = next_part(&mut open.connection, PART).await? {
        open.index_up_to(part.last).await?;
        no_sync(&mut open.connection).await?;
    }
    Ok(())
}

/// Indexes all reports, a part of a number of reports in each transaction. No report may be pruned.
async fn index_in_bulk(
    connection: &mut SqliteConnection,
    reports: i64,
    now: Hour,
) -> sqlx::Result<()> {
    while let Some(part) = next_part(connection, reports).await? {
        index_part(connection, &part, now).await?;
    }
    Ok(())
}

/// Reports that are indexed together.
struct Part {
    /// Number of the last one.
    last: i64,
    /// First and last time of those that are dated, in milliseconds since 1970.
    times: Option<(i64, i64)>,
}

async fn next_part(connection: &mut SqliteConnection, reports: i64) -> sqlx::Result<Option<Part>> {
    let part = sqlx::query!(
        r#"SELECT
               max(id) AS "last: i64",
               min(received_at) FILTER (WHERE received_at >= 0) AS "from_ms: i64",
               max(received_at) FILTER (WHERE received_at >= 0) AS "until_ms: i64"
           FROM (
               SELECT id, received_at FROM reports
               WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed')
               ORDER BY id LIMIT ?
           )"#,
        reports
    )
    .fetch_one(connection)
    .await?;
    Ok(part.last.map(|last| Part { last, times: part.from_ms.zip(part.until_ms) }))
}

/// Indexes a part. The triggers that add each instance to the counts at once would visit another page of `activity` for
/// each: that is counted anew instead, and the windows of the calendar are noted for a recount.
async fn index_part(connection: &mut SqliteConnection, part: &Part, now: Hour) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let triggers = set_triggers_aside(&mut transaction).await?;
    sqlx::query(INDEX_WITHIN).bind(part.last).execute(&mut *transaction).await?;
    let count = include_str!("count_activity.sql");
    sqlx::query(count).bind(now.number()).execute(&mut *transaction).await?;
    if let Some((from_ms, until_ms)) = part.times {
        note_recounts(&mut transaction, from_ms, until_ms).await?;
    }
    for trigger in triggers {
        sqlx::raw_sql(AssertSqlSafe(trigger)).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Drops the triggers of the instances within a transaction, and returns the statements that make them again before its
/// end: nobody ever sees the table without them. The table of the schema is none of the schema, so this query cannot be
/// checked against it when compiled; the tests run it.
async fn set_triggers_aside(transaction: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let triggers: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'instances'",
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut made = Vec::with_capacity(triggers.len());
    for (name, sql) in triggers {
        let drop = AssertSqlSafe(format!("DROP TRIGGER {name}"));
        sqlx::raw_sql(drop).execute(&mut *transaction).await?;
        made.push(sql);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::{collection::vec, prelude::*};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{Report, ReportBody, undated},
        storage::Database,
    };

    const BEGIN: &str = "2026-01-31T12:00:00Z";

    /// Hours before [`BEGIN`], or none for a report without a date; instance, version, and startup time.
    type Row = (Option<i64>, u8, u8, Option<i64>);

    fn report(&(hours, instance, version, startup_time_ms): &Row) -> Report {
        let body = ReportBody {
            // Days between undated reports follow the order in which they came.
            instance_id: Some(format!("i{instance}{}", if hours.is_none() { "u" } else { "" })),
            image_version: Some(format!("v{version}.0")),
            startup_time_ms,
            ..ReportBody::default()
        };
        body.into_report().unwrap()
    }

    fn received_at(row: &Row) -> i64 {
        let begin: Timestamp = BEGIN.parse().unwrap();
        let hours = row.0.map(|hours| begin - SignedDuration::from_hours(hours));
        hours.map_or(undated(0), Timestamp::as_millisecond)
    }

    async fn store(writer: &mut Writer, rows: &[Row]) {
        for row in rows {
            writer.store_at(received_at(row), &[report(row)]).await.unwrap();
        }
    }

    async fn skip_numbers(writer: &mut Writer) {
        let skipped = writer.run(async |open| {
            sqlx::query("UPDATE sqlite_sequence SET seq = seq + 1500 WHERE name = 'reports'")
                .execute(&mut open.connection)
                .await
        });
        skipped.await.unwrap();
    }

    /// All that is derived from single reports, and the triggers.
    async fn derived(writer: &mut Writer) -> Vec<String> {
        let queries = [
            "SELECT json_array(hex(id), first_seen, last_seen, reports, profile, days_seen > 1) FROM instances",
            "SELECT json_array(hour, profile, instances, returning_instances) FROM activity
             WHERE instances > 0 AND hour >= (SELECT max(hour) - 720 FROM activity)
             ORDER BY hour, profile",
            "SELECT json_array(instances, returning_instances) FROM totals",
            "SELECT json_array(profile, block, hex(reports)) FROM report_lists",
            "SELECT json_array(block, first_hour, last_hour) FROM report_blocks",
            "SELECT json_array(span, period, profile, up_to_ms, starts, sum_ms) FROM startup_times",
            "SELECT json_array(name, position) FROM watermarks WHERE name = 'indexed'",
            "SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name",
        ];
        let mut derived = Vec::new();
        for query in queries {
            let rows = writer.run(async |open| {
                sqlx::query_scalar::<_, String>(query).fetch_all(&mut open.connection).await
            });
            derived.extend(rows.await.unwrap());
        }
        derived
    }

    /// Reports of which some are indexed already, and the others one after the other or in bulk, in parts of a number
    /// of reports.
    async fn one_by_one_and_in_bulk(known: &[Row], rows: &[Row], part: i64) {
        let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut one_by_one = Database::open_in(&folder).await.writer();
        let database = Database::open_in(&other).await;
        let mut in_bulk = database.writer();
        for writer in [&mut one_by_one, &mut in_bulk] {
            store(writer, known).await;
            writer.index_all().await.unwrap();
        }
        for row in rows {
            for writer in [&mut one_by_one, &mut in_bulk] {
                store(writer, &[*row]).await;
                // Blocks of numbers are full after three reports, and have lists then.
                skip_numbers(writer).await;
            }
            one_by_one.index_all().await.unwrap();
        }
        let now: Timestamp = BEGIN.parse().unwrap();
        let hour = Hour::of(now);
        let mut second = in_bulk.second_connection().await.unwrap();
        let listed = list_aside(&mut second).await.unwrap();
        index_in_bulk(&mut second, part, hour).await.unwrap();
        store_aside(&mut second, listed).await.unwrap();
        second.close().await.unwrap();
        assert_eq!(derived(&mut one_by_one).await, derived(&mut in_bulk).await);
        // Whoever goes on finds what is still to be corrected.
        in_bulk.index_and_settle(hour).await.unwrap();
        let verdict = database.verify(now).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn reports_indexed_in_bulk_are_as_if_they_came_one_by_one(
            known in vec(row(), 0..5), rows in vec(row(), 0..12), part in 1..6i64
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(one_by_one_and_in_bulk(&known, &rows, part));
        }
    }

    prop_compose! {
        fn row()(
            hours in prop_oneof![6 => (0..2000i64).prop_map(Some), 6 => (0..60i64).prop_map(Some), 1 => Just(None)],
            instance in 0..5u8,
            version in 0..3u8,
            startup in proptest::option::of(1..100_000i64),
        ) -> Row {
            (hours, instance, version, startup)
        }
    }

    /// An import that is killed between two parts: the windows are counted anew whoever goes on.
    #[tokio::test]
    async fn a_part_alone_leaves_a_database_that_a_server_goes_on_with() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let rows: Vec<Row> =
            (0..40).map(|n: u8| (Some(960 - 24 * i64::from(n)), n % 7, 1, Some(5))).collect();
        store(&mut writer, &rows).await;
        let mut second = writer.second_connection().await.unwrap();
        let part = next_part(&mut second, 25).await.unwrap().unwrap();
        let now: Timestamp = BEGIN.parse().unwrap();
        index_part(&mut second, &part, Hour::of(now)).await.unwrap();
        second.close().await.unwrap();
        let verdict = database.verify(now).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
        writer.close_hours(now).await.unwrap();
        assert!(database.has_calendar_recounts().await.unwrap());
        database.clone().recount_calendar().await.unwrap();
        assert!(!database.has_calendar_recounts().await.unwrap());
        let verdict = database.verify(now).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}
