//! `/status`: what a monitor is answered.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{
    App,
    past::{ran, silent},
    show, stock,
};

/// Asks until the answer has a status; returns its body.
async fn status(app: &App, wanted: u16) -> Value {
    let asked = async {
        loop {
            let answer = app.get("/status").await;
            if answer.status() == wanted {
                return answer.json().await.unwrap();
            }
        }
    };
    timeout(Duration::from_secs(30), asked).await.expect("/status stays as it is")
}

#[tokio::test]
async fn nothing_to_do_is_ok_and_open_to_everyone() {
    let app = App::start_with(|config| config.read_token = Some("secret".into())).await;
    app.report(&stock("a")).await;
    insta::assert_snapshot!("status_ok", show(app.get("/status").await).await);
    let head = app.request(Method::HEAD, "/status").send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()[header::CONTENT_LENGTH], r#"{"status":"ok"}"#.len().to_string());
    assert_eq!(head.text().await.unwrap(), "");
    let put = app.request(Method::PUT, "/status").send().await.unwrap();
    assert_eq!(put.status(), 405);
}

/// A silent server goes on receiving: it is ready, and a report ends the silence.
#[tokio::test]
async fn silence_is_a_reason_and_no_unreadiness() {
    let app = App::start_in(silent().await, |_| ()).await;
    let body = status(&app, 503).await;
    assert_eq!(body["type"], "/problems/needs-attention");
    assert_eq!(body["reasons"].as_array().unwrap().len(), 1, "{body}");
    assert_eq!(body["reasons"][0]["reason"], "silence");
    insta::assert_snapshot!("status_silence", show(app.get("/status").await).await);
    let head = app.request(Method::HEAD, "/status").send().await.unwrap();
    assert_eq!(head.status(), 503);
    assert_eq!(app.get("/ready").await.status(), 200);
    app.report(&stock("new")).await;
    assert_eq!(status(&app, 200).await, json!({ "status": "ok" }));
}

/// The machine was switched off for longer than its clock is believed.
#[tokio::test]
async fn a_doubtful_clock_is_a_reason() {
    let folder = TempDir::new().unwrap();
    let begin = "2025-11-01T00:00:00Z".parse::<Timestamp>().unwrap();
    ran(&folder, begin, 48, std::iter::empty()).await;
    let app = App::start_in(folder, |_| ()).await;
    let body = status(&app, 503).await;
    assert_eq!(body["detail"], "Reasons: clock.");
    assert!(body["reasons"][0]["remedy"].as_str().unwrap().contains("clock confirm"), "{body}");
}

/// Whoever asks learns nothing about the fleet: no number and no time is in any answer.
#[tokio::test]
async fn no_answer_has_a_count_or_a_time() {
    let app = App::start_in(silent().await, |_| ()).await;
    let mut body = status(&app, 503).await;
    assert_eq!(body["status"].take(), 503);
    assert!(!body.to_string().contains(|c: char| c.is_ascii_digit()), "{body}");
    app.report(&stock("new")).await;
    let body = status(&app, 200).await.to_string();
    assert!(!body.contains(|c: char| c.is_ascii_digit()), "{body}");
}

/// An answer comes from memory: it is the same while the database cannot be asked.
#[tokio::test]
async fn the_database_is_not_asked() {
    let app = App::start().await;
    app.report(&stock("a")).await;
    app.database.close().await;
    assert_eq!(app.get("/ready").await.status(), 503);
    assert_eq!(app.get("/status").await.status(), 200);
}
