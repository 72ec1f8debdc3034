//! The charts of the page over time, each with the table of its numbers.

use super::{
    chart::{self, Chart, Form, Svg},
    format::{Count, Share, StartupMs, period, seconds, tick},
    numbers::Numbers,
    view::Step,
};
use crate::{domain::StartupTimes, http::error::ApiError};

/// A chart and the table of its numbers.
#[derive(Debug)]
pub struct Figure {
    /// Its id and that of its table.
    pub id: &'static str,
    pub title: &'static str,
    pub note: &'static str,
    pub svg: Svg,
    /// Names of the series, in the order of their colours; none where there is only one.
    pub legend: Vec<String>,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

/// A row of a table: its period, and its cells.
#[derive(Debug)]
pub struct Row {
    pub period: String,
    pub cells: Vec<Cell>,
}

/// A cell of a table.
#[derive(Debug)]
pub enum Cell {
    Count(Count),
    Share(Share),
    Startup(StartupMs),
    Words(String),
    None,
}

#[expect(clippy::cast_precision_loss, reason = "a place on a chart")]
pub fn figures(numbers: &Numbers) -> Result<Vec<Figure>, ApiError> {
    let hours = numbers.periods.step == Step::Hour;
    let begins = &numbers.periods.begins;
    let years = matches!(numbers.periods.step, Step::Week | Step::FourWeeks);
    let ticks: Vec<String> = begins.iter().map(|begin| tick(*begin, hours, years)).collect();
    let periods: Vec<String> = begins.iter().map(|begin| period(*begin, hours)).collect();
    let rows = |cells: &dyn Fn(usize) -> Vec<Cell>| -> Vec<Row> {
        let rows = periods.iter().enumerate();
        rows.map(|(place, period)| Row { period: period.clone(), cells: cells(place) }).collect()
    };
    let chart = |series, unit| Chart { ticks: &ticks, series, unit };

    let starts = numbers.starts.iter().map(|starts| Some(*starts as f64)).collect();
    let down = numbers.outage_seconds.iter().any(|seconds| *seconds > 0);
    let mut columns = vec!["Starts".to_owned()];
    columns.extend(down.then(|| "Not known for".to_owned()));
    let starts = Figure {
        id: "starts-over-time",
        title: "Starts over time",
        note: "Reports of a start in each period. The last period is not over.",
        svg: chart(vec![starts], chart::count).draw(Form::Bars)?,
        legend: Vec::new(),
        columns,
        rows: rows(&|place| {
            let starts = Cell::Count(Count(numbers.starts.get(place).copied().unwrap_or(0)));
            let seconds = numbers.outage_seconds[place];
            let outage = if seconds > 0 { Cell::Words(length(seconds)) } else { Cell::None };
            if down { vec![starts, outage] } else { vec![starts] }
        }),
    };

    let versions = &numbers.versions;
    let names: Vec<String> = versions.iter().map(|(version, _)| version.clone()).collect();
    let lines = versions.iter().map(|(_, active)| floats(active)).collect();
    let wholes: Vec<u64> = (0..begins.len())
        .map(|place| versions.iter().filter_map(|(_, active)| active[place]).sum())
        .collect();
    let share =
        |place: usize, active: Option<u64>| Some(Share { part: active?, whole: wholes[place] });
    let shares = versions.iter().map(|(_, active)| {
        let active = active.iter().enumerate();
        active.map(|(place, active)| Some(share(place, *active)?.ratio())).collect()
    });
    let by_version = Figure {
        id: "versions-over-time",
        title: "Versions over time",
        note: "Instances active within 7 days at the end of each period, by the version of their latest report.",
        svg: chart(lines, chart::count).draw(Form::Lines)?,
        legend: names.clone(),
        columns: names.clone(),
        rows: rows(&|place| {
            let cells = versions.iter().map(|(_, active)| active[place]);
            cells.map(|active| active.map_or(Cell::None, |n| Cell::Count(Count(n)))).collect()
        }),
    };
    let shares = Figure {
        id: "version-shares-over-time",
        title: "Share of each version",
        note: "The same as shares of all instances active within 7 days: the adoption of each version.",
        svg: chart(shares.collect(), chart::per_cent).draw(Form::Areas)?,
        legend: names.clone(),
        columns: names,
        rows: rows(&|place| {
            let cells = versions.iter().map(|(_, active)| share(place, active[place]));
            cells.map(|share| share.map_or(Cell::None, Cell::Share)).collect()
        }),
    };

    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];
    let of =
        |place: usize, q: f64| numbers.startup.get(place).and_then(|times| times.quantile_ms(q));
    let lines = quantiles.iter().map(|(_, q)| (0..begins.len()).map(|at| of(at, *q)).collect());
    let names: Vec<String> = quantiles.iter().map(|(name, _)| (*name).to_owned()).collect();
    let startup = Figure {
        id: "startup-over-time",
        title: "Startup time over time",
        note: "Half of the measured starts of a period took no longer than p50, nine of ten than p90, 99 of a hundred than p99.",
        svg: chart(lines.collect(), seconds).draw(Form::Lines)?,
        legend: names.clone(),
        columns: names.into_iter().chain(["Measured".to_owned()]).collect(),
        rows: rows(&|place| {
            let cells = quantiles.iter().map(|(_, q)| Cell::Startup(StartupMs(of(place, *q))));
            let measured = numbers.startup.get(place).map_or(0, StartupTimes::count);
            cells.chain([Cell::Count(Count(measured))]).collect()
        }),
    };
    Ok(vec![starts, by_version, shares, startup])
}

#[expect(clippy::cast_precision_loss, reason = "a place on a chart")]
fn floats(counts: &[Option<u64>]) -> Vec<Option<f64>> {
    counts.iter().map(|count| count.map(|count| count as f64)).collect()
}

/// A length of time, in its largest unit.
fn length(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
