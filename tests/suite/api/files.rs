//! The files of the database: links, locks, folders that may not be written, copies.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use reqwest::Client;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{REFERENCE_SCHEMA, Server, binary, in_own_namespace, stock, url};

/// The line of a command that fails.
fn complaint(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// A second server on a database.
fn second(database: &Path) -> Command {
    let mut command = binary();
    command.env("DATABASE_URL", url(database)).env("SERVER_ADDRESS", "127.0.0.1:0");
    command
}

/// Names of all files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A reference database in WAL mode, with a report in it. Its log is there while it is open.
async fn reference(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(REFERENCE_SCHEMA).execute(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO deployments (instance_id, image_version, architecture, container_runtime,
                                  startup_time_ms, db_type, telemetry_version, created_at)
         VALUES ('a', 'v10.5.0', 'aarch64', '', 2500, 'postgres', '1.0', '2025-12-30 23:59:59')",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection
}

#[test]
fn a_database_without_a_write_ahead_log_is_refused() {
    for vfs in ["unix-none", "unix-dotfile"] {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("telemetry.db");
        let said =
            complaint(second(&file).env("DATABASE_URL", format!("{}?vfs={vfs}", url(&file))));
        assert!(said.contains("telemetry.db cannot have a write-ahead log"), "{said}");
        assert!(said.contains("`delete`"), "{said}");
    }
}

/// The log of SQLite, our lock, and every size are those of the file that the link names.
#[tokio::test]
async fn a_link_stands_for_the_file_that_it_names() {
    let folder = TempDir::new().unwrap();
    let (real, linked) = (folder.path().join("disk/real.db"), folder.path().join("data/link.db"));
    fs::create_dir(folder.path().join("data")).unwrap();
    // Neither the file nor its folder is there yet.
    symlink("../disk/real.db", &linked).unwrap();
    let server = Server::start(&linked);
    let real = real.canonicalize().unwrap();
    assert!(server.first_line.contains(&format!("database={}", real.display())));
    let client = Client::new();
    let answer = client.post(server.url("/collect")).json(&stock("a")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(names(&folder.path().join("data")), ["link.db"]);
    let log = || fs::metadata(folder.path().join("disk/real.db-wal")).unwrap().len();
    let before = log();
    assert!(before > 0);
    let scrape = client
        .get(server.url("/metrics"))
        .header("accept", "text/plain;version=0.0.4")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let size = scrape.lines().find_map(|line| line.strip_prefix("telemetry_database_log_bytes "));
    let size = size.unwrap().parse().unwrap();
    // A sample of the metrics may be stored meanwhile.
    assert!((before..=log()).contains(&size), "{size}");
    for path in [&linked, &real] {
        let said = complaint(&mut second(path));
        assert!(said.contains("a server or an import uses the database"), "{said}");
        assert!(said.contains(real.to_str().unwrap()), "{said}");
    }
}

#[tokio::test]
async fn a_second_server_is_refused_and_commands_are_not() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("telemetry.db");
    let server = Server::start(&database);
    let said = complaint(&mut second(&database));
    assert!(said.contains("a server or an import uses the database"), "{said}");
    let said = complaint(second(&database).args(["simulate", "--instances", "1", "--days", "1"]));
    assert!(said.contains("a server or an import uses the database"), "{said}");

    let source = folder.path().join("old.db");
    reference(&source).await.close().await.unwrap();
    let copy = folder.path().join("copy.db");
    for command in [
        vec!["import", source.to_str().unwrap()],
        vec!["verify"],
        vec!["backup", copy.to_str().unwrap()],
    ] {
        let output =
            second(&database).env_remove("SERVER_ADDRESS").args(&command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }
    let metrics: serde_json::Value =
        Client::new().get(server.url("/metrics")).send().await.unwrap().json().await.unwrap();
    assert_eq!(metrics["total_deployments"], 1);

    // The kernel releases the lock of a killed one.
    server.kill();
    let server = Server::start(&database);
    assert!(server.terminate().0.success());
    Server::start(&database);
}

/// A folder that the server may not write. Root may write all, so the server is somebody else then.
#[test]
fn a_folder_that_may_not_be_written_is_named_with_its_owner() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
    let owner = fs::metadata(&closed).unwrap();
    let owner = format!("{}:{}", owner.uid(), owner.gid());
    let (program, user) = if is_root {
        // The folder of the build may be closed to others.
        let program = folder.path().join("program");
        fs::copy(binary().get_program(), &program).unwrap();
        (program, "65534:65534".to_owned())
    } else {
        (PathBuf::from(binary().get_program()), owner.clone())
    };
    let run = |database: &Path, arguments: &[&str]| {
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        command.env("DATABASE_URL", url(database)).env("SERVER_ADDRESS", "127.0.0.1:0");
        complaint(command.args(arguments))
    };
    let probe = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"])
        .output();
    if is_root && !probe.is_ok_and(|probe| probe.status.success()) {
        let test = "a_folder_that_may_not_be_written_is_named_with_its_owner";
        let line = format!("NOT RUN: {test} (needs `setpriv`)\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let named = |kind: &str, path: &Path, mode: &str| {
        let path = path.display();
        format!("the {kind} {path} belongs to {owner} (mode {mode}), and this process, {user},")
    };
    let missing = closed.join("telemetry.db");
    let said = run(&missing, &[]);
    assert!(said.contains(&named("folder", &closed, "555")), "{said}");
    let said = run(&closed.join("new/folder/telemetry.db"), &[]);
    assert!(said.contains(&named("folder", &closed, "555")), "{said}");
    // A folder that is open, with a file of somebody else in it.
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let foreign = open.join("telemetry.db");
    drop(Server::start(&foreign));
    for file in fs::read_dir(&open).unwrap() {
        fs::set_permissions(file.unwrap().path(), Permissions::from_mode(0o666)).unwrap();
    }
    fs::set_permissions(&foreign, Permissions::from_mode(0o444)).unwrap();
    let said = run(&foreign, &[]);
    assert!(said.contains(&named("file", &foreign, "444")), "{said}");
}

#[test]
fn a_read_only_file_system_is_named() {
    let test = "a_read_only_file_system_is_named";
    let script =
        r#"mount --bind "$DISK" "$DISK" && mount -o remount,bind,ro "$DISK" && exec "$SERVER""#;
    let Some(mut command) = in_own_namespace(test, script) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let said = complaint(
        command
            .env("DISK", folder.path())
            .env("SERVER", binary().get_program())
            .env("SERVER_ADDRESS", "127.0.0.1:0")
            .env("DATABASE_URL", url(&folder.path().join("telemetry.db"))),
    );
    assert!(said.contains("is on a read-only file system"), "{said}");
}

#[test]
fn a_backup_that_fails_leaves_nothing_and_the_next_one_removes_what_a_killed_one_left() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("telemetry.db");
    assert!(Server::start(&database).terminate().0.success());
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let copy = copies.join("copy.db");
    let backup = || {
        let mut command = binary();
        command.args(["backup", "--database-url", &url(&database)]).arg(&copy);
        command
    };
    let part = copies.join(".telemetry-backup.part");
    fs::write(&part, "half of a copy").unwrap();
    fs::write(copies.join(".telemetry-backup.part-journal"), "its journal").unwrap();
    // Another backup is at work.
    let other = fs::File::open(&part).unwrap();
    other.lock().unwrap();
    let said = complaint(&mut backup());
    assert!(said.contains("another backup is being written to"), "{said}");
    assert!(fs::metadata(&part).unwrap().len() > 0);
    // It was killed.
    drop(other);
    assert!(backup().status().unwrap().success());
    assert_eq!(names(&copies), ["copy.db"]);
    let whole = fs::read(&copy).unwrap();
    let said = complaint(&mut backup());
    assert!(said.contains("exists; name a new file"), "{said}");
    assert_eq!(fs::read(&copy).unwrap(), whole);
    assert_eq!(names(&copies), ["copy.db"]);

    let test = "a_backup_that_fails_leaves_nothing";
    let script = r#"mount -t tmpfs -o size=32k tmpfs "$DISK" &&
        ! "$SERVER" backup "$DISK/copy.db" && ls -A "$DISK""#;
    let Some(mut command) = in_own_namespace(test, script) else {
        return;
    };
    let output = command
        .env("DISK", &copies)
        .env("SERVER", binary().get_program())
        .env("DATABASE_URL", url(&database))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("cannot write") && said.contains("full"), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A database in WAL mode on a mount that may not be written: as it is without a log, refused with
/// one.
#[tokio::test]
async fn a_source_on_a_read_only_mount_is_imported_unless_it_has_a_log() {
    let test = "a_source_on_a_read_only_mount_is_imported_unless_it_has_a_log";
    let script = r#"mount --bind "$DISK" "$DISK" && mount -o remount,bind,ro "$DISK" &&
        exec "$SERVER" import "$DISK/old.db""#;
    let folder = TempDir::new().unwrap();
    let (whole, with_log) = (folder.path().join("whole"), folder.path().join("with-log"));
    for folder in [&whole, &with_log] {
        fs::create_dir(folder).unwrap();
    }
    let open = reference(&whole.join("old.db")).await;
    for name in ["old.db", "old.db-wal"] {
        fs::copy(whole.join(name), with_log.join(name)).unwrap();
    }
    open.close().await.unwrap();
    assert_eq!(names(&whole), ["old.db"]);
    fs::write(whole.join("old.db-wal"), "").unwrap();
    let import = |disk: &Path| {
        let mut command = in_own_namespace(test, script)?;
        command.env("DISK", disk).env("SERVER", binary().get_program());
        command.env("DATABASE_URL", url(&folder.path().join("telemetry.db")));
        Some(command)
    };
    let Some(mut refused) = import(&with_log) else {
        return;
    };
    let said = complaint(&mut refused);
    assert!(said.contains(&format!("without {}", with_log.join("old.db-wal").display())), "{said}");
    let output = import(&whole).unwrap().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(output.stdout.starts_with(b"imported 1 new reports"));
}

/// Those of a small database would be in force for years. Without any, a statement goes one way through
/// the tables, which is the one that is tested and measured.
#[tokio::test]
async fn a_database_has_no_statistics() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("telemetry.db");
    let server = Server::start_command(&mut second(&database));
    let report = serde_json::json!({ "instance_id": "a", "startup_time_ms": 900 });
    let answer = Client::new().post(server.url("/collect")).json(&report).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(server.terminate());
    let mut connection = SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
    let tables =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE name GLOB 'sqlite_stat*'");
    let tables: Vec<String> = tables.fetch_all(&mut connection).await.unwrap();
    assert_eq!(tables, Vec::<String>::new());
}
