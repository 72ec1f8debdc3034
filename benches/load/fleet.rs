//! The reports of a made-up fleet: without end for the load, and as a database's past.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::Report,
    simulation::{Clients, Fleet, Settings},
    storage::Database,
};

/// Reports without end, of stock clients. Each has an id of its own, also among those of other
/// seeds below 2^32: a new id costs most to store.
pub fn endless(seed: u32) -> impl Iterator<Item = Report> {
    (0..).flat_map(move |round: u64| {
        let until: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let fleet = past(100, 365, until, Clients::Stock);
        Fleet::new(Settings { seed: round << 32 | u64::from(seed), ..fleet })
            .map(|(_, report)| report)
    })
}

/// A fleet that is seen for `days` until `until`.
pub fn past(installations: u32, days: i64, until: Timestamp, clients: Clients) -> Settings {
    let from = until - SignedDuration::from_hours(24 * days);
    Settings { installations, from, until, seed: 1, clients }
}

/// Fills a database. Returns the number of its reports, and the time that this took.
pub async fn fill(file: &Path, settings: Settings) -> (u64, Duration) {
    let begun = Instant::now();
    let database = Database::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let mut writer = database.writer();
    let fleet = Fleet::new(settings);
    let reports = writer.import_reports(fleet, settings.until, |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    (reports, begun.elapsed())
}

/// The present, with which a past ends.
#[expect(clippy::disallowed_methods, reason = "a server that is measured goes by the real time")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
