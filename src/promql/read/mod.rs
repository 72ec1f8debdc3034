//! Reads the series that an expression needs out of what storage has counted.

mod deployments;
mod server;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use prometheus_client::metrics::MetricType;

use super::{
    MAX_SERIES, MAX_VALUES,
    error::QueryError,
    matcher::{Matcher, all_match},
    plan::{Grouping, Read},
    selector::Selector,
    series::{Grid, Labels, NAME, Series},
};
use crate::{
    domain::{Dimension, Profile},
    metrics::Metric,
    storage::{Database, Groups, NOW},
};

type Result<T> = std::result::Result<T, QueryError>;

/// How far after the present a moment may lie, for a client whose clock is ahead.
const AHEAD_MS: i64 = 5 * 60_000;
const HOUR_MS: i64 = 3_600_000;

/// Refuses to hold more values than a small machine can.
pub fn check_size(values: usize) -> Result<()> {
    if values > MAX_VALUES {
        return Err(QueryError::Execution(format!(
            "the query has to hold more than {MAX_VALUES} values: ask for less time, longer steps or \
             fewer series"
        )));
    }
    Ok(())
}

/// Reads the selected series, at each moment of the grid.
pub async fn read(
    database: &Database,
    now: Timestamp,
    grid: Grid,
    wanted: &Read,
) -> Result<Vec<Series>> {
    let reader = Reader { database, now: now.as_millisecond(), grid, wanted };
    let mut series = Vec::new();
    for metric in Metric::ALL {
        if !wanted.selector.selects_name(metric.name()).await {
            continue;
        }
        if wanted.growth.is_some() && metric.kind() == MetricType::Gauge {
            return Err(growth_of_a_gauge(metric.name()));
        }
        series.extend(reader.metric(metric).await?);
    }
    series.extend(reader.of_server().await?);
    // There is nothing in the future, but for an offset into it: that is answered as of now.
    for (moment, time) in grid.times().enumerate() {
        if time > reader.now.saturating_add(AHEAD_MS) {
            series.iter_mut().for_each(|series| series.points[moment] = None);
        }
    }
    if series.len() > MAX_SERIES {
        return Err(too_many_series());
    }
    Ok(series)
}

/// Tells the labels of all series that a selector selects, whenever they had a value. With
/// `keep`, series that differ in no other label of a report are told as one.
///
/// # Errors
/// What the database says, or that there are too many.
pub async fn existing(
    database: &Database,
    now: Timestamp,
    selector: &Selector,
    keep: Option<&Grouping>,
    mut tell: impl FnMut(Labels) -> Result<()>,
) -> Result<()> {
    let grid = Grid::at(now.as_millisecond());
    let selector = Selector { offset_ms: 0, ..selector.clone() };
    let wanted = Read { keep: keep.cloned(), ..Read::from(selector) };
    let reader = Reader { database, now: grid.start, grid, wanted: &wanted };
    for metric in Metric::ALL {
        if wanted.selector.selects_name(metric.name()).await {
            for series in reader.metric(metric).await? {
                // A counter that is there stays; a gauge may have come to its end.
                if metric.kind() == MetricType::Gauge || series.points[0].is_some() {
                    tell(series.labels)?;
                }
            }
        }
    }
    for (_, labels) in reader.selected_of_server().await? {
        tell(labels)?;
    }
    Ok(())
}

fn growth_of_a_gauge(name: &str) -> QueryError {
    QueryError::unsupported(format!("increase() or rate() of a gauge ({name})"))
}

/// More than [`MAX_SERIES`].
pub fn too_many_series() -> QueryError {
    QueryError::Execution(format!("the query selects more than {MAX_SERIES} series"))
}

/// Whether a value of a dimension is selected. Many profiles have the same few values.
type KnownValues<'a> = HashMap<(Dimension, &'a str), bool>;

struct Reader<'a> {
    database: &'a Database,
    now: i64,
    grid: Grid,
    wanted: &'a Read,
}

impl Reader<'_> {
    /// The profiles that are selected, in groups that are to be counted together, and the labels
    /// of each group. `own` are labels that the metric has besides those of a report.
    async fn groups(&self, own: &[&str]) -> Result<(Vec<Labels>, Groups)> {
        if !self.selects_others(own) {
            return Ok((Vec::new(), Groups::new()));
        }
        let profiles = self.database.profiles().await?;
        let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
        let mut groups = Groups::new();
        let keep = self.wanted.keep.as_ref();
        let mut known = KnownValues::new();
        for (number, profile) in profiles.iter() {
            if self.selects_profile(profile, &mut known).await {
                let next = places.len();
                let place = *places.entry(profile_labels(profile, keep)).or_insert(next);
                groups.push((*number, place));
            }
        }
        let mut labels = vec![Labels::new(); places.len()];
        for (of, place) in places {
            labels[place] = of;
        }
        Ok((labels, groups))
    }

    /// Whether every condition on a label that is neither of a report nor the metric's own lets
    /// pass what has no such label.
    fn selects_others(&self, own: &[&str]) -> bool {
        self.conditions()
            .filter(|of| {
                let name = of.name.as_str();
                !own.contains(&name) && Dimension::ALL.iter().all(|of| of.name() != name)
            })
            .all(|of| of.is_match(""))
    }

    /// Whether the conditions on one label let a value pass.
    async fn selects(&self, label: &str, value: &str) -> bool {
        let conditions = self.conditions().filter(|of| of.name == label);
        all_match(conditions.map(|of| (of, value))).await
    }

    /// Whether all conditions let these labels pass.
    async fn selects_labels(&self, labels: &Labels) -> bool {
        let value = |of: &Matcher| labels.get(of.name.as_str()).map_or("", |value| &**value);
        all_match(self.conditions().map(|of| (of, value(of)))).await
    }

    async fn selects_profile<'p>(&self, profile: &'p Profile, known: &mut KnownValues<'p>) -> bool {
        for of in Dimension::ALL {
            if self.conditions().all(|condition| condition.name != of.name()) {
                continue;
            }
            let value = profile.get(of);
            let selected = if let Some(selected) = known.get(&(of, value)) {
                *selected
            } else {
                let selected = self.selects(of.name(), value).await;
                known.insert((of, value), selected);
                selected
            };
            if !selected {
                return false;
            }
        }
        true
    }

    /// The values of a metric's own label that are selected, with their numbers.
    async fn selected_values(&self, label: &str, values: Vec<String>) -> Vec<(usize, String)> {
        let mut selected = Vec::new();
        for (number, value) in values.into_iter().enumerate() {
            if self.selects(label, &value).await {
                selected.push((number, value));
            }
        }
        selected
    }

    fn conditions(&self) -> impl Iterator<Item = &Matcher> {
        self.wanted.selector.matchers.iter().filter(|of| of.name != NAME)
    }

    fn check(&self, series: usize, moments: usize) -> Result<()> {
        if series > MAX_SERIES {
            return Err(too_many_series());
        }
        check_size(series.saturating_mul(moments.max(self.grid.count)))
    }

    /// The moments of the grid, moved by the offset.
    fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let offset = self.wanted.selector.offset_ms;
        self.grid.times().map(move |time| time.saturating_sub(offset))
    }

    fn moments(&self) -> Moments {
        // Within the running hour all that has come so far counts; at its very beginning, what
        // came before.
        let running_hour = self.now.div_euclid(HOUR_MS) * HOUR_MS;
        let moment = |time: i64| {
            if time > running_hour { NOW } else { time.div_euclid(HOUR_MS) }
        };
        let range = self.wanted.growth.map_or(0, |growth| growth.range_ms);
        let mut asked: Vec<i64> = self
            .times()
            .flat_map(|time| [moment(time), moment(time.saturating_sub(range))])
            .collect();
        asked.sort_unstable();
        asked.dedup();
        let place = |time: i64| asked.binary_search(&moment(time)).ok();
        let at = self.times().map(place).collect();
        let before = self.times().map(|time| place(time.saturating_sub(range))).collect();
        Moments { asked, at, before }
    }
}

/// The moments that storage is asked for, in order, and where those of the grid are among them.
struct Moments {
    asked: Vec<i64>,
    at: Vec<Option<usize>>,
    /// The moment a range before each of them.
    before: Vec<Option<usize>>,
}

fn growth(by: f64, range_ms: i64, per_second: bool) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a length of time")]
    if per_second { by * 1000.0 / range_ms as f64 } else { by }
}

fn profile_labels(profile: &Profile, keep: Option<&Grouping>) -> Labels {
    Dimension::ALL
        .into_iter()
        .filter(|of| keep.is_none_or(|keep| keep.keeps(of.name())))
        .map(|of| (Cow::Borrowed(of.name()), Arc::from(profile.get(of))))
        .collect()
}
