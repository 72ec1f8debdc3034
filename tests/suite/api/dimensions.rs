//! Every dimension, through every route that takes or shows one.

use mattermost_telemetry::domain::Dimension;
use serde_json::{Value, json};

use crate::support::App;

/// A value that no other dimension has; it is its own normal form.
fn value(dimension: Dimension) -> String {
    format!("value-of-{}", dimension.name())
}

/// The one row of an answer.
fn only(rows: &Value) -> &Value {
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    &rows[0]
}

#[tokio::test]
async fn each_dimension_has_its_own_values_in_every_answer() {
    let app = App::start().await;
    for dimension in Dimension::ALL {
        app.accept(dimension, &value(dimension)).await;
    }
    let mut body = json!({ "instance_id": "one", "startup_time_ms": 700 });
    for dimension in Dimension::ALL {
        body[dimension.name()] = value(dimension).into();
    }
    app.report(&body).await;

    let stored = app.json("/deployments").await;
    let (_, scrape) = app.scrape("text/plain;version=0.0.4").await;
    let series = app.json("/api/v1/series?match[]=mattermost_starts_total").await;
    for dimension in Dimension::ALL {
        let (name, value) = (dimension.name(), value(dimension));
        assert_eq!(only(&stored)[name], value.as_str());
        assert!(scrape.contains(&format!("{name}=\"{value}\"")), "{scrape}");
        assert_eq!(only(&series["data"])[name], value.as_str());

        for route in ["/stats/startup", "/stats/timeseries"] {
            let rows = app.json(&format!("{route}?by={name}")).await;
            assert_eq!(only(&rows)["value"], value.as_str(), "{route} by {name}");
        }
        let rows = app.json(&format!("/stats/active?by={name}")).await;
        let rows = rows.as_array().unwrap();
        assert!(rows.iter().all(|row| row["value"] == value.as_str()), "{rows:?}");
        assert_eq!(rows.len(), 3);

        let selector = format!("mattermost_starts_total{{{name}=\"{value}\"}}");
        for query in [selector, format!("sum by ({name}) (mattermost_active_instances)")] {
            let url = format!("http://{}/api/v1/query", app.address);
            let answer = app.client.post(url).form(&[("query", &query)]).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            let labels = &only(&answer["data"]["result"])["metric"];
            assert_eq!(labels[name], value.as_str(), "{query}");
        }
        let route = match dimension {
            Dimension::ImageVersion => "version",
            Dimension::Architecture
            | Dimension::Os
            | Dimension::ContainerRuntime
            | Dimension::DbType => name,
            // The format of the report is no property of the fleet.
            Dimension::TelemetryVersion => continue,
        };
        let rows = app.json(&format!("/stats/{route}")).await;
        assert_eq!(only(&rows), &json!({ route: value, "count": 1 }));
    }
    app.stop().await;
}
