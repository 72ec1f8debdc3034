//! Sources whose rows follow no time.

use super::*;

/// A take-over copies out of a sorted table, too, and drops the one that it was made of.
#[tokio::test]
async fn a_reference_database_in_no_order_is_taken_over() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("telemetry.db");
    execute(&file, REFERENCE_SCHEMA).await;
    execute(
        &file,
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
         INSERT INTO deployments SELECT i, 'i' || (i * 77 % 200), 'v11.0.0', 'x86_64', '', 5,
                'postgres', '1.0', datetime(1767225600 + (i * 77 % 200) * 7200, 'unixepoch') FROM n",
    )
    .await;
    let app = App::start_in(folder, |_| ()).await;
    let reports = app.json("/deployments?limit=1000").await;
    let instances: Vec<&str> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["instance_id"].as_str().unwrap())
        .collect();
    assert_eq!(instances.len(), 200);
    assert_eq!(instances[..2], ["i199", "i198"]);
    assert!(app.database.verify(app.now()).await.unwrap().is_clean());
}

/// Times of the reports in the order of their numbers, after an import of 200 rows whose times are those of an
/// expression, and of one more row without a time.
async fn times_of_import(time: &str) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("source.db");
    execute(&source, REFERENCE_SCHEMA).await;
    let insert = format!(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
         INSERT INTO deployments SELECT i, 'i' || i, 'v11.0.0', 'x86_64', '', 5, 'postgres', '1.0',
                iif(i < 200, datetime(1767225600 + ({time}) * 7200, 'unixepoch'), 'some day') FROM n"
    );
    execute(&source, &insert).await;
    let url = format!("sqlite://{}/telemetry.db", folder.path().display());
    let database = Database::open_to_import(&url).await.unwrap();
    let mut writer = database.writer();
    let source = source.to_str().unwrap();
    let moved = writer.import_reference(source, true, &fixed_clock(), |_| ()).await.unwrap();
    assert_eq!((moved.reports, moved.altered), (201, 1));
    let moved = writer.import_reference(source, true, &fixed_clock(), |_| ()).await.unwrap();
    assert_eq!((moved.reports, moved.known), (0, 201));
    assert!(database.verify(fixed_clock().now()).await.unwrap().is_clean());
    let reports = database.newest_reports(&ReportFilter::default(), 1000).await.unwrap();
    reports.iter().rev().map(|report| report.received_at.unwrap().to_string()).collect()
}

/// Reports of a time are found by their numbers.
#[tokio::test]
async fn numbers_follow_time_where_those_of_the_source_do_not() {
    let scattered = times_of_import("i * 77 % 200").await;
    assert!(scattered.is_sorted());
    assert_eq!(scattered[0], "2026-01-01T00:00:00Z");
    // A clock that went back once.
    let two_runs = times_of_import("(i + 50) % 200").await;
    assert_eq!(two_runs[0], "2026-01-05T04:00:00Z");
}
