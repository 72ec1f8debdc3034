//! The metrics of the fleet, `mattermost_…`, for a scrape of `/metrics`.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    domain::{CalendarWindow, Dimension, Profile, StartupTimes, Window},
    metrics::{Metric, WINDOW_LABEL, bucket_bounds},
    storage::{self, ActiveInstances, Database, Totals},
};

/// Counts of the fleet for one scrape.
#[derive(Debug)]
pub struct Fleet {
    totals: Totals,
    starts: Vec<(Arc<Profile>, u64)>,
    startup: StartupTimes,
    active: ActiveInstances,
    /// Instances of the last window of each kind that is over.
    calendar: Vec<(CalendarWindow, u64)>,
}

impl Fleet {
    /// Reads the counts.
    pub async fn read(database: &Database, now: Timestamp) -> storage::Result<Self> {
        let all = database.startup(None, None).await?;
        let mut calendar = Vec::new();
        for window in CalendarWindow::ALL {
            let last = window.last_over(now.as_millisecond());
            if database.calendar_begin(window).await?.is_some_and(|begin| begin <= last) {
                let counts = database.calendar(window, last, last).await?;
                calendar.extend(counts.first().map(|count| (window, count.instances)));
            }
        }
        Ok(Self {
            totals: database.totals().await?,
            starts: database.starts_by_profile().await?,
            startup: all.into_iter().next().map(|all| all.startup).unwrap_or_default(),
            active: database.active(now, None).await?.into_iter().next().unwrap_or_default(),
            calendar,
        })
    }
}

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut starts = describe(&mut encoder, Metric::Starts)?;
        for (profile, count) in &self.starts {
            let labels =
                Dimension::ALL.map(|dimension| (dimension.name(), &**profile.get(dimension)));
            ConstCounter::new(*count).encode(starts.encode_family(&labels)?)?;
        }

        let StartupTimes { sum_ms, buckets } = &self.startup;
        let buckets: Vec<(f64, u64)> =
            bucket_bounds().into_iter().zip(buckets.iter().copied()).collect();
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds")]
        let sum = *sum_ms as f64 / 1000.0;
        describe(&mut encoder, Metric::StartupBucket)?.encode_histogram::<NoLabelSet>(
            sum,
            self.startup.count(),
            &buckets,
            None,
        )?;

        for (metric, value) in [
            (Metric::Instances, self.totals.instances),
            (Metric::InstancesReturned, self.totals.returning_instances),
        ] {
            gauge(value).encode(describe(&mut encoder, metric)?)?;
        }
        for (metric, values) in [
            (Metric::ActiveInstances, self.active.activity.active),
            (Metric::ReturningInstances, self.active.activity.returning),
        ] {
            let mut metric = describe(&mut encoder, metric)?;
            for (window, value) in Window::ALL.map(Window::name).into_iter().zip(values) {
                gauge(value).encode(metric.encode_family(&[(WINDOW_LABEL, window)])?)?;
            }
        }
        if !self.calendar.is_empty() {
            let mut metric = describe(&mut encoder, Metric::CalendarInstances)?;
            for (window, value) in &self.calendar {
                let labels = [(WINDOW_LABEL, window.name())];
                gauge(*value).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Begins a metric with its row of the catalogue.
fn describe<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    metric: Metric,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(metric.stem(), metric.help(), metric.unit(), metric.kind())
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{BUCKET_LABEL, Metrics, ScrapeFormat, Sizes, bucket_label};

    /// The buckets of a scrape have the labels that PromQL gives them.
    #[test]
    fn buckets_are_labelled_as_in_promql() {
        let fleet = Fleet {
            totals: Totals::default(),
            starts: Vec::new(),
            startup: StartupTimes::default(),
            active: ActiveInstances::default(),
            calendar: Vec::new(),
        };
        let text =
            Metrics::new().scrape(Sizes::default(), fleet, ScrapeFormat::Prometheus).unwrap();
        let series = |line: &&str| line.starts_with(Metric::StartupBucket.name());
        let scraped: Vec<&str> = text.lines().filter(series).collect();
        let expected = bucket_bounds().map(|bound| {
            let name = Metric::StartupBucket.name();
            format!("{name}{{{BUCKET_LABEL}=\"{}\"}} 0", bucket_label(bound))
        });
        assert_eq!(scraped, expected);
    }
}
