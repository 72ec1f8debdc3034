//! Exported reports in `DuckDB`. `.ci/duckdb` installs its Python package, and names the interpreter that has it.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{App, binary};

/// The first row of the answer to a query.
fn duckdb(query: &str) -> Value {
    let python = std::env::var("DUCKDB_PYTHON").expect("DUCKDB_PYTHON names a Python with DuckDB");
    let program = "import duckdb, json, sys\n\
                   print(json.dumps(duckdb.sql(sys.argv[1]).fetchall()[0], default=str))";
    let output = Command::new(python).args(["-c", program, query]).output().unwrap();
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn export(app: &App, file: &Path, format: &str) {
    let url = format!("sqlite://{}", app.folder.path().join("telemetry.db").display());
    let mut export = binary();
    export.env("DATABASE_URL", url).args(["export", "--format", format, "--output"]).arg(file);
    let output = export.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Two days of a fleet, with values that a reader may stumble on.
async fn fleet() -> App {
    let app = App::start().await;
    for hour in 0..48 {
        let oddity = ["linux", "a,\"b\"", "=1+1", "{\"a\": 1}", "NULL", "ünïx"][hour % 6];
        let architecture = ["arm64", "amd64"][hour % 2];
        app.report(&json!({
            "instance_id": format!("i{}", hour % 9),
            "image_version": format!("v11.{}.0", hour / 20),
            "architecture": architecture,
            "os": oddity,
            "startup_time_ms": 400 + 700 * hour,
            "event": if hour % 5 == 0 { "heartbeat" } else { "start" },
            "timestamp": (hour % 3 == 0).then_some("2026-01-31T12:00:00.25Z"),
        }))
        .await;
        app.pass(1);
    }
    app
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs DuckDB; run it with: .ci/duckdb"]
async fn duckdb_counts_what_the_server_counts() {
    let app = fleet().await;
    let folder = TempDir::new().unwrap();
    let metrics = app.json("/metrics").await;
    for (format, read) in [("jsonl", "read_json_auto"), ("csv", "read_csv_auto")] {
        let file = folder.path().join(format!("reports.{format}"));
        export(&app, &file, format);
        let from = format!("FROM {read}('{}')", file.display());
        let totals = duckdb(&format!(
            "SELECT count(*) FILTER (event = 'start'), count(*) FILTER (event = 'heartbeat'), \
             count(DISTINCT instance_id), avg(startup_time_ms), \
             count(DISTINCT CAST(created_at AS TIMESTAMPTZ)), count(timestamp) {from}"
        ));
        let expected = json!([
            metrics["total_deployments"],
            metrics["total_heartbeats"],
            metrics["unique_instances"],
            metrics["avg_startup_time_ms"],
            48,
            16
        ]);
        assert_eq!(totals, expected, "{format}");
        for (column, breakdown) in
            [("image_version", "version_breakdown"), ("architecture", "architecture_breakdown")]
        {
            for row in metrics[breakdown].as_array().unwrap() {
                let value = row.as_object().unwrap().iter().find(|(name, _)| *name != "count");
                let value = value.unwrap().1.as_str().unwrap();
                let counted = duckdb(&format!(
                    "SELECT count(*) {from} WHERE event = 'start' AND {column} = '{value}'"
                ));
                assert_eq!(counted, json!([row["count"]]), "{format} {column} {value}");
            }
        }
        // The own values of those that count as other, whatever they look like.
        let own = duckdb(&format!(
            "SELECT string_agg(DISTINCT json_extract_string(CAST(unproven AS JSON), '$.os'), ' ' \
             ORDER BY json_extract_string(CAST(unproven AS JSON), '$.os')) {from} WHERE os = 'other'"
        ));
        assert_eq!(own, json!(["=1+1 a,\"b\" null {\"a\": 1} ünïx"]), "{format}");
    }
}
