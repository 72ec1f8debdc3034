//! Readers that ask for as much as they may, and leave before they are answered.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{domain::ReportBody, storage::Database};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::support::{App, BEGIN, config};

/// Time in which a small request must be answered beside large ones, in the median: a net, since a
/// program without optimisation takes some 20 ms.
const SOON: Duration = Duration::from_secs(1);
/// Small requests of each kind.
const REQUESTS: usize = 40;
/// Time after which a test gives up.
const NET: Duration = Duration::from_mins(1);

/// A server with many versions over a hundred days.
async fn filled() -> App {
    const REPORTS: i64 = 40_000;
    let folder = TempDir::new().unwrap();
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let until: Timestamp = BEGIN.parse().unwrap();
    let architectures = ["aarch64", "armv6l", "armv7l", "i686", "ppc64le", "riscv64", "x86_64"];
    let reports = (0..REPORTS).map(|number| {
        let age = SignedDuration::from_secs((REPORTS - number) * 100 * 86_400 / REPORTS);
        let body = ReportBody {
            instance_id: Some(format!("i{}", number % 5000)),
            image_version: Some(format!("v11.{}.0", number % 40)),
            architecture: Some(architectures[usize::try_from(number % 7).unwrap()].into()),
            startup_time_ms: Some(number % 30_000),
            ..ReportBody::default()
        };
        (until - age, body.into_report().unwrap())
    });
    let mut writer = database.writer();
    writer.import_reports(reports, until, |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    App::start_in(folder, |_| ()).await
}

/// Requests that read as much as a request may.
const HOSTILE: [&str; 8] = [
    "/api/v1/query_range?query=mattermost_starts_total&start=2025-10-25T00:00:00Z&end=2026-01-31T00:00:00Z&step=2h",
    "/api/v1/query_range?query=quantile%20by%20(le)%20(0.5,mattermost_startup_seconds_bucket)&start=2026-01-29T00:00:00Z&end=2026-01-31T00:00:00Z&step=1h",
    "/api/v1/query_range?query=increase(mattermost_starts_total[30d])&start=2025-12-01T00:00:00Z&end=2026-01-31T00:00:00Z&step=2h",
    "/api/v1/query_range?query=mattermost_active_instances&start=2025-11-25T00:00:00Z&end=2026-01-31T00:00:00Z&step=4h",
    "/api/v1/series?match[]=mattermost_startup_seconds_bucket",
    "/deployments?limit=1000&architecture=a3&since=2025-10-01T00:00:00Z",
    "/stats/timeseries?interval=hour&since=2025-11-20T00:00:00Z",
    "/stats/startup?by=image_version&since=2025-01-01T00:00:00Z",
];

#[tokio::test(flavor = "multi_thread")]
async fn small_requests_are_answered_beside_eight_hostile_ones() {
    let app = Arc::new(filled().await);
    let ask = |path: &'static str| {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            loop {
                let answer = app.get(path).await;
                assert_eq!(answer.status(), 200, "{path}");
                answer.bytes().await.unwrap();
            }
        })
    };
    let hostile: Vec<_> = HOSTILE.into_iter().map(ask).collect();
    let mut all = [("/ready", Vec::new()), ("/metrics", Vec::new())];
    for _ in 0..REQUESTS {
        for (path, times) in &mut all {
            let begun = Instant::now();
            assert_eq!(timeout(NET, app.get(path)).await.unwrap().status(), 200, "{path}");
            times.push(begun.elapsed());
        }
    }
    for (path, mut times) in all {
        times.sort();
        assert!(times[times.len() / 2] < SOON, "{path} {times:?}");
    }
    for asking in hostile {
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
    }
    Arc::into_inner(app).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_when_its_client_is_gone() {
    let app = filled().await;
    let begun = Instant::now();
    // A client that leaves while its answer is read; it may also be too fast or too slow for that.
    while app.database.interrupted() == 0 {
        let gone = timeout(Duration::from_millis(20), app.get(HOSTILE[0])).await;
        assert!(gone.is_err() || begun.elapsed() < NET, "no read was interrupted");
    }
    let text = app.request(reqwest::Method::GET, "/metrics").header("accept", "text/plain");
    let text = text.send().await.unwrap().text().await.unwrap();
    assert!(!text.contains("telemetry_reads_interrupted_total 0\n"), "{text}");
    assert!(text.contains("telemetry_reads_interrupted_total "), "{text}");
    // And what it left is of use to the next.
    for path in HOSTILE {
        assert_eq!(app.get(path).await.status(), 200, "{path}");
    }
    app.stop().await;
}
