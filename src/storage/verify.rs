//! Recounts everything that is counted and compares.

use jiff::Timestamp;
use sqlx::Connection as _;

use super::{Database, Result, snapshots::LONGEST_WINDOW, time};

/// What a recount found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Events that are stored.
    pub events: i64,
    /// What was compared, and how many differences were found: 0 is as it should be.
    pub checks: Vec<(&'static str, i64)>,
}

impl Verdict {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|(_, differences)| *differences == 0)
    }
}

impl Database {
    /// Compares the rollups, the instances, the activity, the totals and the events by profile
    /// with a recount, and has SQLite check the file. Reads everything: minutes for ten million
    /// events.
    ///
    /// # Errors
    /// What the database says.
    pub async fn verify(&self, now: Timestamp) -> Result<Verdict> {
        let mut connection = self.readers.acquire().await?;
        // What is sorted here is everything: on disk, not in memory.
        sqlx::query("PRAGMA temp_store = file").execute(&mut *connection).await?;
        let mut snapshot = connection.begin().await?;
        let events =
            sqlx::query_scalar!("SELECT count(*) FROM events").fetch_one(&mut *snapshot).await?;
        let pruned = sqlx::query_scalar!(
            r#"SELECT coalesce(max(position), 0) AS "id!: i64" FROM progress WHERE job = 'pruned'"#
        )
        .fetch_one(&mut *snapshot)
        .await?;

        let hours = sqlx::query_file_scalar!("src/storage/sql/verify_hours.sql", pruned)
            .fetch_one(&mut *snapshot)
            .await?;
        let spans = sqlx::query_file_scalar!("src/storage/sql/verify_spans.sql")
            .fetch_one(&mut *snapshot)
            .await?;
        let some_pruned = i64::from(pruned > 0);
        let instances =
            sqlx::query_file_scalar!("src/storage/sql/verify_instances.sql", some_pruned)
                .fetch_one(&mut *snapshot)
                .await?;
        let since = time::hour(now) - LONGEST_WINDOW;
        let activity = sqlx::query_file_scalar!("src/storage/sql/verify_activity.sql", since)
            .fetch_one(&mut *snapshot)
            .await?;
        let by_profile = sqlx::query_file_scalar!("src/storage/sql/verify_events_by_profile.sql")
            .fetch_one(&mut *snapshot)
            .await?;
        let profiles = sqlx::query_scalar!(
            r#"SELECT count(*) AS "orphans!: i64" FROM events
               WHERE profile NOT IN (SELECT id FROM profiles)"#
        )
        .fetch_one(&mut *snapshot)
        .await?;
        let file: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *snapshot).await?;
        let file = file.iter().filter(|finding| *finding != "ok").count();

        Ok(Verdict {
            events,
            checks: vec![
                ("hourly rollups against events", hours),
                ("daily and total rollups against hourly ones", spans),
                ("instances against events", instances),
                ("activity and totals against instances", activity),
                ("events by profile against events", by_profile),
                ("events without a profile", profiles),
                ("findings of SQLite's integrity check", i64::try_from(file).unwrap_or(i64::MAX)),
            ],
        })
    }
}
