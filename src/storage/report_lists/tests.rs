//! Lists compared with what they are made of.

use proptest::{collection::vec, prelude::*, sample::select};
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{Report, ReportBody},
    storage::{Database, Writer},
};

const VERSIONS: [&str; 3] = ["v11.0.0", "v11.1.0", "v11.2.0"];

fn report(version: &str) -> Report {
    let instance_id = Some("a".into());
    let body =
        ReportBody { instance_id, image_version: Some(version.into()), ..ReportBody::default() };
    body.into_report().unwrap()
}

/// Stores and indexes runs of reports; after each run some numbers are left out.
async fn store(writer: &mut Writer, runs: &[(Vec<&str>, i64)]) {
    for (versions, skipped) in runs {
        let reports: Vec<Report> = versions.iter().map(|version| report(version)).collect();
        writer.store_at(0, &reports).await.unwrap();
        writer
            .run(async |open| {
                sqlx::query("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'reports'")
                    .bind(skipped)
                    .execute(&mut open.connection)
                    .await?;
                open.index_all().await
            })
            .await
            .unwrap();
    }
}

async fn numbers_of(connection: &mut SqliteConnection, query: &'static str) -> Vec<i64> {
    sqlx::query_scalar(query).fetch_all(connection).await.unwrap()
}

/// Each listed report with its profile.
async fn listed(connection: &mut SqliteConnection) -> Vec<(i64, i64)> {
    let rows: Vec<(i64, i64, Vec<u8>)> =
        sqlx::query_as("SELECT profile, block, reports FROM report_lists")
            .fetch_all(connection)
            .await
            .unwrap();
    let mut listed: Vec<_> = rows
        .iter()
        .flat_map(|(profile, block, packed)| {
            let numbers = unpack(*block, packed).unwrap();
            assert!(!numbers.is_empty());
            numbers.into_iter().map(|number| (number, *profile))
        })
        .collect();
    listed.sort_unstable();
    listed
}

/// Each report of a block that is indexed as a whole, with its profile.
async fn expected(connection: &mut SqliteConnection) -> Vec<(i64, i64)> {
    sqlx::query_as(
        "SELECT id, profile FROM reports
         WHERE id < (SELECT position + 1 FROM watermarks WHERE name = 'indexed') / 4096 * 4096
         ORDER BY id",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

fn runs() -> impl Strategy<Value = Vec<(Vec<&'static str>, i64)>> {
    let skipped = prop_oneof![Just(0), 0..5_000_i64, Just(300_000)];
    vec((vec(select(&VERSIONS), 1..8), skipped), 1..12)
}

/// Some reports change their profile, come or go as `changes` has it: each is a number among the reports and a profile.
async fn check(
    runs: Vec<(Vec<&'static str>, i64)>,
    changes: Vec<(usize, Option<usize>)>,
) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let database = Database::open_in(&folder).await;
    let mut writer = database.writer();
    store(&mut writer, &runs).await;
    let mut connection = writer.second_connection().await.unwrap();
    prop_assert_eq!(listed(&mut connection).await, expected(&mut connection).await);

    let numbers = numbers_of(&mut connection, "SELECT id FROM reports").await;
    let profiles = numbers_of(&mut connection, "SELECT id FROM profiles").await;
    let mut lists = ListChanges::default();
    for (report, profile) in changes {
        let number = numbers[report % numbers.len()];
        let old: Option<i64> = sqlx::query_scalar("SELECT profile FROM reports WHERE id = ?")
            .bind(number)
            .fetch_optional(&mut connection)
            .await
            .unwrap();
        let Some(old) = old else { continue };
        lists.add(old, number, -1);
        let change = if let Some(profile) = profile {
            let new = profiles[profile % profiles.len()];
            lists.add(new, number, 1);
            sqlx::query("UPDATE reports SET profile = ?2 WHERE id = ?1").bind(number).bind(new)
        } else {
            sqlx::query("DELETE FROM reports WHERE id = ?").bind(number)
        };
        change.execute(&mut connection).await.unwrap();
    }
    lists.store(&mut connection).await.unwrap();
    prop_assert_eq!(listed(&mut connection).await, expected(&mut connection).await);
    prop_assert_eq!(wrong(&mut connection).await.unwrap(), 0);
    connection.close().await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    Ok(())
}

proptest! {
    #[test]
    fn numbers_come_out_of_a_list_as_they_are(
        block in 0..1_i64 << 40,
        offsets in prop_oneof![
            vec(0..NUMBERS_OF_BLOCK, 0..100),
            vec(0..NUMBERS_OF_BLOCK, 0..600),
            vec(0..NUMBERS_OF_BLOCK, 0..9_000),
        ]
    ) {
        let offsets: BTreeSet<i64> = offsets.into_iter().collect();
        let numbers: Vec<i64> = offsets.iter().map(|offset| block * NUMBERS_OF_BLOCK + offset).collect();
        let packed = pack(block, &numbers);
        prop_assert!(packed.len() <= BITS);
        prop_assert_eq!(unpack(block, &packed), Ok(numbers));
    }

    #[test]
    fn no_list_makes_it_panic(block: i64, packed: Vec<u8>) {
        if let Ok(numbers) = unpack(block, &packed) {
            prop_assert!(numbers.iter().all(|number| number.div_euclid(NUMBERS_OF_BLOCK) == block));
            prop_assert!(numbers.is_sorted_by(|one, next| one < next));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn lists_have_the_reports_of_their_profile(
        runs in runs(),
        changes in vec((0..100_usize, proptest::option::weighted(0.7, 0..3_usize)), 0..12),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(runs, changes))?;
    }
}

/// A database of which a block is listed: reports 1, 2 and 3, of which 1 and 3 have a profile.
async fn filled(folder: &TempDir) -> (Database, Writer) {
    let database = Database::open_in(folder).await;
    let mut writer = database.writer();
    let [one, other, _] = VERSIONS;
    store(&mut writer, &[(vec![one, other, one], 10_000), (vec![one], 0)]).await;
    (database, writer)
}

#[tokio::test]
async fn a_wrong_list_is_found_and_made_anew() {
    let folder = TempDir::new().unwrap();
    let (database, writer) = filled(&folder).await;
    let mut connection = writer.second_connection().await.unwrap();
    let right = listed(&mut connection).await;
    assert_eq!(right, [(1, 1), (2, 2), (3, 1)]);
    for (damage, found) in [
        ("DELETE FROM report_lists WHERE profile = 1", 2),
        ("DELETE FROM report_lists", 3),
        ("UPDATE report_lists SET reports = x'02' WHERE profile = 1", 3),
        ("UPDATE report_lists SET reports = x'ff' WHERE profile = 2", 1),
        // A number twice.
        ("UPDATE report_lists SET reports = x'010002' WHERE profile = 1", 2),
        // Reports that are gone are wrong nowhere.
        ("UPDATE report_lists SET reports = x'010201' WHERE profile = 1", 0),
    ] {
        sqlx::query(damage).execute(&mut connection).await.unwrap();
        assert_eq!(wrong(&mut connection).await.unwrap(), found, "{damage}");
        let compared = compare(&mut connection, 0..1).await.unwrap();
        write(&mut connection, &compared.right).await.unwrap();
        assert_eq!(listed(&mut connection).await, right, "{damage}");
    }
    connection.close().await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
}

/// An import that was killed before its lists were written, or a database of an older version.
#[tokio::test]
async fn whoever_opens_a_database_lists_its_reports() {
    let folder = TempDir::new().unwrap();
    let (database, writer) = filled(&folder).await;
    let mut connection = writer.second_connection().await.unwrap();
    let right = listed(&mut connection).await;
    sqlx::raw_sql(
        "DELETE FROM report_lists; UPDATE watermarks SET position = 0 WHERE name = 'listed'",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    writer.close().await.unwrap();
    database.close().await;

    let database = Database::open_in(&folder).await;
    let writer = database.writer();
    let mut connection = writer.second_connection().await.unwrap();
    assert_eq!(listed(&mut connection).await, right);
    connection.close().await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
}

/// Lists go with the last report of their block.
#[tokio::test]
async fn retention_forgets_the_lists_of_whole_blocks() {
    let folder = TempDir::new().unwrap();
    let database = Database::open_in(&folder).await;
    let mut writer = database.writer();
    let runs =
        [(vec![VERSIONS[0]; 2], 5_000), (vec![VERSIONS[1]; 2], 5_000), (vec![VERSIONS[0]], 0)];
    store(&mut writer, &runs).await;
    let mut connection = writer.second_connection().await.unwrap();
    assert_eq!(listed(&mut connection).await.len(), 4);
    sqlx::query("UPDATE reports SET received_at = 1000 * id")
        .execute(&mut connection)
        .await
        .unwrap();
    let at = |ms| jiff::Timestamp::from_millisecond(ms).unwrap();
    // The first report goes, and its block has another one.
    writer.prune(at(1_500)).await.unwrap();
    assert_eq!(listed(&mut connection).await.len(), 4);
    // One that has no date stays, and holds no other block back.
    sqlx::query("UPDATE reports SET received_at = -1 WHERE id = 2")
        .execute(&mut connection)
        .await
        .unwrap();
    writer.prune(at(100_000_000)).await.unwrap();
    assert_eq!(listed(&mut connection).await, [(1, 1), (2, 1)]);
    sqlx::query("UPDATE reports SET received_at = 1").execute(&mut connection).await.unwrap();
    writer.prune(at(100_000_000)).await.unwrap();
    assert_eq!(listed(&mut connection).await, []);
    assert_eq!(wrong(&mut connection).await.unwrap(), 0);
    connection.close().await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
}
