//! The deployments as Prometheus metrics, `mattermost_…`.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::{
    domain::{BOUNDS_MS, Dimension, Profile, StartupTimes},
    storage::{self, ActiveInstances, Database, Totals, WINDOW_NAMES},
};

/// What one scrape tells of the deployments.
#[derive(Debug)]
pub struct Fleet {
    totals: Totals,
    starts: Vec<(Arc<Profile>, u64)>,
    active: Option<ActiveInstances>,
}

impl Fleet {
    /// Reads it.
    pub async fn read(database: &Database, now: Timestamp) -> storage::Result<Self> {
        Ok(Self {
            totals: database.totals().await?,
            starts: database.starts_by_profile().await?,
            active: database.active(now, None).await?.into_iter().next(),
        })
    }
}

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Reports of a start, since the first one";
        let mut metric = encoder.encode_descriptor("starts", help, None, MetricType::Counter)?;
        for (profile, starts) in &self.starts {
            let labels = Dimension::ALL.map(|of| (of.name(), profile.get(of)));
            ConstCounter::new(*starts).encode(metric.encode_family(&labels)?)?;
        }

        let help = "Startup times of all starts";
        let mut metric = encoder.encode_descriptor(
            "startup",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let StartupTimes { sum_ms, buckets } = &self.totals.startup;
        let bounds = BOUNDS_MS.iter().map(|&bound| f64::from(bound) / 1000.0);
        let buckets: Vec<(f64, u64)> =
            bounds.chain([f64::INFINITY]).zip(buckets.iter().copied()).collect();
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds")]
        let sum = *sum_ms as f64 / 1000.0;
        metric.encode_histogram::<NoLabelSet>(sum, self.totals.startup.count(), &buckets, None)?;

        let gauges = [
            ("instances", "Distinct instance ids, ever", self.totals.instances),
            (
                "instances_returned",
                "Instance ids seen on two or more days, ever",
                self.totals.returning_instances,
            ),
        ];
        for (name, help, value) in gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge(value).encode(metric)?;
        }
        let by_window =
            |of: fn(&ActiveInstances) -> [u64; 3]| self.active.as_ref().map_or([0; 3], of);
        let windows = [
            (
                "active_instances",
                "Instance ids seen within the window",
                by_window(|active| active.instances),
            ),
            (
                "returning_instances",
                "Instance ids seen within the window, and on two or more days",
                by_window(|active| active.returning),
            ),
        ];
        for (name, help, values) in windows {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (window, value) in WINDOW_NAMES.into_iter().zip(values) {
                gauge(value).encode(metric.encode_family(&[("window", window)])?)?;
            }
        }
        Ok(())
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
