//! Changes of counts and startup times, where reports come, go, or get another time or profile.

use sqlx::SqliteConnection;

use super::count_changes::{
    CountChanges, StartupChanges, add_counts, add_startups, periods, rolled_up,
};
use crate::domain::StartupTimes;

/// A report, as far as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    pub id: i64,
    pub received_at: i64,
    pub profile: i64,
    pub heartbeat: i64,
    pub startup_ms: Option<i64>,
}

/// Sums of changes, within one transaction.
#[derive(Debug)]
pub struct ReportChanges {
    rolled_up: i64,
    indexed: i64,
    counts: CountChanges,
    startups: StartupChanges,
}

impl ReportChanges {
    pub async fn begin(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let rolled_up = rolled_up(connection).await?;
        let indexed = indexed(connection).await?;
        let (counts, startups) = (CountChanges::new(), StartupChanges::new());
        Ok(Self { rolled_up, indexed, counts, startups })
    }

    /// Adds a report (1) or removes it (-1). One that is not indexed has no startup time yet.
    pub fn add(&mut self, report: &Counted, sign: i64) {
        let Counted { id, received_at, profile, heartbeat, .. } = *report;
        for (span, period) in periods(received_at, self.rolled_up) {
            let count = self.counts.entry((span, period, profile)).or_insert((0, 0, id, id));
            count.0 += sign * (1 - heartbeat);
            count.1 += sign * heartbeat;
            (count.2, count.3) = (count.2.min(id), count.3.max(id));
            if let Some(startup_ms) = report.startup_ms.filter(|_| id <= self.indexed) {
                let up_to = StartupTimes::up_to_ms(startup_ms);
                let startup = self.startups.entry((span, period, profile, up_to)).or_default();
                startup.0 += sign;
                startup.1 += sign * startup_ms;
            }
        }
    }

    pub async fn store(self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        add_counts(connection, &self.counts).await?;
        add_startups(connection, &self.startups).await
    }
}

/// The last report that is indexed.
pub async fn indexed(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'indexed'")
        .fetch_one(connection)
        .await
}
