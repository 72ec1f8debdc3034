//! The server and a Prometheus that holds the same history give the same answers.

use std::collections::BTreeMap;

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    history::{HOUR, Sent, data, ends_of_hours, moment, openmetrics, send},
    process::{Prometheus, promtool},
    queries::{CHOICES, IN_ORDER, QUERIES, RANGES},
};
use crate::support::App;

/// Seconds into an hour at which is asked: between the samples.
const HALF: i64 = HOUR / 2;

/// An answer's series by their labels: moments and values.
type Answer = BTreeMap<String, Vec<(f64, f64)>>;

async fn ask(client: &Client, address: &str, route: &str, form: &[(&str, &str)]) -> Value {
    let request = client.post(format!("http://{address}/api/v1/{route}")).form(form);
    request.send().await.unwrap().json().await.unwrap()
}

fn pair(pair: &Value) -> (f64, f64) {
    (pair[0].as_f64().unwrap(), pair[1].as_str().unwrap().parse().unwrap())
}

fn series(answer: &Value) -> Answer {
    let data = data(answer);
    if data["resultType"] == "scalar" {
        return Answer::from([("scalar".to_owned(), vec![pair(&data["result"])])]);
    }
    let result = data["result"].as_array().unwrap();
    let series = result.iter().map(|one| {
        let values = match one["values"].as_array() {
            Some(values) => values.iter().map(pair).collect(),
            None => vec![pair(&one["value"])],
        };
        (one["metric"].to_string(), values)
    });
    series.collect()
}

#[expect(clippy::float_cmp, reason = "infinity is at no distance from itself")]
fn same_number(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn assert_same(query: &str, ours: &Answer, theirs: &Answer) {
    let labels: Vec<_> = ours.keys().collect();
    assert_eq!(labels, theirs.keys().collect::<Vec<_>>(), "{query}");
    for (labels, ours) in ours {
        let theirs = &theirs[labels];
        let same = ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(ours, theirs)| {
                same_number(ours.0, theirs.0) && same_number(ours.1, theirs.1)
            });
        assert!(same, "{query} {labels}:\n  ours {ours:?}\ntheirs {theirs:?}");
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
fn whole(seconds: f64) -> i64 {
    seconds as i64
}

/// The values of each moment, without the labels.
fn values(answer: &Answer) -> BTreeMap<u64, Vec<u64>> {
    let mut values: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (time, value) in answer.values().flatten() {
        values.entry(time.to_bits()).or_default().push(value.to_bits());
    }
    values.values_mut().for_each(|values| values.sort_unstable());
    values
}

/// A history in both: in the server by reports, in Prometheus as OpenMetrics.
async fn both() -> (App, Vec<Sent>, Prometheus, TempDir) {
    let app = App::start().await;
    let sent = send(&app).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("history.txt");
    std::fs::write(&file, openmetrics(&sent)).unwrap();
    let (file, data) = (file.display().to_string(), folder.path().join("data"));
    let data = data.display().to_string();
    promtool(&["tsdb", "create-blocks-from", "openmetrics", &file, &data]);
    let prometheus = Prometheus::start(folder.path(), "global: {}\n");
    (app, sent, prometheus, folder)
}

#[tokio::test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn the_same_answers_as_prometheus() {
    let (app, sent, prometheus, _folder) = both().await;
    let ends: Vec<i64> = ends_of_hours(&sent).collect();
    // Prometheus knows nothing of the hours after the last sample, to which an offset may lead.
    let (first, last) = (ends[0], ends[ends.len() - 5]);
    let ours = app.address.to_string();
    let ask_both = async |route: &str, form: &[(&str, &str)]| {
        (
            ask(&app.client, &ours, route, form).await,
            ask(&app.client, &prometheus.address, route, form).await,
        )
    };
    let middle = ends[ends.len() / 2];
    let moments = [first + HALF, middle + HALF, middle + 60 * HOUR + 1, last - HALF];
    // Steps that divide an hour, that do not, and a day's.
    let ranges = [
        (first + HALF, first + 40 * HOUR, "1h"),
        (middle - 50 * HOUR - HALF, middle + 90 * HOUR, "17h"),
        (first - 30 * HOUR, last - HALF, "1d"),
    ];
    let mut answers = 0;
    for query in QUERIES.iter().chain(&CHOICES).chain(&IN_ORDER) {
        let before = answers;
        for moment in moments {
            let time = moment.to_string();
            let (ours, theirs) = ask_both("query", &[("query", query), ("time", &time)]).await;
            if IN_ORDER.contains(query) {
                assert_eq!(data(&ours)["result"], data(&theirs)["result"], "{query}");
            }
            let (ours, theirs) = (series(&ours), series(&theirs));
            if CHOICES.contains(query) {
                assert_eq!(values(&ours), values(&theirs), "{query} at {time}");
            } else {
                assert_same(query, &ours, &theirs);
            }
            answers += ours.len();
        }
        for (start, end, step) in &ranges {
            let (start, end) = (moment(*start), moment(*end));
            let form = [("query", *query), ("start", &start), ("end", &end), ("step", step)];
            let (ours, theirs) = ask_both("query_range", &form).await;
            let (ours, theirs) = (series(&ours), series(&theirs));
            if CHOICES.contains(query) {
                assert_eq!(values(&ours), values(&theirs), "{query} by {step}");
            } else {
                assert_same(query, &ours, &theirs);
            }
            answers += ours.len();
        }
        // Those that select nothing are there for that.
        let nothing = query.contains("nosuch!=") || query.contains("nosuch=~\".+\"");
        let nothing = nothing || query.contains("no_such") || query.contains("=~\"v11\"");
        assert_eq!(answers == before, nothing, "{query}");
    }
    for query in RANGES {
        for moment in moments {
            let time = moment.to_string();
            let (ours, theirs) = ask_both("query", &[("query", query), ("time", &time)]).await;
            assert_same(query, &series(&ours), &series(&theirs));
        }
    }
    for route in [
        "labels?match[]=mattermost_starts_total",
        "label/image_version/values?match[]=mattermost_active_instances",
        "label/le/values",
        "series?match[]=mattermost_startup_seconds_sum",
    ] {
        let path = format!("/api/v1/{route}");
        let and = if path.contains('?') { '&' } else { '?' };
        let theirs = format!("{path}{and}start=0&end={last}");
        let theirs = prometheus.get(&app.client, &theirs).await;
        let sorted = |answer: &Value| {
            let mut found: Vec<String> =
                data(answer).as_array().unwrap().iter().map(Value::to_string).collect();
            found.sort();
            found
        };
        let mut ours = sorted(&app.json(&path).await);
        // Ours knows the bounds of the server's own histograms, too.
        if route.starts_with("label/le") {
            let own =
                sorted(&app.json(&format!("{path}?match[]={{__name__=~\"mattermost.*\"}}")).await);
            ours.retain(|bound| own.contains(bound));
        }
        assert_eq!(ours, sorted(&theirs), "{route}");
    }
}

/// Where a request may have its parameters, and lists that are empty on both.
#[tokio::test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn the_same_requests_are_understood() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let app = App::start().await;
    let folder = TempDir::new().unwrap();
    let prometheus = Prometheus::start(folder.path(), "global: {}\n");
    for (path, body) in [
        ("rules", None),
        ("rules?type=alert", None),
        ("rules?type=nosuch", None),
        ("alerts", None),
        ("query_exemplars", None),
        ("query_exemplars?query=x", None),
        ("query_exemplars?query=x&start=then", None),
        ("query_exemplars?query=x&start=2&end=1", None),
        ("query_exemplars", Some((FORM, "query=x"))),
        ("targets", None),
        ("alertmanagers", None),
        ("query?query=1&time=5", None),
        ("query?query=1&time=5", Some((FORM, ""))),
        ("query?query=1&time=5", Some((FORM, "query=2"))),
        ("query?query=1&time=5", Some((FORM, "time=6"))),
        ("query?query=1&time=5", Some(("application/json", "{}"))),
        ("query?query=1&time=5", Some(("text/plain", "query=2"))),
        ("query?time=5", Some(("text/plain", "query=2"))),
        ("query_range?query=1&start=1&end=3", Some((FORM, "step=1"))),
        ("series?match[]=nosuch", Some((FORM, ""))),
        ("series", Some((FORM, "match[]=nosuch"))),
        ("label/os/values", Some((FORM, ""))),
        ("rules", Some((FORM, ""))),
        ("metadata?metric=nosuch&limit=", None),
        ("metadata?metric=nosuch&limit=0", None),
        ("metadata?metric=nosuch&limit=-1", None),
        ("metadata?metric=nosuch&limit=many", None),
        ("metadata?metric=nosuch&limit=99999999999999999999", None),
    ] {
        let ask = async |address: &str| {
            let url = format!("http://{address}/api/v1/{path}");
            let request = match body {
                None => app.client.get(url),
                Some((content_type, body)) => {
                    app.client.post(url).header("content-type", content_type).body(body)
                }
            };
            let answer = request.send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            let data: Value = serde_json::from_str(&body).unwrap_or_default();
            (status, data["errorType"].clone(), data["data"].clone())
        };
        let (ours, theirs) = (ask(&app.address.to_string()).await, ask(&prometheus.address).await);
        assert_eq!(ours, theirs, "{path} {body:?}");
    }
}

/// These differ from Prometheus on purpose: they are exact. So they are compared with the reports.
#[tokio::test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite prometheus:: -- --ignored"]
async fn increase_and_rate_are_exact() {
    let app = App::start().await;
    let sent = send(&app).await;
    let ours = app.address.to_string();
    let ends: Vec<i64> = ends_of_hours(&sent).collect();
    let selections = [
        ("", None, None),
        ("{architecture=\"aarch64\"}", None, Some("aarch64")),
        ("{image_version=\"v11.0.0\"}", Some("v11.0.0"), None),
        ("{image_version=\"v11.1.0\",architecture=\"x86_64\"}", Some("v11.1.0"), Some("x86_64")),
    ];
    let now = app.now().as_second();
    let mut compared = 0;
    for (selection, version, architecture) in selections {
        for (range, length) in
            [("1h", HOUR), ("90m", 3 * HOUR / 2), ("1d", 24 * HOUR), ("1w", 168 * HOUR)]
        {
            for (step, distance) in [("1h", HOUR), ("2500", 2500), ("1d", 24 * HOUR)] {
                let first = ends[0] + 7;
                let (start, end) = (first, first + 100 * distance);
                for (function, factor) in
                    [("increase", 1.0), ("rate", 1.0 / f64::from(i32::try_from(length).unwrap()))]
                {
                    let query =
                        format!("sum({function}(mattermost_starts_total{selection}[{range}]))");
                    let (start, end) = (start.to_string(), end.to_string());
                    let form = [
                        ("query", query.as_str()),
                        ("start", &start),
                        ("end", &end),
                        ("step", step),
                    ];
                    let answer = series(&ask(&app.client, &ours, "query_range", &form).await);
                    let values: BTreeMap<i64, f64> = answer
                        .values()
                        .flatten()
                        .map(|(time, value)| (whole(*time), *value))
                        .collect();
                    let selected: Vec<&Sent> = sent
                        .iter()
                        .filter(|report| report.is_start && report.has(version, architecture))
                        .collect();
                    for step in 0..=100 {
                        // Everything is counted by whole hours.
                        let time = first + step * distance;
                        let (from, to) = ((time - length) / HOUR * HOUR, time / HOUR * HOUR);
                        let expected = (selected[0].at < to && time <= now).then(|| {
                            let within = |report: &&&Sent| report.at >= from && report.at < to;
                            let count = selected.iter().filter(within).count();
                            f64::from(u32::try_from(count).unwrap()) * factor
                        });
                        let value = values.get(&time).copied();
                        let same = match (value, expected) {
                            (Some(value), Some(expected)) => same_number(value, expected),
                            (value, expected) => value.is_none() && expected.is_none(),
                        };
                        assert!(same, "{query} at {time}: {value:?} {expected:?}");
                        compared += usize::from(value.is_some());
                    }
                }
            }
        }
    }
    assert!(compared > 5000, "{compared}");
}
