//! Metrics that alert rules compare, each computed once a minute or less.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::Metrics;
use crate::{
    domain::{Hour, is_disk_low, refused_ratio, slowdown},
    storage::{Database, Result},
};

/// Time over which the growth of the database is known.
const GROWTH: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Hours over which startup times are compared.
const COMPARED_HOURS: i64 = 30 * 24;
/// Beginnings of the series that count refused reports.
const REFUSED: [&str; 2] = ["telemetry_reports_rejected_total", "telemetry_reports_limited_total"];
const DATABASE_BYTES: &str = "telemetry_database_bytes";
/// Unit of the free space: other programs move it by less all the time, and each change is a sample.
const MEBIBYTE: u64 = 1 << 20;

/// A gauge that has no series where it has no value.
type Optional = Family<[(&'static str, &'static str); 0], Gauge<f64, AtomicU64>>;

#[derive(Debug, Default)]
pub struct Watch {
    free_bytes: Gauge,
    disk_low: Gauge,
    /// True if the database could not be written.
    disk_refuses: Arc<AtomicBool>,
    refused_ratio: Gauge<f64, AtomicU64>,
    slowdown: Optional,
}

impl Watch {
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "disk_free",
            "Space left for the database, in whole MiB",
            Unit::Bytes,
            self.free_bytes.clone(),
        );
        registry.register(
            "disk_low",
            "1 while less space is left than the database needs, or it cannot be written, else 0",
            self.disk_low.clone(),
        );
        registry.register(
            "reports_refused_ratio",
            "Reports refused in the last hour, divided by those of a usual hour",
            self.refused_ratio.clone(),
        );
        registry.register(
            "newest_release_startup_ratio",
            "Startup time of the newest release, divided by that of the release before it",
            self.slowdown.clone(),
        );
    }
}

impl Metrics {
    /// Notes whether the database can be written.
    pub fn disk_refuses(&self, refuses: bool) {
        self.watch.disk_refuses.store(refuses, Ordering::Relaxed);
        if refuses {
            self.watch.disk_low.set(1);
        }
    }

    /// True if the disk is nearly full, or refuses.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.watch.disk_low.get() != 0
    }

    /// Looks at the disk and at refused reports.
    ///
    /// # Errors
    /// The database's error.
    pub async fn watch(&self, database: &Database, now: Timestamp) -> Result<()> {
        let series = database.sample_series().await?;
        let size = database.bytes().map_or(0, |(bytes, _)| bytes);
        let size_id = series.iter().find(|(_, name)| name == DATABASE_BYTES).map(|(id, _)| *id);
        let earlier = match size_id {
            Some(id) => earlier_size(database, id, now).await?,
            None => None,
        };
        // A disk that cannot be asked is not there.
        let free = database.free_bytes().unwrap_or_default();
        let low = is_disk_low(free, size.saturating_sub(earlier.unwrap_or(size)));
        let free = free / MEBIBYTE * MEBIBYTE;
        self.watch.free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        let low = low || self.watch.disk_refuses.load(Ordering::Relaxed);
        self.watch.disk_low.set(i64::from(low));

        let counts =
            series.iter().filter(|(_, name)| REFUSED.iter().any(|of| name.starts_with(of)));
        let ids: Vec<i64> = counts.map(|(id, _)| *id).collect();
        let times = [0, 1, 25].map(|hours| now - SignedDuration::from_hours(hours));
        let table = database.samples_at(&ids, &times).await?;
        let sum = |time: usize| -> f64 {
            table.iter().filter_map(|row| row[time]).map(|(_, count)| count).sum()
        };
        self.watch.refused_ratio.set(refused_ratio(sum(0) - sum(1), sum(1) - sum(2)));
        Ok(())
    }

    /// Compares the startup times of the newest two releases.
    ///
    /// # Errors
    /// The database's error.
    pub async fn compare_releases(&self, database: &Database, now: Timestamp) -> Result<()> {
        let since = Hour::of(now).plus(-COMPARED_HOURS).day();
        let gauge = &self.watch.slowdown;
        match slowdown(&database.startup_of_versions(since).await?) {
            Some(slowdown) => _ = gauge.get_or_create(&[]).set(slowdown),
            None => gauge.clear(),
        }
        Ok(())
    }
}

/// Size of the database a week ago, or at its first sample since then.
async fn earlier_size(database: &Database, series: i64, now: Timestamp) -> Result<Option<u64>> {
    let at = database.samples_at(&[series], &[now - GROWTH]).await?;
    let sample = match at[0][0] {
        Some(sample) => Some(sample),
        None => database.first_samples(&[series]).await?[0],
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size")]
    Ok(sample.map(|(_, bytes)| bytes as u64))
}
