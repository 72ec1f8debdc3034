//! Backups that the server makes by itself, and their restore.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use mattermost_telemetry::config::{BackupConfig, Config};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{App, Server, binary, in_own_namespace, report, stock};

/// Time in which a backup appears.
const TIME_LIMIT: Duration = Duration::from_mins(1);

fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// Settings with daily backups in a folder.
fn daily(folder: &Path) -> impl FnOnce(&mut Config) {
    let folder = folder.to_owned();
    move |config| {
        config.backups = Some(BackupConfig {
            folder,
            every: Duration::from_hours(24),
            keep: "2d,2w".parse().unwrap(),
        });
    }
}

/// Names of all files in a folder but the note of the last trial.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".telemetry-restored").collect()
}

/// The backups in a folder, the oldest first.
fn backups(folder: &Path) -> Vec<PathBuf> {
    let names = names(folder).into_iter().filter(|name| name.ends_with(".db.gz"));
    names.map(|name| folder.join(name)).collect()
}

/// Waits for something that the server does by itself.
async fn becomes(what: &str, is_so: impl Fn() -> bool) {
    let looks = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIME_LIMIT, looks).await.unwrap_or_else(|_| panic!("it does not happen: {what}"));
}

/// Runs `restore`; what it prints, or its complaint.
fn restore(backup: &Path, database: &Path) -> Result<String, String> {
    let mut command = binary();
    command.args(["restore", "--database-url", &url(database)]).arg(backup);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        assert_eq!(said.lines().count(), 1, "{said}");
        Err(said)
    }
}

fn verify(database: &Path) -> String {
    let mut command = binary();
    let output = command.args(["verify", "--database-url", &url(database)]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Ids of the instances of a database.
async fn instances(database: &Path) -> BTreeSet<String> {
    let copy = Server::start(database);
    let answer = reqwest::get(copy.url("/deployments?limit=1000")).await.unwrap();
    let rows: Vec<serde_json::Value> = answer.json().await.unwrap();
    drop(copy);
    rows.iter().map(|row| row["instance_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_comes_by_itself_while_reports_come_in_and_restores_what_was_acknowledged() {
    let (folder, restored) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let copies = folder.path().join("copies");
    let app = App::start_with(daily(&copies)).await;
    becomes("the first backup", || backups(&copies).len() == 1).await;
    for number in 0..40 {
        app.report(&stock(&format!("before-{number}"))).await;
    }
    app.pass(25);
    let mut number = 0;
    while backups(&copies).len() < 2 {
        app.report(&stock(&format!("beside-{number}"))).await;
        number += 1;
    }
    let second = backups(&copies).pop().unwrap();
    assert!(second.ends_with("telemetry-20260201T133456Z.db.gz"), "{}", second.display());
    let sum = Command::new("sha256sum")
        .args(["-c", "--status"])
        .arg(format!("{}.sha256", second.display()))
        .current_dir(&copies)
        .status();
    assert!(sum.unwrap().success());

    let database = restored.path().join("new/telemetry.db");
    let said = restore(&second, &database).unwrap();
    assert!(said.starts_with("restored ") && !said.contains("checksum"), "{said}");
    verify(&database);
    let found = instances(&database).await;
    assert!((0..40).all(|number| found.contains(&format!("before-{number}"))), "{found:?}");
    assert!(found.iter().all(|id| id.starts_with("before-") || id.starts_with("beside-")));

    // Both are good; it was tried out, and each file is for the server alone.
    let scrape = app.scrape("text/plain").await.1;
    for line in [
        "telemetry_backup_overdue 0",
        "telemetry_backups_written_total 2",
        "telemetry_backups_failed_total 0",
    ] {
        assert!(scrape.contains(line), "{line}: {scrape}");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&copies), 0o700);
    for name in names(&copies) {
        assert_eq!(mode(&copies.join(&name)), 0o600, "{name}");
    }
    app.stop().await;
    assert_eq!(names(&copies).len(), 4, "{:?}", names(&copies));
}

/// The file of a database that has something to copy, made by a server without backups.
async fn filled(folder: &Path, reports: usize) -> PathBuf {
    let database = folder.join("telemetry.db");
    let server = Server::start(&database);
    let client = reqwest::Client::new();
    for number in 0..reports {
        let body = report(&format!("{number:0>128}"), serde_json::json!({}));
        assert_eq!(
            client.post(server.url("/collect")).json(&body).send().await.unwrap().status(),
            200
        );
    }
    assert!(server.terminate().0.success());
    database
}
