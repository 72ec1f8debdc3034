//! The series of the metrics of the fleet, `mattermost_…`.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;

use super::{HOUR_MS, Moments, Reader, growth, profile_labels};
use crate::{
    domain::{BUCKETS, Dimension, StartupTimes, newer_release},
    metrics::{BUCKET_LABEL, Metric, RECENT_STARTS, WINDOW_LABEL, bucket_bounds, bucket_label},
    promql::{
        error::Result,
        plan::Growth,
        series::{Labels, NAME, Series},
    },
    storage::{Activity, DeploymentFilter, WINDOW_NAMES},
};

/// Labels of a recent start besides those of a report.
const REPORT: &str = "report";
const INSTANCE: &str = "instance_id";
const STARTUP_TIME: &str = "startup_time_ms";

impl Reader<'_> {
    /// The series of a metric that are selected, with their values.
    pub(super) async fn of_fleet(&self, metric: Metric) -> Result<Vec<Series>> {
        match metric {
            Metric::Starts => self.starts().await,
            Metric::StartupBucket | Metric::StartupSum | Metric::StartupCount => {
                self.startup(metric).await
            }
            Metric::Instances | Metric::InstancesReturned => self.instances(metric).await,
            Metric::ActiveInstances | Metric::ReturningInstances => self.activity(metric).await,
            Metric::NewestVersion => self.newest_version().await,
            Metric::RecentStart => self.recent_starts().await,
        }
    }

    async fn starts(&self) -> Result<Vec<Series>> {
        let (labels, groups) = self.groups(&[], 1).await?;
        let moments = self.moments();
        self.held.check_table(labels.len(), moments.asked.len())?;
        let table = self.database.starts_at(&moments.asked, &groups).await?;
        let series = labels.into_iter().zip(table).map(|(labels, counted)| {
            let points = self.counter(&moments, |moment| counted[moment], |moment| counted[moment]);
            self.series(Metric::Starts, labels, points)
        });
        Ok(series.collect())
    }

    async fn startup(&self, metric: Metric) -> Result<Vec<Series>> {
        let (bounds, own): (_, &[&str]) = match metric {
            Metric::StartupBucket => {
                let bounds = bucket_bounds().map(bucket_label).into();
                (self.selected_values(BUCKET_LABEL, bounds).await, &[BUCKET_LABEL])
            }
            _ => (vec![(0, String::new())], &[]),
        };
        if bounds.is_empty() {
            return Ok(Vec::new());
        }
        let (labels, groups) = self.groups(own, bounds.len()).await?;
        let moments = self.moments();
        // The table has all buckets, even if one is selected.
        self.held.check_table(labels.len(), BUCKETS * moments.asked.len())?;
        let table = self.database.startup_at(&moments.asked, &groups).await?;
        let mut series = Vec::with_capacity(labels.len() * bounds.len());
        for (labels, mut counted) in labels.into_iter().zip(table) {
            // Storage counts each bucket alone; a bucket of PromQL contains those below it.
            for StartupTimes { buckets, .. } in &mut counted {
                for bucket in 1..buckets.len() {
                    buckets[bucket] += buckets[bucket - 1];
                }
            }
            let count = |moment: usize| counted[moment].buckets[BUCKETS - 1];
            for (bucket, bound) in &bounds {
                let value = |moment: usize| match metric {
                    Metric::StartupBucket => counted[moment].buckets[*bucket],
                    Metric::StartupSum => counted[moment].sum_ms,
                    _ => count(moment),
                };
                let mut points = self.counter(&moments, count, value);
                let mut labels = labels.clone();
                match metric {
                    Metric::StartupBucket => {
                        labels.insert(Cow::Borrowed(BUCKET_LABEL), bound.as_str().into());
                    }
                    Metric::StartupSum => {
                        points.iter_mut().flatten().for_each(|value| *value /= 1000.0);
                    }
                    _ => {}
                }
                series.push(self.series(metric, labels, points));
            }
        }
        Ok(series)
    }

    async fn instances(&self, metric: Metric) -> Result<Vec<Series>> {
        if !self.selects_labels(&Labels::new()).await {
            return Ok(Vec::new());
        }
        let moments = self.moments();
        self.held.with(1, self.grid.count)?;
        let counted = self.database.instances_at(&moments.asked).await?;
        let number = usize::from(metric == Metric::InstancesReturned);
        let points = moments.at.iter().map(|at| Some(float(counted[(*at)?]?[number]))).collect();
        Ok(vec![self.series(metric, Labels::new(), points)])
    }

    async fn activity(&self, metric: Metric) -> Result<Vec<Series>> {
        let windows = WINDOW_NAMES.map(str::to_owned).into();
        let windows = self.selected_values(WINDOW_LABEL, windows).await;
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let (labels, groups) = self.groups(&[WINDOW_LABEL], windows.len()).await?;
        let moments = self.moments();
        // The table has all windows, even if one is selected.
        self.held.check_table(labels.len(), WINDOW_NAMES.len() * moments.asked.len())?;
        let now = Timestamp::from_millisecond(self.now).unwrap_or(Timestamp::MAX);
        let table = self.database.activity_at(now, &moments.asked, &groups).await?;
        let mut series = Vec::new();
        for (labels, row) in labels.into_iter().zip(table) {
            for (window, name) in &windows {
                let count = |activity: Activity| match metric {
                    Metric::ActiveInstances => activity.active[*window],
                    _ => activity.returning[*window],
                };
                let points = moments.at.iter().map(|at| Some(float(count(row[(*at)?]?)))).collect();
                let mut labels = labels.clone();
                labels.insert(Cow::Borrowed(WINDOW_LABEL), name.as_str().into());
                series.push(self.series(metric, labels, points));
            }
        }
        Ok(series)
    }

    async fn newest_version(&self) -> Result<Vec<Series>> {
        const VERSION: &str = Dimension::ImageVersion.name();
        let mut first: Vec<(i64, String)> = self
            .database
            .first_days()
            .await?
            .into_iter()
            .map(|(profile, hour)| (hour, profile.image_version.clone()))
            .collect();
        first.sort();
        let mut series: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
        let mut to_come = first.into_iter().peekable();
        let mut newest = None;
        for (position, time) in self.times().enumerate() {
            while let Some((_, version)) = to_come.next_if(|(hour, _)| hour * HOUR_MS <= time) {
                newest = newer_release(newest, version);
            }
            if let Some(newest) = &newest {
                series.entry(newest.clone()).or_insert_with(|| vec![None; self.grid.count])
                    [position] = Some(1.0);
            }
        }
        let mut selected = Vec::new();
        for (version, points) in series {
            let labels = Labels::from([(Cow::Borrowed(VERSION), version.into())]);
            if self.selects_labels(&labels).await {
                selected.push(self.series(Metric::NewestVersion, labels, points));
            }
        }
        Ok(selected)
    }

    async fn recent_starts(&self) -> Result<Vec<Series>> {
        let own = [REPORT, INSTANCE, STARTUP_TIME];
        if !self.selects_others(&own) {
            return Ok(Vec::new());
        }
        let end = self.times().last().unwrap_or(self.now).min(self.now);
        let end = Timestamp::from_millisecond(end.saturating_add(1)).unwrap_or(Timestamp::MAX);
        let filter =
            DeploymentFilter { until: Some(end), starts_only: true, ..DeploymentFilter::default() };
        let starts = self.database.deployments(&filter, RECENT_STARTS).await?;
        let mut series = Vec::new();
        for start in starts {
            let mut labels = profile_labels(&start.profile, None);
            labels.extend([
                (Cow::Borrowed(REPORT), start.id.to_string().into()),
                (Cow::Borrowed(INSTANCE), start.instance_id.into()),
            ]);
            if let Some(time) = start.startup_ms {
                labels.insert(Cow::Borrowed(STARTUP_TIME), time.to_string().into());
            }
            if !self.selects_labels(&labels).await {
                continue;
            }
            let arrival = start.received_at.as_millisecond();
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age")]
            let value = arrival as f64 / 1000.0;
            let points = self.times().map(|time| (arrival <= time).then_some(value)).collect();
            series.push(self.series(Metric::RecentStart, labels, points));
        }
        Ok(series)
    }

    /// The values of a counter, or its growth. The counter exists from the moment on at which
    /// `reports` is not 0.
    fn counter(
        &self,
        moments: &Moments,
        reports: impl Fn(usize) -> u64,
        value: impl Fn(usize) -> u64,
    ) -> Vec<Option<f64>> {
        let ends = moments.at.iter().zip(&moments.before);
        ends.map(|(at, before)| {
            let at = (*at).filter(|at| reports(*at) > 0)?;
            Some(match self.wanted.growth {
                None => float(value(at)),
                Some(Growth { range_ms, per_second }) => {
                    let before = (*before)?;
                    growth(float(value(at).saturating_sub(value(before))), range_ms, per_second)
                }
            })
        })
        .collect()
    }

    fn series(&self, metric: Metric, mut labels: Labels, points: Vec<Option<f64>>) -> Series {
        if self.wanted.growth.is_none() {
            labels.insert(Cow::Borrowed(NAME), metric.name().into());
        }
        Series { labels, points }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count; PromQL knows no other numbers")]
fn float(count: u64) -> f64 {
    count as f64
}
