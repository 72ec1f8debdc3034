//! Names and help of the metrics that do not belong to a single report.

use prometheus_client::{
    metrics::info::Info,
    registry::{Registry, Unit},
};

use super::Metrics;

impl Metrics {
    /// Registers these metrics.
    pub(super) fn register_upkeep(&self, registry: &mut Registry) {
        registry.register(
            "reports_pruned",
            "Single reports deleted for their age since the start",
            self.pruned.clone(),
        );
        registry.register(
            "reports_repeated",
            "Reports not counted again since the start, as their report_id is remembered",
            self.repeated.clone(),
        );
        registry.register(
            "report_ids",
            "Values of report_id that are remembered",
            self.report_ids.clone(),
        );
        registry.register(
            "report_ids_forgotten",
            "Values of report_id forgotten before their time since the start, as there are too many",
            self.report_ids_forgotten.clone(),
        );
        registry.register("queue_reports", "Reports that wait for the writer", self.queue.clone());
        registry.register_with_unit(
            "database",
            "Size of the database file",
            Unit::Bytes,
            self.database_bytes.clone(),
        );
        registry.register_with_unit(
            "database_log",
            "Size of the write-ahead log",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
        registry.register(
            "reads_interrupted",
            "Reads that were interrupted since the start, as nobody waited for them any more",
            self.interrupted.clone(),
        );
        registry.register(
            "clock_state",
            "1 for the state of the clock: confirmed, unconfirmed, far after the last moment on record, or wrong",
            self.clock.clone(),
        );
        registry.register(
            "reports_redated",
            "Reports since the start whose times were corrected after the clock had been wrong",
            self.redated.clone(),
        );
        registry.register_with_unit(
            "outage",
            "Time in which the server was down or its clock was wrong, since its first start",
            Unit::Seconds,
            self.outage.clone(),
        );
        registry.register_with_unit(
            "last_report_timestamp",
            "Time of the last report in seconds since 1970, 0 without any",
            Unit::Seconds,
            self.last_report.clone(),
        );
        registry.register_with_unit(
            "silent_since_timestamp",
            "Time of the last report in seconds since 1970 while none comes although there used to be some, else 0",
            Unit::Seconds,
            self.silent_since.clone(),
        );
        registry.register(
            "build",
            "The program that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
    }
}
