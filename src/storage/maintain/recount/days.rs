//! Reports by the day in which they count, packed: as a table they would be sorted, and looked up one by one.

use std::{collections::BTreeMap, mem};

use futures_util::TryStreamExt as _;
use sqlx::SqliteConnection;

use crate::{
    domain::StartupTimes,
    storage::{
        leb128::{put, put_signed, take, take_signed},
        maintain::report_changes::Counted,
    },
};

const MS_PER_HOUR: i64 = 3_600_000;
/// Bytes that are held in memory. More of them are stored in parts.
const HELD: usize = 2 << 20;

/// Count of an hour, a day or all time and a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub starts: i64,
    pub heartbeats: i64,
    /// First and last report; the first one is behind the last one where there is none.
    pub first: i64,
    pub last: i64,
}

impl Count {
    pub const NONE: Self = Self { starts: 0, heartbeats: 0, first: i64::MAX, last: i64::MIN };

    pub fn add(&mut self, other: &Self) {
        self.starts += other.starts;
        self.heartbeats += other.heartbeats;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Counts by period and profile.
pub type Counts = BTreeMap<(i64, i64), Count>;
/// Starts and sum of their startup times, by period, profile and upper bound of their bucket.
pub type Startups = BTreeMap<(i64, i64, i64), (i64, i64)>;

/// Adds to the starts and to the sum of a bucket.
pub fn add_startups(startups: &mut Startups, key: (i64, i64, i64), (starts, sum_ms): (i64, i64)) {
    let sums = startups.entry(key).or_default();
    (sums.0, sums.1) = (sums.0 + starts, sums.1 + sum_ms);
}

/// All reports.
#[derive(Debug, Default)]
pub struct Days {
    by_day: BTreeMap<i64, Vec<u8>>,
    held: usize,
    /// First number of what is held.
    base: i64,
    /// Those without a date, in hour -1.
    pub undated: (Counts, Startups),
}

impl Days {
    /// Makes `temp.days`. The table is not part of the schema, so these queries cannot be checked against it when
    /// compiled; the tests run them.
    pub async fn begin(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        sqlx::raw_sql(
            "DROP TABLE IF EXISTS temp.days;
             CREATE TEMP TABLE days (day INTEGER, base INTEGER, reports BLOB);",
        )
        .execute(connection)
        .await?;
        Ok(Self::default())
    }

    /// Adds a report, whose number is higher than those before. One that is not indexed has no startup time yet.
    pub fn add(&mut self, report: &Counted, indexed: bool) {
        let &Counted { id, received_at, profile, heartbeat, startup_ms } = report;
        let startup_ms = startup_ms.filter(|_| indexed);
        if received_at < 0 {
            add(&mut self.undated, -1, profile, id, heartbeat, startup_ms);
            return;
        }
        if self.held == 0 {
            self.base = id;
        }
        let hour = received_at / MS_PER_HOUR;
        let packed = self.by_day.entry(hour / 24).or_default();
        let held = packed.len();
        put(packed, (24 * profile + hour % 24).cast_unsigned());
        put(packed, (2 * (id - self.base) + heartbeat).cast_unsigned());
        put_signed(packed, startup_ms.map_or(0, |ms| if ms < 0 { ms } else { ms + 1 }));
        self.held += packed.len() - held;
    }

    pub fn is_full(&self) -> bool {
        self.held >= HELD
    }

    /// Stores what is held.
    pub async fn store(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        self.held = 0;
        for (day, packed) in mem::take(&mut self.by_day) {
            sqlx::query("INSERT INTO temp.days VALUES (?, ?, ?)")
                .bind(day)
                .bind(self.base)
                .bind(packed)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}

/// Days that have reports.
pub async fn days(connection: &mut SqliteConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query("CREATE INDEX temp.reports_of_day ON days (day)").execute(&mut *connection).await?;
    sqlx::query_scalar("SELECT DISTINCT day FROM temp.days").fetch_all(connection).await
}

/// Counts and startup times of the hours of a day.
pub async fn count(
    connection: &mut SqliteConnection,
    day: i64,
) -> sqlx::Result<(Counts, Startups)> {
    let mut sums = (Counts::new(), Startups::new());
    // One part at a time: a day of an import may have all of its reports.
    let mut parts = sqlx::query_as("SELECT base, reports FROM temp.days WHERE day = ?")
        .bind(day)
        .fetch(connection);
    while let Some(part) = parts.try_next().await? {
        let (base, part): (i64, Vec<u8>) = part;
        unpack(&mut sums, day, base, &part)
            .ok_or_else(|| sqlx::Error::Decode("packed reports are broken".into()))?;
    }
    Ok(sums)
}

fn unpack(sums: &mut (Counts, Startups), day: i64, base: i64, mut packed: &[u8]) -> Option<()> {
    while !packed.is_empty() {
        let key = take(&mut packed)?.cast_signed();
        let report = take(&mut packed)?.cast_signed();
        let startup_ms = match take_signed(&mut packed)? {
            0 => None,
            below if below < 0 => Some(below),
            above => Some(above - 1),
        };
        let (hour, profile) = (24 * day + key % 24, key / 24);
        add(sums, hour, profile, base + report / 2, report % 2, startup_ms);
    }
    Some(())
}

fn add(
    (counts, startups): &mut (Counts, Startups),
    hour: i64,
    profile: i64,
    id: i64,
    heartbeat: i64,
    startup_ms: Option<i64>,
) {
    let count = Count { starts: 1 - heartbeat, heartbeats: heartbeat, first: id, last: id };
    counts.entry((hour, profile)).or_insert(Count::NONE).add(&count);
    if let Some(startup_ms) = startup_ms {
        let up_to = StartupTimes::up_to_ms(startup_ms);
        add_startups(startups, (hour, profile, up_to), (1, startup_ms));
    }
}
