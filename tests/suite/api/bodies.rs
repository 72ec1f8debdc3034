//! Bodies as clients in the field send them: what is dropped, what is refused, and what is counted.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{App, report, show, stock};

/// A report with one field as it is written here.
fn with(field: &str, written: &str) -> String {
    format!(r#"{{"instance_id": "a", "{field}": {written}}}"#)
}

/// The values that were dropped so far, by field and reason.
async fn dropped(app: &App) -> BTreeMap<String, u64> {
    let (_, text) = app.scrape("text/plain;version=0.0.4").await;
    let series = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("telemetry_fields_dropped_total{")?;
        let (labels, value) = rest.split_once("} ")?;
        Some((labels.to_owned(), value.parse().unwrap()))
    });
    series.collect()
}

/// Sends a report that must be taken; returns it as stored, and the reason for which the value of
/// the field was dropped.
async fn sent(app: &App, field: &str, written: &str) -> (Value, Option<String>) {
    let before = dropped(app).await;
    assert_eq!(before.len(), 6, "each series is there from the start");
    let answer = app.post(with(field, written)).await;
    assert_eq!(answer.status(), 200, "{written}: {}", answer.text().await.unwrap());
    let after = dropped(app).await;
    let mut grown = after.iter().filter(|(labels, count)| **count != before[*labels]);
    let reason = grown.next().map(|(labels, count)| {
        assert_eq!(*count, before[labels] + 1);
        let reason = labels.strip_prefix(&format!("field=\"{field}\",reason=\"")).expect(labels);
        reason.trim_end_matches('"').to_owned()
    });
    assert!(grown.next().is_none());
    (app.json("/deployments?limit=1").await[0][field].clone(), reason)
}

#[tokio::test]
async fn a_startup_time_that_only_a_clock_makes_is_dropped() {
    let app = App::start().await;
    let times = [
        ("2500", json!(2500), None),
        ("2500.0", json!(2500), None),
        ("2.5e3", json!(2500), None),
        ("25E+2", json!(2500), None),
        ("2500.4", json!(2500), None),
        ("2499.5", json!(2500), None),
        ("1", json!(1), None),
        ("86400000", json!(86_400_000), None),
        ("86400000.4", json!(86_400_000), None),
        // Not measured, which is no fault.
        ("null", json!(null), None),
        ("0", json!(null), None),
        ("0.0", json!(null), None),
        ("-0", json!(null), None),
        ("0.3", json!(null), None),
        ("-0.3", json!(null), None),
        ("-1", json!(null), Some("negative")),
        ("-1.5e3", json!(null), Some("negative")),
        ("-9223372036854775809", json!(null), Some("negative")),
        ("-1e400", json!(null), Some("negative")),
        ("86400001", json!(null), Some("too-long")),
        ("1767225600000", json!(null), Some("too-long")),
        ("18446744073709551616", json!(null), Some("too-long")),
        ("1e300", json!(null), Some("too-long")),
        ("1e400", json!(null), Some("too-long")),
    ];
    for (written, stored, reason) in &times {
        let found = sent(&app, "startup_time_ms", written).await;
        assert_eq!(found, (stored.clone(), reason.map(str::to_owned)), "{written}");
    }
    assert_eq!(app.json("/metrics").await["total_deployments"], times.len());
}

#[tokio::test]
async fn a_timestamp_in_another_form_is_dropped() {
    let app = App::start().await;
    let noon = json!("2026-01-31T12:00:00Z");
    let times = [
        (r#""2026-01-31T12:00:00Z""#, noon.clone(), None),
        (r#""2026-01-31T13:00:00.000+01:00""#, noon.clone(), None),
        (r#"" 2026-01-31 12:00:00z ""#, noon, None),
        ("null", json!(null), None),
        (r#""""#, json!(null), Some("empty")),
        (r#"" \t ""#, json!(null), Some("empty")),
        (r#""yesterday""#, json!(null), Some("form")),
        (r#""2026-01-31""#, json!(null), Some("form")),
        (r#""2026-01-31T12:00:00""#, json!(null), Some("form")),
        (r#""Sat Jan 31 12:00:00 UTC 2026""#, json!(null), Some("form")),
        (r#""Sat, 31 Jan 2026 12:00:00 GMT""#, json!(null), Some("form")),
        (r#""1769860800""#, json!(null), Some("form")),
        (r#""1769860800000""#, json!(null), Some("form")),
        (r#""2026-01-31T12:00:00\u0000Z""#, json!(null), Some("form")),
        (r#""\ud800""#, json!(null), Some("form")),
        // A time in another form is often a number.
        ("1769860800", json!(null), Some("form")),
        ("1769860800.25", json!(null), Some("form")),
        ("-1e400", json!(null), Some("form")),
        (r#""2026-02-30T12:00:00Z""#, json!(null), Some("form")),
        (r#""2026-01-31T25:00:00Z""#, json!(null), Some("form")),
    ];
    for (written, stored, reason) in &times {
        let found = sent(&app, "timestamp", written).await;
        assert_eq!(found, (stored.clone(), reason.map(str::to_owned)), "{written}");
    }
    let long = format!("\"{}\"", "9".repeat(10_000));
    assert_eq!(sent(&app, "timestamp", &long).await, (json!(null), Some("form".into())));
    assert_eq!(app.json("/metrics").await["total_deployments"], times.len() + 1);
}

/// An author notices these at the first try.
#[tokio::test]
async fn a_value_of_another_type_is_refused() {
    let app = App::start().await;
    for field in ["startup_time_ms", "timestamp"] {
        for written in ["true", "{}", "[2500]"] {
            let answer = app.post(with(field, written)).await;
            assert_eq!(answer.status(), 422, "{field}: {written}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"));
        }
    }
    for written in [r#""2500""#, r#""""#] {
        assert_eq!(app.post(with("startup_time_ms", written)).await.status(), 422, "{written}");
    }
    for written in ["", "NaN", "Infinity", "02500", "2500."] {
        assert_eq!(app.post(with("startup_time_ms", written)).await.status(), 400, "{written}");
    }
    assert_eq!(app.json("/metrics").await["total_deployments"], 0);
    assert!(dropped(&app).await.values().all(|&count| count == 0));
}

/// Only a report that is stored counts: one that is refused has lost more than a field.
#[tokio::test]
async fn a_refused_report_drops_no_field() {
    let app = App::start_with(|config| config.instance_rate_limit_per_hour = 1).await;
    let body = json!({"instance_id": " ", "startup_time_ms": -1, "timestamp": ""});
    assert_eq!(app.post(body.to_string()).await.status(), 422);
    app.report(&stock("a")).await;
    let body = report("a", json!({"startup_time_ms": -1}));
    assert_eq!(app.post(body.to_string()).await.status(), 429);
    assert!(dropped(&app).await.values().all(|&count| count == 0));
}

/// The stock image's `date` has no nanoseconds, so its clients send 0.
#[tokio::test]
async fn a_time_of_zero_enters_neither_mean_nor_percentiles() {
    let app = App::start().await;
    for number in 0..20 {
        app.report(&report(&format!("stock-{number}"), json!({"startup_time_ms": 0}))).await;
    }
    assert_eq!(app.json("/metrics").await["avg_startup_time_ms"], 0.0);
    assert_eq!(app.json("/stats/startup").await, json!([]));
    app.report(&report("measured", json!({"startup_time_ms": 3000}))).await;
    let metrics = app.json("/metrics").await;
    assert_eq!(
        (&metrics["total_deployments"], &metrics["avg_startup_time_ms"]),
        (&json!(21), &json!(3000.0))
    );
    let startup = &app.json("/stats/startup").await[0];
    assert_eq!((&startup["count"], &startup["avg_ms"]), (&json!(1), &json!(3000.0)));
    assert!(startup["p50_ms"].as_f64().unwrap() > 2500.0, "{startup}");
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped() {
    let app = App::start().await;
    assert_eq!(app.post(format!("\u{feff}{}", stock("a"))).await.status(), 200);
    assert_eq!(app.post(format!("\u{feff} \r\n{}", stock("b"))).await.status(), 200);
    assert_eq!(app.post(format!("\u{feff}{}", report("c", json!({"os": 1})))).await.status(), 422);
    for body in [format!("\u{feff}\u{feff}{}", stock("d")), "\u{feff}".to_owned()] {
        assert_eq!(app.post(body).await.status(), 400);
    }
    // The limit holds for the body as it is sent.
    let mut body = format!("\u{feff}{}", stock("e"));
    body.push_str(&" ".repeat(16 * 1024 - body.len()));
    assert_eq!(app.post(body.clone()).await.status(), 200);
    assert_eq!(app.post(body + " ").await.status(), 413);
}

/// The stock client follows no redirect.
#[tokio::test]
async fn a_slash_too_many_changes_no_route() {
    let app = App::start_with(|config| config.read_token = Some("secret".into())).await;
    for path in ["/collect/", "/collect//", "//collect", "/collect/?from=compose"] {
        let request = app.request(Method::POST, path).json(&stock("a"));
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
    }
    // A refusal is counted, and a closed route stays closed.
    let refused = app.request(Method::POST, "/collect/").json(&json!({})).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    assert_eq!(app.get("/metrics/").await.status(), 401);
    let request = app.request(Method::GET, "/metrics/").bearer_auth("secret");
    let answer = request.header(header::ACCEPT, "text/plain;version=0.0.4").send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.contains("reports_rejected_total{reason=\"invalid-report\"} 1"), "{text}");
    for path in ["/collect/a", "/col/lect", "/collect%2F"] {
        let request = app.request(Method::POST, path).json(&stock("a"));
        assert_eq!(request.send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn an_encoded_body_is_refused_with_the_encoding_to_use() {
    let app = App::start().await;
    let send = |encoding: &'static str| {
        let request = app.request(Method::POST, "/collect").json(&stock("a"));
        request.header(header::CONTENT_ENCODING, encoding).send()
    };
    for encoding in ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "utf-8"] {
        let answer = send(encoding).await.unwrap();
        assert_snapshot!("refused_encoded", show(answer).await);
    }
    for encoding in ["identity", "Identity", "identity, identity", ""] {
        assert_eq!(send(encoding).await.unwrap().status(), 200, "{encoding}");
    }
}
