//! Backups that the server makes by itself, and their restore.

mod filled;
mod killed;
mod restored;
mod upgrade;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    backups::Backups,
    clock::Clock,
    config::{BackupConfig, Config},
    domain::{ClockState, Dimension, Value},
    metrics::Metrics,
    storage::Database,
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{
    App, BEGIN, REFERENCE_SCHEMA, Server, binary, config, execute, in_own_namespace, reference_row,
    report, stock, url,
};

/// Time in which a backup appears.
const TIME_LIMIT: Duration = Duration::from_mins(1);

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
    assert_eq!(mode(&copies.join(".telemetry-restored")), 0o600);
    app.stop().await;
    assert_eq!(names(&copies).len(), 4, "{:?}", names(&copies));
}

/// The value of a metric without labels.
async fn metric(app: &App, name: &str) -> Option<f64> {
    let scrape = app.scrape("text/plain").await.1;
    let line = scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn nothing_is_written_where_nothing_has_changed() {
    let folder = TempDir::new().unwrap();
    let copies = folder.path().join("copies");
    let app = App::start_with(daily(&copies)).await;
    becomes("the first backup", || backups(&copies).len() == 1).await;
    // The first one may have been made before the server recorded its clock, which is a change, too.
    app.report(&stock("a")).await;
    app.pass(25);
    becomes("a backup of the report", || backups(&copies).len() == 2).await;
    app.pass(25);
    let fresh = async {
        loop {
            let age = metric(&app, "telemetry_backup_age_seconds").await;
            // It is counted once more before the server looks whether anything has changed.
            if age.is_some_and(|age| age < 60.0)
                && metric(&app, "telemetry_backup_restorable").await == Some(1.0)
            {
                return;
            }
        }
    };
    timeout(TIME_LIMIT, fresh).await.expect("the backup has everything, so it is fresh");
    becomes("the end of its trial", || names(&copies).len() == 4).await;
    assert_eq!(metric(&app, "telemetry_backups_written_total").await, Some(2.0));
    app.report(&stock("b")).await;
    app.pass(25);
    becomes("another backup", || backups(&copies).len() == 3).await;
    app.stop().await;
}

#[tokio::test]
async fn old_backups_go_when_there_is_a_new_one_and_the_clock_is_confirmed() {
    let folder = TempDir::new().unwrap();
    let (copies, file) = (folder.path().join("copies"), folder.path().join("telemetry.db"));
    let database = Database::open(&url(&file)).await.unwrap();
    let begin: Timestamp = BEGIN.parse().unwrap();
    let day = Arc::new(AtomicI64::new(0));
    let shown = Arc::clone(&day);
    let clock = Clock::from_fn(move || {
        begin + SignedDuration::from_hours(25 * shown.load(Ordering::Relaxed))
    });
    let metrics = Arc::new(Metrics::new());
    let mut config = config(&folder);
    daily(&copies)(&mut config);
    let config = config.backups.unwrap();
    let running = Backups::start(&config, &database, clock, Arc::clone(&metrics)).unwrap();
    becomes("the first backup", || backups(&copies).len() == 1).await;
    let mut writer = database.writer();
    for today in 1..6 {
        if today == 5 {
            // Without it nothing has gone, and these were the two days and two weeks.
            assert_eq!(backups(&copies).len(), 5);
            metrics.clock_is(ClockState::Confirmed);
        }
        let value = Value::parse(Dimension::Os, Some(format!("system {today}"))).unwrap();
        assert!(writer.accept_value(Dimension::Os, &value).await.unwrap());
        day.store(today, Ordering::Relaxed);
        let newest = begin + SignedDuration::from_hours(25 * today);
        let newest = newest.strftime("telemetry-%Y%m%dT%H%M%SZ.db.gz").to_string();
        becomes("a backup of the day", || backups(&copies).last().unwrap().ends_with(&newest))
            .await;
    }
    // 1 February 2026 was a Sunday.
    let kept = ["20260201T133456", "20260204T163456", "20260205T173456"];
    let kept = kept.map(|time| copies.join(format!("telemetry-{time}Z.db.gz")));
    becomes("the old ones are gone", || backups(&copies) == kept).await;
    running.end().await;
    assert_eq!(names(&copies).len(), 6, "{:?}", names(&copies));
    writer.close().await.unwrap();
    database.close().await;
}

#[tokio::test]
async fn a_doubtful_clock_deletes_nothing_and_a_backup_of_a_time_to_come_holds_nothing_back() {
    let copies = TempDir::new().unwrap();
    let copies = copies.path();
    let app = App::start_with(daily(copies)).await;
    becomes("the first backup", || backups(copies).len() == 1).await;
    // Else there may be nothing to back up.
    app.report(&stock("a")).await;
    let folder = app.stop().await;
    let made = backups(copies).remove(0);
    rename(&made, "telemetry-20310101T000000Z.db.gz");
    for day in 1..9 {
        let name = format!("telemetry-2025120{day}T000000Z.db.gz");
        fs::copy(copies.join("telemetry-20310101T000000Z.db.gz"), copies.join(name)).unwrap();
    }
    let before = names(copies);
    let app = App::start_in(folder, daily(copies)).await;
    becomes("another backup", || made.exists()).await;
    app.stop().await;
    assert!(names(copies).is_superset(&before), "{:?}", names(copies));
}

/// Gives a backup and its checksum other names.
fn rename(backup: &Path, name: &str) {
    let sum = |file: &Path| PathBuf::from(format!("{}.sha256", file.display()));
    let to = backup.with_file_name(name);
    fs::rename(sum(backup), sum(&to)).unwrap();
    fs::rename(backup, to).unwrap();
}

/// A database that has something to copy, made by a server without backups.
async fn filled(folder: &Path, reports: usize) -> PathBuf {
    let database = folder.join("telemetry.db");
    let server = Server::start(&database);
    post(&server, 0..reports).await;
    assert!(server.terminate().0.success());
    database
}

async fn post(server: &Server, numbers: std::ops::Range<usize>) {
    let client = reqwest::Client::new();
    for number in numbers {
        let body = report(&format!("{number:0>128}"), serde_json::json!({}));
        let answer = client.post(server.url("/collect")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// A server with backups, as the real binary.
fn server(database: &Path, copies: &Path) -> Command {
    let mut command = binary();
    command.env("DATABASE_URL", url(database)).env("BACKUP_DIR", copies).env("BACKUP_EVERY", "1h");
    command
}

/// Puts a good backup of long ago into a folder.
async fn old_backup(database: &Path, copies: &Path) -> PathBuf {
    let server = Server::start_command(&mut server(database, copies));
    becomes("the first backup", || backups(copies).len() == 1).await;
    assert!(server.terminate().0.success());
    let old = "telemetry-20200101T000000Z.db.gz";
    rename(&backups(copies)[0], old);
    copies.join(old)
}

async fn scrape(server: &Server) -> String {
    let client = reqwest::Client::new();
    let request = client.get(server.url("/metrics")).header("accept", "text/plain");
    request.send().await.unwrap().text().await.unwrap()
}

/// Waits until a server has failed to make a backup.
async fn fails(server: &Server) {
    let fails =
        async { while !scrape(server).await.contains("telemetry_backups_failed_total 1") {} };
    timeout(TIME_LIMIT, fails).await.expect("it does not fail");
}

#[tokio::test]
async fn a_full_disk_leaves_the_good_backup_and_takes_no_report() {
    let test = "a_full_disk_leaves_the_good_backup_and_takes_no_report";
    let script = r#"mount -t tmpfs -o size=18m tmpfs "$DISK" && cp -p "$GOOD"* "$DISK/" &&
        dd if=/dev/zero of="$DISK/ballast" bs=1k count=4096 status=none &&
        BACKUP_DIR="$DISK" exec "$SERVER""#;
    let Some(mut command) = in_own_namespace(test, script) else {
        return;
    };
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = filled(folder.path(), 50).await;
    let good = old_backup(&database, copies.path()).await;
    // Else there may be nothing to back up.
    let server = Server::start(&database);
    post(&server, 50..60).await;
    assert!(server.terminate().0.success());
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    command.env("DISK", &disk).env("GOOD", &good).env("DATABASE_URL", url(&database));
    let server = Server::start_command(command.env("SERVER", binary().get_program()));
    post(&server, 60..70).await;
    fails(&server).await;
    let shown = scrape(&server).await;
    assert!(shown.contains("telemetry_backup_overdue 1"), "{shown}");
    // The mount is only to be seen from within the server's namespace.
    let seen = PathBuf::from(format!("/proc/{}/root", server.pid()));
    let seen = seen.join(disk.strip_prefix("/").unwrap());
    let good = good.file_name().unwrap().to_str().unwrap().to_owned();
    let expected = BTreeSet::from(["ballast".to_owned(), format!("{good}.sha256"), good]);
    assert_eq!(names(&seen), expected);
    let (status, log) = server.terminate();
    assert!(status.success());
    let lines: Vec<_> = log.lines().filter(|line| line.contains("cannot make a backup")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("MB left") && lines[0].contains("free some space"), "{log}");
}

/// Number of reports of a database, as `verify` counts them.
fn reports(database: &Path) -> String {
    verify(database).lines().next().unwrap().to_owned()
}

/// The newest backup is damaged: that is found, and another one is made.
#[tokio::test]
async fn a_backup_that_cannot_be_restored_is_found_and_made_again() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = filled(folder.path(), 5).await;
    let old = old_backup(&database, copies.path()).await;
    fs::remove_file(copies.path().join(".telemetry-restored")).unwrap_or_default();
    let present = name_of_a_minute_ago();
    rename(&old, &present);
    let path = copies.path().join(&present);
    let mut content = fs::read(&path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&path, content).unwrap();
    let server = Server::start_command(&mut server(&database, copies.path()));
    becomes("another backup", || backups(copies.path()).iter().any(|backup| *backup != path)).await;
    let (_, log) = server.terminate();
    assert!(log.contains("was put aside"), "{log}");
    assert!(!path.exists() && copies.path().join(format!("{present}.damaged")).exists());
    assert_eq!(
        restore(&backups(copies.path())[0], &folder.path().join("restored.db"))
            .unwrap()
            .lines()
            .count(),
        1
    );
}

/// Name of a backup of a minute ago.
fn name_of_a_minute_ago() -> String {
    let made = Clock::system().now() - SignedDuration::from_mins(1);
    format!("telemetry-{}.db.gz", made.strftime("%Y%m%dT%H%M%SZ"))
}
