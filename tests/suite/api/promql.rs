//! The Prometheus API over a small fleet whose reports can be counted by hand.

use insta::assert_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{App, report, show, stock};

/// Three days. The clock stands at 12:34:56 of the third.
pub async fn fleet(app: &App) {
    app.report(&report("keeper", json!({"startup_time_ms": 1000}))).await;
    for _ in 0..3 {
        app.report(&report("looper", json!({"startup_time_ms": 4000, "architecture": "amd64"})))
            .await;
    }
    app.pass(24);
    app.report(&report("keeper", json!({"image_version": "v11.1.0", "startup_time_ms": 2000})))
        .await;
    app.pass(1);
    app.report(&report("new", json!({"db_type": "mysql"}))).await;
    app.pass(23);
}

/// A query's answer, a line a series: its labels without those that are the same everywhere, and
/// its values.
fn shown(answer: &Value) -> String {
    if answer["status"] != "success" {
        return format!("{answer}\n");
    }
    let data = &answer["data"];
    let kind = data["resultType"].as_str().unwrap();
    let Some(series) = data["result"].as_array().filter(|_| kind != "scalar") else {
        return format!("{kind} {}\n", data["result"]);
    };
    let mut text = format!("{kind}\n");
    for one in series {
        let labels: Vec<String> = one["metric"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| {
                !["os", "container_runtime", "telemetry_version"].contains(&name.as_str())
            })
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
            .collect();
        let values = if kind == "vector" { &one["value"] } else { &one["values"] };
        text += &format!("    {{{}}} {values}\n", labels.join(","));
    }
    text
}

pub async fn query(app: &App, expression: &str) -> String {
    let request = app.request(Method::POST, "/api/v1/query").form(&[("query", expression)]);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    format!("{expression}\n{}", shown(&answer))
}

async fn range(app: &App, expression: &str, start: &str, end: &str, step: &str) -> String {
    let form = [("query", expression), ("start", start), ("end", end), ("step", step)];
    let request = app.request(Method::POST, "/api/v1/query_range").form(&form);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    format!("{expression} [{start} {end} {step}]\n{}", shown(&answer))
}

#[tokio::test]
async fn instant_queries() {
    let app = App::start().await;
    fleet(&app).await;
    let mut answers = String::new();
    for expression in [
        "1 + 1",
        "1 > bool 2",
        "-(2 ^ 3 ^ 0) % 3",
        "mattermost_starts_total",
        "sum(mattermost_starts_total)",
        "sum by (architecture) (mattermost_starts_total)",
        "sum without (image_version, os, container_runtime, telemetry_version) (mattermost_starts_total)",
        "mattermost_starts_total{architecture=\"x86_64\"} offset 1d",
        "sum(mattermost_starts_total{image_version=~\"v11.0.*\", db_type!=\"mysql\"})",
        "sum(mattermost_starts_total{db_type!~\"my.*\"})",
        "sum(mattermost_starts_total{nosuch=\"\"})",
        "mattermost_starts_total{nosuch=\"x\"}",
        "sum(increase(mattermost_starts_total[1d]))",
        "sum by (image_version) (increase(mattermost_starts_total[2d]))",
        "rate(mattermost_starts_total{architecture=\"x86_64\"}[1w])",
        "histogram_quantile(0.5, sum by (le) (mattermost_startup_seconds_bucket))",
        "sum(mattermost_startup_seconds_sum) / sum(mattermost_startup_seconds_count)",
        "sum(mattermost_startup_seconds_bucket{le=\"1.5\"})",
        "mattermost_instances",
        "mattermost_instances_returned",
        "sum by (window) (mattermost_active_instances)",
        "sum by (image_version) (mattermost_active_instances{window=\"30d\"})",
        "sum by (window) (mattermost_returning_instances)",
        "mattermost_calendar_instances",
        "mattermost_cohort_instances",
        "mattermost_newest_version",
        "sum by (image_version) (mattermost_active_instances{window=\"30d\"}) * on (image_version) mattermost_newest_version / scalar(sum(mattermost_active_instances{window=\"30d\"}))",
        "topk(1, sum by (architecture) (mattermost_starts_total))",
        "bottomk(1, sum by (architecture) (mattermost_starts_total))",
        "sort_desc(sum by (image_version) (mattermost_starts_total))",
        "count(mattermost_starts_total)",
        "quantile(0.5, mattermost_starts_total)",
        "max(mattermost_starts_total) - min(mattermost_starts_total)",
        "avg(mattermost_starts_total)",
        "sum by (architecture) (mattermost_starts_total) > 3",
        "1 / (sum by (architecture) (mattermost_starts_total) - 3)",
        "mattermost_recent_start{startup_time_ms=\"2000\"}",
        "count(mattermost_recent_start)",
        "telemetry_build_info offset 2d",
    ] {
        answers += &query(&app, expression).await;
    }
    assert_snapshot!("promql_instant", answers);
}

#[tokio::test]
async fn range_queries() {
    let app = App::start().await;
    fleet(&app).await;
    let (begin, end) = ("2026-01-31T00:00:00Z", "2026-02-03T00:00:00Z");
    let answers = [
        range(&app, "sum(mattermost_starts_total)", begin, end, "12h").await,
        range(&app, "sum(increase(mattermost_starts_total[1d]))", begin, end, "1d").await,
        range(&app, "sum(increase(mattermost_starts_total[36h]))", begin, end, "43200").await,
        range(&app, "sum by (window) (mattermost_active_instances)", begin, end, "1d").await,
        range(&app, "sum(increase(mattermost_starts_total[1d] offset -1d))", begin, end, "1d")
            .await,
        range(&app, "mattermost_instances offset -1d", begin, end, "1d").await,
        range(&app, "mattermost_instances", begin, end, "1d").await,
        range(&app, "mattermost_calendar_instances", begin, end, "12h").await,
        range(&app, "mattermost_newest_version", begin, end, "1d").await,
        range(&app, "2 * 3", begin, "2026-02-01T00:00:00Z", "1d").await,
        range(&app, "topk(1, sum by (image_version) (mattermost_starts_total))", begin, end, "1d")
            .await,
        query(&app, "mattermost_starts_total{image_version=\"v11.1.0\"}[5h] offset 20h").await,
    ]
    .concat();
    assert_snapshot!("promql_range", answers);
}

#[tokio::test]
async fn a_construct_that_is_not_known_is_refused_by_name() {
    let app = App::start().await;
    fleet(&app).await;
    let mut answers = String::new();
    for expression in [
        "",
        "sum(",
        "nosuch(1)",
        "abs(mattermost_instances)",
        "mattermost_instances @ 3",
        "rate(mattermost_starts_total[1d:1h])",
        "rate(mattermost_instances[1d])",
        "increase(telemetry_queue_reports[1d])",
        "mattermost_starts_total[1e300]",
        "mattermost_starts_total{os=~\"(\\\\w{200}){200}\"}",
        "stddev(mattermost_instances)",
        "mattermost_instances and mattermost_instances",
        "mattermost_instances * on (os) group_left mattermost_starts_total",
        "{os=\"a\" or db_type=\"b\"}",
        "\"text\"",
        "mattermost_starts_total{os=~\"(\"}",
        "topk(0/0, mattermost_starts_total)",
    ] {
        answers += &query(&app, expression).await;
    }
    let (begin, end) = ("2026-01-31T00:00:00Z", "2026-02-03T00:00:00Z");
    answers += &range(&app, "mattermost_starts_total[1d]", begin, end, "1d").await;
    answers += &range(&app, "mattermost_starts_total[1d]", begin, begin, "1d").await;
    answers += &range(&app, "1", begin, end, "20").await;
    answers += &range(&app, "1", begin, end, "0").await;
    answers += &range(&app, "1", begin, end, "soon").await;
    answers += &range(&app, "1", end, begin, "1d").await;
    answers += &range(&app, "1", "then", end, "1d").await;
    assert_snapshot!("promql_refused", answers);
    assert_snapshot!(
        "promql_refused_answer",
        show(app.get("/api/v1/query?query=abs(x)").await).await
    );
    let deepest = "-".repeat(99) + "sum(mattermost_starts_total)";
    assert!(query(&app, &deepest).await.contains("more than 100 parts"));
    assert!(query(&app, &deepest[1..]).await.contains("vector\n"));
    let deep = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
    assert!(query(&app, &deep).await.contains("more than 100 parts"));
    let long = format!("1{}", " + 1".repeat(2000));
    assert!(query(&app, &long).await.contains("more than 100 parts"));
    let post = async |text: String| {
        let request = app.request(Method::POST, "/api/v1/query").form(&[("query", text)]);
        request.send().await.unwrap().status()
    };
    assert_eq!(post(format!("1{}", " ".repeat(128 * 1024 - 7))).await, 200);
    assert_eq!(post(format!("1{}", " ".repeat(128 * 1024 - 6))).await, 413);
    let many = "a=&".repeat(1001);
    assert_eq!(app.get(&format!("/api/v1/query?{many}query=1")).await.status(), 400);
}

/// A query that has to hold too many values is refused, also through the two metrics that have a
/// series of their own for each start or version.
#[tokio::test]
async fn a_query_of_too_many_values_is_refused() {
    let app = App::start().await;
    for day in 0..60 {
        let version = format!("v11.{day}.0");
        app.report(&report(&format!("i{day}"), json!({"image_version": version}))).await;
        app.pass(24);
    }
    let refused = "the query has to hold more than 500000 values";
    let metrics = [
        "mattermost_starts_total",
        "mattermost_recent_start",
        "mattermost_newest_version",
        "{__name__=~\"mattermost_(active|returning)_instances\",window=\"7d\"}",
    ];
    for metric in metrics {
        let answer = query(&app, &format!("{metric}[10999h]")).await;
        assert!(answer.contains(refused), "{}", &answer[..answer.len().min(400)]);
        let (begin, end) = ("2025-01-01T00:00:00Z", "2026-04-01T00:00:00Z");
        let answer = range(&app, metric, begin, end, "1h").await;
        assert!(answer.contains(refused), "{}", &answer[..answer.len().min(400)]);
        let answer = query(&app, &format!("{metric}[24h]")).await;
        assert!(answer.contains("matrix"), "{answer}");
    }
}

#[tokio::test]
async fn series_labels_and_metadata() {
    let app = App::start().await;
    fleet(&app).await;
    let paths = [
        "/api/v1/label/image_version/values",
        "/api/v1/label/architecture/values?match[]=mattermost_starts_total{db_type=\"mysql\"}",
        "/api/v1/label/window/values?start=0&end=1",
        "/api/v1/label/nosuch/values",
        "/api/v1/labels",
        "/api/v1/labels?match[]=mattermost_instances&match[]=telemetry_build_info",
        "/api/v1/series?match[]=mattermost_starts_total{architecture=\"x86_64\"}",
        "/api/v1/series?match[]={__name__=~\"mattermost_instances.*\"}&limit=1",
        "/api/v1/metadata?metric=mattermost_startup_seconds",
        "/api/v1/status/buildinfo",
    ];
    let mut answers = app.rows(&paths).await;
    let metadata = app.json("/api/v1/metadata").await;
    for (name, families) in metadata["data"].as_object().unwrap() {
        answers += &format!("{name} {}\n", families[0]["type"]);
    }
    let names = app.json("/api/v1/label/__name__/values").await;
    answers += &serde_json::to_string_pretty(&names["data"]).unwrap();
    assert_snapshot!("promql_series", answers);
    assert_eq!(app.get("/api/v1/series").await.status(), 400);
}

/// An empty server has no series, and says so without an error.
#[tokio::test]
async fn an_empty_server_has_no_series() {
    let app = App::start().await;
    for expression in [
        "mattermost_starts_total",
        "sum(increase(mattermost_starts_total[1d]))",
        "histogram_quantile(0.9, sum by (le) (rate(mattermost_startup_seconds_bucket[1d])))",
        "mattermost_active_instances",
        "mattermost_newest_version",
        "mattermost_recent_start",
        "mattermost_instances",
    ] {
        assert_eq!(query(&app, expression).await, format!("{expression}\nvector\n"));
    }
}

#[tokio::test]
async fn the_token_is_needed() {
    let app = App::start_with(|config| config.read_token = Some("secret".into())).await;
    app.report(&stock("a")).await;
    for route in [
        "query?query=1",
        "query_range?query=1&start=0&end=1&step=1",
        "series?match[]=up",
        "labels",
        "label/os/values",
        "metadata",
        "status/buildinfo",
        "rules",
        "alerts",
        "query_exemplars?query=x",
        "targets",
        "alertmanagers",
    ] {
        let path = format!("/api/v1/{route}");
        for method in [Method::GET, Method::HEAD] {
            let request = app.request(method.clone(), &path);
            assert_eq!(request.send().await.unwrap().status(), 401, "{method} {path}");
            let request = app.request(method.clone(), &path).bearer_auth("secret");
            assert_eq!(request.send().await.unwrap().status(), 200, "{method} {path}");
        }
    }
    let request = app.request(Method::POST, "/api/v1/query").form(&[("query", "1")]);
    assert_eq!(request.send().await.unwrap().status(), 401);
}

/// A counter of the server's own goes on where it was when the server is started anew.
#[tokio::test]
async fn the_servers_own_counters_outlive_it() {
    let app = App::start().await;
    for _ in 0..3 {
        app.report(&stock("a")).await;
    }
    let app = App::start_in(app.stop().await, |_| ()).await;
    app.report(&stock("a")).await;
    let app = App::start_in(app.stop().await, |_| ()).await;
    let expression = "sum(increase(telemetry_reports_accepted_total[1h]))";
    let answer = query(&app, expression).await;
    assert!(answer.ends_with(",\"4\"]\n"), "{answer}");
}
