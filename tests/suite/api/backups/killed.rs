//! A server that is killed while it makes a backup, and a restore that is killed.

use super::*;

/// Times at which a process is killed that takes some time: all parts of it, in no order.
fn moments(rounds: u32, taken: Duration) -> impl Iterator<Item = Duration> {
    (0..rounds).map(move |round| taken * (round * 7 % rounds) / rounds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_makes_a_backup_leaves_a_good_one() {
    let folder = TempDir::new().unwrap();
    let (copies, restored) = (folder.path().join("copies"), folder.path().join("restored"));
    let database = filled(folder.path(), 200).await;
    let begun = tokio::time::Instant::now();
    let good = old_backup(&database, &copies).await;
    let taken = begun.elapsed();
    let server_alone = Server::start(&database);
    post(&server_alone, 200..210).await;
    assert!(server_alone.terminate().0.success());
    let mut whole = 0;
    for (round, moment) in moments(11, taken).enumerate() {
        let server = Server::start_command(&mut server(&database, &copies));
        // Not waited for: it is killed wherever it is.
        tokio::time::sleep(moment).await;
        server.kill();
        for backup in backups(&copies) {
            let target =
                restored.join(format!("{round}/{}.db", backup.file_name().unwrap().display()));
            let said = restore(&backup, &target).unwrap();
            let reports = if backup == good { 200 } else { 210 };
            let expected = format!("restored {reports} reports of {reports} instances");
            assert!(said.starts_with(&expected) && !said.contains("checksum"), "{said}");
            if backup != good {
                whole += 1;
                fs::remove_file(format!("{}.sha256", backup.display())).unwrap();
                fs::remove_file(backup).unwrap();
            }
        }
        assert!(good.exists());
    }
    assert!(whole < 11, "each was done before it was killed");
    // The next one removes what they left.
    let server = Server::start_command(&mut server(&database, &copies));
    becomes("another backup", || backups(&copies).len() == 2).await;
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(names(&copies).len(), 4, "{:?}", names(&copies));
    verify(&restored.join(format!("0/{}.db", good.file_name().unwrap().display())));
}

/// The database that was put aside.
fn aside(folder: &Path) -> Option<PathBuf> {
    let names = names(folder).into_iter();
    let mut found = names.filter(|name| name.contains("-replaced-"));
    let first = found.find(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    first.map(|name| folder.join(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_one_database_or_the_other() {
    let folder = TempDir::new().unwrap();
    let copies = folder.path().join("copies");
    let large = folder.path().join("large");
    fs::create_dir(&large).unwrap();
    let backup = old_backup(&filled(&large, 200).await, &copies).await;
    let small = folder.path().join("small.db");
    let server = Server::start(&small);
    post(&server, 1000..1020).await;
    // All of its reports are in the log.
    server.kill();

    // The database that is to be replaced, as it was found.
    let prepare = |name: &str| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        for ending in ["", "-wal", "-shm"] {
            let from = format!("{}{ending}", small.display());
            fs::copy(from, folder.join(format!("telemetry.db{ending}"))).unwrap();
        }
        folder
    };
    let whole = prepare("whole");
    let begun = tokio::time::Instant::now();
    restore(&backup, &whole.join("telemetry.db")).unwrap();
    let taken = begun.elapsed();
    let (mut former, mut restored) = (0, 0);
    for (round, moment) in moments(17, taken * 6 / 5).enumerate() {
        let place = prepare(&format!("killed {round}"));
        let database = place.join("telemetry.db");
        let mut command = binary();
        command.args(["restore", "--database-url", &url(&database)]).arg(&backup);
        let mut running = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        // Not waited for: it is killed wherever it is.
        tokio::time::sleep(moment).await;
        running.kill().unwrap();
        running.wait().unwrap();
        match reports(&database).as_str() {
            "20 reports" => {
                former += 1;
                assert_eq!(aside(&place), None);
                restore(&backup, &database).unwrap();
                assert_eq!(reports(&database), "200 reports");
            }
            "200 reports" => restored += 1,
            other => panic!("{other} after {moment:?}"),
        }
        assert_eq!(reports(&aside(&place).unwrap()), "20 reports");
    }
    assert!(former > 0 && restored > 0, "{former} and {restored}, killed within {taken:?}");
}
