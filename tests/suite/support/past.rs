//! A server that ran in the past, for a database that the next one finds.

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{Reading, Report, ReportBody},
    storage::Database,
};
use tempfile::TempDir;

use super::{BEGIN, config};

/// Lets a server run for some hours, and stores the reports of `reports`, each so many minutes after
/// the begin. It leaves the record of one that was killed.
pub async fn ran(
    folder: &TempDir,
    begin: Timestamp,
    hours: i64,
    reports: impl IntoIterator<Item = (i64, Report)>,
) {
    let database = Database::open(&config(folder).database_url).await.unwrap();
    let mut writer = database.writer();
    let reading = |minutes: i64| {
        let running = minutes * 60_000;
        Reading { wall: begin.as_millisecond() + running, running }
    };
    let mut keeper = writer.begin_run(Timestamp::MIN, reading(0)).await.unwrap();
    for (minutes, report) in reports {
        keeper.observe(reading(minutes), 0);
        let now = Timestamp::from_millisecond(reading(minutes).wall).unwrap();
        writer.close_hours(now).await.unwrap();
        writer.store_at(now.as_millisecond(), &[report]).await.unwrap();
        writer.index(now).await.unwrap();
    }
    keeper.observe(reading(hours * 60), 0);
    writer.record_moment(keeper.stretch()).await.unwrap();
    writer.close_hours(begin + SignedDuration::from_hours(hours)).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
}

/// A database with a report each hour, then none for six hours of running.
pub async fn silent() -> TempDir {
    let folder = TempDir::new().unwrap();
    let reports = (0..34).map(|hour| {
        let body = ReportBody { instance_id: Some(format!("i{hour}")), ..ReportBody::default() };
        (hour * 60 + 30, body.into_report().unwrap())
    });
    let began = BEGIN.parse::<Timestamp>().unwrap() - SignedDuration::from_hours(40);
    ran(&folder, began, 40, reports).await;
    folder
}
