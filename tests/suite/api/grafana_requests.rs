//! The Prometheus API as Grafana asks it: variables, limits, forms, and what this server has none of.

use reqwest::Method;
use serde_json::{Value, json};

use super::promql::{fleet, query};
use crate::support::App;

/// The list of a variable with a thousand selected versions, in each of two selectors.
#[tokio::test]
async fn a_variable_of_a_thousand_versions_works() {
    let app = App::start().await;
    fleet(&app).await;
    let versions: Vec<String> = (0..1000).map(|n| format!(r"v11\\.{n}\\.0")).collect();
    let listed = format!("image_version=~\"({})\"", versions.join("|"));
    let expression = format!(
        "sum(mattermost_starts_total{{{listed}}}) / \
         sum by () (mattermost_starts_total{{architecture=~\"(aarch64|x86_64)\",{listed}}})"
    );
    assert!(expression.len() > 25_000);
    assert!(query(&app, &expression).await.contains(",\"1\"]"));
    let beginnings = versions.join(".*|");
    let expression = format!("sum(mattermost_starts_total{{image_version=~\"{beginnings}\"}})");
    assert!(query(&app, &expression).await.contains(",\"6\"]"));
}

#[tokio::test]
async fn a_limit_cuts_a_list_with_a_warning() {
    let app = App::start().await;
    fleet(&app).await;
    let lists = [
        "query?query=mattermost_starts_total",
        "query?query=mattermost_starts_total[2h]",
        "query_range?query=mattermost_starts_total&start=1769990000&end=1770110000&step=3600",
        "series?match[]=mattermost_starts_total",
        "labels?match[]=mattermost_starts_total",
        "label/image_version/values?x=",
    ];
    for list in lists {
        let ask = async |limit: &str| {
            let answer = app.get(&format!("/api/v1/{list}&{limit}")).await;
            assert_eq!(answer.headers()["content-type"], "application/json");
            let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
            let data = answer["data"].as_array().or_else(|| answer["data"]["result"].as_array());
            (status.as_u16(), data.map_or(0, Vec::len), answer["warnings"].clone())
        };
        let (status, all, warnings) = ask("").await;
        assert!(status == 200 && all > 1 && warnings.is_null(), "{list}");
        for none in ["limit=", "limit=0", &format!("limit={all}"), "limit=40000"] {
            assert_eq!(ask(none).await, (200, all, Value::Null), "{list} {none}");
        }
        let cut = json!(["results truncated due to limit"]);
        assert_eq!(ask("limit=1").await, (200, 1, cut), "{list}");
        for refused in ["limit=-1", "limit=99999999999999999999", "limit=1.5", "limit=many"] {
            assert_eq!(ask(refused).await.0, 400, "{list} {refused}");
        }
    }
    let metadata = async |limit: &str| {
        let answer = app.json(&format!("/api/v1/metadata?limit={limit}")).await;
        answer["data"].as_object().unwrap().len()
    };
    let all = metadata("").await;
    assert!(all > 10);
    assert_eq!([metadata("0").await, metadata("3").await, metadata("-1").await], [0, 3, all]);
}

/// As Prometheus, which reads a form where there is one, and the URL in any case.
#[tokio::test]
async fn a_post_may_have_its_parameters_in_the_url() {
    let app = App::start().await;
    let ask = async |url: &str, body: Option<(&str, &'static str)>| {
        let mut request = app.request(Method::POST, &format!("/api/v1/{url}"));
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let value = text.rsplit_once(",\"").and_then(|(_, value)| value.strip_suffix("\"]}}"));
        (status, value.unwrap_or_default().to_owned())
    };
    let one = (200, "1".to_owned());
    assert_eq!(ask("query?query=1", None).await, one);
    assert_eq!(ask("query?query=1", Some(("application/json", "{}"))).await, one);
    assert_eq!(ask("query?query=1", Some(("text/plain", "query=2"))).await, one);
    let form = "application/x-www-form-urlencoded";
    assert_eq!(ask("query?query=2", Some((form, "query=1"))).await, one);
    assert_eq!(ask("query?query=1", Some((form, ""))).await, one);
    assert_eq!(ask("query", None).await.0, 400);
    assert_eq!(ask("query", Some(("text/plain", "query=2"))).await.0, 400);
    for url in ["query_range?query=1&start=0&end=1&step=1", "series?match[]=up", "labels"] {
        assert_eq!(ask(url, None).await.0, 200, "{url}");
    }
}

/// Lists that a Prometheus may have, and this server has not, are empty.
#[tokio::test]
async fn grafana_finds_no_rules_alerts_or_exemplars() {
    let app = App::start().await;
    for (path, data) in [
        ("rules", json!({"groups": []})),
        ("rules?type=alert", json!({"groups": []})),
        ("alerts", json!({"alerts": []})),
        ("query_exemplars?query=x&start=1&end=2", json!([])),
        ("targets", json!({"activeTargets": [], "droppedTargets": []})),
        ("alertmanagers", json!({"activeAlertmanagers": [], "droppedAlertmanagers": []})),
    ] {
        let answer = app.json(&format!("/api/v1/{path}")).await;
        assert_eq!(answer, json!({"status": "success", "data": data}), "{path}");
    }
    let form = [("query", "x")];
    let posted = app.request(Method::POST, "/api/v1/query_exemplars").form(&form);
    assert_eq!(posted.send().await.unwrap().status(), 200);
    for path in ["rules?type=nosuch", "query_exemplars", "query_exemplars?query=x&start=2&end=1"] {
        assert_eq!(app.get(&format!("/api/v1/{path}")).await.status(), 400, "{path}");
    }
}

#[tokio::test]
async fn a_bucket_has_one_label_in_any_spelling() {
    let app = App::start().await;
    fleet(&app).await;
    let one = query(&app, "sum by (le) (mattermost_startup_seconds_bucket{le=\"1.0\"})").await;
    assert!(one.contains("{le=1.0}"), "{one}");
    for other in ["le=\"1\"", "le=~\"1|x\"", "le=~\"1[.]0\"", "le=\"1e0\""] {
        let expression = format!("sum by (le) (mattermost_startup_seconds_bucket{{{other}}})");
        let answer = query(&app, &expression).await;
        assert_eq!(answer.lines().nth(2), one.lines().nth(2), "{other}");
    }
    let own = query(&app, "count(telemetry_batch_reports_bucket{le=\"1\"} offset 2d)").await;
    assert!(own.contains(",\"1\"]"), "{own}");
    let bounds = app.json("/api/v1/label/le/values").await;
    let bounds: Vec<_> =
        bounds["data"].as_array().unwrap().iter().map(|le| le.as_str().unwrap()).collect();
    assert!(bounds.contains(&"1.0") && !bounds.contains(&"1"), "{bounds:?}");
    let (_, text) = app.scrape("text/plain").await;
    assert!(text.contains("mattermost_startup_seconds_bucket{le=\"1.0\"} "), "{text}");
    assert!(text.contains("telemetry_batch_reports_bucket{le=\"1.0\"} "), "{text}");
}
