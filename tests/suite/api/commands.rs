//! The binary: how it starts, how it fails to, how it ends.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    process::{Command, Output},
};

use reqwest::Client;
use tempfile::TempDir;

use crate::support::{App, Server, binary, execute, stock, url};

/// The line on standard error of a start that fails. It says each thing once.
fn complaint(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{said}");
    assert!(stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "{said}");
    let parts: Vec<&str> = said.trim_end().split(": ").collect();
    let once: BTreeSet<&str> = parts.iter().copied().collect();
    assert_eq!(parts.len(), once.len(), "{said}");
    said
}

#[tokio::test]
async fn the_first_start_creates_all_and_says_where() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("new/folder/telemetry.db");
    let server = Server::start(&database);
    assert!(database.exists());
    assert!(server.first_line.contains(&format!("address={}", server.address)));
    assert!(server.first_line.contains(&format!("database={}", database.display())));
    let answer = Client::new().post(server.url("/collect")).json(&stock("a")).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    let healthy = binary()
        .args(["healthcheck", "--server-address", &server.address.to_string()])
        .status()
        .unwrap();
    assert!(healthy.success());

    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
    // All of the log is in the database, which alone can be copied now.
    let wal = folder.path().join("new/folder/telemetry.db-wal");
    assert!(fs::metadata(wal).map_or(0, |file| file.len()) == 0);
}

#[test]
fn a_start_that_fails_says_why_in_one_line() {
    let folder = TempDir::new().unwrap();
    let free = |command: &mut Command| -> String {
        complaint(command.env("SERVER_ADDRESS", "127.0.0.1:0"))
    };

    // The database's folder cannot be made.
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let said = free(binary().env("DATABASE_URL", url(&file.join("telemetry.db"))));
    assert!(said.contains("cannot create the database's folder"), "{said}");

    // A folder is in its place.
    let said = free(binary().env("DATABASE_URL", url(folder.path())));
    assert!(said.contains("cannot open the database"), "{said}");

    // Something else is in its place.
    let other = folder.path().join("other.db");
    let content = "This is no database. ".repeat(300);
    fs::write(&other, &content).unwrap();
    let said = free(binary().env("DATABASE_URL", url(&other)));
    assert!(said.contains("is not a usable SQLite database"), "{said}");
    assert_eq!(fs::read_to_string(&other).unwrap(), content, "nothing was damaged");

    let said = free(binary().env("DATABASE_URL", "postgres://localhost/telemetry"));
    assert!(said.contains("DATABASE_URL must be sqlite://"), "{said}");
    let said = free(binary().env("DATABASE_URL", "sqlite::memory:"));
    assert!(said.contains("DATABASE_URL must be sqlite://"), "{said}");

    // The port is taken.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let database = url(&folder.path().join("telemetry.db"));
    let said = complaint(binary().env("DATABASE_URL", &database).env("SERVER_ADDRESS", &address));
    assert!(said.contains("cannot listen on SERVER_ADDRESS"), "{said}");

    let settings = [
        ("SERVER_ADDRESS", "8080"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("RATE_LIMIT_PER_MINUTE", "-1"),
        ("INSTANCE_RATE_LIMIT_PER_HOUR", "many"),
        ("RETENTION_DAYS", "1.5"),
        ("CORS_ALLOWED_ORIGINS", "*"),
        ("GRAFANA_URL", "grafana:3000"),
        ("BACKUP_EVERY", "daily"),
        ("BACKUP_KEEP", "7"),
        ("PUBLIC_VIEW", "perhaps"),
        ("PUBLIC_MINIMUM", "0"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "==="),
        ("READ_TOKEN", "two words"),
        ("READ_TOKEN", " "),
        ("READ_TOKEN", "'secret"),
        ("READ_TOKEN_FILE", "/no/such/file"),
        ("READ_TOKEN_FILE", "/dev/null"),
    ];
    for (name, value) in settings {
        let said = complaint(binary().env("DATABASE_URL", &database).env(name, value));
        assert!(said.contains(name), "{name}: {said}");
    }
    for blank in [" ", "\t"] {
        let mut command = binary();
        command.env("DATABASE_URL", &database).args(["serve", "--read-token", blank]);
        assert!(complaint(&mut command).contains("READ_TOKEN holds no token"));
    }
    let both = [("READ_TOKEN", "a"), ("READ_TOKEN_FILE", "/dev/null")];
    let said = complaint(binary().env("DATABASE_URL", &database).envs(both));
    assert!(said.contains("both set"), "{said}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = App::start().await.stop().await;
    let file = folder.path().join("telemetry.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9000, 'of a later version', true, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let before = fs::read(&file).unwrap();
    let mut command = binary();
    // The default port may be taken.
    command.env("DATABASE_URL", url(&file)).env("SERVER_ADDRESS", "127.0.0.1:0");
    let said = complaint(&mut command);
    assert!(said.contains("newer version (schema 9000)"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

/// Every variable of `serve`, as its help lists them.
fn variables() -> Vec<String> {
    let help =
        String::from_utf8(binary().args(["serve", "--help"]).output().unwrap().stdout).unwrap();
    let names = help.split("[env: ").skip(1);
    names.map(|rest| rest.split(['=', ']']).next().unwrap().to_owned()).collect()
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let folder = TempDir::new().unwrap();
    let empty = variables().into_iter().map(|name| (name, ""));
    let mut server = binary();
    // Flags, since the defaults of these two are no place for a test.
    let database = url(&folder.path().join("telemetry.db"));
    server.args(["serve", "--database-url", &database, "--server-address", "127.0.0.1:0"]);
    let server = Server::start_as_it_is(server.envs(empty));
    let mut healthy = binary();
    healthy.args(["healthcheck", "--server-address", &server.address.to_string()]);
    // A setting of `serve` alone.
    assert!(healthy.env("RETENTION_DAYS", "wrong").status().unwrap().success());
}

#[test]
fn what_an_env_file_leaves_around_a_value_is_no_part_of_it() {
    let folder = TempDir::new().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "secret\n").unwrap();
    let database = url(&folder.path().join("telemetry.db"));
    let given = [
        ("DATABASE_URL", database.as_str()),
        ("SERVER_ADDRESS", "127.0.0.1:0"),
        ("READ_TOKEN_FILE", token.to_str().unwrap()),
        ("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1"),
        ("RATE_LIMIT_PER_MINUTE", "0"),
        ("LOG_FORMAT", "text"),
        ("RUST_LOG", "info"),
    ];
    let given = given.map(|(name, value)| (name, format!(" \"{value}\"\r")));
    let server = Server::start_as_it_is(binary().env("READ_TOKEN", "").envs(given));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new();
    let get = |request: reqwest::RequestBuilder| runtime.block_on(request.send()).unwrap().status();
    assert_eq!(get(client.get(server.url("/metrics"))), 401);
    assert_eq!(get(client.get(server.url("/metrics")).bearer_auth("secret")), 200);
}

#[tokio::test]
async fn a_backup_of_a_running_server_is_a_whole_database() {
    let folder = TempDir::new().unwrap();
    let (database, copy) = (folder.path().join("telemetry.db"), folder.path().join("copy.db"));
    let server = Server::start(&database);
    let client = Client::new();
    for id in ["a", "b", "c"] {
        client.post(server.url("/collect")).json(&stock(id)).send().await.unwrap();
    }
    let backup = || {
        let mut command = binary();
        command.args(["backup", "--database-url", &url(&database)]).arg(&copy);
        command
    };
    assert!(backup().status().unwrap().success());
    let said = complaint(&mut backup());
    assert!(said.contains("exists"), "{said}");
    server.kill();

    let restored = Server::start(&copy);
    let metrics: serde_json::Value =
        client.get(restored.url("/metrics")).send().await.unwrap().json().await.unwrap();
    assert_eq!(metrics["total_deployments"], 3);
    drop(restored);
    let verified = binary().args(["verify", "--database-url", &url(&copy)]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_wrong_path_is_no_empty_database() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing/telemetry.db");
    let copy = folder.path().join("copy.db");
    let said = complaint(binary().args(["verify", "--database-url", &url(&missing)]));
    assert!(said.contains("there is no database"), "{said}");
    let said = complaint(binary().args(["backup", "--database-url", &url(&missing)]).arg(&copy));
    assert!(said.contains("there is no database"), "{said}");
    assert!(!missing.exists() && !copy.exists());
}

#[test]
fn verify_reports_a_count_that_is_wrong() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = runtime.block_on(async {
        let app = App::start().await;
        // The last number of a block, whose lists are written then.
        let number = "INSERT INTO sqlite_sequence VALUES ('reports', 4094)";
        execute(app.database.path(), number).await;
        app.report(&stock("a")).await;
        app.stop().await
    });
    let file = folder.path().join("telemetry.db");
    let verify = || {
        let output = binary().args(["verify", "--database-url", &url(&file)]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = verify();
    assert_eq!(code, Some(0), "{said}");
    insta::assert_snapshot!("verified", said);
    for (wrong, check) in [
        ("UPDATE rollups SET starts = 2 WHERE span = 1", "counts against reports"),
        // The open hour is left out of its day and of all time, in which it is not yet.
        (
            "UPDATE watermarks SET position = position + 1 WHERE name = 'rolled_up'",
            "counts against reports",
        ),
        ("UPDATE startup_times SET sum_ms = 2 WHERE span = 1", "startup times against reports"),
        ("INSERT INTO startup_times VALUES (0, 0, 1, 100, 1, 1)", "startup times against reports"),
        ("DELETE FROM report_lists", "reports by profile"),
        ("DELETE FROM report_blocks", "hours of blocks"),
        ("UPDATE report_blocks SET last_hour = first_hour - 1", "hours of blocks"),
        ("UPDATE instances SET reports = 2", "instances against reports"),
        ("UPDATE totals SET instances = 2", "activity and totals"),
    ] {
        let damaged = folder.path().join("damaged.db");
        fs::copy(&file, &damaged).unwrap();
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&damaged);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            sqlx::query(wrong).execute(&mut connection).await.unwrap();
            sqlx::Connection::close(connection).await.unwrap();
        });
        let output = binary().args(["verify", "--database-url", &url(&damaged)]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong}: {said}");
        let line = said.lines().find(|line| line.contains(check)).unwrap();
        assert!(!line.starts_with("0 "), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn openapi_prints_the_document_of_the_server() {
    let output = binary().arg("openapi").output().unwrap();
    let app = App::start().await;
    let answer = app.get("/openapi.json").await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.bytes().await.unwrap(), output.stdout);
}

#[test]
fn healthcheck_fails_where_nothing_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = complaint(binary().args(["healthcheck", "--server-address", &address]));
    assert!(said.contains("cannot connect"), "{said}");
}
