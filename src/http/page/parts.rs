//! The parts of the page that are no charts: tiles, breakdowns, startup times, cohorts, the latest starts.

use super::{
    format::{Count, Share, StartupMs, Time, part, period},
    numbers::{ByValue, Numbers},
};
use crate::domain::{Hour, StartupTimes, start_of_day};

/// Number, its definition, and the name that it has in the URLs of the API.
#[derive(Debug)]
pub struct Tile {
    pub id: &'static str,
    pub title: &'static str,
    pub definition: &'static str,
    pub value: Count,
    /// A version, and its share.
    pub more: Option<(String, Share)>,
}

/// Instances by the values of a dimension.
#[derive(Debug)]
pub struct Breakdown {
    pub id: &'static str,
    pub title: &'static str,
    pub rows: Vec<(String, Count, Share)>,
}

/// Startup times by the values of a dimension.
#[derive(Debug)]
pub struct StartupTable {
    pub id: &'static str,
    pub title: &'static str,
    pub column: &'static str,
    pub rows: Vec<(String, StartupRow)>,
}

/// Startup times of some starts, and how many were measured.
#[derive(Debug)]
pub struct StartupRow {
    pub measured: Count,
    pub p50: StartupMs,
    pub p90: StartupMs,
    pub p99: StartupMs,
}

impl From<&StartupTimes> for StartupRow {
    fn from(times: &StartupTimes) -> Self {
        let quantile = |q| StartupMs(times.quantile_ms(q));
        Self {
            measured: Count(times.count()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
        }
    }
}

/// Instances first seen in a week.
#[derive(Debug)]
pub struct Cohort {
    pub week: String,
    pub size: Count,
    /// Share of the instances that was seen in each later week; `None` where the week has not come.
    pub later: Vec<Option<Share>>,
}

/// One of the latest starts.
#[derive(Debug)]
pub struct Report {
    pub received: Option<Time>,
    pub values: Vec<String>,
    pub startup: StartupMs,
}

pub fn tiles(numbers: &Numbers) -> Vec<Tile> {
    let tile = |id, title, value, definition| Tile {
        id,
        title,
        definition,
        value: Count(value),
        more: None,
    };
    let [day, week, month] = numbers.activity.active;
    let [returning_day, returning_week, returning_month] = numbers.activity.returning;
    let mut tiles = vec![
        tile(
            "starts",
            "Starts",
            numbers.starts.iter().sum(),
            "Reports of a start that came within the range, one for each start of a container.",
        ),
        tile(
            "instances",
            "Instances, ever",
            numbers.instances,
            "Different instance ids in all reports since the first one, whatever the range and the filters.",
        ),
        tile(
            "active-24h",
            "Active, 24 h",
            day,
            "Instances that sent a report within the last 24 hours, each counted once.",
        ),
        tile(
            "active-7d",
            "Active, 7 d",
            week,
            "Instances that sent a report within the last 7 days, each counted once.",
        ),
        tile(
            "active-30d",
            "Active, 30 d",
            month,
            "Instances that sent a report within the last 30 days, each counted once.",
        ),
        tile(
            "returning-24h",
            "Returning, 24 h",
            returning_day,
            "Instances active within 24 hours that were seen on two or more different days, ever.",
        ),
        tile(
            "returning-7d",
            "Returning, 7 d",
            returning_week,
            "Instances active within 7 days that were seen on two or more different days, ever.",
        ),
        tile(
            "returning-30d",
            "Returning, 30 d",
            returning_month,
            "Instances active within 30 days that were seen on two or more different days, ever.",
        ),
    ];
    if let Some((version, active)) = &numbers.newest_version {
        let mut newest = tile(
            "newest-version",
            "On the newest version",
            *active,
            "Instances active within 30 days whose latest report has the newest released version.",
        );
        let share = Share { part: *active, whole: month };
        newest.more = Some((version.clone(), share));
        tiles.push(newest);
    }
    tiles
}

pub fn breakdowns(numbers: &Numbers) -> Vec<Breakdown> {
    let named = Numbers::BREAKDOWNS.iter().zip(&numbers.breakdowns);
    named
        .map(|(dimension, by_value)| {
            let whole = by_value.iter().map(|(_, active)| active).sum();
            let (id, title) = part(*dimension);
            let row = |(value, active): &(String, u64)| {
                (value.clone(), Count(*active), Share { part: *active, whole })
            };
            Breakdown { id, title, rows: by_value.iter().map(row).collect() }
        })
        .collect()
}

pub fn startup_tables(numbers: &Numbers) -> Vec<StartupTable> {
    let rows = |by_value: &ByValue<StartupTimes>| {
        by_value.iter().map(|(value, times)| (value.clone(), times.into())).collect()
    };
    let named = [
        ("startup-by-architecture", "Startup time by architecture", "Architecture"),
        ("startup-by-version", "Startup time by version", "Version"),
    ];
    let tables = named.into_iter().zip(&numbers.startup_by);
    tables
        .map(|((id, title, column), by_value)| StartupTable {
            id,
            title,
            column,
            rows: rows(by_value),
        })
        .collect()
}

pub fn cohorts(numbers: &Numbers) -> Vec<Cohort> {
    let mut cohorts: Vec<(i64, Vec<u64>)> = Vec::new();
    for row in &numbers.cohorts {
        if cohorts.last().is_none_or(|(week, _)| *week != row.week) {
            cohorts.push((row.week, Vec::new()));
        }
        if let (Some((_, later)), Ok(weeks)) =
            (cohorts.last_mut(), usize::try_from(row.later_weeks))
        {
            later.resize(later.len().max(weeks + 1), 0);
            later[weeks] = row.instances;
        }
    }
    let last = cohorts.last().map_or(0, |(week, _)| *week);
    let columns = cohorts.iter().map(|(week, _)| (last - week) / 7).max().unwrap_or(0);
    cohorts
        .into_iter()
        .map(|(week, later)| {
            let whole = later.first().copied().unwrap_or(0);
            let share = |weeks: i64| {
                let part = usize::try_from(weeks).ok().and_then(|weeks| later.get(weeks)).copied();
                (week + 7 * weeks <= last).then_some(Share { part: part.unwrap_or(0), whole })
            };
            Cohort {
                week: period(Hour::of(start_of_day(week)), false),
                size: Count(whole),
                later: (1..=columns).map(share).collect(),
            }
        })
        .collect()
}

pub fn latest(numbers: &Numbers) -> Vec<Report> {
    let reports = numbers.latest.iter();
    reports
        .map(|report| Report {
            received: report.received_at.map(Time),
            values: Numbers::BREAKDOWNS
                .map(|dimension| report.profile.get(dimension).to_string())
                .into(),
            #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
            startup: StartupMs(report.startup_ms.map(|ms| ms as f64)),
        })
        .collect()
}
