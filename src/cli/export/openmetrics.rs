//! Export of the history of the metrics, as the Prometheus API answers it.

use std::{
    collections::BTreeSet,
    io::{BufWriter, Write},
};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;

use super::{Progress, output::Output};
use crate::{
    clock::Clock,
    domain::{BUCKETS, CalendarWindow, Dimension, Selection, Window, start_of_day},
    metrics::{BUCKET_LABEL, Metric, WINDOW_LABEL, bucket_bounds, bucket_label},
    promql::{Answer, Grid, MAX_SERIES, QueryError, Series, query_range},
    storage::Database,
};

/// Metrics whose history is written. Those that are left out are lists: of single starts with the ids of
/// instances, and of all pairs of weeks.
const METRICS: [Metric; 10] = [
    Metric::Starts,
    Metric::StartupBucket,
    Metric::StartupSum,
    Metric::StartupCount,
    Metric::Instances,
    Metric::InstancesReturned,
    Metric::ActiveInstances,
    Metric::ReturningInstances,
    Metric::CalendarInstances,
    Metric::NewestVersion,
];
/// Moments that are read at a time, at most.
const MOMENTS: usize = 500;

/// A history that is being written.
struct History<'a> {
    database: &'a Database,
    now: Timestamp,
    /// All moments.
    grid: Grid,
    /// Matchers of the report's labels, as PromQL writes them.
    matchers: Vec<String>,
    progress: Progress,
}

/// Writes a sample of each series at each multiple of the step, in milliseconds.
pub async fn write(
    database: &Database,
    clock: &Clock,
    selection: &Selection,
    step: i64,
    output: &mut Output,
) -> anyhow::Result<()> {
    ensure!(
        selection.instance.is_none() && selection.kind.is_none(),
        "--instance and --kind select single reports: the metrics have no such labels"
    );
    let now = clock.now();
    let matchers = selection.values.iter();
    let matchers =
        matchers.map(|(dimension, value)| format!("{}={}", dimension.name(), quoted(value)));
    let mut history = History {
        database,
        now,
        grid: grid(database, selection, now, step).await?,
        matchers: matchers.collect(),
        progress: Progress::begin(),
    };
    let mut out = BufWriter::with_capacity(super::BUFFER, output);
    let mut family = String::new();
    for (place, metric) in METRICS.into_iter().enumerate() {
        if family != metric.family() {
            metric.family().clone_into(&mut family);
            describe(&mut out, metric)?;
        }
        for expression in history.expressions(metric).await? {
            history.write(&mut out, place, &expression).await?;
        }
    }
    out.write_all(b"# EOF\n")?;
    history.progress.end();
    Ok(out.flush()?)
}

/// The multiples of the step from the first report, or the begin of the selection, up to its end.
async fn grid(
    database: &Database,
    selection: &Selection,
    now: Timestamp,
    step: i64,
) -> anyhow::Result<Grid> {
    let first_day = database.calendar_begin(CalendarWindow::Day).await?;
    let first = first_day.map_or(now, start_of_day).max(selection.from.unwrap_or(Timestamp::MIN));
    let past = now.as_millisecond() + 1;
    let past = selection.until.map_or(past, |until| until.as_millisecond().min(past));
    let place = |ms: i64| ms.div_euclid(step) + i64::from(ms.rem_euclid(step) > 0);
    let (first, past) = (place(first.as_millisecond()), place(past));
    let count = usize::try_from(past - first).unwrap_or(0);
    Ok(Grid { start: first * step, step, count })
}

impl History<'_> {
    /// Expressions that have all series of a metric together, each no more than a query may select.
    async fn expressions(&self, metric: Metric) -> anyhow::Result<Vec<String>> {
        let profiles = self.database.profiles().await?;
        let own: Vec<String> = match metric {
            Metric::StartupBucket if profiles.len() * BUCKETS > MAX_SERIES => {
                let bounds = bucket_bounds().map(bucket_label);
                bounds.map(|bound| format!("{BUCKET_LABEL}={}", quoted(&bound))).into()
            }
            Metric::ActiveInstances | Metric::ReturningInstances => {
                Window::ALL.map(|window| format!("{WINDOW_LABEL}={}", quoted(window.name()))).into()
            }
            _ => vec![String::new()],
        };
        let version = Dimension::ImageVersion;
        let by_profile = !matches!(
            metric,
            Metric::Instances
                | Metric::InstancesReturned
                | Metric::CalendarInstances
                | Metric::NewestVersion
        );
        let versions: Vec<String> = if by_profile && profiles.len() > MAX_SERIES {
            let versions: BTreeSet<&str> =
                profiles.iter().map(|(_, profile)| &**profile.get(version)).collect();
            let versions = versions.into_iter();
            versions.map(|value| format!("{}={}", version.name(), quoted(value))).collect()
        } else {
            vec![String::new()]
        };
        let mut expressions = Vec::new();
        for own in &own {
            for version in &versions {
                let matchers = self.matchers.iter().chain([own, version]).map(String::as_str);
                let matchers: Vec<&str> = matchers.filter(|text| !text.is_empty()).collect();
                expressions.push(format!("{}{{{}}}", metric.name(), matchers.join(",")));
            }
        }
        Ok(expressions)
    }

    /// Writes the samples of the series of an expression: of some moments at a time, as many as a query may
    /// hold.
    async fn write(
        &mut self,
        out: &mut impl Write,
        place: usize,
        expression: &str,
    ) -> anyhow::Result<()> {
        let (mut done, mut moments) = (0, MOMENTS);
        while done < self.grid.count {
            let count = moments.min(self.grid.count - done);
            let start = self.grid.start + i64::try_from(done)? * self.grid.step;
            let grid = Grid { start, count, ..self.grid };
            match query_range(self.database, self.now, expression, grid, None).await {
                Ok(Answer::Vector(series)) => {
                    for series in &series {
                        write_series(out, series, grid)?;
                    }
                    done += count;
                }
                Ok(_) => done += count,
                Err(QueryError::Execution(_) | QueryError::Timeout(_)) if count > 1 => {
                    moments = count / 2;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {expression}"));
                }
            }
            let (total, grid) = (METRICS.len() * self.grid.count, self.grid.count);
            self.progress.show(|| {
                format!("exported {} % of the history", (place * grid + done) * 100 / total)
            });
        }
        Ok(())
    }
}

/// Begins a family. A counter's name is that of its series without `_total`.
fn describe(out: &mut impl Write, metric: Metric) -> std::io::Result<()> {
    let family = metric.family();
    let family = family.strip_suffix("_total").unwrap_or(family);
    writeln!(out, "# TYPE {family} {}", metric.kind().as_str())?;
    if let Some(unit) = metric.unit() {
        writeln!(out, "# UNIT {family} {}", unit.as_str())?;
    }
    writeln!(out, "# HELP {family} {}.", metric.help())
}

/// Writes the samples of a series that it has within a grid.
fn write_series(out: &mut impl Write, series: &Series, grid: Grid) -> std::io::Result<()> {
    let mut labels = series.labels.iter();
    let name = series.labels.get("__name__").map_or("", |name| &**name);
    let labels = labels.by_ref().filter(|(label, _)| *label != "__name__");
    let labels: Vec<_> =
        labels.map(|(label, value)| format!("{label}={}", quoted(value))).collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    for (time, value) in grid.times().zip(&series.points) {
        if let Some(value) = value {
            writeln!(out, "{name}{labels} {value} {}", time / 1000)?;
        }
    }
    Ok(())
}

/// A value in quotes, for PromQL and for OpenMetrics alike.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
