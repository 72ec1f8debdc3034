//! The public view.

use mattermost_telemetry::{
    domain::{InstanceId, ReportBody},
    storage::Database,
};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{App, config, past, stock};

const PATHS: [&str; 6] = [
    "/public",
    "/public.json",
    "/public/fields",
    "/badge/active-30d",
    "/badge/instances",
    "/badge/newest-version",
];

async fn start() -> App {
    App::start_with(|config| config.public_minimum = Some(5)).await
}

/// A report of a fleet: the number of the instance decides its values.
fn report(number: usize) -> Value {
    let mut report = stock(&format!("secret-id-{number:04}"));
    report["architecture"] = if number.is_multiple_of(7) { "x86_64" } else { "aarch64" }.into();
    report["image_version"] = if number < 9 { "v11.0.0" } else { "v11.1.0" }.into();
    report
}

/// Has `instances` report, and closes the day.
async fn day_of(app: &App, instances: usize) {
    for number in 0..instances {
        app.report(&report(number)).await;
    }
    close_day(app).await;
}

/// Passes midnight, with a report of the next day, which has no part in the numbers.
async fn close_day(app: &App) {
    app.pass(24);
    app.report(&stock("of-the-next-day")).await;
}

#[tokio::test]
async fn nothing_is_there_where_it_is_off() {
    let app = App::start().await;
    day_of(&app, 12).await;
    let unknown: Value = app.get("/no-such-path").await.json().await.unwrap();
    for path in PATHS {
        let answer = app.get(path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap(), unknown, "{path}");
    }
    app.stop().await;
}

#[tokio::test]
async fn there_are_no_numbers_before_the_first_close() {
    let app = start().await;
    for number in 0..12 {
        app.report(&report(number)).await;
    }
    let expected = json!({"numbers": null, "next_at": "2026-02-01T00:00:00Z"});
    assert_eq!(app.json("/public.json").await, expected);
    let page = app.get("/public").await.text().await.unwrap();
    assert!(page.contains("No numbers yet") && page.contains("2026-02-01 00:00 UTC"), "{page}");
    for badge in ["active-30d", "instances", "newest-version"] {
        let shown = app.json(&format!("/badge/{badge}?format=json")).await;
        assert_eq!(shown["message"], "not known yet", "{badge}");
    }
    app.stop().await;
}

#[tokio::test]
async fn the_numbers_of_a_day_are_rounded_and_have_no_small_group() {
    let app = start().await;
    day_of(&app, 23).await;
    let shown = serde_json::to_string_pretty(&app.json("/public.json").await).unwrap();
    insta::assert_snapshot!("public_numbers", shown);
    app.stop().await;
}

/// Neither by more reports, nor by a restart, nor by what an operator orders.
#[tokio::test]
async fn the_numbers_of_a_day_never_change() {
    let app = start().await;
    day_of(&app, 12).await;
    let of_the_day = app.json("/public.json").await;
    assert_eq!(of_the_day["numbers"]["last_30_days"]["instances"], 10);
    for number in 12..23 {
        app.report(&report(number)).await;
    }
    app.pass(1);
    app.report(&report(30)).await;
    assert_eq!(app.json("/public.json").await, of_the_day);

    let now = app.now();
    let folder = app.stop().await;
    let database = Database::open(&config(&folder).database_url).await.unwrap();
    let mut writer = database.writer();
    for number in 0..8 {
        let id = format!("secret-id-{number:04}");
        let id = InstanceId::parse(id).unwrap();
        writer.order_purge(&id, false).await.unwrap();
    }
    writer.carry_out_alone(now).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    let app = App::start_in(folder, |config| config.public_minimum = Some(2)).await;
    // The clock of the test begins anew, which is a step back.
    app.pass(25);
    app.report(&report(31)).await;
    assert_eq!(app.json("/public.json").await, of_the_day);
    close_day(&app).await;
    let next = app.json("/public.json").await;
    assert_eq!(next["numbers"]["day"], "2026-02-01");
    assert_eq!(next["numbers"]["minimum"], 2);
    app.stop().await;
}

/// The one that starts after midnight makes the numbers of the day before, of the reports until midnight.
#[tokio::test]
async fn a_server_that_was_down_at_midnight_makes_them_when_it_starts() {
    let folder = TempDir::new().unwrap();
    let reports = (0..12).map(|number| {
        let body = serde_json::from_value::<ReportBody>(report(number));
        (1, body.unwrap().into_report().unwrap())
    });
    past::ran(&folder, "2026-01-30T20:00:00Z".parse().unwrap(), 2, reports).await;
    // It starts at noon.
    let app = App::start_in(folder, |config| config.public_minimum = Some(5)).await;
    for number in 12..23 {
        app.report(&report(number)).await;
    }
    let shown = app.json("/public.json").await;
    assert_eq!(shown["numbers"]["day"], "2026-01-30");
    assert_eq!(shown["numbers"]["all_time"]["instances"], 10);
    app.stop().await;
}

#[tokio::test]
async fn they_are_open_where_the_rest_needs_a_token() {
    let app = App::start_with(|config| {
        config.public_minimum = Some(5);
        config.read_token = Some("secret".to_owned());
        config.cors_allowed_origins = vec!["https://dash.example.com".parse().unwrap()];
    })
    .await;
    for path in PATHS {
        let origin = ("origin", "https://elsewhere.example.com");
        let request = app.request(Method::GET, path).header(origin.0, origin.1);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers();
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{path}");
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=600", "{path}");
        let asked = app
            .request(Method::OPTIONS, path)
            .header(origin.0, origin.1)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
        let asked = asked.send().await.unwrap();
        assert_eq!(asked.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{path}");
        let refused = app.request(Method::POST, path).send().await.unwrap();
        assert_eq!(refused.status(), 405, "{path}");
        assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
        assert_eq!(refused.headers()[header::CACHE_CONTROL], "no-store", "{path}");
    }
    let closed = app.request(Method::GET, "/metrics").header("origin", "https://elsewhere.example");
    let closed = closed.send().await.unwrap();
    assert_eq!(closed.status(), 401);
    assert!(!closed.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    app.stop().await;
}

#[tokio::test]
async fn no_answer_has_an_id_or_the_name_of_a_small_group() {
    let app = start().await;
    day_of(&app, 23).await;
    for path in PATHS {
        let text = app.get(path).await.text().await.unwrap();
        assert!(!text.contains("secret-id") && !text.contains("of-the-next-day"), "{path}: {text}");
        // Four instances have it.
        assert!(!text.contains("x86_64"), "{path}: {text}");
    }
    let page = app.get("/public").await.text().await.unwrap();
    assert!(page.contains("an instance is a start"), "{page}");
    assert!(page.contains("Numbers of <strong>2026-01-31</strong>"), "{page}");
    app.stop().await;
}

#[tokio::test]
async fn badges_in_both_forms() {
    let app = start().await;
    day_of(&app, 23).await;
    for (name, label, message) in [
        ("active-30d", "active in 30 days", "20+"),
        ("instances", "instances", "20+"),
        ("newest-version", "newest version", "v11.1.0"),
    ] {
        let path = format!("/badge/{name}");
        let expected =
            json!({"schemaVersion": 1, "label": label, "message": message, "color": "0969da"});
        assert_eq!(app.json(&format!("{path}?format=json")).await, expected);
        let wanted = app.request(Method::GET, &path).header(header::ACCEPT, "application/json");
        assert_eq!(wanted.send().await.unwrap().json::<Value>().await.unwrap(), expected);
        for accept in ["*/*", "image/avif,image/webp,image/svg+xml,image/*;q=0.8", "text/html"] {
            let wanted = app.request(Method::GET, &path).header(header::ACCEPT, accept);
            let answer = wanted.send().await.unwrap();
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/svg+xml", "{accept}");
            assert_eq!(answer.headers()[header::VARY], "accept");
            let picture = answer.text().await.unwrap();
            assert!(picture.contains(&format!("aria-label=\"{label}: {message}\"")), "{picture}");
        }
    }
    for (path, status) in [
        ("/badge/starts", 404),
        ("/badge/%ff", 404),
        ("/badge/instances?format=png", 400),
        ("/badge/instances?colour=red", 400),
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
    }
    app.stop().await;
}

#[tokio::test]
async fn the_fields_say_for_how_long_they_are_kept() {
    let app = App::start_with(|config| {
        config.public_minimum = Some(5);
        config.retention = Some(jiff::SignedDuration::from_hours(24 * 90));
    })
    .await;
    let page = app.get("/public/fields").await.text().await.unwrap();
    let report = serde_json::to_value(ReportBody::default()).unwrap();
    for field in report.as_object().unwrap().keys() {
        assert!(page.contains(&format!("<th scope=\"row\">{field}</th>")), "{field}: {page}");
    }
    assert!(page.contains("With the single report: 90 days"), "{page}");
    app.stop().await;
}
