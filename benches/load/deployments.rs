//! Times of `/deployments`, for each combination of its filters.

use std::{fs, path::Path};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    clock::Clock,
    domain::{Dimension, Report},
    simulation::Fleet,
    storage::Database,
};
use serde_json::{Value, json};
use sqlx::{
    ConnectOptions as _, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    fleet,
    reads::{self, DAYS},
    server::Server,
};

const REQUESTS: usize = 100;
const LIMITS: [u32; 2] = [100, 1000];

/// Order of the numbers of reports in time.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// As a server receives them.
    Received,
    /// A quarter is an older history that was imported after the others.
    ImportedLater,
    /// A table of a reference in no order of time, which was imported.
    Scattered,
}

impl Order {
    pub fn from_word(word: &str) -> Option<Self> {
        [
            ("received", Self::Received),
            ("imported-later", Self::ImportedLater),
            ("scattered", Self::Scattered),
        ]
        .into_iter()
        .find_map(|(name, order)| (name == word).then_some(order))
    }
}

/// Makes a history in a file, which can then be measured again and again.
pub fn make(size: u64, order: Order, file: &Path) {
    let reports = Runtime::new().unwrap().block_on(fill(file, size, order));
    println!("{reports} reports, numbers {order:?}");
}

/// Measures over made-up histories.
pub fn run(size: u64) {
    for order in [Order::Received, Order::ImportedLater, Order::Scattered] {
        eprintln!("{size} reports, {order:?}: filling");
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("telemetry.db");
        let reports = Runtime::new().unwrap().block_on(fill(&file, size, order));
        println!("\n{reports} reports, numbers {order:?}");
        measure(&file);
    }
}

async fn fill(file: &Path, size: u64, order: Order) -> u64 {
    let database = Database::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let mut writer = database.writer();
    let settings = reads::past(size);
    let span = settings.until.duration_since(settings.from).as_secs();
    let time = |(number, (at, report)): (usize, (Timestamp, Report))| {
        let number = i64::try_from(number).unwrap();
        let seconds = at.duration_since(settings.from).as_secs();
        let seconds = match order {
            Order::Received => seconds,
            // The first three quarters of the year end it, and the last one begins it.
            Order::ImportedLater => (seconds + span / 4) % span,
            // A prime near the golden section of the span's seconds.
            Order::Scattered => number * 19_490_587 % span,
        };
        (settings.from + SignedDuration::from_secs(seconds), report)
    };
    let history = Fleet::new(settings).enumerate().map(time);
    let reports = if matches!(order, Order::Scattered) {
        let source = file.with_extension("reference");
        write_reference(&source, history).await;
        let clock = Clock::from_fn(move || settings.until);
        let path = source.to_str().unwrap();
        let moved = writer.import_reference(path, true, &clock, |_| ()).await.unwrap();
        fs::remove_file(source).unwrap();
        moved.reports
    } else {
        writer.import_reports(history, settings.until, |_| ()).await.unwrap()
    };
    writer.close().await.unwrap();
    database.close().await;
    reports
}

/// Writes a database of the reference server.
async fn write_reference(file: &Path, history: impl Iterator<Item = (Timestamp, Report)>) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Off).pragma("synchronous", "off");
    let mut connection = options.connect().await.unwrap();
    let schema = include_str!("../../tests/suite/support/reference_schema.sql");
    sqlx::raw_sql(schema).execute(&mut connection).await.unwrap();
    let mut history = history.peekable();
    while history.peek().is_some() {
        let rows: Vec<Value> =
            history.by_ref().take(10_000).map(|row| reference_row(&row)).collect();
        sqlx::query(
            "INSERT INTO deployments (instance_id, image_version, architecture, container_runtime,
                 startup_time_ms, db_type, telemetry_version, created_at)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                 value ->> 6, datetime(value ->> 7, 'unixepoch')
             FROM json_each(?)",
        )
        .bind(Value::from(rows).to_string())
        .execute(&mut connection)
        .await
        .unwrap();
    }
    connection.close().await.unwrap();
}

fn reference_row((at, report): &(Timestamp, Report)) -> Value {
    let field = |dimension| &**report.profile.get(dimension);
    json!([
        *report.instance_id,
        field(Dimension::ImageVersion),
        field(Dimension::Architecture),
        field(Dimension::ContainerRuntime),
        report.startup_ms,
        field(Dimension::DbType),
        field(Dimension::TelemetryVersion),
        at.as_second(),
    ])
}

/// Prints the slowest combination of values for each time and limit.
pub fn measure(file: &Path) {
    let server = Server::telemetry(file);
    let runtime = Runtime::new().unwrap();
    let get = |path: &str| -> Value {
        let url = format!("http://{}{path}", server.address);
        runtime.block_on(async { reqwest::get(url).await.unwrap().json().await.unwrap() })
    };
    let values = |route: &str| {
        let values = get(&format!("/stats/{route}"));
        let values = values.as_array().unwrap();
        let rarest = &values[values.len() - 1];
        ["", values[0][route].as_str().unwrap(), rarest[route].as_str().unwrap()]
            .map(|value| if value.is_empty() { String::new() } else { format!("&{route}={value}") })
    };
    let (versions, architectures) = (values("version"), values("architecture"));
    let middle = get("/deployments?limit=1")[0]["id"].as_i64().unwrap() / 2;
    let mut times = vec![
        ("any time".to_owned(), String::new()),
        ("any time, numbers up to the middle".to_owned(), format!("&before={middle}")),
    ];
    let half_a_year_ago = fleet::now() - SignedDuration::from_hours(24 * DAYS / 2);
    for (name, hours) in [
        ("hour", 1),
        ("day", 24),
        ("3 days", 72),
        ("week", 168),
        ("month", 720),
        ("4 months", 2880),
    ] {
        let until = half_a_year_ago + SignedDuration::from_hours(hours);
        let range = format!("&since={half_a_year_ago}&until={until}");
        times.push((format!("{name} half a year ago"), range));
    }
    times.push(("the last half year".into(), format!("&since={half_a_year_ago}")));
    times.push(("before the last half year".into(), format!("&until={half_a_year_ago}")));
    times.push(("a time without reports".into(), "&until=2001-01-01T00:00:00Z".into()));

    println!("p50 / p99 of {REQUESTS} in ms, the slowest of {} filters", 9);
    for (name, time) in &times {
        print!("{name:40}");
        for limit in LIMITS {
            let mut slowest = (0.0, 0.0, String::new());
            for version in &versions {
                for architecture in &architectures {
                    let filter = format!("{version}{architecture}");
                    let path = format!("/deployments?limit={limit}{filter}{time}");
                    let url = format!("http://{}{path}", server.address);
                    let (p50, p99) = runtime.block_on(reads::time(&url, REQUESTS));
                    if p50 > slowest.0 {
                        slowest = (p50, p99, filter);
                    }
                }
            }
            print!("{limit:6}: {:5.2} / {:5.2} {:44}", slowest.0, slowest.1, slowest.2);
        }
        println!();
    }
    println!("memory after these requests, MB: {:.1}", server.memory("VmHWM"));
}
