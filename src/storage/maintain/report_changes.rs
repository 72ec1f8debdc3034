//! Changes of counts, startup times and lists, where reports come, go, or get another time or profile.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use super::count_changes::{
    CountChanges, StartupChanges, add_counts, add_startups, periods, rolled_up,
};
use crate::{
    domain::StartupTimes,
    storage::{
        json,
        report_lists::{ListChanges, NUMBERS_OF_BLOCK},
    },
};

const MS_PER_HOUR: i64 = 3_600_000;

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
    /// First and last hour of the indexed reports that were added, by block.
    blocks: BTreeMap<i64, (i64, i64)>,
    lists: ListChanges,
}

impl ReportChanges {
    pub async fn begin(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let rolled_up = rolled_up(connection).await?;
        let indexed = indexed(connection).await?;
        let (counts, startups) = (CountChanges::new(), StartupChanges::new());
        let (blocks, lists) = (BTreeMap::new(), ListChanges::default());
        Ok(Self { rolled_up, indexed, counts, startups, blocks, lists })
    }

    /// Adds a report (1) or removes it (-1). One that is not indexed has no startup time yet.
    pub fn add(&mut self, report: &Counted, sign: i64) {
        let Counted { id, received_at, profile, heartbeat, .. } = *report;
        if sign > 0 && id <= self.indexed {
            let hour = received_at / MS_PER_HOUR; // As in index_reports.sql.
            let hours = self.blocks.entry(id / NUMBERS_OF_BLOCK).or_insert((hour, hour));
            *hours = (hours.0.min(hour), hours.1.max(hour));
        }
        self.lists.add(profile, id, sign);
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
        add_startups(connection, &self.startups).await?;
        widen_blocks(connection, &self.blocks).await?;
        self.lists.store(connection).await
    }
}

async fn widen_blocks(
    connection: &mut SqliteConnection,
    blocks: &BTreeMap<i64, (i64, i64)>,
) -> sqlx::Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = blocks.iter().map(|(block, hours)| (block, hours.0, hours.1)).collect();
    let rows = json::encode(&rows)?;
    sqlx::query!(
        "INSERT INTO report_blocks (block, first_hour, last_hour)
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET
             first_hour = min(first_hour, excluded.first_hour),
             last_hour = max(last_hour, excluded.last_hour)",
        rows
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The last report that is indexed.
pub async fn indexed(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'indexed'")
        .fetch_one(connection)
        .await
}
