//! Changes of the fleet's counts from one snapshot to the next, computed from the history of each
//! instance.
//!
//! A report in hour h makes its instance active from the end of that hour (h + 1) until its window has
//! passed or the instance's next report takes its place.
//!
//! Of reports that are gone the last one of each instance counts, as far as it is known: that of an
//! instance of which no report is left, and those of purged instances whose totals are kept. Where later
//! reports are left, the last pruned one is taken for as late as it can have been.

use std::{collections::BTreeMap, mem};

use sqlx::{Connection as _, FromRow, SqliteConnection};

use super::history::{History, Report};
use crate::{
    domain::{Hour, Window, day_of_ms},
    storage::{
        calendar::{CalendarCounts, DaysOfInstance},
        leb128::{put, put_signed, take, take_signed},
    },
};

/// Instances that are read together.
const INSTANCES: i64 = 5_000;
/// Bytes of changes that are held in memory. More of them are stored in parts.
const HELD: usize = 2 << 20;

/// Changes of the counts of a profile at the end of an hour: those of each window, of the returning
/// ones within each, and of all instances and all returning ones.
pub type Changes = [i32; 8];

/// An instance of which no report is left.
#[derive(Debug, FromRow)]
struct Gone {
    id: Vec<u8>,
    first_seen: i64,
    last_seen: i64,
    days_seen: i64,
    profile: i64,
}

/// Makes the table `temp.instance_changes` of `temp.history`: the changes up to the snapshots of a day, in
/// parts. Counts the windows of the calendar on the way, where no report is pruned and they are asked for. Neither table
/// is part of the schema, so these queries cannot be checked against it when compiled; the tests run them.
pub async fn store(
    connection: &mut SqliteConnection,
    hourly_from: i64,
    now: i64,
    mut calendar: Option<&mut CalendarCounts>,
) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.instance_changes;
         CREATE TEMP TABLE instance_changes (day INTEGER NOT NULL, changes BLOB NOT NULL);",
    )
    .execute(&mut *connection)
    .await?;
    let pruned_until =
        sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'pruned_until'")
            .fetch_one(&mut *connection)
            .await?;
    let last_pruned = Hour::of_ms(pruned_until - 1).number();
    let mut sums = Sums::new(hourly_from, now, last_pruned);
    let (mut life, mut days) = (Life::default(), DaysOfInstance::default());
    let (mut history, mut instance) = (History::new(), Vec::new());
    loop {
        let reports = history.next(connection).await?;
        if reports.is_empty() {
            break;
        }
        // Those without a date are in no history yet.
        for report in reports.iter().filter(|report| report.received_at >= 0) {
            let same = report.instance == instance;
            life.pass(same, report, &mut sums);
            if let Some(counts) = calendar.as_deref_mut() {
                days.pass(same, day_of_ms(report.received_at), report.first_seen, counts);
            }
            if !same {
                report.instance.clone_into(&mut instance);
            }
        }
        if sums.held >= HELD {
            sums.store(connection).await?;
        }
    }
    life.end(&mut sums);
    if pruned_until > 0 {
        add_gone(connection, &mut sums).await?;
    }
    add_purged(connection, &mut sums).await?;
    sums.store(connection).await?;
    sqlx::query("CREATE INDEX temp.changes_of_day ON instance_changes (day)")
        .execute(connection)
        .await?;
    Ok(())
}

/// Visits the changes of a part: hour of a snapshot, profile and changes. `None` where the part is broken.
pub fn unpack(day: i64, mut packed: &[u8], mut visit: impl FnMut(i64, i64, Changes)) -> Option<()> {
    while !packed.is_empty() {
        let key = take(&mut packed)?.cast_signed();
        let places = take(&mut packed)?;
        let mut changes = Changes::default();
        for (place, change) in changes.iter_mut().enumerate() {
            if places >> place & 1 == 1 {
                *change = take_signed(&mut packed)?.try_into().ok()?;
            }
        }
        visit(24 * day + key % 24, key / 24, changes);
    }
    Some(())
}

/// Counts the instances of which no report is left.
async fn add_gone(connection: &mut SqliteConnection, sums: &mut Sums) -> sqlx::Result<()> {
    let mut last = Vec::new();
    loop {
        let instances: Vec<Gone> = sqlx::query_as(
            "SELECT id, first_seen, last_seen, days_seen, profile FROM instances
             WHERE id > ? AND last_seen >= 0
                 AND NOT EXISTS (SELECT 1 FROM temp.history WHERE history.instance = instances.id)
             ORDER BY id LIMIT ?",
        )
        .bind(&last)
        .bind(INSTANCES)
        .fetch_all(&mut *connection)
        .await?;
        for instance in &instances {
            let (first, hour) = (instance.first_seen.max(0) / 3600, instance.last_seen / 3600);
            let back = i32::from(instance.days_seen > 1);
            sums.add(first + 1, instance.profile, [0, 0, 0, 0, 0, 0, 1, 0]);
            sums.add(hour + 1, instance.profile, [0, 0, 0, 0, 0, 0, 0, back]);
            sums.stay(hour, i64::MAX, instance.profile, [1, back]);
        }
        match instances.into_iter().next_back() {
            Some(instance) => last = instance.id,
            None => return Ok(()),
        }
        if sums.held >= HELD {
            sums.store(connection).await?;
        }
    }
}

/// Counts purged instances whose totals are kept.
async fn add_purged(connection: &mut SqliteConnection, sums: &mut Sums) -> sqlx::Result<()> {
    let purged =
        sqlx::query!("SELECT * FROM purged_activity WHERE hour >= 0").fetch_all(connection).await?;
    for row in purged {
        let [all, back] = [row.instances, row.returning_instances]
            .map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        sums.add(row.hour + 1, row.profile, [0, 0, 0, 0, 0, 0, all, back]);
        sums.stay(row.hour, i64::MAX, row.profile, [all, back]);
    }
    Ok(())
}

/// The latest report of the instance whose history is being read.
#[derive(Debug, Default)]
struct Life {
    first_day: i64,
    came_back: bool,
    latest: Option<(i64, i64)>,
    /// Days of its reports that are left.
    days: i64,
    pruned: Option<Pruned>,
}

/// The pruned reports of an instance, as far as they are known.
#[derive(Debug)]
struct Pruned {
    /// Hour of the first of them.
    first: i64,
    /// Days of all reports.
    days_seen: i64,
    /// Hour and profile of the first report that is left.
    next: i64,
    profile: i64,
}

impl Life {
    /// Goes on to the next report, of the same instance or of another one.
    fn pass(&mut self, same: bool, report: &Report<'_>, sums: &mut Sums) {
        let hour = Hour::of_ms(report.received_at).number();
        let day = hour.div_euclid(24);
        let mut first = false;
        if let Some((latest, _)) = self.latest.filter(|_| same) {
            self.days += i64::from(day > latest.div_euclid(24));
            self.replace(hour, sums);
        } else {
            self.end(sums);
            let seen = report.first_seen.unwrap_or(report.received_at / 1000);
            first = seen >= report.received_at / 1000;
            *self = Self {
                first_day: day.min(seen.div_euclid(86_400)),
                // `end` finds out whether pruned ones came back.
                came_back: !first,
                latest: None,
                days: 1,
                pruned: (!first).then(|| Pruned {
                    first: seen.div_euclid(3600),
                    days_seen: report.days_seen.unwrap_or(0),
                    next: hour,
                    profile: report.profile,
                }),
            };
        }
        let back = day > self.first_day;
        sums.add(hour + 1, report.profile, {
            let first_return = back && !self.came_back;
            [0, 0, 0, 0, 0, 0, i32::from(first), i32::from(first_return)]
        });
        self.came_back = back;
        self.latest = Some((hour, report.profile));
    }

    fn end(&mut self, sums: &mut Sums) {
        self.replace(i64::MAX, sums);
        let Some(Pruned { first, days_seen, next, profile }) = self.pruned.take() else { return };
        let comes_back = next.div_euclid(24) > self.first_day;
        let came_back = comes_back && days_seen - self.days > 1;
        // Those of one day are taken for one report.
        let hour = if came_back { sums.last_pruned.min(next).max(first) } else { first };
        sums.add(first + 1, profile, [0, 0, 0, 0, 0, 0, 1, 0]);
        let returned = if came_back { hour } else { next };
        sums.add(returned + 1, profile, [0, 0, 0, 0, 0, 0, 0, i32::from(comes_back)]);
        (self.came_back, self.latest) = (came_back, Some((hour, profile)));
        self.replace(next, sums);
    }

    /// Counts the latest report until one in an hour takes its place.
    fn replace(&mut self, next_hour: i64, sums: &mut Sums) {
        if let Some((hour, profile)) = self.latest.take() {
            sums.stay(hour, next_hour, profile, [1, i32::from(self.came_back)]);
        }
    }
}

/// Sums of changes by the hour of a snapshot and by profile.
struct Sums {
    hourly_from: i64,
    now: i64,
    /// Last hour of which reports were pruned.
    last_pruned: i64,
    /// Hour, profile and changes that come next: of an instance that reports daily, one report begins where the one
    /// before it ends.
    next: (i64, i64, Changes),
    /// Changes by the day of their snapshots, for [`unpack`].
    by_day: BTreeMap<i64, Vec<u8>>,
    /// Their bytes.
    held: usize,
}

impl Sums {
    fn new(hourly_from: i64, now: i64, last_pruned: i64) -> Self {
        let (next, by_day) = ((0, 0, Changes::default()), BTreeMap::new());
        Self { hourly_from, now, last_pruned, next, by_day, held: 0 }
    }

    /// Adds to the first snapshot that has an hour's end.
    fn add(&mut self, end: i64, profile: i64, changes: Changes) {
        let hour = if end < self.hourly_from { (end + 23).div_euclid(24) * 24 } else { end };
        if hour > self.now {
            return;
        }
        if (hour, profile) != (self.next.0, self.next.1) {
            self.pack();
            self.next = (hour, profile, Changes::default());
        }
        self.next.2.iter_mut().zip(changes).for_each(|(sum, change)| *sum += change);
    }

    /// Packs what comes next.
    fn pack(&mut self) {
        let (hour, profile, changes) = self.next;
        if changes == Changes::default() {
            return;
        }
        let places = changes
            .iter()
            .enumerate()
            .fold(0, |places, (place, &change)| places | u64::from(change != 0) << place);
        let packed = self.by_day.entry(hour.div_euclid(24)).or_default();
        let held = packed.len();
        put(packed, (24 * profile + hour.rem_euclid(24)).cast_unsigned());
        put(packed, places);
        for change in changes.into_iter().filter(|&change| change != 0) {
            put_signed(packed, change.into());
        }
        self.held += packed.len() - held;
    }

    /// Counts instances, and the returning ones among them, as active by a report in an hour until one in
    /// another hour takes its place.
    fn stay(&mut self, hour: i64, next_hour: i64, profile: i64, [all, back]: [i32; 2]) {
        if next_hour <= hour {
            return;
        }
        self.add(hour + 1, profile, [all, all, all, back, back, back, 0, 0]);
        for (place, window) in Window::ALL.into_iter().enumerate() {
            let mut changes = [0; 8];
            changes[place] = -all;
            changes[place + 3] = -back;
            self.add(next_hour.min(hour + window.hours()) + 1, profile, changes);
        }
    }

    /// Stores all changes as parts, and begins anew.
    async fn store(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        self.pack();
        self.next.2 = Changes::default();
        self.held = 0;
        let mut transaction = connection.begin().await?;
        for (day, packed) in mem::take(&mut self.by_day) {
            sqlx::query("INSERT INTO temp.instance_changes VALUES (?, ?)")
                .bind(day)
                .bind(packed)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }
}
