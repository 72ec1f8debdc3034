//! A made-up history of reports, and what is to be counted of it: worked out here from the
//! reports alone, hour by hour, and written as OpenMetrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::domain::CalendarWindow;
use serde_json::{Value, json};

use crate::support::App;

pub const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Hours in which reports come.
const HOURS: i64 = 14 * 24;
const BOUNDS: [f64; 20] = [
    0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0,
    60.0, 120.0, 300.0,
];

/// One report, and when it arrived in seconds since 1970.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: i64,
    instance: u32,
    version: &'static str,
    architecture: &'static str,
    database: &'static str,
    startup_ms: u32,
    pub is_start: bool,
}

/// A fixed sequence of numbers (a linear congruential generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(bound)).unwrap()
    }
}

/// Sends reports over two weeks, with quiet hours and quiet days, and a last one long after.
pub async fn send(app: &App) -> Vec<Sent> {
    let mut numbers = Numbers(7);
    let mut sent = Vec::new();
    for hour in 0..HOURS {
        let quiet = hour % 24 < 5 || (24 * 6..24 * 8).contains(&hour);
        for _ in 0..if quiet { 0 } else { numbers.below(9) } {
            let age = u32::try_from(hour * 3 / HOURS).unwrap();
            sent.push(one(app, &mut numbers, age).await);
        }
        app.pass(1);
    }
    app.pass(40);
    sent.push(one(app, &mut numbers, 2).await);
    sent
}

async fn one(app: &App, numbers: &mut Numbers, age: u32) -> Sent {
    let versions = ["v10.12.0", "v11.0.0", "v11.1.0", "unknown"];
    let is_start = numbers.below(8) > 0;
    let slow = numbers.below(3) == 0;
    let sent = Sent {
        at: app.now().as_second(),
        instance: numbers.below(120),
        version: versions[usize::try_from((numbers.below(2) + age).min(3)).unwrap()],
        architecture: if slow { "aarch64" } else { "x86_64" },
        database: if numbers.below(4) == 0 { "mysql" } else { "postgres" },
        startup_ms: 200 + numbers.below(if slow { 40_000 } else { 4000 }),
        is_start,
    };
    app.report(&json!({
        "instance_id": format!("instance-{}", sent.instance),
        "image_version": sent.version,
        "architecture": sent.architecture,
        "os": "linux",
        "db_type": sent.database,
        "startup_time_ms": sent.startup_ms,
        "event": if is_start { "start" } else { "heartbeat" },
    }))
    .await;
    sent
}

/// Labels in the order of the report's fields, as the text format writes them.
type Labels = String;

impl Sent {
    fn labels(&self) -> Labels {
        format!(
            "image_version=\"{}\",architecture=\"{}\",os=\"linux\",container_runtime=\"unknown\",\
             db_type=\"{}\",telemetry_version=\"unknown\"",
            self.version, self.architecture, self.database
        )
    }

    /// Returns whether the report has these labels; `None` is any.
    pub fn has(&self, version: Option<&str>, architecture: Option<&str>) -> bool {
        version.is_none_or(|version| version == self.version)
            && architecture.is_none_or(|architecture| architecture == self.architecture)
    }
}

/// An instance, as it is known at some moment.
#[derive(Debug, Clone, Default)]
struct Instance {
    last: i64,
    days: BTreeSet<i64>,
    labels: Labels,
}

/// The ends of all hours from the first report on, in seconds since 1970.
pub fn ends_of_hours(sent: &[Sent]) -> impl Iterator<Item = i64> + use<> {
    let first = sent[0].at / HOUR + 1;
    let last = sent[sent.len() - 1].at / HOUR;
    (first..=last).map(|hour| hour * HOUR)
}

/// The history as OpenMetrics, a sample at the end of each hour.
pub fn openmetrics(sent: &[Sent]) -> String {
    let mut families: BTreeMap<&str, String> = BTreeMap::new();
    for end in ends_of_hours(sent) {
        let before: Vec<&Sent> = sent.iter().filter(|sent| sent.at < end).collect();
        counters(&mut families, &before, end);
        gauges(&mut families, &before, end);
    }
    let mut text = String::new();
    for (family, samples) in families {
        let kind = match family {
            "mattermost_starts" => "counter",
            "mattermost_startup_seconds" => "histogram",
            _ => "gauge",
        };
        writeln!(text, "# TYPE {family} {kind}\n{samples}").unwrap();
    }
    text = text.replace("\n\n", "\n");
    text + "# EOF\n"
}

fn counters(families: &mut BTreeMap<&str, String>, before: &[&Sent], end: i64) {
    let mut starts: BTreeMap<Labels, Vec<u32>> = BTreeMap::new();
    for sent in before.iter().filter(|sent| sent.is_start) {
        starts.entry(sent.labels()).or_default().push(sent.startup_ms);
    }
    for (labels, times) in starts {
        let out = families.entry("mattermost_starts").or_default();
        writeln!(out, "mattermost_starts_total{{{labels}}} {} {end}", times.len()).unwrap();
        let out = families.entry("mattermost_startup_seconds").or_default();
        for bound in BOUNDS {
            let below = times.iter().filter(|&&time| f64::from(time) <= bound * 1000.0).count();
            writeln!(
                out,
                "mattermost_startup_seconds_bucket{{{labels},le=\"{bound:?}\"}} {below} {end}"
            )
            .unwrap();
        }
        let (count, sum) = (times.len(), times.iter().sum::<u32>());
        let name = "mattermost_startup_seconds";
        writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count} {end}").unwrap();
        writeln!(out, "{name}_sum{{{labels}}} {} {end}", f64::from(sum) / 1000.0).unwrap();
        writeln!(out, "{name}_count{{{labels}}} {count} {end}").unwrap();
    }
}

fn gauges(families: &mut BTreeMap<&str, String>, before: &[&Sent], end: i64) {
    let mut instances: BTreeMap<u32, Instance> = BTreeMap::new();
    for sent in before {
        let instance = instances.entry(sent.instance).or_default();
        instance.last = sent.at;
        instance.days.insert(sent.at / DAY);
        instance.labels = sent.labels();
    }
    let returned = instances.values().filter(|instance| instance.days.len() > 1).count();
    for (name, value) in
        [("mattermost_instances", instances.len()), ("mattermost_instances_returned", returned)]
    {
        writeln!(families.entry(name).or_default(), "{name} {value} {end}").unwrap();
    }
    for window in CalendarWindow::ALL {
        let over = window.last_over(end * 1000);
        let first = |sent: &Sent| window.first_day(sent.at / DAY);
        let seen = before.iter().filter(|sent| first(sent) == over).map(|sent| sent.instance);
        if before.iter().any(|sent| first(sent) <= over) {
            let (name, value) = (window.name(), seen.collect::<BTreeSet<_>>().len());
            let out = families.entry("mattermost_calendar_instances").or_default();
            writeln!(out, "mattermost_calendar_instances{{window=\"{name}\"}} {value} {end}")
                .unwrap();
        }
    }
    let windows = [("24h", DAY), ("7d", 7 * DAY), ("30d", 30 * DAY)];
    let seen = |instance: &Instance, window: i64| instance.last >= end - window;
    let mut by_labels: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for instance in instances.values().filter(|instance| seen(instance, 30 * DAY)) {
        by_labels.entry(&instance.labels).or_default().push(instance);
    }
    for (labels, instances) in by_labels {
        for (window, length) in windows {
            let active: Vec<_> =
                instances.iter().filter(|instance| seen(instance, length)).collect();
            let returning = active.iter().filter(|instance| instance.days.len() > 1).count();
            for (name, value) in [
                ("mattermost_active_instances", active.len()),
                ("mattermost_returning_instances", returning),
            ] {
                let out = families.entry(name).or_default();
                writeln!(out, "{name}{{{labels},window=\"{window}\"}} {value} {end}").unwrap();
            }
        }
    }
}

/// A moment as RFC 3339.
pub fn moment(seconds: i64) -> String {
    (Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)).to_string()
}

/// The data of an answer, which must be a success.
pub fn data(answer: &Value) -> &Value {
    assert_eq!(answer["status"], "success", "{answer}");
    &answer["data"]
}
