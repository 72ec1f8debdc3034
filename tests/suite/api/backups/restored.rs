//! Restores: what is refused, and what was purged since.

use super::*;

#[tokio::test]
async fn what_cannot_be_restored_is_refused_and_changes_nothing() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = filled(folder.path(), 5).await;
    let good = old_backup(&database, copies.path()).await;
    let other = copies.path().join("other");
    let refused = |wanted: &str| {
        let files = || {
            let mut names = names(folder.path());
            names.retain(|name| !name.contains("lock"));
            (fs::read(&database).unwrap(), names)
        };
        let before = files();
        let said = restore(&other, &database).unwrap_err();
        assert!(said.contains(wanted), "{wanted}: {said}");
        assert!(files() == before, "{wanted}: {:?}", names(folder.path()));
    };
    refused("cannot read");
    let content = fs::read(&good).unwrap();
    for (damaged, wanted) in [
        (content[..content.len() / 2].to_vec(), "is damaged"),
        (
            [&content[..content.len() / 2], &[0; 8], &content[content.len() / 2 + 8..]].concat(),
            "is damaged",
        ),
        (b"some text".repeat(1000), "not a usable SQLite database"),
        (Vec::new(), "another program"),
    ] {
        fs::write(&other, damaged).unwrap();
        refused(wanted);
    }
    // A checksum that is not that of the file, although the file is good.
    fs::write(&other, &content).unwrap();
    fs::write(copies.path().join("other.sha256"), format!("{:064}  other\n", 0)).unwrap();
    refused("its checksum is");
    fs::remove_file(copies.path().join("other.sha256")).unwrap();
    // A page of a plain copy.
    let plain = folder.path().join("plain.db");
    restore(&other, &plain).unwrap();
    let mut page = fs::read(&plain).unwrap();
    page[4096..8192].fill(7);
    fs::write(&other, page).unwrap();
    refused("is damaged");
    fs::remove_file(&plain).unwrap();
    // One of a later version, and one without its log.
    fs::write(&other, "").unwrap();
    execute(
        &other,
        "CREATE TABLE _sqlx_migrations (version); INSERT INTO _sqlx_migrations VALUES (9000);",
    )
    .await;
    refused("newer version (schema 9000)");
    fs::write(copies.path().join("other-wal"), "log").unwrap();
    refused("is not complete without");
    fs::remove_file(copies.path().join("other-wal")).unwrap();
    let said = restore(&database, &database).unwrap_err();
    assert!(said.contains("is the database itself"), "{said}");

    fs::copy(&good, &other).unwrap();
    let server = Server::start(&database);
    let said = restore(&other, &database).unwrap_err();
    assert!(said.contains("stop it first"), "{said}");
    drop(server);
    let said = restore(&other, &database).unwrap();
    assert!(said.contains("there was no checksum beside it"), "{said}");
    assert_eq!(reports(&database), "5 reports");
}

/// An instance that was purged since a backup stays away when that is restored.
#[tokio::test]
async fn a_restore_obeys_purges() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = filled(folder.path(), 3).await;
    let good = old_backup(&database, copies.path()).await;
    let id = format!("{:0>128}", 1);
    let mut purge = binary();
    purge.args(["purge", "--database-url", &url(&database), "--instance", &id, "--apply"]);
    assert!(purge.output().unwrap().status.success());
    let said = restore(&good, &database).unwrap();
    assert!(said.contains("1 instances that were purged since"), "{said}");
    let server = Server::start(&database);
    let gone = async {
        loop {
            let answer = reqwest::get(server.url("/metrics")).await.unwrap();
            let metrics: serde_json::Value = answer.json().await.unwrap();
            if metrics["unique_instances"] == 2 {
                return;
            }
        }
    };
    timeout(TIME_LIMIT, gone).await.expect("it is back");
    assert!(server.terminate().0.success());
    verify(&database);
}
