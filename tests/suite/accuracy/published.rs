//! The numbers that the server publishes, beside the truth about the world.

use std::collections::BTreeMap;

use mattermost_telemetry::domain::{BOUNDS_MS, StartupTimes};
use serde_json::Value;

use super::{
    machine::Machine,
    periods::{adoption, calendar, outages, periods},
    row::{Row, Tolerance, float},
    truth::{Activity, Client, Truth, percentile},
};
use crate::support::milliseconds::HOUR;

const WINDOWS: [&str; 3] = ["24h", "7d", "30d"];
/// Releases with a row of their own.
const SHOWN: usize = 5;

/// A number of an answer.
pub fn count(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

/// Rows of an answer, by a field.
fn by<'a>(answer: &'a Value, field: &str) -> BTreeMap<&'a str, &'a Value> {
    let rows = answer.as_array().unwrap().iter();
    rows.map(|row| (row[field].as_str().unwrap_or_default(), row)).collect()
}

/// Numbers of one moment: those that the page shows, and others.
pub struct Look {
    pub name: &'static str,
    pub shown: Vec<Row>,
    pub others: Vec<Row>,
}

pub async fn look(name: &'static str, machine: &Machine, truth: &Truth) -> Look {
    let hour = machine.now().div_euclid(HOUR);
    let instances = truth.instances(hour);
    let metrics = machine.get("/metrics").await;
    let mut shown = vec![
        Row::exact(
            "starts",
            count(&metrics["total_deployments"]),
            truth.starts_in(i64::MIN..i64::MAX),
        ),
        Row::exact(
            "heartbeats",
            count(&metrics["total_heartbeats"]),
            truth.heartbeats_in(i64::MIN..i64::MAX),
        ),
        Row::exact("instances", count(&metrics["unique_instances"]), instances.all),
        Row::exact("returning", count(&metrics["returning_instances"]), instances.returning),
    ];
    let active = machine.get("/stats/active").await;
    let mut others = activity("all", active.as_array().unwrap(), &instances.active);
    shown.extend(others.extract_if(.., |row| row.name.starts_with("active")));

    let active = machine.get("/stats/active?by=architecture").await;
    let rows = active.as_array().unwrap();
    for (architecture, expected) in &instances.by_architecture {
        let own = rows.iter().filter(|row| row["value"] == **architecture);
        let own: Vec<Value> = own.cloned().collect();
        others.extend(activity(architecture, &own, expected));
    }
    let values = rows.iter().map(|row| row["value"].as_str().unwrap());
    let unknown = values.filter(|value| !instances.by_architecture.contains_key(*value)).count();
    others.push(Row::exact("architectures that nobody has", float(unknown as u64), 0));

    let active = machine.get("/stats/active?by=telemetry_version").await;
    let shell = truth.deployments(Client::Shell, hour);
    for (window, deployments) in WINDOWS.iter().zip(shell) {
        let rows = active.as_array().unwrap().iter();
        let own = rows.filter(|row| row["window"] == **window && row["value"] == "1.1");
        let published = own.map(|row| count(&row["active_instances"])).sum();
        let name = format!("shell clients {window}");
        shown.push(Row::new(name, published, deployments, Tolerance::Percent(1.0)));
    }
    Look { name, shown, others }
}

/// Active and returning instances of one value.
fn activity(value: &str, rows: &[Value], expected: &Activity) -> Vec<Row> {
    let mut found = Vec::new();
    for (place, window) in WINDOWS.iter().enumerate() {
        let row = rows.iter().find(|row| row["window"] == **window);
        let published = |field| row.map_or(0.0, |row| count(&row[field]));
        let name = |kind| format!("{kind} {window}, {value}");
        let active = published("active_instances");
        found.push(Row::exact(name("active"), active, expected.active[place]));
        let returning = published("returning_instances");
        found.push(Row::exact(name("returning"), returning, expected.returning[place]));
    }
    found
}

/// Numbers of the whole time.
pub struct Whole {
    pub periods: Vec<Row>,
    pub calendar: Vec<Row>,
    pub adoption: Vec<Row>,
    pub outages: Vec<Row>,
    pub values: Vec<Row>,
    pub releases: Vec<Row>,
    pub startup: Vec<Row>,
    pub rotating: Vec<Row>,
}

impl Whole {
    pub async fn of(machine: &Machine, truth: &Truth, from: i64) -> Self {
        Self {
            periods: periods(machine, truth, from).await,
            calendar: calendar(machine, truth).await,
            adoption: adoption(machine, truth).await,
            outages: outages(machine, from).await,
            values: values(machine, truth).await,
            releases: releases(machine, truth).await,
            startup: startup(machine, truth).await,
            rotating: rotating(machine, truth).await,
        }
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        let Self { periods, calendar, adoption, outages, values, releases, startup, rotating } =
            self;
        [periods, calendar, adoption, outages, values, releases, startup, rotating]
            .into_iter()
            .flatten()
    }
}

/// Starts by the values that are few.
async fn values(machine: &Machine, truth: &Truth) -> Vec<Row> {
    let mut rows = Vec::new();
    for dimension in ["architecture", "container_runtime", "db_type", "os"] {
        let answer = machine.get(&format!("/stats/{dimension}")).await;
        let published = by(&answer, dimension);
        let own = truth.by_value.iter().filter(|((name, _), _)| *name == dimension);
        for ((_, value), starts) in own {
            let row = published.get(&**value).map_or(0.0, |row| count(&row["count"]));
            rows.push(Row::exact(format!("starts, {dimension} `{value}`"), row, *starts));
        }
        let other = published.get("other").map_or(0.0, |row| count(&row["count"]));
        rows.push(Row::exact(
            format!("starts, {dimension} `other`"),
            other,
            truth.counted_in_flood(),
        ));
    }
    rows
}

/// Starts by release.
async fn releases(machine: &Machine, truth: &Truth) -> Vec<Row> {
    let answer = machine.get("/stats/version").await;
    let published = by(&answer, "version");
    let starts_of = |version: &str| published.get(version).map_or(0.0, |row| count(&row["count"]));
    let own = truth.by_value.iter().filter(|((name, _), _)| *name == "image_version");
    let mut own: Vec<(&str, u64)> = own.map(|((_, value), starts)| (&**value, *starts)).collect();
    own.sort_by_key(|(_, starts)| std::cmp::Reverse(*starts));
    let (mut known, mut later) = (Vec::new(), Vec::new());
    let (mut least, mut most, mut all) = (0, 0, 0.0);
    for (version, starts) in own {
        let (low, high) = truth.labels.before_proof(version);
        (least, most, all) = (least + low, most + high, all + starts_of(version));
        let name = format!("starts of {version}");
        if truth.labels.came_late(version) {
            let within = match high {
                0 => Tolerance::Exact,
                _ => Tolerance::Within(float(starts - high), float(starts - low)),
            };
            let name = format!("{name}, first seen after the flood");
            later.push(Row::new(name, starts_of(version), starts, within));
        } else {
            known.push(Row::exact(name, starts_of(version), starts));
        }
    }
    let right = known.iter().filter(|row| row.holds()).count() as u64;
    let of_known = known.len() as u64;
    let mut rows: Vec<Row> = known.drain(..SHOWN.min(known.len())).collect();
    rows.push(Row::exact(
        "values seen before the flood (releases and `unknown`) whose starts are right",
        float(right),
        of_known,
    ));
    rows.extend(later);
    let others = published.values().map(|row| count(&row["count"])).sum::<f64>() - all;
    let within = Tolerance::Within(
        float(truth.counted_in_flood() + least),
        float(truth.counted_in_flood() + most),
    );
    rows.push(Row::new(
        "starts of `other` and of made-up releases",
        others,
        truth.counted_in_flood(),
        within,
    ));
    rows
}

async fn startup(machine: &Machine, truth: &Truth) -> Vec<Row> {
    let answer = machine.get("/stats/startup").await;
    let mut rows = startup_of("all", &answer[0], &truth.startup);
    let answer = machine.get("/stats/startup?by=architecture").await;
    let published = by(&answer, "value");
    for (architecture, times) in &truth.startup_by_architecture {
        let none = &Value::Null;
        let own = published.get(&**architecture).unwrap_or(&none);
        rows.extend(startup_of(architecture, own, times));
    }
    rows
}

fn startup_of(name: &str, published: &Value, times: &BTreeMap<i64, u64>) -> Vec<Row> {
    let starts: u64 = times.values().sum();
    let sum = times.iter().map(|(&time, starts)| time.unsigned_abs() * starts).sum();
    let mut rows = vec![
        Row::exact(format!("measured starts, {name}"), count(&published["count"]), starts),
        Row {
            name: format!("mean startup time in ms, {name}"),
            published: count(&published["avg_ms"]),
            truth: float(sum) / float(starts.max(1)),
            tolerance: Tolerance::Exact,
        },
    ];
    for percent in [50, 90, 99] {
        let time = percentile(times, percent);
        let bucket = StartupTimes::bucket(time);
        let bound = |place: usize| BOUNDS_MS.get(place).map_or(f64::INFINITY, |&ms| f64::from(ms));
        let low = bucket.checked_sub(1).map_or(0.0, bound);
        rows.push(Row::new(
            format!("p{percent} in ms, {name}"),
            count(&published[format!("p{percent}_ms")]),
            time.unsigned_abs(),
            Tolerance::Within(low, bound(bucket)),
        ));
    }
    rows
}

/// Instances of clients that make a new id at each start, beside the deployments behind them.
async fn rotating(machine: &Machine, truth: &Truth) -> Vec<Row> {
    let hour = machine.now().div_euclid(HOUR);
    let metrics = machine.get("/metrics").await;
    let clients = [Client::Stock, Client::Keeper, Client::Shell];
    let deployments = clients.iter().map(|client| truth.deployments_ever(*client)).sum();
    let mut rows = vec![Row::new(
        "instances ever, beside all deployments",
        count(&metrics["unique_instances"]),
        deployments,
        Tolerance::Unknowable,
    )];
    let answer = machine.get("/stats/active?by=telemetry_version").await;
    let alive = [Client::Stock, Client::Keeper].map(|client| truth.deployments(client, hour));
    for (place, window) in WINDOWS.iter().enumerate() {
        let own = answer.as_array().unwrap().iter();
        let own = own.filter(|row| row["window"] == **window && row["value"] == "1.0");
        rows.push(Row::new(
            format!(
                "active instances of format 1.0 ({window}), beside the deployments that started"
            ),
            own.map(|row| count(&row["active_instances"])).sum(),
            alive.iter().map(|windows| windows[place]).sum(),
            Tolerance::Unknowable,
        ));
    }
    rows.push(Row::new(
        "starts that arrived, beside those that happened",
        count(&metrics["total_deployments"]) - float(truth.counted_in_flood()),
        truth.happened,
        Tolerance::Unknowable,
    ));
    rows
}
