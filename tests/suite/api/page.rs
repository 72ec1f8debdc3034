//! The page of `GET /`.
#![expect(clippy::float_cmp, reason = "the texts of numbers are the same or not")]

use std::io::Read as _;

use flate2::read::GzDecoder;
use mattermost_telemetry::simulation::panels::{dashboards, questions};
use proptest::{collection::vec, prelude::*};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::App;

/// A page, and ways to find something on it.
struct Page(String);

impl Page {
    async fn get(app: &App, path: &str) -> Self {
        let response = app.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        Self(response.text().await.unwrap())
    }

    /// The part with an id, up to the next part.
    fn part(&self, id: &str) -> &str {
        let begin = self.0.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}"));
        let part = &self.0[begin..];
        let ends = ["<section", "<li class=\"tile\"", "</main>"].map(|end| part[1..].find(end));
        &part[..ends.into_iter().flatten().min().unwrap_or(part.len() - 1)]
    }

    /// The first number of a part.
    fn number(&self, id: &str) -> f64 {
        value(self.part(id)).unwrap_or_else(|| panic!("no number in {id}"))
    }

    /// The median of the startup times, if any were measured.
    fn median(&self) -> Option<f64> {
        value(self.part("startup-time").split("</p>").next().unwrap())
    }

    /// The rows of the table in a part: the first cell, and the numbers of the others.
    fn rows(&self, id: &str) -> Vec<(String, Vec<Option<f64>>)> {
        let body = self.part(id).split_once("<tbody>").unwrap().1;
        let rows = body.split("<tr>").skip(1).filter(|row| row.contains("<th"));
        rows.map(|row| {
            let (name, cells) = row.split_once("</th>").unwrap();
            let name = name.rsplit_once('>').unwrap().1.to_owned();
            (name, cells.split("<td").skip(1).map(value).collect())
        })
        .collect()
    }
}

/// The value of the first `<data>` of a text.
fn value(text: &str) -> Option<f64> {
    let (_, value) = text.split_once("<data value=\"")?;
    value.split_once('"')?.0.parse().ok()
}

fn report(instance: u8, version: u8, architecture: u8, startup_ms: Option<u32>) -> Value {
    let architecture = ["arm64", "amd64"][usize::from(architecture)];
    json!({
        "instance_id": format!("i{instance}"),
        "image_version": format!("v11.{version}.0"),
        "architecture": architecture,
        "startup_time_ms": startup_ms,
    })
}

#[tokio::test]
async fn an_empty_page_shows_how_to_report_and_fills() {
    let app = App::start().await;
    let page = Page::get(&app, "/").await;
    let address = format!("http://{}/collect", app.address);
    assert!(page.part("empty").contains(&format!("curl -X POST {address}")), "{}", page.0);
    assert!(page.part("empty").contains(&format!("TELEMETRY_ENDPOINT={address}")));
    assert!(page.part("empty").contains("data-waiting"));

    app.report(&report(1, 0, 0, Some(1900))).await;
    let page = Page::get(&app, "/").await;
    for tile in ["starts", "instances", "active-24h", "active-7d", "active-30d"] {
        assert_eq!(page.number(tile), 1.0, "{tile}");
    }
    assert_eq!(page.number("returning-30d"), 0.0);
    assert_eq!(page.rows("latest").len(), 1);
    assert!(!page.0.contains("data-waiting"));
}

#[tokio::test]
async fn a_page_keeps_the_browser_to_this_server() {
    let app = App::start().await;
    for reports in 0..2 {
        let response = app.get("/").await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(header("cross-origin-embedder-policy"), "require-corp");
        assert_eq!(header("referrer-policy"), "same-origin");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "private, no-cache");
        assert_eq!(header("vary"), "Accept-Encoding");
        let text = response.text().await.unwrap();
        for forbidden in ["style=", "<style", "onclick", "onload", "http-equiv", "<script>"] {
            assert!(!text.contains(forbidden), "{reports}: {forbidden}");
        }
        app.report(&report(1, 0, 0, Some(1900))).await;
    }
}

#[tokio::test]
async fn a_page_is_compressed_and_sent_once() {
    let app = App::start().await;
    app.report(&report(1, 0, 0, Some(1900))).await;
    let plain = app.get("/").await;
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    let tag = plain.headers()[header::ETAG].clone();
    let plain = plain.text().await.unwrap();

    let request = app.request(Method::GET, "/").header(header::ACCEPT_ENCODING, "gzip, br");
    let packed = request.send().await.unwrap();
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(packed.headers()[header::ETAG], tag);
    let packed = packed.bytes().await.unwrap();
    let mut text = String::new();
    GzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);

    let again = |tag: header::HeaderValue| {
        app.request(Method::GET, "/").header(header::IF_NONE_MATCH, tag).send()
    };
    let known = again(tag.clone()).await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(known.headers()[header::ETAG], tag);
    assert_eq!(known.bytes().await.unwrap().len(), 0);
    app.report(&report(2, 0, 0, None)).await;
    assert_eq!(again(tag).await.unwrap().status(), 200);
}

#[tokio::test]
async fn assets_are_kept_for_ever() {
    let app = App::start().await;
    let page = Page::get(&app, "/").await.0;
    let paths = page.split('"').filter(|text| text.starts_with("/assets/"));
    let mut types = Vec::new();
    for path in paths {
        let response = app.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers();
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        types.push(headers[header::CONTENT_TYPE].to_str().unwrap().to_owned());
    }
    types.sort();
    assert_eq!(
        types,
        ["image/svg+xml", "text/css; charset=utf-8", "text/javascript; charset=utf-8"]
    );
    for path in ["/assets/", "/assets/0.css", "/assets/..%2fpage.css"] {
        assert_eq!(app.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_view_is_in_its_url() {
    let app = App::start().await;
    app.report(&report(1, 0, 0, Some(1900))).await;
    app.report(&report(2, 1, 1, Some(2900))).await;
    let page = Page::get(&app, "/?range=7d&version=11.1.0&architecture=").await;
    assert_eq!(page.number("starts"), 1.0);
    assert_eq!(page.number("active-30d"), 1.0);
    assert_eq!(page.number("instances"), 2.0);
    assert_eq!(page.rows("architectures")[0].0, "x86_64");
    assert!(page.0.contains("/?range=1y&#38;version=v11.1.0\""), "{}", page.0);
    // Nothing has these values; they are shown as text.
    let hostile = "/?version=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22&architecture=%22%3E%3Ch1%3E";
    let page = Page::get(&app, hostile).await;
    assert_eq!(page.number("starts"), 0.0);
    assert!(!page.0.contains("<script>") && !page.0.contains("\"><h1>"), "{}", page.0);
    for wrong in ["/?range=2d", "/?range=", "/?other=1", "/?range=7d&range=30d"] {
        assert_eq!(app.get(wrong).await.status(), 400, "{wrong}");
    }
}

/// A number of a panel of Grafana's dashboards, of the time since the begin of the page's range.
async fn panel(app: &App, title: &str, seconds: i64, filters: &str) -> Option<f64> {
    let all = dashboards().unwrap();
    let mut found = Vec::new();
    for dashboard in &all {
        found.extend(questions(dashboard, app.now().as_second(), seconds).unwrap());
    }
    let question = found.into_iter().find(|question| question.panel == title);
    let question = question.unwrap_or_else(|| panic!("no panel {title}"));
    let mut expression = question.expression;
    for (label, value) in filters.split('&').filter_map(|filter| filter.split_once('=')) {
        let label = if label == "version" { "image_version" } else { label };
        expression =
            expression.replace(&format!("{label}=~\".*\""), &format!("{label}=\"{value}\""));
    }
    let form = [("query", expression), ("time", app.now().to_string())];
    let request = app.request(Method::POST, "/api/v1/query").form(&form);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["data"]["result"][0]["value"][1].as_str().map(|value| value.parse().unwrap())
}

fn sum(rows: &Value, field: &str) -> f64 {
    rows.as_array().unwrap().iter().map(|row| row[field].as_f64().unwrap()).sum()
}

fn close(page: Option<f64>, other: Option<f64>) -> bool {
    match (page, other) {
        (Some(page), Some(other)) => (page - other).abs() <= 0.051 + other.abs() * 1e-6,
        _ => page.is_none() && other.is_none(),
    }
}

/// Compares the page of a range with the JSON routes and the panels.
async fn compare(app: &App, range: &str, interval: &str, hours: i64) {
    let page = Page::get(app, &format!("/?range={range}")).await;
    let step = if interval == "hour" { 1 } else { 24 };
    let now = app.now().as_millisecond() / 3_600_000;
    let since = (now / step - (hours / step - 1)) * step * 3600;
    let seconds = app.now().as_second() - since;
    let since = jiff::Timestamp::from_second(since).unwrap();

    let series = app.json(&format!("/stats/timeseries?interval={interval}&since={since}")).await;
    let starts: Vec<Option<f64>> =
        series.as_array().unwrap().iter().map(|row| row["starts"].as_f64()).collect();
    let rows = page.rows("starts-over-time");
    assert_eq!(rows.iter().map(|row| row.1[0]).collect::<Vec<_>>(), starts, "{range}");
    assert_eq!(page.number("starts"), sum(&series, "starts"), "{range}");
    assert_eq!(Some(page.number("starts")), panel(app, "Starts", seconds, "").await, "{range}");

    let metrics = app.json("/metrics").await;
    assert_eq!(page.number("instances"), metrics["unique_instances"].as_f64().unwrap());
    for window in app.json("/stats/active").await.as_array().unwrap() {
        let name = window["window"].as_str().unwrap();
        let active = window["active_instances"].as_f64().unwrap();
        assert_eq!(page.number(&format!("active-{name}")), active, "{name}");
        let returning = window["returning_instances"].as_f64().unwrap();
        assert_eq!(page.number(&format!("returning-{name}")), returning, "{name}");
    }
    // A panel without a value is empty.
    let returning = panel(app, "Returning (30 d)", seconds, "").await.unwrap_or(0.0);
    assert_eq!(page.number("returning-30d"), returning);
    for (part, dimension) in [
        ("versions", "image_version"),
        ("architectures", "architecture"),
        ("databases", "db_type"),
        ("runtimes", "container_runtime"),
        ("os", "os"),
    ] {
        let active = app.json(&format!("/stats/active?by={dimension}")).await;
        let month = active.as_array().unwrap().iter().filter(|row| row["window"] == "30d");
        let mut month: Vec<_> = month
            .map(|row| {
                let value = row["value"].as_str().unwrap().to_owned();
                (value, row["active_instances"].as_f64())
            })
            .collect();
        month.sort_by(|a, b| (b.1.partial_cmp(&a.1).unwrap()).then(a.0.cmp(&b.0)));
        let shown: Vec<_> =
            page.rows(part).into_iter().map(|(value, cells)| (value, cells[0])).collect();
        assert_eq!(shown, month, "{part}");
    }
    if interval == "day" {
        for (part, dimension) in
            [("startup-by-architecture", "architecture"), ("startup-by-version", "image_version")]
        {
            let times = app.json(&format!("/stats/startup?by={dimension}&since={since}")).await;
            let rows = page.rows(part);
            assert_eq!(rows.len(), times.as_array().unwrap().len(), "{part}");
            for row in times.as_array().unwrap() {
                let (_, cells) = rows.iter().find(|(value, _)| row["value"] == **value).unwrap();
                let fields = ["count", "p50_ms", "p90_ms", "p99_ms"];
                assert_eq!(cells[..], fields.map(|field| row[field].as_f64()), "{part} {row}");
            }
        }
        let all = app.json(&format!("/stats/startup?since={since}")).await;
        assert_eq!(page.median(), all[0]["p50_ms"].as_f64());
    }
    let median = panel(app, "Median", seconds, "").await.map(|seconds| seconds * 1000.0);
    assert!(close(page.median(), median), "{:?} {median:?}", page.median());

    // The same with a filter, which only the panels have.
    let filters = "version=v11.1.0&architecture=aarch64";
    let page = Page::get(app, &format!("/?range={range}&{filters}")).await;
    let panel_starts = panel(app, "Starts", seconds, filters).await;
    assert_eq!(page.number("starts"), panel_starts.unwrap_or(0.0), "{range} {filters}");
    let returning = panel(app, "Returning (30 d)", seconds, filters).await;
    assert_eq!(page.number("returning-30d"), returning.unwrap_or(0.0), "{range} {filters}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn the_page_the_routes_and_the_panels_agree(
        reports in vec((0..30_i64, 0..6_u8, 0..3_u8, 0..2_u8, proptest::option::of(0..90_000_u32)), 1..40),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let app = App::start().await;
            // The writer has looked at the clock before time passes.
            app.report(&report(0, 0, 0, None)).await;
            for (hours, instance, version, architecture, startup) in reports {
                app.pass(hours);
                app.report(&report(instance, version, architecture, startup)).await;
            }
            for (range, interval, hours) in [
                ("24h", "hour", 24),
                ("7d", "day", 7 * 24),
                ("30d", "day", 30 * 24),
                ("90d", "day", 90 * 24),
            ] {
                compare(&app, range, interval, hours).await;
            }
        });
    }
}
