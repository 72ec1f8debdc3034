//! The series of the server's own metrics, one sample a minute.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;

use super::{Reader, growth, growth_of_a_gauge};
use crate::{
    metrics::Metric,
    promql::{
        error::Result,
        matcher::Matcher,
        parse,
        plan::Growth,
        series::{Labels, NAME, Series},
    },
    storage::{LONGEST_GAP, is_counter},
};

impl Reader<'_> {
    /// The series that are selected: their numbers in the database, and their labels.
    pub(super) async fn selected_server_series(&self) -> Result<Vec<(i64, Labels)>> {
        let only_name = self.wanted.selector.only_name();
        if Metric::ALL.iter().any(|metric| only_name == Some(metric.name())) {
            return Ok(Vec::new());
        }
        let known = self.database.sample_series().await?;
        let mut selected = Vec::new();
        for (id, series) in known {
            let labels = stored_labels(&series);
            let name = labels.get(NAME).map_or("", |name| &**name);
            if self.wanted.selector.selects_name(name).await && self.selects_labels(&labels).await {
                self.held.with(selected.len() + 1, self.grid.count)?;
                selected.push((id, labels));
            }
        }
        Ok(selected)
    }

    /// The series that are selected, with their values.
    pub(super) async fn server_series(&self) -> Result<Vec<Series>> {
        let selected = self.selected_server_series().await?;
        if selected.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, labels): (Vec<_>, Vec<_>) = selected.into_iter().unzip();
        if self.wanted.growth.is_some()
            && let Some(gauge) = names(&labels).find(|name| !is_counter(name))
        {
            return Err(growth_of_a_gauge(gauge));
        }
        let time =
            |time: i64| Timestamp::from_millisecond(time.min(self.now)).unwrap_or(Timestamp::MIN);
        let ends: Vec<Timestamp> = self.times().map(time).collect();
        let tables = if self.wanted.growth.is_some() { 2 } else { 1 };
        self.held.check_table(ids.len(), tables * ends.len())?;
        let at_end = self.database.samples_at(&ids, &ends).await?;
        let fresh = |sample: &Option<(Timestamp, f64)>, end: Timestamp| {
            let (taken, value) = (*sample)?;
            let age = end.as_second() - taken.as_second();
            (age <= (LONGEST_GAP + 1) * 60).then_some(value)
        };
        let Some(Growth { range_ms, per_second }) = self.wanted.growth else {
            return Ok(labels
                .into_iter()
                .zip(at_end)
                .map(|(labels, row)| {
                    let points =
                        row.iter().zip(&ends).map(|(sample, end)| fresh(sample, *end)).collect();
                    Series { labels, points }
                })
                .collect());
        };
        let begins: Vec<Timestamp> =
            self.times().map(|end| time(end.saturating_sub(range_ms))).collect();
        let at_begin = self.database.samples_at(&ids, &begins).await?;
        let firsts = self.database.first_samples(&ids).await?;
        let mut series = Vec::new();
        let rows = labels.into_iter().zip(at_end).zip(at_begin).zip(firsts);
        for (((mut labels, ended), begun), first) in rows {
            labels.remove(NAME);
            let points = (0..self.grid.count)
                .map(|place| {
                    let (taken, end) = ended[place]?;
                    // Without a sample within the range, the one before it must still hold.
                    if taken <= begins[place] {
                        fresh(&ended[place], ends[place])?;
                    }
                    // A series that began within the range grows from its first sample.
                    let (_, begin) = begun[place].or(first)?;
                    Some(growth(end - begin, range_ms, per_second))
                })
                .collect();
            series.push(Series { labels, points });
        }
        Ok(series)
    }
}

fn names(labels: &[Labels]) -> impl Iterator<Item = &str> {
    labels.iter().filter_map(|labels| labels.get(NAME).map(|name| &**name))
}

/// The labels of a stored series. Its name in the database has the text format, which is a selector
/// of PromQL, too.
fn stored_labels(series: &str) -> Labels {
    let Ok(selector) = parse::selector(series) else {
        return Labels::new();
    };
    let label = |matcher: Matcher| {
        let value = Arc::from(matcher.only_value()?);
        Some((Cow::Owned(matcher.label), value))
    };
    selector.matchers.into_iter().filter_map(label).collect()
}
