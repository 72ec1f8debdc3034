//! `export`: the stored reports in forms that other programs read.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{App, binary, refused, url};

fn export(database: &Path, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.env("DATABASE_URL", url(database)).arg("export").args(arguments);
    command
}

fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// A server with a start, a heartbeat of another day, and a value that counts as `other`.
async fn three_reports() -> App {
    let app = App::start().await;
    app.report(&json!({
        "instance_id": "0f8fad5bd9cb469fa16570867728950e", "image_version": "11.0.0",
        "architecture": "arm64", "os": "Linux", "container_runtime": "", "startup_time_ms": 2500,
        "db_type": "postgres", "telemetry_version": "1.0", "timestamp": "2026-01-31T12:00:00.5Z",
        "report_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    }))
    .await;
    app.pass(24);
    app.report(&json!({"instance_id": "a,\"b\"", "event": "heartbeat"})).await;
    app.report(&json!({"instance_id": "=1+1", "os": "TempleOS, \"@\""})).await;
    app
}

#[tokio::test]
async fn reports_are_written_as_they_are_stored() {
    let app = three_reports().await;
    let database = app.folder.path().join("telemetry.db");
    let lines = concat!(
        r#"{"id":1,"created_at":"2026-01-31T12:34:56.789Z","#,
        r#""instance_id":"0f8fad5bd9cb469fa16570867728950e","image_version":"v11.0.0","#,
        r#""architecture":"aarch64","os":"linux","container_runtime":"unknown","#,
        r#""startup_time_ms":2500,"db_type":"postgres","telemetry_version":"1.0","#,
        r#""event":"start","timestamp":"2026-01-31T12:00:00.5Z","unproven":null}"#,
        "\n",
        r#"{"id":2,"created_at":"2026-02-01T12:34:56.789Z","instance_id":"a,\"b\"","#,
        r#""image_version":"unknown","architecture":"unknown","os":"unknown","#,
        r#""container_runtime":"unknown","startup_time_ms":null,"db_type":"unknown","#,
        r#""telemetry_version":"unknown","event":"heartbeat","timestamp":null,"unproven":null}"#,
        "\n",
        r#"{"id":3,"created_at":"2026-02-01T12:34:56.789Z","instance_id":"=1+1","#,
        r#""image_version":"unknown","architecture":"unknown","os":"other","#,
        r#""container_runtime":"unknown","startup_time_ms":null,"db_type":"unknown","#,
        r#""telemetry_version":"unknown","event":"start","timestamp":null,"#,
        r#""unproven":{"os":"templeos, \"@\""}}"#,
        "\n",
    );
    assert_eq!(done(&mut export(&database, &["--format", "jsonl"])), lines);
    let cells = concat!(
        "id,created_at,instance_id,image_version,architecture,os,container_runtime,\
         startup_time_ms,db_type,telemetry_version,event,timestamp,unproven\n",
        "1,2026-01-31T12:34:56.789Z,0f8fad5bd9cb469fa16570867728950e,v11.0.0,aarch64,linux,\
         unknown,2500,postgres,1.0,start,2026-01-31T12:00:00.5Z,\n",
        "2,2026-02-01T12:34:56.789Z,\"a,\"\"b\"\"\",unknown,unknown,unknown,unknown,,unknown,\
         unknown,heartbeat,,\n",
        "3,2026-02-01T12:34:56.789Z,=1+1,unknown,unknown,other,unknown,,unknown,unknown,start,,\
         \"{\"\"os\"\":\"\"templeos, \\\"\"@\\\"\"\"\"}\"\n",
    );
    assert_eq!(done(&mut export(&database, &["--format", "csv"])), cells);

    // Filters, each of which leaves some reports out.
    let line = |number: usize| format!("{}\n", lines.lines().nth(number - 1).unwrap());
    for (arguments, wanted) in [
        (&["--from", "2026-02-01"][..], line(2) + &line(3)),
        (&["--until", "2026-01-31T12:34:56.789Z"], String::new()),
        (&["--from", "2026-01-31T12:34:56.789Z", "--until", "2026-02-01"], line(1)),
        (&["--kind", "heartbeat"], line(2)),
        (&["--kind", "start", "--value", "image_version=unknown"], line(3)),
        (&["--value", "architecture=ARM64"], line(1)),
        (&["--value", "os=other"], line(3)),
        (&["--value", "os=TempleOS, \"@\""], line(3)),
        (&["--instance", "=1+1"], line(3)),
        (&["--value", "os=freebsd"], String::new()),
    ] {
        let given = [&["--format", "jsonl"], arguments].concat();
        assert_eq!(done(&mut export(&database, &given)), wanted, "{arguments:?}");
    }
    let twice = ["--format", "csv", "--value", "os=a", "--value", "os=b"];
    assert!(refused(&mut export(&database, &twice)).contains("os can have one value only"));
}

#[tokio::test]
async fn a_file_appears_when_it_is_whole_and_replaces_none() {
    let app = three_reports().await;
    let database = app.folder.path().join("telemetry.db");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("reports.csv");
    let given = ["--format", "csv", "--output", file.to_str().unwrap()];
    assert_eq!(done(&mut export(&database, &given)), "");
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written, done(&mut export(&database, &["--format", "csv"])));
    let names = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names(), 1);

    assert!(refused(&mut export(&database, &given)).contains("exists; name a new file"));
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    // One that a killed export left is in nobody's way.
    fs::write(folder.path().join("again.csv.part"), "x".repeat(10_000)).unwrap();
    let again = folder.path().join("again.csv");
    done(&mut export(&database, &["--format", "csv", "--output", again.to_str().unwrap()]));
    assert_eq!(fs::read_to_string(&again).unwrap(), written);
    assert_eq!(names(), 2);
    let missing = folder.path().join("no/such/folder.csv");
    let given = ["--format", "csv", "--output", missing.to_str().unwrap()];
    assert!(refused(&mut export(&database, &given)).contains("cannot write"));
    let none = folder.path().join("none.db");
    assert!(refused(&mut export(&none, &["--format", "csv"])).contains("there is no database"));
}

/// A database with some thousands of reports.
fn fleet(folder: &Path) -> std::path::PathBuf {
    let database = folder.join("fleet.db");
    let mut simulate = binary();
    simulate.args(["simulate", "--instances", "600", "--days", "60", "--seed", "7"]);
    simulate.args(["--until", "2025-06-30T12:00:00Z"]).env("DATABASE_URL", url(&database));
    assert!(simulate.output().unwrap().status.success());
    database
}

#[test]
fn a_reader_that_goes_away_and_a_signal_end_it_quietly() {
    let folder = TempDir::new().unwrap();
    let database = fleet(folder.path());
    let mut command = export(&database, &["--format", "jsonl"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(running.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"id\":1,"), "{line}");
    drop(reader);
    let Output { status, stderr, .. } = running.wait_with_output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));

    // A signal while the file is being written leaves nothing.
    let out = TempDir::new().unwrap();
    let file = out.path().join("reports.jsonl");
    let given = ["--format", "jsonl", "--output", file.to_str().unwrap()];
    let mut running = export(&database, &given).stderr(Stdio::piped()).spawn().unwrap();
    let part = out.path().join("reports.jsonl.part");
    while fs::metadata(&part).map_or(true, |part| part.len() == 0) {
        assert!(running.try_wait().unwrap().is_none(), "it ended before the signal");
        std::thread::yield_now();
    }
    let pid = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let Output { status, stderr, .. } = running.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(130), "{}", String::from_utf8_lossy(&stderr));
    assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

/// Samples of an export: name, labels, time and value.
fn samples(text: &str) -> std::collections::BTreeMap<(String, String), String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.map(|line| {
        let (rest, time) = line.rsplit_once(' ').unwrap();
        let (series, value) = rest.rsplit_once(' ').unwrap();
        ((series.to_owned(), time.to_owned()), value.to_owned())
    });
    let samples: std::collections::BTreeMap<_, _> = parts.collect();
    assert_eq!(samples.len(), text.lines().filter(|line| !line.starts_with('#')).count());
    samples
}

/// A fleet over two days, with a value that has to be quoted.
async fn two_days() -> App {
    let app = App::start().await;
    app.accept(mattermost_telemetry::domain::Dimension::Os, "a\"b\\c").await;
    for hour in 0..48 {
        let os = ["linux", "a\"b\\c"][hour % 2];
        app.report(&json!({
            "instance_id": format!("i{}", hour % 7), "image_version": format!("v11.{}.0", hour / 20),
            "os": os, "startup_time_ms": 400 + 700 * hour, "event": if hour % 5 == 0 { "heartbeat" } else { "start" },
        }))
        .await;
        app.pass(1);
    }
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_the_metrics_is_what_the_api_answers() {
    let app = two_days().await;
    let database = app.folder.path().join("telemetry.db");
    let until = app.now().to_string();
    let given = ["--format", "openmetrics", "--until", &until];
    let text = done(&mut export(&database, &given));
    let written = samples(&text);
    let mut asked = std::collections::BTreeMap::new();
    let metrics = [
        "mattermost_starts_total",
        "mattermost_startup_seconds_bucket",
        "mattermost_startup_seconds_sum",
        "mattermost_startup_seconds_count",
        "mattermost_instances",
        "mattermost_instances_returned",
        "mattermost_active_instances",
        "mattermost_returning_instances",
        "mattermost_calendar_instances",
        "mattermost_newest_version",
    ];
    for metric in metrics {
        let answer = app
            .json(&format!(
                "/api/v1/query_range?query={metric}&start=2026-01-31T00:00:00Z&end={until}&step=1h"
            ))
            .await;
        for series in answer["data"]["result"].as_array().unwrap() {
            let labels = series["metric"].as_object().unwrap().iter();
            let labels = labels.filter(|(label, _)| *label != "__name__");
            let labels: Vec<String> =
                labels.map(|(label, value)| format!("{label}={value}")).collect();
            let labels = labels.join(",");
            let series_name =
                if labels.is_empty() { metric.to_owned() } else { format!("{metric}{{{labels}}}") };
            for value in series["values"].as_array().unwrap() {
                let (time, value) = (value[0].to_string(), value[1].as_str().unwrap().to_owned());
                asked.insert((series_name.clone(), time), value);
            }
        }
    }
    assert!(asked.len() > 1000);
    assert_eq!(written, asked);

    // Each family is described once and has its samples together.
    let described: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        described,
        [
            "mattermost_starts counter",
            "mattermost_startup_seconds histogram",
            "mattermost_instances gauge",
            "mattermost_instances_returned gauge",
            "mattermost_active_instances gauge",
            "mattermost_returning_instances gauge",
            "mattermost_calendar_instances gauge",
            "mattermost_newest_version gauge",
        ]
    );
    assert!(text.contains("# UNIT mattermost_startup_seconds seconds\n"));
    assert!(text.ends_with("\n# EOF\n"));

    // A part of it: by label, by time, by another step.
    let given =
        [&given[..], &["--value", "os=linux", "--from", "2026-02-01T10:00:30Z", "--step", "6h"]];
    let part = samples(&done(&mut export(&database, &given.concat())));
    let expected = asked.into_iter().filter(|((series, time), _)| {
        let time: i64 = time.parse().unwrap();
        series.contains("os=\"linux\"") && time % (6 * 3600) == 0 && time >= 1_769_940_030
    });
    assert_eq!(part, expected.collect());
    let given = ["--format", "openmetrics", "--kind", "start"];
    assert!(
        refused(&mut export(&database, &given))
            .contains("--instance and --kind select single reports")
    );
    assert!(
        refused(&mut export(&database, &["--format", "openmetrics", "--step", "0"]))
            .contains("--step")
    );
    // A server without a report has no samples.
    let empty = App::start().await;
    let text =
        done(&mut export(&empty.folder.path().join("telemetry.db"), &["--format", "openmetrics"]));
    assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
}
