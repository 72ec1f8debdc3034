//! A disk that fills in the middle of a backup.

use std::{env, io::Write as _};

use super::*;

/// Names the folder of a small disk for the test that runs beside it.
const DISK: &str = "SUITE_DISK";
/// Something of 12 MB that cannot be compressed, so that a backup takes some time.
const FILLER: &str = "
    CREATE TABLE filler AS WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2999)
    SELECT randomblob(4000) FROM n";

/// Waits until a backup is being written, and fills the disk.
async fn fill_in_the_middle(disk: &Path) {
    let begun = || fs::metadata(disk.join(".telemetry-backup.part")).is_ok_and(|f| f.len() > 0);
    becomes("a backup is begun", begun).await;
    let zeros = vec![0; 1 << 20];
    let mut ballast = fs::File::create(disk.join("ballast")).unwrap();
    while ballast.write_all(&zeros).is_ok() {}
}

/// Waits until a disk has nothing but good backups and what fills it.
async fn is_left_alone(disk: &Path, good: &[PathBuf]) {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut expected = BTreeSet::from(["ballast".to_owned()]);
    for good in good.iter().map(name) {
        expected.extend([format!("{good}.sha256"), good]);
    }
    // It is tried again, which has a file for a moment.
    becomes("what was begun is gone", || names(disk) == expected).await;
}

/// Runs itself once more, beside a disk that is to be seen from nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_meanwhile_leaves_the_good_backup_and_is_tried_again() {
    if let Some(disk) = env::var_os(DISK) {
        return fill_and_free(Path::new(&disk)).await;
    }
    let test = "a_disk_that_fills_meanwhile_leaves_the_good_backup_and_is_tried_again";
    let script =
        r#"mount -t tmpfs -o size=96m tmpfs "$SUITE_DISK" && exec "$SUITE" --exact "$TEST""#;
    let Some(mut command) = in_own_namespace(test, script) else { return };
    let disk = TempDir::new().unwrap();
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    command.env(DISK, disk.path()).env("SUITE", env::current_exe().unwrap()).env("TEST", name);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn fill_and_free(disk: &Path) {
    let restored = TempDir::new().unwrap();
    let app = App::start_with(|config| {
        daily(disk)(config);
        // A failed backup is tried again after this time.
        config.backups.as_mut().unwrap().every = Duration::from_secs(1);
    })
    .await;
    becomes("the first backup", || backups(disk).len() == 1).await;
    let good = backups(disk);
    for number in 0..10 {
        app.report(&stock(&number.to_string())).await;
    }
    let database = app.folder.path().join("telemetry.db");
    execute(&database, FILLER).await;
    app.pass(25);
    fill_in_the_middle(disk).await;
    let failed =
        async { while metric(&app, "telemetry_backups_failed_total").await < Some(1.0) {} };
    timeout(TIME_LIMIT, failed).await.expect("it does not fail");
    is_left_alone(disk, &good).await;
    assert_eq!(metric(&app, "telemetry_backups_written_total").await, Some(1.0));
    restore(&good[0], &restored.path().join("first.db")).unwrap();

    fs::remove_file(disk.join("ballast")).unwrap();
    becomes("a backup where there is room", || backups(disk).len() == 2).await;
    let second = backups(disk).pop().unwrap();
    let said = restore(&second, &restored.path().join("second.db")).unwrap();
    assert!(said.starts_with("restored 10 reports of 10 instances"), "{said}");
    // It is removed when it is dropped.
    let _folder = app.stop().await;

    // The binary, for its log.
    let alone = Server::start(&database);
    post(&alone, 0..5).await;
    assert!(alone.terminate().0.success());
    let good = backups(disk);
    let server = Server::start_command(&mut server(&database, disk));
    fill_in_the_middle(disk).await;
    fails(&server).await;
    is_left_alone(disk, &good).await;
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("cannot make a backup")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for wanted in ["got full meanwhile: free some space", "again_in_s=60"] {
        assert!(lines[0].contains(wanted), "{wanted}: {log}");
    }
}
