//! The server's health, as a page shows it.

use jiff::SignedDuration;

use super::format::{Bytes, Count, Time};
use crate::http::AppState;

/// The backups, where any are made.
#[derive(Debug)]
pub struct Backup {
    /// Last moment at which a good one had everything; `None` without a good one.
    pub complete_at: Option<Time>,
    /// True where that is too long ago.
    pub overdue: bool,
}

/// See [`crate::metrics::Health`].
#[derive(Debug)]
pub struct Health {
    /// Time of the last report.
    pub last_report: Option<Time>,
    /// The same, while none comes although there used to be reports.
    pub silent_since: Option<Time>,
    /// Reports stored since the start.
    pub stored: Count,
    /// Reports turned away since the start, by reason.
    pub refused: Vec<(String, Count)>,
    /// Reports that wait for the writer.
    pub waiting: Count,
    /// Size of the database.
    pub database: Bytes,
    /// Space that is left for it.
    pub free: Option<Bytes>,
    /// The backups; `None` where none are made.
    pub backup: Option<Backup>,
    /// Notice about the clock, where it is doubtful.
    pub clock: Option<&'static str>,
    /// True where reading takes a token, so that there is a session to end.
    pub closed: bool,
}

impl Health {
    /// The present health.
    pub fn of(state: &AppState) -> Self {
        let waiting = state.ingest.waiting();
        let health = state.metrics.health(&state.database, waiting);
        let refused = health.refused.into_iter();
        Self {
            last_report: health.last_report.map(Time),
            silent_since: health.silent_since.map(Time),
            stored: Count(health.stored),
            refused: refused.map(|(reason, count)| (reason, Count(count))).collect(),
            waiting: Count(waiting as u64),
            database: Bytes(health.database_bytes),
            free: health.free_bytes.map(Bytes),
            backup: health.backups.map(|backups| {
                let age = backups.age_seconds.and_then(|age| i64::try_from(age).ok());
                let complete_at = age.and_then(|age| {
                    state.clock.now().checked_sub(SignedDuration::from_secs(age)).ok()
                });
                Backup { complete_at: complete_at.map(Time), overdue: backups.overdue }
            }),
            clock: state.ingest.clock_state().notice(),
            closed: state.read_token.is_some(),
        }
    }
}
