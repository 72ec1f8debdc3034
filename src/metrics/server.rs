//! The server's own metrics, `telemetry_…`.

mod backups;
mod health;
mod sizes;
mod upkeep;
mod watch;

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, prometheus_text, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{catalogue::Description, spelling::spell_bounds};
use crate::{
    domain::{ClockState, Dropped, ReportKind},
    storage::{Sample, Silence, Stored},
};

pub use backups::BackupState;
use backups::Backups;
pub use health::Health;
pub use sizes::Sizes;
use watch::Watch;

/// Beginning of the names of these metrics, before an underscore.
const PREFIX: &str = "telemetry";

/// True if a name is that of a metric of the server itself.
#[must_use]
pub fn is_server_metric(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('_'))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedBy {
    by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedField {
    field: &'static str,
    reason: &'static str,
}

impl From<Dropped> for DroppedField {
    fn from(dropped: Dropped) -> Self {
        Self { field: dropped.field(), reason: dropped.reason() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Accepted {
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClockIs {
    state: &'static str,
}

/// The two text formats of a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrapeFormat {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// Counters and gauges, and the registry that encodes them.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    starts: Counter,
    heartbeats: Counter,
    rejected: Family<Rejected, Counter>,
    dropped: Family<DroppedField, Counter>,
    limited_clients: Counter,
    limited_instances: Counter,
    limited_proxies: Counter,
    batch_reports: Histogram,
    commit_seconds: Histogram,
    pruned: Counter,
    repeated: Counter,
    report_ids: Gauge,
    report_ids_forgotten: Counter,
    queue: Gauge,
    database_bytes: Gauge,
    log_bytes: Gauge,
    interrupted: Counter,
    clock: Family<ClockIs, Gauge>,
    redated: Counter,
    outage: Counter,
    last_report: Gauge,
    silent_since: Gauge,
    backups: Backups,
    watch: Watch,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let accepted = Family::<Accepted, Counter>::default();
        let limited = Family::<LimitedBy, Counter>::default();
        let metrics = Self {
            registry: Mutex::default(),
            starts: accepted.get_or_create_owned(&Accepted { event: "start" }),
            heartbeats: accepted.get_or_create_owned(&Accepted { event: "heartbeat" }),
            rejected: Family::default(),
            dropped: Family::default(),
            limited_clients: limited.get_or_create_owned(&LimitedBy { by: "client" }),
            limited_instances: limited.get_or_create_owned(&LimitedBy { by: "instance" }),
            limited_proxies: limited.get_or_create_owned(&LimitedBy { by: "proxy" }),
            batch_reports: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 14)),
            pruned: Counter::default(),
            repeated: Counter::default(),
            report_ids: Gauge::default(),
            report_ids_forgotten: Counter::default(),
            queue: Gauge::default(),
            database_bytes: Gauge::default(),
            log_bytes: Gauge::default(),
            interrupted: Counter::default(),
            clock: Family::default(),
            redated: Counter::default(),
            outage: Counter::default(),
            last_report: Gauge::default(),
            silent_since: Gauge::default(),
            backups: Backups::default(),
            watch: Watch::default(),
        };
        metrics.clock_is(ClockState::Unconfirmed);
        // A series that begins at 1 has no increase.
        for dropped in Dropped::ALL {
            drop(metrics.dropped.get_or_create(&dropped.into()));
        }
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("reports_accepted", "Reports stored since the start", accepted);
        registry.register(
            "reports_rejected",
            "Reports turned away since the start, by reason",
            metrics.rejected.clone(),
        );
        registry.register(
            "fields_dropped",
            "Values of stored reports dropped since the start, by field and reason",
            metrics.dropped.clone(),
        );
        registry.register("reports_limited", "Reports over a rate limit since the start", limited);
        registry.register(
            "batch_reports",
            "Reports in one transaction",
            metrics.batch_reports.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time to write and sync one transaction",
            Unit::Seconds,
            metrics.commit_seconds.clone(),
        );
        metrics.register_upkeep(&mut registry);
        metrics.backups.register(&mut registry);
        metrics.watch.register(&mut registry);
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }

    /// Counts a report that was refused.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&Rejected { reason }).inc();
    }

    /// Counts a value that was dropped from a report that was stored.
    pub fn dropped(&self, dropped: Dropped) {
        self.dropped.get_or_create(&dropped.into()).inc();
    }

    /// Counts a report of a client that is over its limit.
    pub fn limited_client(&self) {
        self.limited_clients.inc();
    }

    /// Counts a report of an instance that is over its limit.
    pub fn limited_instance(&self) {
        self.limited_instances.inc();
    }

    /// Counts a report of a proxy that hides its clients, over their common limit.
    pub fn limited_proxy(&self) {
        self.limited_proxies.inc();
    }

    /// Counts the reports of a transaction, and the time that it took.
    pub fn committed(&self, reports: impl Iterator<Item = ReportKind>, time: Duration) {
        let (mut starts, mut heartbeats) = (0, 0);
        for kind in reports {
            match kind {
                ReportKind::Start => starts += 1,
                ReportKind::Heartbeat => heartbeats += 1,
            }
        }
        self.starts.inc_by(starts);
        self.heartbeats.inc_by(heartbeats);
        #[expect(clippy::cast_precision_loss, reason = "at most some hundred reports")]
        self.batch_reports.observe((starts + heartbeats) as f64);
        self.commit_seconds.observe(time.as_secs_f64());
    }

    /// Counts the ids of the reports of a transaction.
    pub fn report_ids(&self, stored: &Stored) {
        self.repeated.inc_by(stored.repeated.len() as u64);
        self.report_ids_forgotten.inc_by(stored.forgotten);
        if let Some(ids) = stored.remembered {
            self.report_ids_left(ids);
        }
    }

    /// Notes how many ids of reports are remembered.
    pub fn report_ids_left(&self, ids: u64) {
        self.report_ids.set(i64::try_from(ids).unwrap_or(i64::MAX));
    }

    /// Counts reports that were deleted for their age.
    pub fn pruned(&self, reports: u64) {
        self.pruned.inc_by(reports);
    }

    /// Shows the state of the clock.
    pub fn clock_is(&self, state: ClockState) {
        for each in ClockState::ALL {
            let gauge = self.clock.get_or_create(&ClockIs { state: each.name() });
            gauge.set(i64::from(each == state));
        }
    }

    /// True if the clock is confirmed.
    #[must_use]
    pub fn is_clock_confirmed(&self) -> bool {
        let confirmed = ClockIs { state: ClockState::Confirmed.name() };
        self.clock.get_or_create(&confirmed).get() == 1
    }

    /// Counts reports whose times were corrected.
    pub fn redated(&self, reports: u64) {
        self.redated.inc_by(reports);
    }

    /// Shows the time of all outages. It does not fall while the server runs.
    pub fn outage_seconds(&self, seconds: u64) {
        self.outage.inner().fetch_max(seconds, Ordering::Relaxed);
    }

    /// Notes the received time of a report, which ends silence.
    pub fn reported(&self, received_at: i64) {
        if received_at >= 0 {
            self.last_report.set(received_at / 1000);
        }
        self.silent_since.set(0);
    }

    /// Shows the last report, and silence.
    pub fn silence(&self, silence: Silence) {
        let last = silence.last_report.map_or(0, Timestamp::as_second);
        self.last_report.set(last);
        self.silent_since.set(if silence.silent { last } else { 0 });
    }

    /// Time of the last report while none comes although there used to be some.
    #[must_use]
    pub fn silent_since(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.silent_since.get()).ok().filter(|since| since.as_second() > 0)
    }

    /// A sample of each series.
    #[must_use]
    pub fn samples(&self, sizes: Sizes) -> Vec<Sample> {
        self.set(sizes);
        let text = self.own_text();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                Some(Sample { series: series.to_owned(), value: value.parse().ok()? })
            })
            .collect()
    }

    /// Metadata of each family.
    #[must_use]
    pub fn descriptions(&self) -> Vec<Description> {
        let text = self.own_text();
        let mut described = Vec::new();
        let mut help = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').map_or("", |(_, help)| help);
            } else if let Some(rest) = line.strip_prefix("# TYPE ")
                && let Some((family, kind)) = rest.split_once(' ')
            {
                described.push(Description {
                    family: family.to_owned(),
                    kind: kind.to_owned(),
                    help: help.to_owned(),
                });
            }
        }
        described
    }

    /// The metrics in the Prometheus text format.
    fn own_text(&self) -> String {
        let own = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_text::encode(&mut text, &own);
        text
    }

    fn set(&self, sizes: Sizes) {
        self.queue.set(i64::try_from(sizes.queue).unwrap_or(i64::MAX));
        self.database_bytes.set(i64::try_from(sizes.database_bytes).unwrap_or(i64::MAX));
        self.log_bytes.set(i64::try_from(sizes.log_bytes).unwrap_or(i64::MAX));
        self.interrupted.inner().store(sizes.interrupted, Ordering::Relaxed);
        self.backups.refresh();
    }

    /// The metrics of `fleet` and the server's own, in a text format.
    ///
    /// # Errors
    /// If a metric cannot be written, which does not happen to a string.
    pub fn scrape(
        &self,
        sizes: Sizes,
        fleet: impl Collector,
        format: ScrapeFormat,
    ) -> Result<String, std::fmt::Error> {
        self.set(sizes);
        let mut fleet_registry = Registry::default();
        fleet_registry.register_collector(Box::new(fleet));
        let own = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        match format {
            ScrapeFormat::Prometheus => {
                prometheus_text::encode(&mut out, &fleet_registry)?;
                prometheus_text::encode(&mut out, &own)?;
                out = spell_bounds(&out);
            }
            ScrapeFormat::OpenMetrics => {
                text::encode_registry(&mut out, &fleet_registry)?;
                text::encode_registry(&mut out, &own)?;
                text::encode_eof(&mut out)?;
            }
        }
        Ok(out)
    }
}
