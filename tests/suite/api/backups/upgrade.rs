//! The backup before a change of the schema.

use super::*;

#[tokio::test]
async fn a_migration_is_preceded_by_a_backup() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = filled(folder.path(), 5).await;
    execute(
        &database,
        "DROP TABLE report_lists; DELETE FROM watermarks WHERE name = 'listed';
         CREATE TABLE reports_by_profile (profile, report);
         CREATE TRIGGER report_removed AFTER DELETE ON reports BEGIN
             DELETE FROM reports_by_profile WHERE report = old.id;
         END;
         DELETE FROM _sqlx_migrations WHERE version = 12;",
    )
    .await;
    // Without a backup there is no upgrade.
    let file = copies.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let refused = server(&database, &file).env("SERVER_ADDRESS", "127.0.0.1:0").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.lines().count() == 1, "{said}");
    assert!(said.contains("before the upgrade") && said.contains("BACKUP_DIR"), "{said}");
    assert_eq!(schema(&database).await, 11);

    let copies = copies.path().join("copies");
    drop(Server::start_command(&mut server(&database, &copies)));
    assert_eq!(schema(&database).await, 12);
    let made = backups(&copies);
    assert!(made[0].to_string_lossy().ends_with("Z-before-upgrade.db.gz"), "{made:?}");
    let restored = folder.path().join("restored.db");
    let said = restore(&made[0], &restored).unwrap();
    assert!(said.starts_with("restored 5 reports of 5 instances"), "{said}");
    // For the version before, its schema is left alone.
    assert_eq!(schema(&restored).await, 11);
    // The next start has nothing to upgrade.
    drop(Server::start_command(&mut server(&database, &copies)));
    assert_eq!(
        backups(&copies).iter().filter(|made| made.to_string_lossy().contains("upgrade")).count(),
        1
    );

    // The same for a database of the reference server.
    let reference = folder.path().join("reference.db");
    execute(&reference, REFERENCE_SCHEMA).await;
    let row = reference_row("a", "v10.5.0", "aarch64", 2500, "2025-12-30 23:59:59");
    execute(&reference, &row).await;
    let copies = folder.path().join("copies of a reference");
    drop(Server::start_command(&mut server(&reference, &copies)));
    let restored = folder.path().join("restored reference.db");
    let said = restore(&backups(&copies)[0], &restored).unwrap();
    assert!(said.starts_with("restored 1 reports"), "{said}");
    assert_eq!(instances(&restored).await, BTreeSet::from(["a".to_owned()]));
}

async fn schema(file: &Path) -> i64 {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let version = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    version
}
