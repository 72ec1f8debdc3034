//! `GET /`: the page that shows what matters.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};

use super::{
    Html,
    cache::Basis,
    chart::{self, Chart, Form, Svg},
    format::{Count, Share, StartupMs, Time, period, seconds, tick},
    health::Health,
    numbers::{ByValue, Numbers, TURNS},
    view::{Step, View},
};
use crate::{
    domain::{Dimension, Hour, StartupTimes, start_of_day},
    http::{AppState, error::ApiError, extract::Parameters},
};

/// A chart and the table of its numbers.
struct Figure {
    /// Its id and that of its table.
    id: &'static str,
    title: &'static str,
    note: &'static str,
    svg: Svg,
    /// Names of the series, in the order of their colours; none where there is only one.
    legend: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// A row of a table: its period, and its cells.
struct Row {
    period: String,
    cells: Vec<Cell>,
}

enum Cell {
    Count(Count),
    Share(Share),
    Startup(StartupMs),
    Words(String),
    None,
}

/// Number, its definition, and the name that it has in the URLs of the API.
struct Tile {
    id: &'static str,
    title: &'static str,
    definition: &'static str,
    value: Count,
    /// A version, and its share.
    more: Option<(String, Share)>,
}

struct Breakdown {
    id: &'static str,
    title: &'static str,
    rows: Vec<(String, Count, Share)>,
}

struct StartupTable {
    id: &'static str,
    title: &'static str,
    column: &'static str,
    rows: Vec<(String, StartupRow)>,
}

struct StartupRow {
    measured: Count,
    p50: StartupMs,
    p90: StartupMs,
    p99: StartupMs,
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

struct Cohort {
    week: String,
    size: Count,
    /// Share of the instances that was seen in each later week; `None` where the week has not come.
    later: Vec<Option<Share>>,
}

struct Report {
    received: Option<Time>,
    values: Vec<String>,
    startup: StartupMs,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    view: View,
    since: String,
    step: &'static str,
    tiles: Vec<Tile>,
    startup: StartupRow,
    figures: Vec<Figure>,
    breakdowns: Vec<Breakdown>,
    startup_tables: Vec<StartupTable>,
    cohorts: Vec<Cohort>,
    latest: Vec<Report>,
    choices: [Vec<String>; 2],
    health: Health,
    grafana: Option<String>,
    /// True if there is a public view.
    public: bool,
}

#[derive(Template)]
#[template(path = "empty.html")]
struct Empty {
    address: String,
    health: Health,
}

/// Answers the page of a view; before the first report the page that shows how to send it.
pub async fn dashboard(
    State(state): State<AppState>,
    headers: HeaderMap,
    Parameters(view): Parameters<View>,
) -> Result<Response, ApiError> {
    let view = view.normal();
    let basis = Basis::of(&state);
    if let Some(page) = state.pages.find(&view, basis) {
        return page.answer(&headers);
    }
    let own = state.clone();
    let reading = async move {
        let now = own.clock.now();
        let numbers = Numbers::read(&own.database, now, &view).await?;
        Ok::<_, ApiError>((view, numbers))
    };
    let (view, numbers) = state.in_turns(TURNS, reading).await?;
    let health = Health::of(&state);
    if numbers.instances == 0 {
        let address = address(&headers);
        return Html::new(&Empty { address, health })?.answer(&headers);
    }
    let page = Html::new(&page(view.clone(), numbers, health, &state)?)?;
    state.pages.keep(view, basis, page.clone());
    page.answer(&headers)
}

/// The address of this server, as the browser knows it. A proxy that ends TLS says so.
fn address(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or("localhost:8080");
    let scheme = match headers.get("x-forwarded-proto").map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}

fn page(
    view: View,
    numbers: Numbers,
    health: Health,
    state: &AppState,
) -> Result<Dashboard, ApiError> {
    Ok(Dashboard {
        since: period(numbers.periods.first(), numbers.periods.step == Step::Hour),
        step: numbers.periods.step.name(),
        tiles: tiles(&numbers),
        startup: StartupRow::from(&numbers.startup_of_range()),
        figures: figures(&numbers)?,
        breakdowns: breakdowns(&numbers),
        startup_tables: startup_tables(&numbers),
        cohorts: cohorts(&numbers),
        latest: latest(&numbers),
        choices: numbers.choices,
        view,
        health,
        grafana: state.grafana_url.clone(),
        public: state.public.is_some(),
    })
}

fn tiles(numbers: &Numbers) -> Vec<Tile> {
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

#[expect(clippy::cast_precision_loss, reason = "a place on a chart")]
fn figures(numbers: &Numbers) -> Result<Vec<Figure>, ApiError> {
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

fn breakdowns(numbers: &Numbers) -> Vec<Breakdown> {
    let named = Numbers::BREAKDOWNS.iter().zip(&numbers.breakdowns);
    named
        .map(|(dimension, by_value)| {
            let whole = by_value.iter().map(|(_, active)| active).sum();
            let (id, title) = match dimension {
                Dimension::ImageVersion => ("versions", "Versions"),
                Dimension::Architecture => ("architectures", "Architectures"),
                Dimension::DbType => ("databases", "Databases"),
                Dimension::ContainerRuntime => ("runtimes", "Container runtimes"),
                Dimension::Os | Dimension::TelemetryVersion => ("os", "Operating systems"),
            };
            let row = |(value, active): &(String, u64)| {
                (value.clone(), Count(*active), Share { part: *active, whole })
            };
            Breakdown { id, title, rows: by_value.iter().map(row).collect() }
        })
        .collect()
}

fn startup_tables(numbers: &Numbers) -> Vec<StartupTable> {
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

fn cohorts(numbers: &Numbers) -> Vec<Cohort> {
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

fn latest(numbers: &Numbers) -> Vec<Report> {
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
