//! Recount of the instances, and of the windows of the calendar, out of the history of each instance. The
//! temporary tables are not part of the schema, so these queries cannot be checked against it when compiled; the
//! tests run them.

use std::{cmp::Ordering, collections::VecDeque};

use sqlx::SqliteConnection;

use crate::storage::{
    calendar::{CalendarCounts, DaysOfInstance},
    maintain::{
        history::{History, Report},
        import::has_pruned,
        report_changes::indexed,
    },
};

/// Instances that are read together.
const INSTANCES: i64 = 2_000;

const MS_PER_DAY: i64 = 86_400_000;

/// Rule by which an instance is wrong.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// Anything differs.
    Exact,
    /// Something differs on which an answer depends: a server counts a late report's day as seen already.
    Bounds,
}

/// An instance, as it is stored or counted. One without reports is to be deleted.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Instance {
    id: Vec<u8>,
    reports: i64,
    first_seen: i64,
    last_seen: i64,
    days_seen: i64,
    profile: i64,
}

/// An instance whose history is being read.
#[derive(Debug)]
struct Counting {
    instance: Instance,
    /// Number of the report that has its latest profile.
    latest: i64,
    /// Days of its reports that have a date.
    days: Vec<i64>,
}

impl Counting {
    fn begin(report: &Report<'_>) -> Self {
        let &Report { instance: id, received_at, id: latest, profile, .. } = report;
        let id = id.to_vec();
        let seen = received_at / 1000; // As in index_reports.sql.
        let days = Vec::from_iter((received_at >= 0).then_some(received_at / MS_PER_DAY));
        let (reports, days_seen) = (1, 1);
        let (first_seen, last_seen) = (seen, seen);
        let instance = Instance { id, reports, first_seen, last_seen, days_seen, profile };
        Self { instance, latest, days }
    }

    /// Goes on to a report that came at the same time or later.
    fn add(&mut self, report: &Report<'_>) {
        let seen = report.received_at / 1000;
        self.instance.reports += 1;
        if seen > self.instance.last_seen || report.id > self.latest {
            (self.latest, self.instance.profile) = (report.id, report.profile);
        }
        self.instance.last_seen = seen;
        if report.received_at >= 0 {
            let day = report.received_at / MS_PER_DAY;
            if self.days.last() != Some(&day) {
                self.instance.days_seen += i64::from(!self.days.is_empty());
                self.days.push(day);
            }
        }
    }
}

/// Makes the table `temp.recounted` of the instances that are wrong, as they should be; one without reports has 0.
/// Returns their number, and the windows of the calendar and cohorts as they are counted. Leaves `temp.history`. This
/// comes in a transaction, so in one state of the database.
pub async fn find(
    snapshot: &mut SqliteConnection,
    rule: Rule,
) -> sqlx::Result<(i64, CalendarCounts)> {
    sqlx::raw_sql(include_str!("history.sql")).execute(&mut *snapshot).await?;
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS temp.recounted;
         CREATE TEMP TABLE recounted (
             instance BLOB, reports INTEGER, first_seen INTEGER, last_seen INTEGER,
             days_seen INTEGER, profile INTEGER
         );",
    )
    .execute(&mut *snapshot)
    .await?;
    let indexed = indexed(snapshot).await?;
    let mut comparison = Comparison::begin(snapshot, rule).await?;
    let mut counting: Option<Counting> = None;
    let mut history = History::new();
    loop {
        let reports = history.next(snapshot).await?;
        if reports.is_empty() {
            break;
        }
        for report in reports.iter().filter(|report| report.id <= indexed) {
            match &mut counting {
                Some(counting) if counting.instance.id == report.instance => counting.add(report),
                _ => {
                    if let Some(counted) = counting.replace(Counting::begin(report)) {
                        comparison.compare(snapshot, counted).await?;
                    }
                }
            }
        }
    }
    if let Some(counted) = counting {
        comparison.compare(snapshot, counted).await?;
    }
    comparison.end(snapshot).await?;
    Ok((comparison.wrong, comparison.calendar))
}

/// Drops the tables.
pub async fn forget(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("DROP TABLE temp.recounted; DROP TABLE temp.history;")
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts beside the stored instances, both in the order of their ids.
#[derive(Debug)]
struct Comparison {
    rule: Rule,
    /// Stored instances that were read ahead.
    stored: VecDeque<Instance>,
    /// Id of the last one of these; `None` after the last of all.
    last: Option<Vec<u8>>,
    /// True where single reports were pruned. An instance may then have more reports and days, and an earlier first
    /// one, than its reports show, and one without a report stays.
    pruned: bool,
    wrong: i64,
    calendar: CalendarCounts,
}

impl Comparison {
    async fn begin(connection: &mut SqliteConnection, rule: Rule) -> sqlx::Result<Self> {
        let (stored, last, pruned) =
            (VecDeque::new(), Some(Vec::new()), has_pruned(connection).await?);
        Ok(Self { rule, stored, last, pruned, wrong: 0, calendar: CalendarCounts::default() })
    }

    /// Reads on where no stored one waits.
    async fn read(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let Some(last) = self.last.as_ref().filter(|_| self.stored.is_empty()) else {
            return Ok(());
        };
        let instances = sqlx::query_as!(
            Instance,
            "SELECT id, reports, first_seen, last_seen, days_seen, profile FROM instances
             WHERE id > ? ORDER BY id LIMIT ?",
            last,
            INSTANCES
        )
        .fetch_all(connection)
        .await?;
        self.last = instances.last().map(|instance| instance.id.clone());
        self.stored = instances.into();
        Ok(())
    }

    /// Compares the instance that comes next, and those that are stored before it.
    async fn compare(
        &mut self,
        connection: &mut SqliteConnection,
        counting: Counting,
    ) -> sqlx::Result<()> {
        let Counting { mut instance, days, .. } = counting;
        let known = loop {
            self.read(connection).await?;
            match self.stored.front().map(|known| known.id.cmp(&instance.id)) {
                Some(Ordering::Less) => self.without_reports(connection).await?,
                Some(Ordering::Equal) => break self.stored.pop_front(),
                Some(Ordering::Greater) | None => break None,
            }
        };
        let first_seen = known.as_ref().filter(|_| self.pruned).map(|known| known.first_seen);
        self.count_days(&days, first_seen);
        let is_right = known.is_some_and(|known| {
            let is_right = match self.rule {
                Rule::Exact => false,
                Rule::Bounds => instance.explains(&known, self.pruned),
            };
            if self.pruned {
                instance.keep(&known);
            }
            is_right || instance == known
        });
        if is_right { Ok(()) } else { self.store(connection, &instance).await }
    }

    /// Adds the days of an instance to the windows and cohorts.
    fn count_days(&mut self, days: &[i64], first_seen: Option<i64>) {
        let mut passed = DaysOfInstance::default();
        for (place, &day) in days.iter().enumerate() {
            passed.pass(place > 0, day, first_seen, &mut self.calendar);
        }
    }

    /// Goes through those that are stored after the last one that is counted.
    async fn end(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        loop {
            self.read(connection).await?;
            if self.stored.is_empty() {
                return Ok(());
            }
            self.without_reports(connection).await?;
        }
    }

    /// The next one that is stored has no report.
    async fn without_reports(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        match self.stored.pop_front() {
            Some(known) if !self.pruned => {
                self.store(connection, &Instance { reports: 0, ..known }).await
            }
            _ => Ok(()),
        }
    }

    async fn store(
        &mut self,
        connection: &mut SqliteConnection,
        instance: &Instance,
    ) -> sqlx::Result<()> {
        self.wrong += 1;
        sqlx::query("INSERT INTO temp.recounted VALUES (?, ?, ?, ?, ?, ?)")
            .bind(&instance.id)
            .bind(instance.reports)
            .bind(instance.first_seen)
            .bind(instance.last_seen)
            .bind(instance.days_seen)
            .bind(instance.profile)
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl Instance {
    /// Keeps what is known of reports that were pruned.
    fn keep(&mut self, known: &Self) {
        if self.last_seen < known.last_seen {
            (self.last_seen, self.profile) = (known.last_seen, known.profile);
        }
        self.reports = self.reports.max(known.reports);
        self.first_seen = self.first_seen.min(known.first_seen);
        self.days_seen = self.days_seen.max(known.days_seen);
    }

    /// True if the reports that are counted show what is known, but for the number of days of two or more and for the
    /// profile; where some were pruned, if they show less than that.
    fn explains(&self, known: &Self, pruned: bool) -> bool {
        let shows_less = self.last_seen <= known.last_seen
            && self.reports <= known.reports
            && self.first_seen >= known.first_seen
            && (self.days_seen < 2 || known.days_seen > 1);
        let shows_all = self.last_seen == known.last_seen
            && self.reports == known.reports
            && self.first_seen == known.first_seen
            && self.days_seen >= known.days_seen;
        shows_less && (pruned || shows_all)
    }
}
