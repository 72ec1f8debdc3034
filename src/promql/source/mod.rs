//! The source of series: reads those that an expression needs from the counts in storage.

mod calendar;
mod fleet;
mod gaps;
mod server;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use prometheus_client::metrics::MetricType;

use super::{
    error::{QueryError, Result},
    grouping::Grouping,
    limits::Held,
    matcher::{Matcher, all_match},
    plan::Read,
    selector::Selector,
    series::{Grid, Labels, Series},
};
pub use crate::storage::Numbered;
use crate::{
    domain::{Dimension, Hour, Moment, Profile},
    metrics::Metric,
    storage::{Database, Groups},
};

/// Time after the present that a moment may have, for a client whose clock is ahead.
const AHEAD_MS: i64 = 5 * 60_000;

/// Reads the selected series, with their values at each moment of the grid, and adds them to what
/// the query holds.
pub async fn read(
    database: &Database,
    now: Timestamp,
    grid: Grid,
    wanted: &Read,
    held: &mut Held,
) -> Result<Vec<Series>> {
    let now = now.as_millisecond();
    let held_before = held.before_next_selector();
    let mut reader = Reader { database, now, grid, wanted, held: held_before, among: None };
    let mut series = Vec::new();
    for metric in Metric::ALL {
        if !wanted.selector.selects_name(metric.name()).await {
            continue;
        }
        if wanted.growth.is_some() && metric.kind() == MetricType::Gauge {
            return Err(growth_of_a_gauge(metric.name()));
        }
        if wanted.limit.is_some_and(|limit| reader.held.series() > limit) {
            break;
        }
        let more = reader.fleet_series(metric).await?;
        reader.held = reader.held.with(more.len(), grid.count)?;
        series.extend(more);
    }
    reader.leave_gaps(&mut series).await?;
    let more = reader.server_series().await?;
    *held = reader.held.with(more.len(), grid.count)?;
    series.extend(more);
    // Nothing has a value in the future. An offset may reach there and is answered as of now.
    for (moment, time) in grid.times().enumerate() {
        if time > now.saturating_add(AHEAD_MS) {
            series.iter_mut().for_each(|series| series.points[moment] = None);
        }
    }
    Ok(series)
}

/// Visits the labels of each series that a selector selects, whenever it had a value. With `keep`,
/// series that differ in no other label are visited as one. Series are not held, so that there may be
/// any number.
///
/// # Errors
/// An error of the database or of `visit`.
pub async fn existing(
    database: &Database,
    now: Timestamp,
    selector: &Selector,
    keep: Option<&Grouping>,
    mut visit: impl FnMut(Labels) -> Result<()>,
) -> Result<()> {
    let grid = Grid::at(now.as_millisecond());
    let selector = Selector { offset_ms: 0, ..selector.clone() };
    let wanted = Read { keep: keep.cloned(), ..Read::from(selector) };
    let held = Held::default();
    let reader = Reader { database, now: grid.start, grid, wanted: &wanted, held, among: None };
    for metric in Metric::ALL {
        if wanted.selector.selects_name(metric.name()).await {
            reader.existing_fleet_series(metric, &mut visit).await?;
        }
    }
    for (_, labels) in reader.selected_server_series().await? {
        visit(labels)?;
    }
    Ok(())
}

/// Reads the present values of the series of a metric that a selector selects, of some profiles alone.
///
/// # Errors
/// See [`QueryError`].
pub async fn present(
    database: &Database,
    now: Timestamp,
    selector: &Selector,
    metric: Metric,
    among: &Numbered,
) -> Result<Vec<(Labels, f64)>> {
    if !selector.selects_name(metric.name()).await {
        return Ok(Vec::new());
    }
    let wanted = Read::from(selector.clone());
    let reader = Reader::at_present(database, now, &wanted, Some(among));
    Ok(values(reader.fleet_series(metric).await?))
}

/// Reads the latest values of the series of the server's own that a selector selects.
///
/// # Errors
/// See [`QueryError`].
pub async fn present_of_server(
    database: &Database,
    now: Timestamp,
    selector: &Selector,
) -> Result<Vec<(Labels, f64)>> {
    let wanted = Read::from(selector.clone());
    Ok(values(Reader::at_present(database, now, &wanted, None).server_series().await?))
}

/// The series that have a value at the one moment.
fn values(series: Vec<Series>) -> Vec<(Labels, f64)> {
    let value = |series: Series| Some((series.labels, series.points.into_iter().next()??));
    series.into_iter().filter_map(value).collect()
}

fn growth_of_a_gauge(name: &str) -> QueryError {
    QueryError::unsupported(format!("increase() or rate() of a gauge ({name})"))
}

/// The values of dimensions that were matched so far. Many profiles have the same few values.
type KnownValues<'a> = HashMap<(Dimension, &'a str), bool>;

struct Reader<'a> {
    database: &'a Database,
    /// The present, in milliseconds since 1970.
    now: i64,
    grid: Grid,
    wanted: &'a Read,
    /// The amount that the query holds already.
    held: Held,
    /// The profiles that are read; all where it is `None`.
    among: Option<&'a Numbered>,
}

impl<'a> Reader<'a> {
    fn at_present(
        database: &'a Database,
        now: Timestamp,
        wanted: &'a Read,
        among: Option<&'a Numbered>,
    ) -> Self {
        let (now, held) = (now.as_millisecond(), Held::default());
        Self { database, now, grid: Grid::at(now), wanted, held, among }
    }
}

impl Reader<'_> {
    /// The profiles that are selected, in groups that are counted together, and the labels of each
    /// group. `own` are the labels that the metric has besides those of a report, and `parts` is the
    /// number of its series for each group that will be held.
    async fn groups(&self, own: &[&str], parts: usize) -> Result<(Vec<Labels>, Groups)> {
        if !self.selects_others(own) {
            return Ok((Vec::new(), Groups::new()));
        }
        let all;
        let profiles = if let Some(profiles) = self.among {
            profiles
        } else {
            all = self.database.profiles().await?;
            &*all
        };
        let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
        let mut groups = Groups::new();
        let keep = self.wanted.keep.as_ref();
        let mut known = KnownValues::new();
        for (number, profile) in profiles {
            if self.selects_profile(profile, &mut known).await {
                let (labels, next) = (profile_labels(profile, keep), places.len());
                if !places.contains_key(&labels) {
                    let fits = self.held.with((next + 1).saturating_mul(parts), self.grid.count);
                    let enough = |limit| self.held.series() + next * parts > limit;
                    if fits.is_err() && self.wanted.limit.is_some_and(enough) {
                        continue;
                    }
                    fits?;
                }
                groups.push((*number, *places.entry(labels).or_insert(next)));
            }
        }
        let mut labels = vec![Labels::new(); places.len()];
        for (group_labels, place) in places {
            labels[place] = group_labels;
        }
        Ok((labels, groups))
    }

    /// True if a series is selected that has no labels but those of a report and the `own` ones of its
    /// metric: each matcher of another label must select the empty value.
    fn selects_others(&self, own: &[&str]) -> bool {
        self.wanted
            .selector
            .label_matchers()
            .filter(|matcher| {
                let label = matcher.label.as_str();
                !own.contains(&label)
                    && Dimension::ALL.iter().all(|dimension| dimension.name() != label)
            })
            .all(|matcher| matcher.is_match(""))
    }

    /// True if all matchers of one label select a value.
    async fn selects(&self, label: &str, value: &str) -> bool {
        let matchers = self.wanted.selector.label_matchers();
        let matchers = matchers.filter(|matcher| matcher.label == label);
        all_match(matchers.map(|matcher| (matcher, value))).await
    }

    /// True if all matchers select these labels.
    async fn selects_labels(&self, labels: &Labels) -> bool {
        let value =
            |matcher: &Matcher| labels.get(matcher.label.as_str()).map_or("", |value| &**value);
        let matchers = self.wanted.selector.label_matchers();
        all_match(matchers.map(|matcher| (matcher, value(matcher)))).await
    }

    /// True if all matchers of dimensions select a profile.
    async fn selects_profile<'p>(&self, profile: &'p Profile, known: &mut KnownValues<'p>) -> bool {
        for dimension in Dimension::ALL {
            let mut matchers = self.wanted.selector.label_matchers();
            if matchers.all(|matcher| matcher.label != dimension.name()) {
                continue;
            }
            let value = profile.get(dimension);
            let selected = if let Some(selected) = known.get(&(dimension, value)) {
                *selected
            } else {
                let selected = self.selects(dimension.name(), value).await;
                known.insert((dimension, value), selected);
                selected
            };
            if !selected {
                return false;
            }
        }
        true
    }

    /// The values of a metric's own label that are selected, with their places in the list.
    async fn selected_values(&self, label: &str, values: Vec<String>) -> Vec<(usize, String)> {
        let mut selected = Vec::new();
        for (place, value) in values.into_iter().enumerate() {
            if self.selects(label, &value).await {
                selected.push((place, value));
            }
        }
        selected
    }

    /// The moments of the grid, moved by the offset.
    fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let offset = self.wanted.selector.offset_ms;
        self.grid.times().map(move |time| time.saturating_sub(offset))
    }

    fn moments(&self) -> Moments {
        // Within the open hour all reports so far count. At its very beginning there are none yet.
        let open_hour = Hour::of_ms(self.now).start_ms();
        let moment = |time: i64| {
            if time > open_hour { Moment::Now } else { Moment::At(Hour::of_ms(time)) }
        };
        let range = self.wanted.growth.map_or(0, |growth| growth.range_ms);
        let mut asked: Vec<Moment> = self
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

/// The moments of a query.
struct Moments {
    /// The moments that storage is asked for, in order.
    asked: Vec<Moment>,
    /// The place of each moment of the grid among them.
    at: Vec<Option<usize>>,
    /// The place of the moment a range before each moment of the grid.
    before: Vec<Option<usize>>,
}

/// The growth of a counter by an amount within a range.
fn growth(amount: f64, range_ms: i64, per_second: bool) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a length of time")]
    if per_second { amount * 1000.0 / range_ms as f64 } else { amount }
}

/// The labels of a profile that a sum keeps, or all of them.
fn profile_labels(profile: &Profile, keep: Option<&Grouping>) -> Labels {
    Dimension::ALL
        .into_iter()
        .filter(|dimension| keep.is_none_or(|keep| keep.keeps(dimension.name())))
        .map(|dimension| (Cow::Borrowed(dimension.name()), Arc::from(&**profile.get(dimension))))
        .collect()
}
