//! `import` of what `export` wrote: each report is counted once, as it was counted before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    clock::Clock,
    domain::{Dimension, InstanceId, Report, ReportBody, Selection, Value, undated},
    storage::{Database, Moved, RecordFormat, RecordWriter},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{App, BEGIN, Server, binary, refusal, url};

const FORMATS: [RecordFormat; 2] = [RecordFormat::Jsonl, RecordFormat::Csv];

/// Reports that come together, after some minutes; without a date if the clock is wrong.
#[derive(Debug, Clone)]
struct Batch {
    minutes: i64,
    is_dated: bool,
    reports: Vec<Report>,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec!["linux", "templeos", "=1+1", "-2", "@x", "a,b", "\"q\"", "{\"a\":1}", "other", "ä"])
            .prop_map(str::to_owned),
        1 => "[ -~]{0,20}",
        1 => "\\PC{0,20}",
    ]
}

prop_compose! {
    fn report()(
        id in prop_oneof![
            (0..6u8).prop_map(|id| format!("{id:032x}")),
            Just("0f8fad5b-d9cb-469f-a165-70867728950e".to_owned()),
            text().prop_map(|text| format!("i{text}")),
        ],
        version in prop_oneof![
            (0..40u8).prop_map(|minor| format!("v11.{minor}.0")), text()
        ],
        os in text(),
        runtime in text(),
        startup in option::of(1..400_000i64),
        heartbeat in any::<bool>(),
        timestamp in option::of(any::<i32>()),
    ) -> Report {
        let body = ReportBody {
            instance_id: Some(id),
            image_version: Some(version),
            os: Some(os),
            container_runtime: Some(runtime),
            startup_time_ms: startup,
            event: heartbeat.then(|| "heartbeat".into()),
            timestamp: timestamp.map(|at| Timestamp::from_millisecond(i64::from(at) * 777).unwrap().to_string()),
            ..ReportBody::default()
        };
        body.salvage().report
    }
}

prop_compose! {
    fn batch()(
        minutes in prop_oneof![0..3i64, 0..3000i64],
        is_dated in prop_oneof![5 => Just(true), 1 => Just(false)],
        mut reports in vec(report(), 1..8),
    ) -> Batch {
        if !is_dated {
            // The week in which an instance was first seen follows the order in which its reports came, if one
            // of them has no date, until it has one or the windows are counted anew.
            for report in &mut reports {
                let id = format!("undated {}", &*report.instance_id);
                report.instance_id = InstanceId::parse(id).unwrap();
            }
        }
        Batch { minutes, is_dated, reports }
    }
}

/// Stores the batches, so that the last one comes just before [`BEGIN`]; an operator accepts a value on the way.
async fn store(folder: &Path, batches: Vec<Batch>, accepted: Option<usize>) {
    let database = Database::open(&url(&folder.join("telemetry.db"))).await.unwrap();
    let mut writer = database.writer();
    let length = batches.iter().map(|batch| batch.minutes).sum::<i64>() + 1;
    let mut now: Timestamp = BEGIN.parse().unwrap();
    now -= SignedDuration::from_mins(length);
    for (place, Batch { minutes, is_dated, reports }) in batches.into_iter().enumerate() {
        now += SignedDuration::from_mins(minutes);
        if accepted == Some(place) {
            let value = Value::parse(Dimension::Os, Some("templeos".into())).unwrap();
            writer.accept_value(Dimension::Os, &value).await.unwrap();
        }
        writer.close_hours(now).await.unwrap();
        let at =
            if is_dated { now.as_millisecond() } else { undated(i64::try_from(place).unwrap()) };
        writer.store_at(at, &reports).await.unwrap();
        writer.index(now).await.unwrap();
    }
    writer.close().await.unwrap();
    database.close().await;
}

async fn exported(database: &Database, format: RecordFormat) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = RecordWriter::begin(format, &mut out).unwrap();
    let (mut after, last) = database.numbers_to_export(&Selection::default()).await.unwrap();
    while let Some((position, records)) = database.page_to_export(after, last).await.unwrap() {
        for record in &records {
            writer.write(record).unwrap();
        }
        after = position;
    }
    writer.flush().unwrap();
    drop(writer);
    out
}

fn fixed_clock() -> Clock {
    Clock::from_fn(|| BEGIN.parse().unwrap())
}

async fn import(folder: &Path, file: &Path, format: RecordFormat) -> Moved {
    let url = url(&folder.join("telemetry.db"));
    let database = Database::open_to_import(&url).await.unwrap();
    let mut writer = database.writer();
    let moved = writer.import_file(file, format, true, &fixed_clock(), |_| ()).await.unwrap();
    writer.leave().await.unwrap();
    database.close().await;
    moved
}

/// Everything that the server says of its reports.
async fn answers(app: &App) -> String {
    let active = "sum%20by%20(window)%20(mattermost_active_instances)";
    app.rows(&[
        "/metrics",
        "/deployments?limit=1000",
        "/stats/architecture",
        "/stats/version",
        "/stats/os",
        "/stats/container_runtime",
        "/stats/db_type",
        "/stats/startup?by=image_version",
        "/stats/active?by=os",
        "/stats/timeseries?interval=day&by=image_version&since=2025-11-01T00:00:00Z",
        "/stats/cohorts?since=2025-11-01T00:00:00Z",
        "/stats/active?window=week&since=2025-11-01T00:00:00Z",
        "/api/v1/query?query=mattermost_starts_total",
        "/api/v1/query?query=mattermost_startup_seconds_bucket",
        &format!("/api/v1/query?query={active}"),
        &format!("/api/v1/query_range?query={active}&start=2026-01-28T00:00:00Z&end=2026-01-31T00:00:00Z&step=6h"),
    ])
    .await
}

async fn round_trip(batches: Vec<Batch>, accepted: Option<usize>) {
    let source = TempDir::new().unwrap();
    store(source.path(), batches, accepted).await;
    let app = App::start_in(source, |_| ()).await;
    let expected = answers(&app).await;
    for format in FORMATS {
        let bytes = exported(&app.database, format).await;
        let target = TempDir::new().unwrap();
        let file = target.path().join("reports");
        fs::write(&file, &bytes).unwrap();
        let moved = import(target.path(), &file, format).await;
        assert_eq!((moved.known, moved.altered, moved.purged), (0, 0, 0));
        let again = import(target.path(), &file, format).await;
        assert_eq!(again, Moved { known: moved.reports, ..Moved::default() });
        let app = App::start_in(target, |_| ()).await;
        assert_eq!(answers(&app).await, expected, "{format:?}");
        let back = exported(&app.database, format).await;
        assert_eq!(String::from_utf8_lossy(&back), String::from_utf8_lossy(&bytes));
        let verdict = app.database.verify(app.now()).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
        app.stop().await;
    }
    app.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_was_exported_counts_the_same_where_it_is_imported(
        batches in vec(batch(), 1..30),
        accepted in option::of(0..30usize),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(round_trip(batches, accepted));
    }
}

fn run(database: &Path, arguments: &[&str]) -> Output {
    binary().env("DATABASE_URL", url(database)).args(arguments).output().unwrap()
}

fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_own_reports_of_a_server_are_known_and_those_of_others_are_added() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (folder.path().join("one.db"), folder.path().join("two.db"));
    let file = folder.path().join("reports.jsonl");
    let path = file.to_str().unwrap();
    let server = Server::start(&one);
    let client = reqwest::Client::new();
    for id in ["a", "b", "c"] {
        let body = json!({"instance_id": id, "image_version": "11.0.0"});
        client.post(server.url("/collect")).json(&body).send().await.unwrap();
    }
    said(run(&one, &["export", "--format", "jsonl", "--output", path]));
    let none = "imported 0 new reports, 3 were there already; 0 broke a rule and were cut to fit\n";
    let three =
        "imported 3 new reports, 0 were there already; 0 broke a rule and were cut to fit\n";
    // Beside the server that they came from, and beside another one.
    assert_eq!(said(run(&one, &["import", path])), none);
    let other = Server::start(&two);
    client.post(other.url("/collect")).json(&json!({"instance_id": "a"})).send().await.unwrap();
    assert_eq!(said(run(&two, &["import", path])), three);
    assert_eq!(said(run(&two, &["import", path])), none);
    let metrics: serde_json::Value =
        client.get(other.url("/metrics")).send().await.unwrap().json().await.unwrap();
    assert_eq!(metrics["total_deployments"], 4);
    assert_eq!(metrics["unique_instances"], 3);
    said(run(&two, &["verify"]));
}

#[test]
fn a_line_that_is_no_report_is_named_and_nothing_is_counted() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("telemetry.db");
    let good = r#"{"created_at":"2026-01-31T12:00:00Z","instance_id":"a"}"#;
    let head = "created_at,instance_id,startup_time_ms\n2026-01-31T12:00:00Z,a,5\n";
    let cases: [(&str, String, &str); 15] = [
        ("jsonl", format!("{good}\n\n{{\"created_at\":"), "line 3: EOF while parsing a value"),
        (
            "jsonl",
            format!("{good}\n{{\"instance_id\":\"a\"}}\n"),
            "line 2: missing field `created_at`",
        ),
        (
            "jsonl",
            format!("{good}\n{{\"created_at\":null}}\n"),
            "line 2: missing field `instance_id`",
        ),
        ("jsonl", good.replace('}', r#","startup":1}"#), "line 1: unknown field `startup`"),
        ("jsonl", good.replace("2026-01-31T12", "2026-01-31T25"), "line 1: created_at is no time"),
        ("jsonl", good.replace("2026", "9026"), "line 1: created_at is in the future"),
        ("jsonl", good.replace("2026", "1026"), "line 1: created_at is before 1970"),
        ("jsonl", good.replace('}', r#","event":"stop"}"#), "line 1: unknown variant `stop`"),
        (
            "jsonl",
            good.replace('}', r#","os":"linux","unproven":{"os":"x"}}"#),
            "but os is not other",
        ),
        ("jsonl", format!("{good}\n{}\n", "x".repeat(70_000)), "line 2: is too long"),
        ("csv", "created_at,instance_id,colour\n".into(), "line 1: there is no field \"colour\""),
        ("csv", "created_at,os\n".into(), "line 1: the field instance_id is missing"),
        ("csv", format!("{head}2026-01-31T12:00:00Z,a\n"), "line 3: has 2 cells instead of 3"),
        ("csv", format!("{head},b,2.5\n"), "line 3: startup_time_ms is no whole number: \"2.5\""),
        (
            "csv",
            format!(
                "{}\n,a,stop\n",
                head.lines().next().unwrap().replace("startup_time_ms", "event")
            ),
            "line 2: unknown variant `stop`",
        ),
    ];
    for (format, text, expected) in cases {
        let file = folder.path().join(format!("reports.{format}"));
        fs::write(&file, text).unwrap();
        let told = refusal(run(&database, &["import", file.to_str().unwrap()]));
        assert!(told.contains(expected) && told.contains(file.to_str().unwrap()), "{told}");
    }
    let missing = folder.path().join("none.csv");
    assert!(
        refusal(run(&database, &["import", missing.to_str().unwrap()])).contains("No such file")
    );
    // None of the good lines before was counted.
    let counted = said(run(&database, &["export", "--format", "jsonl"]));
    assert_eq!(counted, "");
    // A file made by hand, of another name and without numbers, with a value that is cut to fit.
    let file = folder.path().join("by-hand.txt");
    fs::write(&file, format!("{head},b,-5\n2026-01-31T12:00:00Z,a,5\n")).unwrap();
    let given = ["import", "--format", "csv", file.to_str().unwrap()];
    assert!(
        said(run(&database, &given)).starts_with("imported 3 new reports, 0 were there already; 1")
    );
    assert!(
        said(run(&database, &given)).starts_with("imported 0 new reports, 3 were there already")
    );
}

/// Reports of a made-up fleet, as a file.
fn fleet(folder: &Path) -> (PathBuf, usize) {
    let (database, file) = (folder.join("fleet.db"), folder.join("fleet.csv"));
    let given = ["--instances", "1000", "--days", "60", "--seed", "7"];
    let until = ["--until", "2025-06-30T12:00:00Z"];
    said(run(&database, &[&["simulate"], &given[..], &until].concat()));
    said(run(&database, &["export", "--format", "csv", "--output", file.to_str().unwrap()]));
    let lines = fs::read_to_string(&file).unwrap().lines().count();
    (file, lines - 1)
}

#[test]
fn an_import_that_is_killed_goes_on_and_counts_each_report_once() {
    let folder = TempDir::new().unwrap();
    let (file, reports) = fleet(folder.path());
    let database = folder.path().join("telemetry.db");
    let path = file.to_str().unwrap();
    let count = || said(run(&database, &["export", "--format", "csv"])).lines().count() - 1;
    let mut import = binary()
        .env("DATABASE_URL", url(&database))
        .args(["import", path])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Its log grows with the first reports that it stores.
    let log = folder.path().join("telemetry.db-wal");
    while fs::metadata(&log).map_or(true, |log| log.len() < 500_000) {
        assert!(import.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    import.kill().unwrap();
    import.wait().unwrap();
    let stored = count();
    assert!(stored < reports, "it ended before it was killed");
    let expected = format!(
        "imported {} new reports, {stored} were there already; 0 broke a rule and were cut to fit\n",
        reports - stored
    );
    assert_eq!(said(run(&database, &["import", path])), expected);
    assert_eq!(count(), reports);
    assert_eq!(
        said(run(&database, &["export", "--format", "csv"])),
        fs::read_to_string(&file).unwrap()
    );
    said(run(&database, &["verify"]));
}
