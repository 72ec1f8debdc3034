//! An instance that asks to be forgotten is gone for good.

use std::path::Path;

use reqwest::Client;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{REFERENCE_SCHEMA, Server, binary, report};

/// Ids in each form, with the bytes under which they are stored.
const IDS: [(&str, &str); 3] = [
    ("0f8fad5bd9cb469fa16570867728950e", "0f8fad5bd9cb469fa16570867728950e"),
    ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679742540de944be07fc1f90ae7"),
    ("somebody-who-asks", "736f6d65626f64792d77686f2d61736b73"),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Files of the database that have an id in some form.
fn found(folder: &Path, number: usize) -> Vec<String> {
    let (text, hex) = IDS[number];
    let forms = [text.as_bytes().to_vec(), text.to_uppercase().into_bytes(), bytes(hex)];
    let folder = std::fs::read_dir(folder).unwrap();
    let files = folder.map(|entry| entry.unwrap().path()).filter(|file| {
        let name = file.file_name().unwrap().to_string_lossy();
        let content = std::fs::read(file).unwrap();
        let has = |form: &Vec<u8>| content.windows(form.len()).any(|window| window == form);
        name.starts_with("telemetry.db") && forms.iter().any(has)
    });
    files.map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn command(folder: &Path, arguments: &[&str]) -> String {
    let url = format!("sqlite://{}/telemetry.db", folder.display());
    let output = binary().args(arguments).env("DATABASE_URL", url).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

async fn send(server: &Server, client: &Client, body: &Value) {
    let answer = client.post(server.url("/collect")).json(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// Reports of the ids among those of many others, so that rows move from page to page.
async fn fill(server: &Server, client: &Client) {
    let others =
        (0..600_u32).map(|number| format!("{:032x}", u128::from(number * 2_654_435) << 97 | 7));
    for (place, other) in others.enumerate() {
        send(server, client, &report(&other, json!({"startup_time_ms": place}))).await;
        if place % 40 == 0 {
            for (id, _) in IDS {
                send(server, client, &report(id, json!({"os": "an odd one"}))).await;
            }
        }
    }
}

async fn metrics(server: &Server, client: &Client) -> [i64; 2] {
    let answer: Value =
        client.get(server.url("/metrics")).send().await.unwrap().json().await.unwrap();
    ["total_deployments", "unique_instances"].map(|name| answer[name].as_i64().unwrap())
}

async fn reference(file: &Path) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(REFERENCE_SCHEMA).execute(&mut connection).await.unwrap();
    for id in [IDS[0].0, "another"] {
        sqlx::query(
            "INSERT INTO deployments (instance_id, image_version, architecture,
                 container_runtime, startup_time_ms, db_type, telemetry_version, created_at)
             VALUES (?, 'v11.0.0', 'aarch64', '', 1, 'postgres', '1.0', '2026-01-01 00:00:00')",
        )
        .bind(id)
        .execute(&mut connection)
        .await
        .unwrap();
    }
    connection.close().await.unwrap();
}

/// The server is a process of its own: who reads a database file in the process that has it open takes
/// SQLite's locks away.
#[tokio::test(flavor = "multi_thread")]
async fn a_purged_instance_is_gone_from_every_byte_and_stays_away() {
    let folder = TempDir::new().unwrap();
    let (folder, client) = (folder.path(), Client::new());
    let server = Server::start(&folder.join("telemetry.db"));
    fill(&server, &client).await;
    assert!((0..IDS.len()).all(|number| !found(folder, number).is_empty()));
    let [starts, instances] = metrics(&server, &client).await;
    let [deleted, kept, quarantined] = IDS.map(|(id, _)| id);
    command(folder, &["backup", folder.join("before.db").to_str().unwrap()]);
    command(folder, &["quarantine", "--instance", quarantined, "--future", "--apply"]);
    let said = command(folder, &["purge", "--instance", deleted]);
    assert!(said.starts_with("15 reports, and 0 in quarantine\nnothing is changed"), "{said}");

    let said = command(folder, &["purge", "--instance", deleted, "--apply"]);
    assert!(said.starts_with("15 reports of the instance are deleted"), "{said}");
    assert_eq!(found(folder, 0), Vec::<String>::new());
    command(folder, &["verify"]);
    command(folder, &["purge", "--instance", kept, "--keep-totals", "--apply"]);
    assert_eq!(found(folder, 1), Vec::<String>::new());
    command(folder, &["verify"]);
    command(folder, &["purge", "--instance", quarantined, "--apply"]);
    assert_eq!(found(folder, 2), Vec::<String>::new());
    command(folder, &["verify"]);
    // The id whose totals are kept counts still.
    let after = [starts - 30, instances - 2];
    assert_eq!(metrics(&server, &client).await, after);

    // It reports again, and is in a file that is imported.
    send(&server, &client, &report(deleted, json!({}))).await;
    reference(&folder.join("old.db")).await;
    let said = command(folder, &["import", folder.join("old.db").to_str().unwrap()]);
    assert!(said.contains("1 rows of instances that were purged are left out"), "{said}");
    let again = [after[0] + 1, after[1] + 1];
    assert_eq!(metrics(&server, &client).await, again);
    assert_eq!(found(folder, 0), Vec::<String>::new());
    let said = command(folder, &["purge", "--instance", deleted, "--apply"]);
    assert!(said.contains("may still hold them") && said.contains("old.db"), "{said}");
    let restored = folder.join("restored");
    std::fs::create_dir(&restored).unwrap();
    std::fs::copy(folder.join("before.db"), restored.join("telemetry.db")).unwrap();
    let replaced = folder.join("telemetry.db");
    let purged = ["purge", "--forgotten-by", replaced.to_str().unwrap(), "--apply"];
    let said = command(&restored, &purged);
    assert!(said.starts_with("3 instances that were forgotten are there again\n"), "{said}");
    assert!((0..IDS.len()).all(|number| found(&restored, number).is_empty()));
    command(&restored, &["verify"]);
    command(folder, &["verify", "--repair"]);
    assert_eq!(metrics(&server, &client).await, again);
}
