//! Numbers of periods, beside the truth: hours, days, midnights, windows of the calendar, cohorts, and the time
//! that versions took.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde_json::Value;

use super::{
    adoption::Moments,
    calendar::KINDS,
    machine::Machine,
    plan::{Outage, down},
    published::count,
    row::{Row, Tolerance, float},
    truth::{Instances, Truth},
};
use crate::support::milliseconds::{DAY, HOUR, SECOND};

/// Hours of one question: a series has at most 2000 periods.
const HOURS_AT_A_TIME: i64 = 1992;
/// Time before and after the world in which nothing may be found: a clock was 400 days ahead.
const AROUND: i64 = 430;

fn time(hour: i64) -> String {
    mattermost_telemetry::domain::Hour::new(hour).start().to_string()
}

pub async fn periods(machine: &Machine, truth: &Truth, from: i64) -> Vec<Row> {
    let (first, last) = (from.div_euclid(HOUR), machine.now().div_euclid(HOUR));
    let mut rows = Vec::new();
    for (name, interval, hours) in [("days", "day", 24), ("hours", "hour", 1)] {
        let (mut right, mut all) = (0, 0);
        let mut since = first;
        while since <= last {
            let until = last.min(since + HOURS_AT_A_TIME - 1);
            let path = format!(
                "/stats/timeseries?interval={interval}&since={}&until={}",
                time(since),
                time(until)
            );
            let answer = machine.get(&path).await;
            for (number, row) in (0..).zip(answer.as_array().unwrap()) {
                let begin = since + number * hours;
                let matches =
                    |field: &str, expected| (count(&row[field]) - float(expected)).abs() < 0.5;
                all += 1;
                right += u64::from(
                    matches("starts", truth.starts_in(begin..begin + hours))
                        && matches("heartbeats", truth.heartbeats_in(begin..begin + hours)),
                );
            }
            since = until + 1;
        }
        let name = format!("{name} whose starts and heartbeats are right");
        rows.push(Row::exact(name, float(right), all));
    }
    let (begin, end) = (time((first / 24 + 1) * 24), time(last));
    for (name, metric, expected) in midnight_numbers() {
        let query = format!("sum({metric})").replace('{', "%7B").replace('}', "%7D");
        let query = query.replace('"', "%22").replace('=', "%3D");
        let path = format!("/api/v1/query_range?query={query}&start={begin}&end={end}&step=86400");
        let answer = machine.get(&path).await;
        let points: BTreeMap<i64, f64> = answer["data"]["result"][0]["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|point| {
                let value = point[1].as_str().unwrap().parse().unwrap();
                (point[0].as_i64().unwrap() / 3600, value)
            })
            .collect();
        // A server that is down has no value, which is no zero.
        let outage = Outage::of(from);
        let is_gap =
            |midnight: i64| midnight * HOUR > outage.from && midnight * HOUR < outage.until;
        let right = truth.midnights().filter(|(midnight, instances)| match points.get(midnight) {
            Some(published) => {
                !is_gap(*midnight) && (published - float(expected(instances))).abs() < 0.5
            }
            None => is_gap(*midnight),
        });
        let name = format!("midnights whose {name} are right");
        let right = float(right.count() as u64);
        rows.push(Row::exact(name, right, truth.midnights().count() as u64));
    }
    rows
}

type AtMidnight = fn(&Instances) -> u64;

/// Numbers of each midnight: name, metric, and truth.
fn midnight_numbers() -> [(&'static str, &'static str, AtMidnight); 8] {
    [
        ("instances", "mattermost_instances", |at| at.all),
        ("active instances (24 h)", r#"mattermost_active_instances{window="24h"}"#, |at| {
            at.active.active[0]
        }),
        ("active instances (7 d)", r#"mattermost_active_instances{window="7d"}"#, |at| {
            at.active.active[1]
        }),
        ("active instances (30 d)", r#"mattermost_active_instances{window="30d"}"#, |at| {
            at.active.active[2]
        }),
        ("returning instances (24 h)", r#"mattermost_returning_instances{window="24h"}"#, |at| {
            at.active.returning[0]
        }),
        ("returning instances (7 d)", r#"mattermost_returning_instances{window="7d"}"#, |at| {
            at.active.returning[1]
        }),
        ("returning instances (30 d)", r#"mattermost_returning_instances{window="30d"}"#, |at| {
            at.active.returning[2]
        }),
        (
            "active instances on aarch64 (30 d)",
            r#"mattermost_active_instances{window="30d",architecture="aarch64"}"#,
            |at| at.by_architecture.get("aarch64").map_or(0, |activity| activity.active[2]),
        ),
    ]
}

/// The date of a field, and the whole days since 1970.
fn date(value: &Value) -> Date {
    value.as_str().unwrap()[..10].parse().unwrap()
}

/// Instances of windows of the calendar, and cohorts by week.
pub async fn calendar(machine: &Machine, truth: &Truth) -> Vec<Row> {
    let expected = truth.calendar();
    let today = machine.now().div_euclid(DAY);
    let (since, until) = (time((today - AROUND) * 24), time((today + AROUND) * 24));
    let mut rows = Vec::new();
    for kind in KINDS {
        let path = format!("/stats/active?window={kind}&since={since}&until={until}");
        let answer = machine.get(&path).await;
        let published: BTreeMap<Date, &Value> =
            answer.as_array().unwrap().iter().map(|row| (date(&row["since"]), row)).collect();
        let own = expected.windows.iter().filter(|((own, _), _)| *own == kind);
        let own: BTreeMap<Date, u64> = own.map(|((_, first), count)| (*first, *count)).collect();
        let right = published.iter().filter(|(first, row)| {
            let expected = own.get(first).copied().unwrap_or_default();
            row["complete"] == true && row["active_instances"] == expected
        });
        let name = format!("windows of a {kind} whose instances are right");
        let all = published.len() as u64;
        rows.push(Row::exact(name, float(right.count() as u64), all));
        let found = published.values().filter(|row| row["active_instances"] != 0);
        let name = format!("windows of a {kind} that have instances");
        rows.push(Row::exact(name, float(found.count() as u64), own.len() as u64));
    }
    let answer = machine.get(&format!("/stats/cohorts?since={since}&until={until}")).await;
    let published: BTreeMap<(Date, u64), &Value> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ((date(&row["week"]), row["later_weeks"].as_u64().unwrap()), row))
        .collect();
    let right = published.iter().filter(|(pair, row)| {
        let expected = expected.cohorts.get(pair).copied().unwrap_or_default();
        row["complete"] == true && row["instances"] == expected
    });
    let name = "pairs of weeks (cohort, and a week from there) whose instances are right";
    rows.push(Row::exact(name, float(right.count() as u64), published.len() as u64));
    let found = published.values().filter(|row| row["instances"] != 0);
    let name = "pairs of weeks that have instances";
    rows.push(Row::exact(name, float(found.count() as u64), expected.cohorts.len() as u64));
    rows
}

/// First day of each version, and the time until half of the active instances ran it.
pub async fn adoption(machine: &Machine, truth: &Truth) -> Vec<Row> {
    let answer = machine.get("/stats/adoption").await;
    let published = |version: &str, field: &str| -> Option<i64> {
        let row = answer.as_array().unwrap().iter().find(|row| row["version"] == version)?;
        let time: Timestamp = row.get(field)?.as_str()?.parse().unwrap();
        Some(time.as_millisecond())
    };
    let within = |published: Option<i64>, [earliest, latest]: Moments| match published {
        Some(time) => {
            earliest.is_some_and(|earliest| earliest <= time)
                && latest.is_none_or(|latest| time <= latest)
        }
        None => latest.is_none(),
    };
    let (mut first_days, mut halves, mut all, mut rows) = (0, 0, 0, Vec::new());
    for (version, first, half) in truth.adoption.versions().filter(|own| own.0 != "unknown") {
        let first = first.map(|day| day.map(|day| day * DAY));
        let half = half.map(|hour| hour.map(|hour| hour * HOUR));
        let found = (published(version, "first_day"), published(version, "half_at"));
        all += 1;
        first_days += u64::from(within(found.0, first));
        halves += u64::from(within(found.1, half));
        if let (Some(day), Some(at)) = found {
            let hours = |time: i64| float(time.unsigned_abs() / HOUR.unsigned_abs());
            let tolerance = match half {
                [Some(earliest), Some(latest)] if first[0] == first[1] && earliest == latest => {
                    Tolerance::Exact
                }
                [Some(earliest), latest] => Tolerance::Within(
                    hours(earliest - first[1].unwrap_or(day)),
                    latest.map_or(f64::INFINITY, |latest| hours(latest - first[0].unwrap())),
                ),
                _ => Tolerance::Exact,
            };
            rows.push(Row {
                name: format!("hours from the first day of {version} until half ran it"),
                published: hours(at - day),
                truth: half[0].zip(first[0]).map_or(0.0, |(half, first)| hours(half - first)),
                tolerance,
            });
        }
    }
    let name = "versions whose first day is right";
    rows.push(Row::exact(name, float(first_days), all));
    let name = "versions of which the hour is right at which half ran them, or that it never came";
    rows.push(Row::exact(name, float(halves), all));
    rows
}

/// Time in which the server was down.
pub async fn outages(machine: &Machine, from: i64) -> Vec<Row> {
    let down = down(from, (machine.now() - from) / DAY);
    let seconds = |begin: i64, end: i64| {
        let within = down.iter().map(|outage| outage.within(begin, end));
        within.sum::<u64>() / SECOND.unsigned_abs()
    };
    let mut rows = vec![Row::exact(
        "`telemetry_outage_seconds_total`",
        machine.metric("telemetry_outage_seconds_total").await,
        seconds(from, machine.now()),
    )];
    let (first, last) = (
        from.div_euclid(HOUR),
        from.div_euclid(HOUR) + HOURS_AT_A_TIME.min((machine.now() - from) / HOUR) - 1,
    );
    let path =
        format!("/stats/timeseries?interval=hour&since={}&until={}", time(first), time(last));
    let answer = machine.get(&path).await;
    let hours = (first..).zip(answer.as_array().unwrap());
    let right = hours
        .filter(|(hour, row)| row["outage_seconds"] == seconds(hour * HOUR, (hour + 1) * HOUR));
    let name = "hours whose seconds of outages are right";
    rows.push(Row::exact(name, float(right.count() as u64), (last - first + 1).unsigned_abs()));
    rows
}
