//! Every error is a problem document.

use insta::assert_snapshot;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{App, report, show, stock};

#[tokio::test]
async fn every_refusal_of_a_report_is_a_problem_document() {
    let app = App::start().await;
    let bodies: [(&str, String); 9] = [
        ("malformed_json", r#"{"instance_id": "a", }"#.into()),
        ("empty_body", String::new()),
        ("not_an_object", "[1, 2]".into()),
        ("wrong_type", report("a", json!({"startup_time_ms": "2500"})).to_string()),
        ("no_id", r#"{"image_version": "v11.0.0"}"#.into()),
        ("blank_id", stock(" \t ").to_string()),
        ("control_character", report("a", json!({"os": "Li\u{7}nux"})).to_string()),
        ("too_long", report(&"x".repeat(129), json!({"db_type": "y".repeat(65)})).to_string()),
        ("bad_event", report("a", json!({"event": "stop"})).to_string()),
    ];
    for (name, body) in bodies {
        assert_snapshot!(format!("refused_{name}"), show(app.post(body).await).await);
    }
    assert_eq!(app.json("/metrics").await["total_deployments"], 0);
}

#[tokio::test]
async fn limits_are_inclusive() {
    let app = App::start().await;
    let longest =
        report(&"x".repeat(128), json!({"db_type": "ü".repeat(64), "startup_time_ms": 86_400_000}));
    app.report(&longest).await;
    assert_eq!(app.json("/deployments").await[0]["startup_time_ms"], 86_400_000);
}

#[tokio::test]
async fn a_body_of_16_kib_is_taken_and_one_byte_more_is_not() {
    let app = App::start().await;
    let mut body = stock("a").to_string();
    body.push_str(&" ".repeat(16 * 1024 - body.len()));
    assert_eq!(app.post(body.clone()).await.status(), 200);
    body.push(' ');
    assert_snapshot!("refused_too_large", show(app.post(body.clone()).await).await);
    // Without a length the size is found out on the way.
    let pieces = body.into_bytes().chunks(1000).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let answer = app.post(reqwest::Body::wrap_stream(stream)).await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn a_body_of_1024_chunks_is_taken_and_one_chunk_more_is_not() {
    let app = App::start().await;
    for (pieces, status) in [(1024, 200), (1025, 413)] {
        let mut body = stock("a").to_string();
        body.push_str(&" ".repeat(pieces - body.len()));
        let bytes = body.into_bytes().into_iter().map(|byte| Ok::<_, std::io::Error>(vec![byte]));
        let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(bytes));
        assert_eq!(app.post(stream).await.status(), status, "{pieces} chunks of a byte");
    }
}

#[tokio::test]
async fn a_body_that_does_not_say_that_it_is_json_is_refused() {
    let app = App::start().await;
    let body = stock("a").to_string();
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let mut request = app.request(Method::POST, "/collect").body(body.clone());
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 415, "{content_type:?}");
        assert_snapshot!("refused_not_json", show(answer).await);
    }
    for content_type in
        ["application/json; charset=utf-8", "Application/JSON", "application/x+json"]
    {
        let request = app.request(Method::POST, "/collect").body(body.clone());
        let answer = request.header(header::CONTENT_TYPE, content_type).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{content_type}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problem_documents() {
    let app = App::start().await;
    assert_snapshot!("no_such_route", show(app.get("/no/such/route").await).await);
    assert_snapshot!("wrong_method_collect", show(app.get("/collect").await).await);
    let answer = app.request(Method::DELETE, "/deployments").send().await.unwrap();
    assert_snapshot!("wrong_method_deployments", show(answer).await);
}

#[tokio::test]
async fn query_parameters_are_checked() {
    let app = App::start().await;
    let paths = [
        "/deployments?limit=0",
        "/deployments?limit=1001",
        "/deployments?limit=ten",
        "/deployments?before=x",
        "/deployments?since=yesterday",
        "/deployments?colour=red",
        "/stats/startup?by=colour",
        "/stats/timeseries?interval=minute",
        "/stats/timeseries?interval=hour&since=2025-01-01T00:00:00Z",
        "/stats/timeseries?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "/stats/active?by=",
        "/stats/active?window=7d",
        "/stats/active?window=day&by=os",
        "/stats/active?since=2026-01-01T00:00:00Z",
        "/stats/active?window=day&since=2020-01-01T00:00:00Z",
        "/stats/active?window=day&since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "/stats/cohorts?week=1",
        "/stats/adoption?by=os",
    ];
    let mut shown = String::new();
    for path in paths {
        let answer = app.get(path).await;
        assert_eq!(answer.status(), 400, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/invalid-parameter");
        shown += &format!("{path}\n    {}\n", problem["detail"].as_str().unwrap());
    }
    assert_snapshot!("invalid_parameters", shown);
}

/// A database that fails while the server runs: clients learn nothing of the cause.
#[tokio::test]
async fn a_failing_database_is_not_described_to_the_client() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    app.database.close().await;
    assert_snapshot!("internal_error", show(app.get("/metrics").await).await);
    assert_snapshot!("not_ready", show(app.get("/ready").await).await);
    // Storing does not need the readers.
    app.report(&stock("b")).await;
}
