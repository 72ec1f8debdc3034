//! Three servers have parts of one fleet. Engines gather them, and answer as one server that has everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use mattermost_telemetry::{
    domain::{ReportBody, ReportKind},
    metrics::{Metrics, Sizes},
    simulation::{
        Clients, Fleet, Settings,
        panels::{Question, dashboards, questions, text},
    },
};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{interval, timeout};

use super::{
    engines::{Series, VictoriaMetrics, ask, configuration, prometheus, value},
    extrapolation::{bounds, with_growth},
    front::Front,
};
use crate::support::{App, binary, report};

/// Hours of the fleet, and those of them that are asked for.
const HOURS: i64 = 34;
const ASKED: i64 = 24;
const INSTALLATIONS: u32 = 400;
const ENGINES: usize = 2;
const TIME_LIMIT: Duration = Duration::from_secs(90);

struct World {
    /// Servers with a part of the fleet each.
    collectors: Vec<App>,
    /// The server that has everything.
    whole: App,
    fronts: Vec<Front>,
    metrics: Vec<Metrics>,
}

impl World {
    async fn start() -> Self {
        let (mut collectors, mut fronts, mut metrics) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let app = App::start().await;
            fronts.push(Front::start(app.address).await);
            collectors.push(app);
            metrics.push(Metrics::new());
        }
        Self { collectors, whole: App::start().await, fronts, metrics }
    }

    fn set(&self, now: Timestamp) {
        self.collectors.iter().chain([&self.whole]).for_each(|app| app.set(now));
    }

    async fn report(&self, collector: usize, body: &Value) {
        self.collectors[collector].report(body).await;
        self.whole.report(body).await;
    }

    /// The end of an hour: a heartbeat closes it, each server takes a sample of itself, and the engines scrape.
    async fn end_hour(&self, now: Timestamp) {
        self.set(now);
        for (number, app) in self.collectors.iter().enumerate() {
            let id = format!("keeper-{number}");
            self.report(number, &report(&id, json!({"event": "heartbeat"}))).await;
            let metrics = &self.metrics[number];
            let reports = (0..=number).map(|_| ReportKind::Start);
            metrics.committed(reports, Duration::from_millis(2 + number as u64));
            metrics.limited_client();
            metrics.rejected("malformed-json");
            let sizes =
                Sizes { queue: number + 1, database_bytes: 1000, log_bytes: 10, interrupted: 0 };
            let mut writer = app.database.writer();
            writer.record(now, &metrics.samples(sizes)).await.unwrap();
            writer.leave().await.unwrap();
        }
    }

    async fn shut(&self) -> Vec<impl Drop + use<>> {
        let mut shut = Vec::new();
        for front in &self.fronts {
            shut.push(front.shut().await);
        }
        shut
    }

    async fn scraped(&self) {
        for front in &self.fronts {
            front.scraped(ENGINES).await;
        }
    }

    /// The sum over servers is an upper bound of distinct instances.
    async fn an_instance_of_two_servers_counts_twice(&self, now: Timestamp, addresses: [&str; 2]) {
        let client = &self.whole.client;
        let shut = self.shut().await;
        self.set(now + 30.minutes());
        self.report(0, &report("traveller", json!({}))).await;
        self.report(1, &report("traveller", json!({}))).await;
        let end = now + 1.hours();
        self.end_hour(end).await;
        drop(shut);
        self.scraped().await;
        for address in addresses {
            let whole = self.whole.address.to_string();
            let distinct = value(client, &whole, "mattermost_instances", end.as_second()).await;
            let counted = async {
                let mut tick = interval(Duration::from_millis(100));
                let sum = async || {
                    value(client, address, "sum(mattermost_instances)", end.as_second()).await
                };
                while !near(sum().await, distinct + 1.0) {
                    tick.tick().await;
                }
            };
            timeout(TIME_LIMIT, counted).await.expect("the sum is not that of the servers");
        }
    }
}

/// The dashboards as the command writes them for an engine.
fn variant() -> Vec<Value> {
    let folder = TempDir::new().unwrap();
    let mut command = binary();
    let done = command.args(["grafana", "provision", "--collectors"]).arg(folder.path()).status();
    assert!(done.unwrap().success());
    let mut names: Vec<_> = std::fs::read_dir(folder.path().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
        .iter()
        .map(|name| serde_json::from_str(&std::fs::read_to_string(name).unwrap()).unwrap())
        .collect()
}

/// The values of both at the same times and labels, where one of them has no value as 0. Times at which a
/// growth or a gauge is asked for beyond the present are left out.
fn pairs(engine: &Series, server: &Series, until: i64) -> Vec<(f64, f64)> {
    let labels: BTreeSet<_> = engine.keys().chain(server.keys()).collect();
    let mut pairs = Vec::new();
    for labels in labels {
        let at = |series: &Series, time: i64| {
            series.get(labels).and_then(|values| values.get(&time)).copied().unwrap_or(0.0)
        };
        let times = [engine, server].into_iter().filter_map(|series| series.get(labels));
        let times: BTreeSet<i64> = times.flat_map(|values| values.keys().copied()).collect();
        for time in times.into_iter().filter(|time| *time <= until) {
            pairs.push((at(engine, time), at(server, time)));
        }
    }
    pairs
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// The pairs of a question. Of series with the same values `topk` may choose others, so that values alone are
/// compared.
fn compared(question: &Question, engine: &Series, server: &Series, until: i64) -> Vec<(f64, f64)> {
    if !question.expression.contains("topk(") {
        return pairs(engine, server, until);
    }
    let values = |series: &Series| {
        let mut values: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (time, value) in series.values().flatten().filter(|(time, _)| **time <= until) {
            values.entry(*time).or_default().push(*value);
        }
        values.values_mut().for_each(|values| values.sort_by(|a, b| b.total_cmp(a)));
        values
    };
    let (engine, server) = (values(engine), values(server));
    let times: BTreeSet<i64> = engine.keys().chain(server.keys()).copied().collect();
    let at = |values: &BTreeMap<i64, Vec<f64>>, time: i64, place: usize| {
        values.get(&time).and_then(|values| values.get(place)).copied().unwrap_or(0.0)
    };
    let mut pairs = Vec::new();
    for time in times {
        let count = [&engine, &server].map(|values| values.get(&time).map_or(0, Vec::len));
        for place in 0..count[0].max(count[1]) {
            pairs.push((at(&engine, time, place), at(&server, time, place)));
        }
    }
    pairs
}

/// True if the answer for several servers is the sum of the answers of each.
fn is_a_sum(expression: &str) -> bool {
    !expression.contains("histogram_quantile") && !expression.contains(" / ")
}

fn sum(servers: &[Series]) -> Series {
    let mut sum = Series::new();
    for (labels, values) in servers.iter().flatten() {
        let values_so_far = sum.entry(labels.clone()).or_default();
        for (time, value) in values {
            *values_so_far.entry(*time).or_default() += value;
        }
    }
    sum
}

/// True if each value lies between the least and the largest one of the servers.
fn lies_between(engine: &Series, servers: &[Series], until: i64) -> bool {
    let all = engine.values().flatten().filter(|(time, _)| **time <= until);
    all.into_iter().all(|(time, value)| {
        let own = servers.iter().flat_map(|series| series.values().filter_map(|at| at.get(time)));
        let own: Vec<f64> = own.copied().collect();
        let (least, most) =
            own.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        own.is_empty() || (least - 1e-9..=most + 1e-9).contains(value)
    })
}

/// Waits until an engine shows all that it has scraped at a time.
async fn shown(world: &World, address: &str, time: i64) {
    let scraped: usize = world.fronts.iter().map(Front::series).sum();
    let all = format!(
        "count({{__name__=~\"mattermost_.*|telemetry_.*\", collector!=\"\"}}) >= {scraped}"
    );
    let shows = async {
        let mut tick = interval(Duration::from_millis(100));
        while value(&world.whole.client, address, &all, time).await < 1.0 {
            tick.tick().await;
        }
    };
    assert!(scraped > 300, "{scraped}");
    timeout(TIME_LIMIT, shows)
        .await
        .unwrap_or_else(|_| panic!("{address} lacks some of {scraped} series at {time}"));
}

/// The questions of the dashboards of one server and of several, each beside the other.
fn both(now: i64, range: i64) -> Vec<(String, Question, Question)> {
    let mut found = Vec::new();
    for (plain, several) in dashboards().unwrap().iter().zip(variant()) {
        assert_eq!(text(plain, "uid"), text(&several, "uid"));
        let plain: Vec<Question> = questions(plain, now, range)
            .unwrap()
            .into_iter()
            .filter(|question| !question.expression.contains("mattermost_recent_start"))
            .collect();
        let several_questions = questions(&several, now, range).unwrap();
        assert_eq!(plain.len(), several_questions.len());
        for (plain, engine) in plain.into_iter().zip(several_questions) {
            assert_eq!((&plain.panel, &plain.target), (&engine.panel, &engine.target));
            found.push((text(&several, "uid").to_owned(), plain, engine));
        }
    }
    found
}

/// The values of each `increase` of a question, compared with their bounds.
#[derive(Default)]
struct Bounded {
    values: usize,
    above_growth: usize,
    wrong: Vec<String>,
}

impl Bounded {
    async fn of(client: &Client, address: &str, question: &Question, until: i64) -> Self {
        let mut bounded = Self::default();
        for [least, increase, most] in bounds(question) {
            let growth = ask(client, address, &least).await;
            let increase = ask(client, address, &increase).await;
            let limit = ask(client, address, &most).await;
            let below = pairs(&growth, &increase, until);
            bounded.values += below.len();
            bounded.above_growth += below.iter().filter(|(a, b)| !near(*a, *b)).count();
            for (a, b) in below.into_iter().chain(pairs(&increase, &limit, until)) {
                if a > b && !near(a, b) {
                    bounded.wrong.push(format!("an increase, {a} above {b}"));
                }
            }
        }
        bounded
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus and VictoriaMetrics; run it with: cargo test --test suite federation:: -- --ignored"]
async fn engines_answer_for_three_servers_as_one_that_has_everything() {
    let world = World::start().await;
    let begin: Timestamp = "2026-01-31T13:00:00Z".parse().unwrap();
    let until = begin + SignedDuration::from_hours(HOURS);
    let mut fleet = Fleet::new(Settings {
        installations: INSTALLATIONS,
        from: begin,
        until,
        seed: 1,
        clients: Clients::Mixed,
    });
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let shut = world.shut().await;
    let targets = [0, 1, 2].map(|number: usize| world.fronts[number].address);
    let config = configuration(targets);
    let client = world.whole.client.clone();
    let prometheus = prometheus(&folders[0], &config);
    let victoria = VictoriaMetrics::start(&folders[1], &config, &client).await;
    drop(shut);

    let mut next = fleet.next_sent();
    for hour in 1..=HOURS {
        let shut = world.shut().await;
        let end = begin + hour.hours();
        while let Some((sender, at, sent)) = next.take_if(|(_, at, _)| *at < end) {
            world.set(at);
            let body = ReportBody { timestamp: None, ..sent.into() };
            let collector = sender.number as usize % world.collectors.len();
            world.report(collector, &serde_json::to_value(body).unwrap()).await;
            next = fleet.next_sent();
        }
        world.end_hour(end).await;
        drop(shut);
        world.scraped().await;
    }
    let now = until.as_second();
    let victoria_address = victoria.address.to_string();
    for address in [&prometheus.address, &victoria_address] {
        shown(&world, address, now).await;
    }

    let (mut wrong, mut increases, mut extrapolated) = (Vec::new(), 0, 0);
    for (dashboard, plain, engine) in both(now, ASKED * 3600) {
        let last = now - if engine.expression.contains("offset -") { 3600 } else { 0 };
        let name = format!("{dashboard}: {} {}", engine.panel, engine.target);
        let found = ask(&client, &victoria_address, &engine).await;
        if dashboard == "mattermost-server" {
            // The server's own metrics are those of each collector alone, added up.
            let mut servers = Vec::new();
            for collector in ["a", "b", "c"] {
                let mut one = engine.clone();
                for (_, value) in one.form.iter_mut().filter(|(name, _)| *name == "query") {
                    let only = format!("collector=~\"{collector}\"");
                    *value = value.replace("collector=~\".*\"", &only);
                }
                servers.push(ask(&client, &victoria_address, &one).await);
            }
            let agree = if is_a_sum(&plain.expression) {
                pairs(&found, &sum(&servers), last).iter().all(|(a, b)| near(*a, *b))
            } else {
                lies_between(&found, &servers, last)
            };
            if !agree {
                wrong.push(format!("{name}: {found:?} of {servers:?}"));
            }
            continue;
        }
        let expected = ask(&client, &world.whole.address.to_string(), &plain).await;
        // VictoriaMetrics counts a new series from 0 unless it begins with a large value, as a sum of
        // seconds does.
        if !engine.expression.contains("_seconds_sum") {
            let pairs = compared(&engine, &found, &expected, last);
            let differ: Vec<_> = pairs.iter().filter(|(a, b)| !near(*a, *b)).collect();
            if !differ.is_empty() {
                wrong.push(format!("{name} on VictoriaMetrics: {differ:?}"));
            }
        }
        // On Prometheus its samples have what the server counts, and its `increase` is as far from that as it
        // extrapolates.
        let exact = with_growth(&engine);
        let found = ask(&client, &prometheus.address, &exact).await;
        let differ: Vec<_> = compared(&exact, &found, &expected, last)
            .into_iter()
            .filter(|(a, b)| !near(*a, *b))
            .collect();
        if !differ.is_empty() {
            wrong.push(format!("{name} on Prometheus: {differ:?}"));
        }
        let bounded = Bounded::of(&client, &prometheus.address, &engine, last).await;
        increases += bounded.values;
        extrapolated += bounded.above_growth;
        wrong.extend(bounded.wrong.iter().map(|wrong| format!("{name} on Prometheus: {wrong}")));
    }
    // Most series are older than the range: nothing is extrapolated then.
    assert!(0 < extrapolated && extrapolated < increases, "{extrapolated} of {increases}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let addresses = [&*prometheus.address, &*victoria_address];
    world.an_instance_of_two_servers_counts_twice(until, addresses).await;
}
