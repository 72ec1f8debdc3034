//! The server's own metrics.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;

use super::{Reader, Result, check_size, growth};
use crate::{
    metrics::Metric,
    promql::{
        matcher::Matcher,
        parse,
        plan::Growth,
        series::{Labels, NAME, Series},
    },
    storage::{LONGEST_GAP, is_counter},
};

impl Reader<'_> {
    /// The server's own metrics that are selected: the numbers of their series, and labels.
    pub(super) async fn selected_of_server(&self) -> Result<Vec<(i64, Labels)>> {
        if Metric::ALL.iter().any(|metric| self.names_only(metric.name())) {
            return Ok(Vec::new());
        }
        let known = self.database.sample_series().await?;
        let mut selected = Vec::new();
        for (id, series) in known {
            let labels = stored_labels(&series);
            let name = labels.get(NAME).map_or("", |name| &**name);
            if self.wanted.selector.selects_name(name).await && self.selects_labels(&labels).await {
                selected.push((id, labels));
            }
        }
        Ok(selected)
    }

    pub(super) async fn of_server(&self) -> Result<Vec<Series>> {
        let selected = self.selected_of_server().await?;
        if selected.is_empty() {
            return Ok(Vec::new());
        }
        check_size(selected.len().saturating_mul(self.grid.count))?;
        let (ids, labels): (Vec<_>, Vec<_>) = selected.into_iter().unzip();
        let time =
            |time: i64| Timestamp::from_millisecond(time.min(self.now)).unwrap_or(Timestamp::MIN);
        let ends: Vec<Timestamp> = self.times().map(time).collect();
        let at_end = self.database.samples_at(&ids, &ends).await?;
        let fresh = |sample: &Option<(Timestamp, f64)>, end: Timestamp| {
            let (taken, value) = (*sample)?;
            let age = end.as_second() - taken.as_second();
            (age <= (LONGEST_GAP + 1) * 60).then_some(value)
        };
        if self.wanted.growth.is_some()
            && let Some(gauge) = names(&labels).find(|name| !is_counter(name))
        {
            return Err(super::growth_of_a_gauge(gauge));
        }
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
            self.times().map(|moment| time(moment.saturating_sub(range_ms))).collect();
        let at_begin = self.database.samples_at(&ids, &begins).await?;
        let firsts = self.database.first_samples(&ids).await?;
        let mut series = Vec::new();
        let rows = labels.into_iter().zip(at_end).zip(at_begin).zip(firsts);
        for (((mut labels, ended), begun), first) in rows {
            labels.remove(NAME);
            let points = (0..self.grid.count)
                .map(|place| {
                    let (taken, end) = ended[place]?;
                    // It grew within the range, or it is known to have stayed the same.
                    let within = taken > begins[place];
                    if !within {
                        fresh(&ended[place], ends[place])?;
                    }
                    // Where nothing is known of the beginning, from the first that is known.
                    let (_, begin) = begun[place].or(first)?;
                    Some(growth(end - begin, range_ms, per_second))
                })
                .collect();
            series.push(Series { labels, points });
        }
        Ok(series)
    }

    /// Whether the selector asks for this name and no other.
    fn names_only(&self, name: &str) -> bool {
        self.wanted
            .selector
            .matchers
            .iter()
            .any(|of| of.name == NAME && of.only_value() == Some(name))
    }
}

fn names(labels: &[Labels]) -> impl Iterator<Item = &str> {
    labels.iter().filter_map(|labels| labels.get(NAME).map(|name| &**name))
}

/// The labels of a series that is stored as the text format writes it, which PromQL reads, too.
fn stored_labels(series: &str) -> Labels {
    let Ok(selector) = parse::selector(series) else {
        return Labels::new();
    };
    let label = |of: Matcher| Some((Cow::Owned(of.name.clone()), Arc::from(of.only_value()?)));
    selector.matchers.into_iter().filter_map(label).collect()
}
