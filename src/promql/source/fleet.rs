//! The series of the metrics of the fleet, `mattermost_…`.

use std::{borrow::Cow, ops::Range};

use jiff::Timestamp;
use tokio::task::yield_now;

use super::{Moments, Reader, growth, profile_labels};
use crate::{
    domain::{BUCKETS, Dimension, Hour, Moment, StartupTimes, Window, newer_release},
    metrics::{BUCKET_LABEL, Metric, RECENT_STARTS, WINDOW_LABEL, bucket_bounds, bucket_label},
    promql::{
        error::Result,
        plan::Growth,
        series::{Labels, NAME, Series},
    },
    storage::{Activity, ReportFilter},
};

/// Labels of a recent start besides those of a report.
const REPORT: &str = "report";
const INSTANCE: &str = "instance_id";
const STARTUP_TIME: &str = "startup_time_ms";

impl Reader<'_> {
    /// The series of a metric that are selected, with their values.
    pub(super) async fn fleet_series(&self, metric: Metric) -> Result<Vec<Series>> {
        match metric {
            Metric::Starts => self.starts().await,
            Metric::StartupBucket | Metric::StartupSum | Metric::StartupCount => {
                self.startup(metric).await
            }
            Metric::Instances | Metric::InstancesReturned => self.instances(metric).await,
            Metric::ActiveInstances | Metric::ReturningInstances => self.activity(metric).await,
            Metric::CalendarInstances => self.calendar().await,
            Metric::CohortInstances => self.cohorts().await,
            Metric::NewestVersion => self.newest_version().await,
            Metric::RecentStart => self.recent_starts().await,
        }
    }

    /// Visits the labels of the series of a metric that are selected and ever had a value.
    pub(super) async fn existing_fleet_series(
        &self,
        metric: Metric,
        visit: &mut impl FnMut(Labels) -> Result<()>,
    ) -> Result<()> {
        let (own, values): (&[&str], _) = match metric {
            Metric::StartupBucket => (&[BUCKET_LABEL], self.selected_bounds().await),
            Metric::ActiveInstances | Metric::ReturningInstances => {
                (&[WINDOW_LABEL], self.selected_windows().await)
            }
            Metric::Starts | Metric::StartupSum | Metric::StartupCount => {
                (&[], vec![(0, String::new())])
            }
            // These have few series.
            _ => {
                let series = self.fleet_series(metric).await?;
                return series.into_iter().try_for_each(|series| visit(series.labels));
            }
        };
        let (labels, groups) = self.groups(own, 0).await?;
        let exists: Vec<bool> = match metric {
            Metric::Starts => {
                let table = self.database.starts_at(&[Moment::Now], &groups).await?;
                table.iter().map(|row| row[0] > 0).collect()
            }
            // A gauge may have ended.
            Metric::ActiveInstances | Metric::ReturningInstances => vec![true; labels.len()],
            _ => {
                let table = self.database.startup_at(&[Moment::Now], &groups).await?;
                table.iter().map(|row| row[0].count() > 0).collect()
            }
        };
        // Where the metric's own label is not wanted, all of its values are one.
        let kept =
            own.iter().all(|label| self.wanted.keep.as_ref().is_none_or(|keep| keep.keeps(label)));
        let values = if kept { &values[..] } else { &values[..values.len().min(1)] };
        for (labels, _) in labels.into_iter().zip(exists).filter(|(_, exists)| *exists) {
            yield_now().await;
            for (_, value) in values {
                let mut labels = labels.clone();
                labels.insert(Cow::Borrowed(NAME), metric.name().into());
                labels
                    .extend(own.iter().map(|label| (Cow::Borrowed(*label), value.as_str().into())));
                visit(labels)?;
            }
        }
        Ok(())
    }

    async fn selected_bounds(&self) -> Vec<(usize, String)> {
        self.selected_values(BUCKET_LABEL, bucket_bounds().map(bucket_label).into()).await
    }

    async fn selected_windows(&self) -> Vec<(usize, String)> {
        let windows = Window::ALL.map(|window| window.name().to_owned());
        self.selected_values(WINDOW_LABEL, windows.into()).await
    }

    async fn starts(&self) -> Result<Vec<Series>> {
        let (labels, groups) = self.groups(&[], 1).await?;
        let moments = self.moments();
        self.held.check_table(labels.len(), moments.asked.len())?;
        let table = self.database.starts_at(&moments.asked, &groups).await?;
        let mut series = Vec::with_capacity(labels.len());
        for (labels, counted) in labels.into_iter().zip(table) {
            // Others have their turn: all series may take some hundredths of a second.
            yield_now().await;
            let points = self.counter(&moments, |moment| counted[moment], |moment| counted[moment]);
            series.push(self.series(Metric::Starts, labels, points));
        }
        Ok(series)
    }

    async fn startup(&self, metric: Metric) -> Result<Vec<Series>> {
        let (bounds, own): (_, &[&str]) = match metric {
            Metric::StartupBucket => (self.selected_bounds().await, &[BUCKET_LABEL]),
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
            yield_now().await;
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
        let windows = self.selected_windows().await;
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let (labels, groups) = self.groups(&[WINDOW_LABEL], windows.len()).await?;
        let moments = self.moments();
        // The table has all windows, even if one is selected.
        self.held.check_table(labels.len(), Window::ALL.len() * moments.asked.len())?;
        let now = Timestamp::from_millisecond(self.now).unwrap_or(Timestamp::MAX);
        let table = self.database.activity_at(now, &moments.asked, &groups).await?;
        let mut series = Vec::new();
        for (labels, row) in labels.into_iter().zip(table) {
            yield_now().await;
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
        let mut first: Vec<(Hour, String)> = self
            .database
            .first_days()
            .await?
            .into_iter()
            .map(|(profile, hour)| (hour, profile.get(Dimension::ImageVersion).to_string()))
            .collect();
        first.sort();
        let mut first = first.into_iter().peekable();
        let mut newest = None;
        // A release is the newest at moments that follow each other, until there is a newer one.
        let mut spans: Vec<(String, Range<usize>)> = Vec::new();
        for (position, time) in self.times().enumerate() {
            while let Some((_, version)) = first.next_if(|(hour, _)| hour.start_ms() <= time) {
                newest = newer_release(newest, version);
            }
            match (&newest, spans.last_mut()) {
                (Some(newest), Some((version, span))) if version == newest => {
                    span.end = position + 1;
                }
                (Some(newest), _) => spans.push((newest.clone(), position..position + 1)),
                (None, _) => {}
            }
        }
        spans.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut selected = Vec::new();
        for (version, span) in spans {
            let labels = Labels::from([(Cow::Borrowed(VERSION), version.into())]);
            if self.selects_labels(&labels).await {
                selected.push((labels, span));
            }
        }
        self.held.with(selected.len(), self.grid.count)?;
        let series = selected.into_iter().map(|(labels, span)| {
            let mut points = vec![None; self.grid.count];
            points[span].fill(Some(1.0));
            self.series(Metric::NewestVersion, labels, points)
        });
        Ok(series.collect())
    }

    async fn recent_starts(&self) -> Result<Vec<Series>> {
        let own = [REPORT, INSTANCE, STARTUP_TIME];
        if !self.selects_others(&own) {
            return Ok(Vec::new());
        }
        let end = self.times().last().unwrap_or(self.now).min(self.now);
        let end = Timestamp::from_millisecond(end.saturating_add(1)).unwrap_or(Timestamp::MAX);
        let filter =
            ReportFilter { until: Some(end), starts_only: true, ..ReportFilter::default() };
        let starts = self.database.newest_reports(&filter, RECENT_STARTS).await?;
        let mut selected = Vec::new();
        for start in starts {
            let Some(received_at) = start.received_at else { continue };
            let mut labels = profile_labels(&start.profile, None);
            labels.extend([
                (Cow::Borrowed(REPORT), start.id.to_string().into()),
                (Cow::Borrowed(INSTANCE), String::from(start.instance_id).into()),
            ]);
            if let Some(time) = start.startup_ms {
                labels.insert(Cow::Borrowed(STARTUP_TIME), time.to_string().into());
            }
            if self.selects_labels(&labels).await {
                selected.push((labels, received_at.as_millisecond()));
            }
        }
        self.held.with(selected.len(), self.grid.count)?;
        let series = selected.into_iter().map(|(labels, received)| {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age")]
            let value = received as f64 / 1000.0;
            let points = self.times().map(|time| (received <= time).then_some(value)).collect();
            self.series(Metric::RecentStart, labels, points)
        });
        Ok(series.collect())
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

    pub(super) fn series(
        &self,
        metric: Metric,
        mut labels: Labels,
        points: Vec<Option<f64>>,
    ) -> Series {
        if self.wanted.growth.is_none() {
            labels.insert(Cow::Borrowed(NAME), metric.name().into());
        }
        Series { labels, points }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count; PromQL knows no other numbers")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tempfile::TempDir;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    use crate::{
        domain::ReportBody,
        promql::{
            limits::{self, Held},
            plan::Read,
            selector::Selector,
            series::Grid,
        },
        storage::Database,
    };

    /// Each of 60 starts is on a day of its own and of a newer version, so that each metric but the
    /// totals has 60 series or more.
    #[tokio::test]
    async fn series_over_the_limit_are_not_made() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let mut now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for day in 0..60 {
            now += SignedDuration::from_hours(24);
            let body = ReportBody {
                instance_id: Some(format!("i{day}")),
                image_version: Some(format!("v11.{day}.0")),
                ..ReportBody::default()
            };
            writer.store(now, &[body.into_report().unwrap()]).await.unwrap();
        }
        writer.close_hours(now).await.unwrap();
        writer.close().await.unwrap();

        let selector = Selector { matchers: Vec::new(), offset_ms: 0 };
        let wanted = Read::from(selector);
        let grid = |count: usize| {
            let hours = i64::try_from(count).unwrap();
            Grid { start: now.as_millisecond() - (hours - 1) * HOUR_MS, step: HOUR_MS, count }
        };
        for metric in Metric::ALL {
            let read = async |grid: Grid, held: Held| {
                let now = now.as_millisecond();
                let (database, wanted, among) = (&database, &wanted, None);
                let reader = Reader { database, now, grid, wanted, held, among };
                reader.fleet_series(metric).await
            };
            let few = [
                Metric::Instances,
                Metric::InstancesReturned,
                Metric::CalendarInstances,
                Metric::CohortInstances,
            ];
            if !few.contains(&metric) {
                let series = read(grid(1), Held::default()).await.unwrap();
                assert!(!series.is_empty(), "{metric:?}");
                let error = read(grid(limits::STEPS), Held::default()).await.unwrap_err();
                assert!(error.to_string().contains("more than 500000 values"), "{error}");
            }
            let full = Held::default().with(1, limits::VALUES - limits::VALUES_PER_SERIES).unwrap();
            assert!(read(grid(1), full).await.is_err(), "{metric:?}");
        }
        database.close().await;
    }
}
