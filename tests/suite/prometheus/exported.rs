//! An exported history in a Prometheus of its own, which gives the answers of the server.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::{
    history::{HOUR, data, ends_of_hours, send},
    process::{Prometheus, promtool},
};
use crate::support::{App, binary};

/// Expressions at the end of an hour, where each series has a sample: their answers are equal.
const EQUAL: [&str; 8] = [
    "sum(mattermost_starts_total)",
    "mattermost_starts_total",
    "sum by (architecture) (mattermost_starts_total)",
    "histogram_quantile(0.9, sum by (le) (mattermost_startup_seconds_bucket))",
    "sum(mattermost_startup_seconds_sum) / sum(mattermost_startup_seconds_count)",
    "mattermost_instances",
    "sum by (window) (mattermost_active_instances)",
    "mattermost_calendar_instances",
];

/// Series by their labels, and their values.
fn series(answer: &Value) -> Vec<(String, Vec<(f64, f64)>)> {
    let number = |value: &Value| value.as_f64().unwrap();
    let result = data(answer)["result"].as_array().unwrap().iter();
    let mut series: Vec<_> = result
        .map(|series| {
            let values = series["values"].as_array().unwrap().iter();
            let values =
                values.map(|pair| (number(&pair[0]), pair[1].as_str().unwrap().parse().unwrap()));
            (series["metric"].to_string(), values.collect())
        })
        .collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn an_exported_history_answers_as_the_server_does() {
    let app = App::start().await;
    let sent = send(&app).await;
    let folder = TempDir::new().unwrap();
    let (file, blocks) = (folder.path().join("history.txt"), folder.path().join("data"));
    let url = format!("sqlite://{}", app.folder.path().join("telemetry.db").display());
    let mut export = binary();
    export.env("DATABASE_URL", url).args(["export", "--format", "openmetrics"]);
    export.args(["--until", &app.now().to_string(), "--output"]).arg(&file);
    let Output { status, stderr, .. } = export.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let (file, blocks) = (file.display().to_string(), blocks.display().to_string());
    promtool(&["tsdb", "create-blocks-from", "openmetrics", &file, &blocks]);
    // As it is without a setting: a gauge that has ended has no value an hour later.
    let prometheus = Prometheus::start_with(folder.path(), "global: {}\n", "5m");

    let ends: Vec<i64> = ends_of_hours(&sent).collect();
    let ask = async |address: &str, query: &str, from: i64| {
        let (start, end) = (from.to_string(), ends[ends.len() - 1].to_string());
        let form = [("query", query), ("start", &start), ("end", &end), ("step", "3600")];
        let request = app.client.post(format!("http://{address}/api/v1/query_range")).form(&form);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    for query in EQUAL {
        let ours = series(&ask(&app.address.to_string(), query, ends[0]).await);
        let theirs = series(&ask(&prometheus.address, query, ends[0]).await);
        assert!(!ours.is_empty(), "{query}");
        let labels = |series: &[(String, Vec<_>)]| -> Vec<String> {
            series.iter().map(|(labels, _)| labels.clone()).collect()
        };
        assert_eq!(labels(&ours), labels(&theirs), "{query}");
        for ((labels, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            let same = ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| {
                    (ours.0 - theirs.0).abs() < 1e-3
                        && ((ours.1.is_nan() && theirs.1.is_nan())
                            || (ours.1 - theirs.1).abs() <= 1e-9 * ours.1.abs())
                });
            assert!(same, "{query} {labels}:\n  ours {ours:?}\ntheirs {theirs:?}");
        }
    }
    // The growth of a day, where all series have been there for a day: Prometheus extrapolates from the first
    // and the last of 25 samples to the whole range, which they cover.
    let growth = "sum(increase(mattermost_starts_total{image_version=\"v10.12.0\"}[1d]))";
    let later = ends[0] + 72 * HOUR;
    let ours = series(&ask(&app.address.to_string(), growth, later).await);
    let theirs = series(&ask(&prometheus.address, growth, later).await);
    for ((time, ours), (other, theirs)) in ours[0].1.iter().zip(&theirs[0].1) {
        assert!(
            (time - other).abs() < 1e-3 && (ours - theirs).abs() < 1e-6,
            "at {time}: {ours}, {theirs}"
        );
    }
}
