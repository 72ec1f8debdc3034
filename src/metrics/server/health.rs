//! The server's health, for a page.

use jiff::Timestamp;

use super::{BackupState, Metrics, Sizes};
use crate::storage::Database;

/// Health of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Time of the last report.
    pub last_report: Option<Timestamp>,
    /// The same, while none comes although there used to be reports.
    pub silent_since: Option<Timestamp>,
    /// Reports that were stored since the start.
    pub stored: u64,
    /// Reports that were turned away since the start: the reason, and their number.
    pub refused: Vec<(String, u64)>,
    /// Size of the database with its log.
    pub database_bytes: u64,
    /// Space that is left beside it; `None` where the system does not say.
    pub free_bytes: Option<u64>,
    /// State of the backups; `None` where none are made.
    pub backups: Option<BackupState>,
}

impl Metrics {
    /// Reports that were stored since the start.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.starts.get() + self.heartbeats.get()
    }

    /// The health of the server at present. `waiting` reports wait for the writer.
    #[must_use]
    pub fn health(&self, database: &Database, waiting: usize) -> Health {
        let sizes = Sizes::of(database, waiting);
        let samples = self.samples(sizes);
        let refused = samples.into_iter().filter_map(|sample| {
            let labels =
                sample.series.strip_prefix("telemetry_reports_rejected_total{reason=\"").or_else(
                    || sample.series.strip_prefix("telemetry_reports_limited_total{by=\""),
                )?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = sample.value as u64;
            (count > 0).then(|| (labels.trim_end_matches("\"}").replace('-', " "), count))
        });
        let last = Timestamp::from_second(self.last_report.get()).ok();
        Health {
            last_report: last.filter(|last| last.as_second() > 0),
            silent_since: self.silent_since(),
            stored: self.stored(),
            refused: refused.collect(),
            database_bytes: sizes.database_bytes + sizes.log_bytes,
            free_bytes: database.free_bytes().ok(),
            backups: self.backups(),
        }
    }
}
