//! Arbitrary histories of a database: reports, time, restarts, retention.

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{BOUNDS_MS, Report, ReportBody},
    storage::{Database, Writer},
};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::BEGIN;

#[derive(Debug, Clone)]
pub enum Step {
    /// Reports that arrive together.
    Reports(Vec<Report>),
    /// Time passes; by a clock that may also be set back.
    Minutes(i64),
    /// The process ends between two transactions, as after a crash.
    Restart,
    /// Reports older than this are pruned.
    Prune { hours: i64 },
    /// The writer has a quiet moment.
    Index,
    /// Hours that have ended are closed.
    CloseHours,
}

prop_compose! {
    /// A report of a small fleet.
    fn reports()(
        instance in 0..8u8,
        version in 0..3u8,
        architecture in prop::sample::select(vec!["aarch64", "x86_64"]),
        os in prop::sample::select(vec!["linux", "unknown"]),
        heartbeat in any::<bool>(),
        startup in prop_oneof![
            Just(None),
            (0..400_000i64).prop_map(Some),
            prop::sample::select(BOUNDS_MS.to_vec()).prop_map(|bound| Some(i64::from(bound))),
        ],
    ) -> Report {
        let body = ReportBody {
            instance_id: Some(format!("{instance:032x}")),
            image_version: Some(format!("v11.{version}.0")),
            architecture: Some(architecture.into()),
            os: Some(os.into()),
            startup_time_ms: startup,
            event: heartbeat.then(|| "heartbeat".into()),
            ..ReportBody::default()
        };
        body.into_report().unwrap()
    }
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => vec(reports(), 1..6).prop_map(Step::Reports),
        4 => (0..6000i64).prop_map(Step::Minutes),
        2 => (-90..0i64).prop_map(Step::Minutes),
        1 => Just(Step::Restart),
        1 => (1..100i64).prop_map(|hours| Step::Prune { hours }),
        2 => Just(Step::Index),
        3 => Just(Step::CloseHours),
    ];
    vec(step, 1..30)
}

/// A database after some steps.
pub struct History {
    pub database: Database,
    pub writer: Writer,
    pub now: Timestamp,
    /// Every report with its time of arrival, those that were pruned included.
    pub reports: Vec<(Timestamp, Report)>,
    _folder: TempDir,
}

impl History {
    pub async fn of(steps: Vec<Step>) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let mut database = Database::open(&url).await.unwrap();
        let mut writer = database.writer();
        let mut now: Timestamp = BEGIN.parse().unwrap();
        let mut all: Vec<(Timestamp, Report)> = Vec::new();
        for step in steps {
            match step {
                Step::Reports(reports) => {
                    writer.store(now, &reports).await.unwrap();
                    all.extend(reports.into_iter().map(|report| (now, report)));
                }
                Step::Minutes(minutes) => now += SignedDuration::from_mins(minutes),
                Step::Restart => {
                    drop(writer);
                    database.close().await;
                    database = Database::open(&url).await.unwrap();
                    writer = database.writer();
                }
                Step::Prune { hours } => {
                    let cutoff = now - SignedDuration::from_hours(hours);
                    while writer.prune(cutoff).await.unwrap() > 0 {}
                }
                Step::Index => writer.index(now).await.unwrap(),
                Step::CloseHours => writer.close_hours(now).await.unwrap(),
            }
        }
        Self { database, writer, now, reports: all, _folder: folder }
    }
}
