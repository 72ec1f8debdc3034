//! A server that was down has its gaps where a Prometheus has them that scraped it.

use std::{collections::BTreeSet, fmt::Write as _};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::domain::ReportBody;
use tempfile::TempDir;

use super::{
    history::{HOUR, data},
    process::{Prometheus, promtool},
};
use crate::support::{App, past::ran, stock};

/// Whole hours before the begin of the test: the first start, an end, and the next start.
const BEGAN: i64 = 60;
const ENDED: i64 = 36;
const AGAIN: i64 = 20;

#[tokio::test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn gaps_are_those_of_prometheus() {
    let begin: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let ago = |hours: i64| begin - SignedDuration::from_hours(hours);
    // A report at half past each hour of running.
    let folder = TempDir::new().unwrap();
    let report = ReportBody { instance_id: Some("a".into()), ..ReportBody::default() };
    let report = report.into_report().unwrap();
    for (from, until) in [(BEGAN, ENDED), (AGAIN, 0)] {
        let reports = (0..from - until).map(|hour| (hour * 60 + 30, report.clone()));
        ran(&folder, ago(from), from - until, reports).await;
    }
    let app = App::start_in(folder, |_| ()).await;

    // A scrape each minute of running, of counts that grow at the end of each hour.
    let mut text = "# TYPE mattermost_starts counter\n".to_owned();
    let (mut value, first) = (0, ago(BEGAN).as_second());
    for minute in 0..=BEGAN * 60 {
        let hour = BEGAN - minute / 60;
        let runs = hour > ENDED || hour <= AGAIN || (hour == ENDED && minute % 60 == 0);
        if minute % 60 == 0 && runs && hour != AGAIN && minute > 0 {
            value += 1;
        }
        if runs && value > 0 {
            writeln!(text, "mattermost_starts_total {value} {}", first + minute * 60).unwrap();
        }
    }
    text += "# EOF\n";
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("history.txt");
    std::fs::write(&file, text).unwrap();
    let (file, blocks) = (file.display().to_string(), folder.path().join("data"));
    promtool(&["tsdb", "create-blocks-from", "openmetrics", &file, &blocks.display().to_string()]);
    let prometheus = Prometheus::start(folder.path(), "global: {}\n");

    let moments = async |address: &str, query: &str, offset: i64| {
        let (start, end) = (ago(BEGAN - 2).as_second() + offset, ago(1).as_second() + offset);
        let path = format!(
            "http://{address}/api/v1/query_range?query={query}&start={start}&end={end}&step=1h"
        );
        let answer = app.client.get(path).send().await.unwrap().json().await.unwrap();
        let found: BTreeSet<i64> = data(&answer)["result"][0]["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| (value[0].as_i64().unwrap() - ago(0).as_second()).div_euclid(HOUR))
            // This Prometheus looks back an hour, and ours five minutes.
            .filter(|&hour| hour != -ENDED)
            .collect();
        found
    };
    let ours = app.address.to_string();
    app.report(&stock("a")).await;
    for query in ["sum(mattermost_starts_total)", "sum(increase(mattermost_starts_total[1h]))"] {
        for offset in [HOUR / 2, 2 * HOUR / 3] {
            let here = moments(&ours, query, offset).await;
            let there = moments(&prometheus.address, query, offset).await;
            assert_eq!(here, there, "{query} {offset}");
            assert!(!here.contains(&-ENDED.midpoint(AGAIN)), "{query}: {here:?}");
        }
    }
}
