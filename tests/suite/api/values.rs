//! Well-known values are always told apart; a made-up one has to be proven.

use serde_json::{Value, json};

use crate::support::{App, binary, report};

/// The values of a breakdown, in the order of the letters.
async fn values(app: &App, route: &str) -> Vec<(String, u64)> {
    let rows = app.json(&format!("/stats/{route}")).await;
    let mut values: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[route].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap()))
        .collect();
    values.sort();
    values
}

async fn send(app: &App, id: &str, os: &str) {
    app.report(&report(id, json!({ "os": os }))).await;
}

/// The label of the newest report's operating system.
async fn newest_os(app: &App) -> Value {
    app.json("/deployments?limit=1").await[0]["os"].clone()
}

/// A report with another made-up value in each field.
fn made_up(number: u32) -> Value {
    let changes = json!({
        "image_version": format!("v{}.{number}.7", 20 + number % 70),
        "architecture": format!("machine{number}"),
        "os": format!("os{number}"),
        "container_runtime": format!("runtime{number}"),
        "db_type": format!("database{number}"),
        "telemetry_version": format!("{number}.{number}"),
    });
    report(&format!("made-up-{number}"), changes)
}

#[tokio::test]
async fn sixty_made_up_reports_push_nothing_real_out() {
    let app = App::start().await;
    for number in 10..70 {
        app.report(&made_up(number)).await;
    }
    let real = json!({"container_runtime": "podman", "image_version": "v11.3.2"});
    app.report(&report("real", real)).await;
    let stored = &app.json("/deployments?limit=1").await[0];
    for (field, value) in [
        ("image_version", "v11.3.2"),
        ("architecture", "aarch64"),
        ("os", "linux"),
        ("container_runtime", "podman"),
        ("db_type", "postgres"),
        ("telemetry_version", "1.0"),
    ] {
        assert_eq!(stored[field], value, "{field}");
    }
    for (route, real) in [
        ("architecture", "aarch64"),
        ("os", "linux"),
        ("container_runtime", "podman"),
        ("db_type", "postgres"),
    ] {
        let mut expected = [("other".to_owned(), 60), (real.to_owned(), 1)];
        expected.sort();
        assert_eq!(values(&app, route).await, expected, "{route}");
    }
}

#[tokio::test]
async fn a_value_of_three_instances_on_two_days_gets_its_label_and_keeps_it() {
    let app = App::start().await;
    send(&app, "a", "templeos").await;
    send(&app, "b", "TempleOS ").await;
    send(&app, "b", "templeos").await;
    assert_eq!(newest_os(&app).await, "other");
    app.pass(24);
    send(&app, "a", "templeos").await;
    assert_eq!(newest_os(&app).await, "other", "two instances");
    send(&app, "c", "templeos").await;
    assert_eq!(newest_os(&app).await, "templeos");
    // Counts do not move.
    let expected = [("other".to_owned(), 4), ("templeos".to_owned(), 1)];
    assert_eq!(values(&app, "os").await, expected);
    let app = App::start_in(app.stop().await, |_| ()).await;
    send(&app, "d", "templeos").await;
    assert_eq!(newest_os(&app).await, "templeos");
}

#[tokio::test]
async fn three_instances_on_one_day_are_no_proof() {
    let app = App::start().await;
    for id in ["a", "b", "c", "d", "e"] {
        send(&app, id, "templeos").await;
    }
    assert_eq!(values(&app, "os").await, [("other".to_owned(), 5)]);
    app.pass(24);
    send(&app, "a", "templeos").await;
    assert_eq!(newest_os(&app).await, "templeos");
}

#[tokio::test]
async fn two_instances_on_many_days_are_no_proof() {
    let app = App::start().await;
    for _ in 0..4 {
        send(&app, "a", "templeos").await;
        send(&app, "b", "templeos").await;
        app.pass(24);
    }
    assert_eq!(values(&app, "os").await, [("other".to_owned(), 8)]);
}

#[tokio::test]
async fn a_restart_forgets_no_proof() {
    let mut app = App::start().await;
    for id in ["a", "b", "c"] {
        send(&app, id, "templeos").await;
        app = App::start_in(app.stop().await, |_| ()).await;
    }
    app.pass(24);
    send(&app, "c", "templeos").await;
    assert_eq!(newest_os(&app).await, "templeos");
}

/// A nightly build or a branch is a value as any other; a release is told apart at once.
#[tokio::test]
async fn plausible_releases_are_told_apart_at_once_and_other_versions_are_not() {
    let app = App::start().await;
    for version in [
        "11.2.0",
        "v9.11",
        "V10.0.1",
        "11.2.0-rc1",
        "11.2.0-dev",
        "nightly",
        "v11.02.0",
        "v2026.1.1",
    ] {
        app.report(&report("a", json!({ "image_version": version }))).await;
    }
    let mut expected =
        ["other", "v10.0.1", "v11.2.0", "v11.2.0-rc1", "v9.11"].map(|name| (name.to_owned(), 1));
    expected[0].1 = 4;
    assert_eq!(values(&app, "version").await, expected);
}

/// The label `other` is a value that anybody may send. It means nothing more than the rest of it.
#[tokio::test]
async fn other_and_unknown_are_values_that_nobody_has_to_prove() {
    let app = App::start().await;
    for os in ["other", "OTHER", "unknown", "", "linux"] {
        send(&app, "a", os).await;
    }
    let expected = [("linux", 1), ("other", 2), ("unknown", 2)];
    assert_eq!(values(&app, "os").await, expected.map(|(name, count)| (name.to_owned(), count)));
    let listed = listed(&app, &[]);
    assert!(!listed.contains("other") && !listed.contains("unknown"), "{listed}");
}

/// The output of `values` with arguments.
fn listed(app: &App, arguments: &[&str]) -> String {
    let arguments = if arguments.is_empty() { &["list"] } else { arguments };
    let url = format!("sqlite://{}", app.database.path().display());
    let output = binary().arg("values").args(arguments).env("DATABASE_URL", url).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_value_is_accepted_by_command_beside_the_server() {
    let app = App::start().await;
    send(&app, "a", "templeos").await;
    send(&app, "b", "templeos").await;
    send(&app, "b", "another os").await;
    assert_eq!(newest_os(&app).await, "other");
    insta::assert_snapshot!("values_waiting", listed(&app, &[]));
    listed(&app, &["accept", "os", " TempleOS"]);
    send(&app, "a", "templeos").await;
    assert_eq!(newest_os(&app).await, "templeos");
    insta::assert_snapshot!("values_accepted", listed(&app, &[]));
    assert_eq!(listed(&app, &["accept", "os", "templeos"]), "templeos has a label already\n");
    assert_eq!(listed(&app, &["accept", "os", "Linux"]), "linux has a label already\n");
    let expected = [("other".to_owned(), 3), ("templeos".to_owned(), 1)];
    assert_eq!(values(&app, "os").await, expected);
}
