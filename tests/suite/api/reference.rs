//! Databases of the reference server: taken over in place, or imported from another file.

mod order;

use std::{collections::BTreeSet, path::Path, process::Command};

use mattermost_telemetry::{
    clock::Clock,
    storage::{Database, ReportFilter},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{App, REFERENCE_SCHEMA, binary, execute, reference_row};

/// Reports of three days, among them one that breaks every rule of ours.
async fn small_reference(file: &Path) {
    execute(file, REFERENCE_SCHEMA).await;
    execute(
        file,
        "INSERT INTO deployments (instance_id, image_version, architecture, container_runtime,
                                  startup_time_ms, db_type, telemetry_version, created_at)
         VALUES
            ('keeper', 'v10.5.0', 'aarch64', '', 2500, 'postgres', '1.0', '2025-12-30 23:59:59'),
            ('looper', '10.5.0', 'arm64', 'docker', 800, 'postgres', '1.0', '2025-12-31 00:00:00'),
            ('looper', '10.5.0', 'arm64', 'docker', 900, 'postgres', '1.0', '2025-12-31 00:00:01'),
            ('KEEPER', 'v11.0.0', 'amd64', '', 1500, 'mysql', '1.0', '2026-01-01 12:00:00'),
            ('', printf('%.100c', 'x'), char(7), '', -5, 'postgres', '1.0', 'some day'),
            ('last', 'unknown', 'x86_64', '', 2500, 'postgres', '1.0', '2026-01-30 08:00:00');",
    )
    .await;
}

#[tokio::test]
async fn a_reference_database_is_taken_over_in_place() {
    let folder = TempDir::new().unwrap();
    small_reference(&folder.path().join("telemetry.db")).await;
    let app = App::start_in(folder, |_| ()).await;
    let paths = [
        "/metrics",
        "/deployments",
        "/stats/active",
        "/stats/startup?by=architecture",
        "/stats/timeseries?by=architecture&since=2025-12-30T00:00:00Z",
    ];
    insta::assert_snapshot!("taken_over", app.rows(&paths).await);
    assert!(app.database.verify(app.now()).await.unwrap().is_clean());

    // A copy that was made before is known to be the same.
    let url = format!("sqlite://{}", app.folder.path().join("telemetry.db").display());
    let copy = app.folder.path().join("copy.db");
    small_reference(&copy).await;
    let imported = binary().args(["import", "--database-url", &url]).arg(&copy).output().unwrap();
    assert!(
        String::from_utf8(imported.stdout).unwrap().starts_with("imported 0 new reports, 6 were")
    );

    // It is a database as any other now: it takes reports, and starts again.
    app.report(&json!({"instance_id": "new"})).await;
    let app = App::start_in(app.stop().await, |_| ()).await;
    let metrics = app.json("/metrics").await;
    assert_eq!(metrics["total_deployments"], 7);
    assert!(app.database.verify(app.now()).await.unwrap().is_clean());
}

/// An import that finds nothing new makes no snapshots anew, unless one before it was interrupted.
#[tokio::test]
async fn an_import_that_was_interrupted_is_finished_by_a_repeat() {
    let folder = TempDir::new().unwrap();
    let (target, source) = (folder.path().join("telemetry.db"), folder.path().join("old.db"));
    small_reference(&source).await;
    let import = || {
        let url = format!("sqlite://{}", target.display());
        let output =
            binary().args(["import", "--database-url", &url]).arg(&source).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let snapshots = async || {
        use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
        let mut connection = SqliteConnectOptions::new().filename(&target).connect().await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM snapshots");
        let count: i64 = count.fetch_one(&mut connection).await.unwrap();
        count
    };
    import();
    let made = snapshots().await;
    assert!(made > 0);
    execute(&target, "DELETE FROM snapshots").await;
    import();
    assert_eq!(snapshots().await, 0);
    execute(&target, "INSERT INTO watermarks VALUES ('importing', 0)").await;
    import();
    assert_eq!(snapshots().await, made);
}

#[tokio::test]
async fn an_import_adds_to_what_is_there_and_only_once() {
    let folder = TempDir::new().unwrap();
    let (target, source) = (folder.path().join("telemetry.db"), folder.path().join("old.db"));
    small_reference(&source).await;
    let import = |file: &Path| {
        let url = format!("sqlite://{}", target.display());
        let output = binary().args(["import", "--database-url", &url]).arg(file).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (good, said) = import(&source);
    assert!(good);
    assert_eq!(
        said,
        "imported 6 new reports, 0 were there already; 1 broke a rule and were cut to fit\n"
    );
    assert_eq!(
        import(&source).1,
        "imported 0 new reports, 6 were there already; 0 broke a rule and were cut to fit\n"
    );
    // The reference server went on meanwhile.
    let later = reference_row("later", "v11.0.0", "x86_64", 0, "2026-01-30 09:00:00");
    execute(&source, &later).await;
    assert_eq!(
        import(&source).1,
        "imported 1 new reports, 6 were there already; 0 broke a rule and were cut to fit\n"
    );

    let app = App::start_in(folder, |_| ()).await;
    assert_eq!(app.json("/metrics").await["total_deployments"], 7);
    // A time of 0 is not measured, as in a report.
    assert_eq!(app.json("/deployments?limit=1").await[0]["startup_time_ms"], Value::Null);
    assert!(app.database.verify(app.now()).await.unwrap().is_clean());
}

/// A source with some of forty rows, which differ in number, time and id, some in one of these only.
async fn source_of(folder: &Path, rows: &[i64]) -> String {
    let file = folder.join(format!("source-{}-{}.db", rows.len(), rows.iter().sum::<i64>()));
    let _ = std::fs::remove_file(&file);
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let insert = format!(
        "INSERT INTO deployments SELECT value, 'i' || (value % 5), 'v11.0.0', 'x86_64', '', 5,
                'postgres', '1.0', datetime(1767225600 + value / 3 * 40000, 'unixepoch')
         FROM json_each('[{}]') WHERE true ORDER BY value",
        rows.join(",")
    );
    execute(&file, REFERENCE_SCHEMA).await;
    execute(&file, &insert).await;
    file.to_str().unwrap().to_owned()
}

fn fixed_clock() -> Clock {
    Clock::from_fn(|| "2026-01-31T12:00:00Z".parse().unwrap())
}

/// Reports after imports of some subsets of the rows, and whether all counts are those of a recount.
async fn imported(subsets: Vec<Vec<i64>>) -> Vec<(u64, u64)> {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}/telemetry.db", folder.path().display());
    let database = Database::open_to_import(&url).await.unwrap();
    let mut said = Vec::new();
    for rows in subsets {
        let source = source_of(folder.path(), &rows).await;
        let mut writer = database.writer();
        let moved = writer.import_reference(&source, true, &fixed_clock(), |_| ()).await.unwrap();
        writer.leave().await.unwrap();
        said.push((moved.reports, moved.known));
    }
    let verdict = database.verify(fixed_clock().now()).await.unwrap();
    assert!(verdict.is_clean(), "{verdict:?}");
    let starts = database.totals().await.unwrap().starts;
    assert_eq!(said.iter().map(|(new, _)| new).sum::<u64>(), starts);
    said
}

#[tokio::test]
async fn a_copy_a_part_a_longer_one_and_one_without_its_first_row_add_only_what_is_new() {
    let rows = |range: std::ops::Range<i64>| range.collect::<Vec<i64>>();
    let said = imported(vec![
        rows(0..20),
        rows(0..20),
        rows(5..15),
        rows(1..30),
        rows(0..40),
        rows(7..40),
    ])
    .await;
    assert_eq!(said, [(20, 0), (0, 20), (0, 10), (10, 19), (10, 30), (0, 33)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn each_row_is_counted_once_whatever_is_imported(
        subsets in vec(proptest::collection::btree_set(0..40i64, 0..40), 1..5)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut stored = BTreeSet::new();
        let mut expected = Vec::new();
        for rows in &subsets {
            let known = rows.intersection(&stored).count() as u64;
            expected.push((rows.len() as u64 - known, known));
            stored.extend(rows.iter().copied());
        }
        let subsets = subsets.into_iter().map(|rows| rows.into_iter().collect()).collect();
        prop_assert_eq!(runtime.block_on(imported(subsets)), expected);
    }
}

/// Rows that a version stored that noted the last one only.
#[tokio::test]
async fn what_an_older_version_imported_is_not_counted_again() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}/telemetry.db", folder.path().display());
    let database = Database::open_to_import(&url).await.unwrap();
    let name = "INSERT INTO imports VALUES ('import 2 i2 2026-01-01 00:00:00', 9)";
    execute(database.path(), name).await;
    let import = async |rows: std::ops::Range<i64>| {
        let source = source_of(folder.path(), &rows.collect::<Vec<_>>()).await;
        let mut writer = database.writer();
        let moved = writer.import_reference(&source, true, &fixed_clock(), |_| ()).await.unwrap();
        (moved.reports, moved.known)
    };
    assert_eq!(import(2..12).await, (2, 8));
    assert_eq!(import(3..12).await, (0, 9));
}

/// The second of two imports at once is refused in one line; so is a server beside one that is alone, and
/// a take-over beside any.
#[tokio::test]
async fn two_imports_at_once_are_refused() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("telemetry.db");
    let url = format!("sqlite://{}", target.display());
    let source = source_of(folder.path(), &[1, 2, 3]).await;
    let lock = std::fs::File::create(folder.path().join("telemetry.db-import.lock")).unwrap();
    lock.lock().unwrap();
    let import = || binary().args(["import", "--database-url", &url, &source]).output().unwrap();
    let refused = import();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("an import writes to the database"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    small_reference(&target).await;
    let server =
        binary().env("DATABASE_URL", &url).env("SERVER_ADDRESS", "127.0.0.1:0").output().unwrap();
    assert_eq!(server.status.code(), Some(1));
    let said = String::from_utf8(server.stderr).unwrap();
    assert!(said.contains("an import writes to the database"), "{said}");
    drop(lock);
    assert!(import().status.success());

    let alone = Database::open_to_import(&url).await.unwrap();
    assert!(alone.is_alone());
    assert!(Database::open_alone(&url).await.is_err());
    assert!(!Database::open_to_import(&url).await.unwrap().is_alone());
}

#[tokio::test]
async fn a_file_that_is_no_reference_database_is_not_imported() {
    let folder = TempDir::new().unwrap();
    let (text, other) = (folder.path().join("notes.txt"), folder.path().join("other.db"));
    std::fs::write(&text, "not a database, but long enough to look like a header".repeat(40))
        .unwrap();
    execute(&other, "CREATE TABLE songs (title TEXT)").await;
    let url = format!("sqlite://{}/telemetry.db", folder.path().display());
    let missing = folder.path().join("missing.db");
    for file in [&text, &other, &missing] {
        let output = binary().args(["import", "--database-url", &url]).arg(file).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{file:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(file.to_str().unwrap()), "{said}");
    }
    assert!(!missing.exists());
}

/// A take-over that is killed again and again ends with every report, once.
#[tokio::test]
async fn an_interrupted_take_over_goes_on() {
    const REPORTS: i64 = 250_000;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("telemetry.db");
    execute(&file, REFERENCE_SCHEMA).await;
    execute(
        &file,
        &format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {REPORTS})
             INSERT INTO deployments (instance_id, image_version, architecture,
                 container_runtime, startup_time_ms, db_type, telemetry_version, created_at)
             SELECT printf('%032x', i * 7919 % 50000), 'v11.' || (i % 7) || '.0', 'aarch64', '',
                    i % 9000, 'postgres', '1.0', datetime(1750000000 + i * 100, 'unixepoch')
             FROM n"
        ),
    )
    .await;
    let url = format!("sqlite://{}", file.display());
    let mut interrupted = 0;
    loop {
        let mut server = binary()
            .env("DATABASE_URL", &url)
            .env("SERVER_ADDRESS", "127.0.0.1:0")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let log = std::io::BufReader::new(server.stderr.take().unwrap());
        // Killed after some progress was told; left alone once it serves.
        let mut progress = 0;
        let mut serving = false;
        for line in std::io::BufRead::lines(log) {
            let line = line.unwrap();
            progress += usize::from(line.contains("taking over"));
            serving = line.contains("serving");
            if serving || progress == 1 {
                break;
            }
        }
        server.kill().unwrap();
        server.wait().unwrap();
        if serving {
            break;
        }
        interrupted += 1;
    }
    assert!(interrupted >= 2, "{interrupted}");
    let verified = Command::new(binary().get_program())
        .args(["verify", "--database-url", &url])
        .output()
        .unwrap();
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}");
    assert!(said.starts_with(&format!("{REPORTS} reports\n")), "{said}");

    let app = App::start_in(folder, |_| ()).await;
    let metrics: Value = app.json("/metrics").await;
    assert_eq!(metrics["total_deployments"], REPORTS);
    assert_eq!(metrics["unique_instances"], 50_000);
}
