//! A volume of the reference server is taken over, or refused unchanged.

use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{
    REFERENCE_SCHEMA,
    containers::{Base, Image, Server, Volume},
    stock,
};

/// As many reports as the reference server left, a third of the ids twice.
const REPORTS: i64 = 3000;
const REPORT_SQL: &str = "
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
    INSERT INTO deployments (instance_id, image_version, architecture, container_runtime,
                             startup_time_ms, db_type, telemetry_version, created_at)
    SELECT printf('%032x', i % 2000), 'v11.' || (i % 7) || '.0', 'arm64', '', i, 'postgres', '1.0',
           datetime(1750000000 + i * 100, 'unixepoch')
    FROM n";

/// The database file of a reference server.
async fn reference_database() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("telemetry.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(REFERENCE_SCHEMA).execute(&mut connection).await.unwrap();
    sqlx::query(REPORT_SQL).bind(REPORTS).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    std::fs::read(file).unwrap()
}

/// A volume as a server that ran as root left it.
async fn left_by_the_reference_server() -> Volume {
    let volume = Volume::with_database(reference_database().await).await;
    let files = volume.run(&["stat", "-c", "%n %u:%g", "/data", "/data/telemetry.db"]);
    assert_eq!(files, "/data 0:0\n/data/telemetry.db 0:0");
    volume
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn a_volume_of_the_reference_server_is_taken_over() {
    let (image, volume) = (Image::build(Base::Alpine), left_by_the_reference_server().await);
    volume.give_away();
    let server = Server::start(&image, &volume).await;
    server.wait_until_healthy().await;
    let metrics: Value = server.json("/metrics").await;
    assert_eq!(metrics["total_deployments"], REPORTS);
    assert_eq!(metrics["unique_instances"], 2000);
    assert_eq!(metrics["architecture_breakdown"][0]["architecture"], "aarch64");

    // It goes on as any other database.
    let answer = server
        .client()
        .post(server.url("/collect").await)
        .json(&stock("new"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.json("/metrics").await["total_deployments"], REPORTS + 1);
    let verdict = server.exec(&["/usr/bin/mattermost-telemetry", "verify"]);
    assert!(verdict.ends_with("\nclean"), "{verdict}");
}

/// The step that the documentation asks for is needed, and its absence does no damage.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn a_volume_that_belongs_to_root_is_refused_and_left_as_it_is() {
    let (image, volume) = (Image::build(Base::Scratch), left_by_the_reference_server().await);
    let before = volume.run(&["sha256sum", "/data/telemetry.db"]);
    let server = Server::start(&image, &volume).await;
    assert_eq!(server.wait_until_ended().await, 1);
    let log = server.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("/data/telemetry.db"), "{log}");
    assert_eq!(volume.run(&["sha256sum", "/data/telemetry.db"]), before);
    assert_eq!(volume.run(&["ls", "/data"]), "telemetry.db");
}
