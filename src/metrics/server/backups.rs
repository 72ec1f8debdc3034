//! Metrics of the backups that the server makes by itself. Without a folder for them there is none.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::Metrics;

/// A family with at most one series, which is not shown before it is made.
type Lone<M> = Family<[(&'static str, &'static str); 0], M>;

/// State of the backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupState {
    /// Time since the newest moment at which a good backup had everything; `None` without a good one.
    pub age_seconds: Option<u64>,
    /// True where no good backup is younger than twice the time between two of them.
    pub overdue: bool,
}

/// The metrics, and what they are computed from.
#[derive(Debug, Default)]
pub(super) struct Backups {
    age: Lone<Gauge>,
    overdue: Lone<Gauge>,
    written: Lone<Counter>,
    failed: Lone<Counter>,
    restorable: Lone<Gauge>,
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// Time between two backups.
    every: Duration,
    /// Age of the newest backup at some moment.
    age: Option<(Duration, Instant)>,
}

impl Known {
    fn state(self) -> BackupState {
        let age = self.age.map(|(age, noted)| age + noted.elapsed());
        BackupState {
            age_seconds: age.map(|age| age.as_secs()),
            overdue: age.is_none_or(|age| age >= 2 * self.every),
        }
    }
}

impl Backups {
    /// Registers these metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "backup_age",
            "Time since the newest moment at which a good backup had everything; absent without a folder for backups or a good one",
            Unit::Seconds,
            self.age.clone(),
        );
        registry.register(
            "backup_overdue",
            "1 where no good backup is younger than twice BACKUP_EVERY, else 0; absent without a folder for backups",
            self.overdue.clone(),
        );
        registry.register(
            "backups_written",
            "Backups written since the start; absent without a folder for backups",
            self.written.clone(),
        );
        registry.register(
            "backups_failed",
            "Backups that failed since the start; absent without a folder for backups",
            self.failed.clone(),
        );
        registry.register(
            "backup_restorable",
            "1 where the latest backup that was restored for a test was as it should be, else 0; absent before the first test",
            self.restorable.clone(),
        );
    }

    /// Shows the state at present.
    pub(super) fn refresh(&self) {
        let Some(state) = self.state() else { return };
        self.overdue.get_or_create(&[]).set(i64::from(state.overdue));
        if let Some(age) = state.age_seconds {
            self.age.get_or_create(&[]).set(i64::try_from(age).unwrap_or(i64::MAX));
        } else {
            self.age.remove(&[]);
        }
    }

    fn state(&self) -> Option<BackupState> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).map(Known::state)
    }
}

impl Metrics {
    /// States that backups are made, and the time between two of them.
    pub fn backups_begin(&self, every: Duration) {
        let mut known = self.backups.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Known { every, age: None });
        // A series that begins at 1 has no increase.
        drop(self.backups.written.get_or_create(&[]));
        drop(self.backups.failed.get_or_create(&[]));
    }

    /// Notes the time since the newest good backup had everything; `None` where there is no good one.
    pub fn backup_age(&self, age: Option<Duration>) {
        let mut known = self.backups.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_mut() {
            known.age = age.map(|age| (age, Instant::now()));
        }
    }

    /// Counts a backup that was written.
    pub fn backup_written(&self) {
        self.backups.written.get_or_create(&[]).inc();
    }

    /// Counts a backup that failed.
    pub fn backup_failed(&self) {
        self.backups.failed.get_or_create(&[]).inc();
    }

    /// Shows whether the latest backup that was restored for a test was as it should be.
    pub fn backup_restorable(&self, restorable: bool) {
        self.backups.restorable.get_or_create(&[]).set(i64::from(restorable));
    }

    /// State of the backups at present; `None` where none are made.
    #[must_use]
    pub fn backups(&self) -> Option<BackupState> {
        self.backups.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Sizes;

    fn shown(metrics: &Metrics) -> Vec<(String, f64)> {
        let samples = metrics.samples(Sizes::default()).into_iter();
        let backups = samples.filter(|sample| sample.series.contains("backup"));
        backups.map(|sample| (sample.series, sample.value)).collect()
    }

    #[test]
    fn backups_are_shown_where_there_are_any() {
        let metrics = Metrics::new();
        assert_eq!((metrics.backups(), shown(&metrics)), (None, vec![]));
        metrics.backup_age(Some(Duration::ZERO));
        assert_eq!(metrics.backups(), None);

        let hour = Duration::from_hours(1);
        metrics.backups_begin(hour);
        assert_eq!(metrics.backups(), Some(BackupState { age_seconds: None, overdue: true }));
        for (age, overdue) in [(hour, false), (2 * hour, true)] {
            metrics.backup_age(Some(age));
            let age_seconds = Some(age.as_secs());
            assert_eq!(metrics.backups(), Some(BackupState { age_seconds, overdue }));
        }
        metrics.backup_written();
        metrics.backup_restorable(true);
        let expected = [
            ("telemetry_backup_age_seconds", 7200.0),
            ("telemetry_backup_overdue", 1.0),
            ("telemetry_backups_written_total", 1.0),
            ("telemetry_backups_failed_total", 0.0),
            ("telemetry_backup_restorable", 1.0),
        ];
        assert_eq!(shown(&metrics), expected.map(|(series, value)| (series.to_owned(), value)));
        metrics.backup_age(None);
        assert!(!shown(&metrics).iter().any(|(series, _)| series.contains("age")));
    }
}
