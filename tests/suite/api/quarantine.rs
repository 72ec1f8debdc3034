//! Reports that went in can be taken out, and put back.

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    domain::{Dimension, Hour, InstanceId, Report, ReportBody, ReportKind, Selection, Value},
    storage::{Database, Writer},
};
use proptest::{collection::vec, prelude::*};
use serde_json::json;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{
    App, BEGIN, binary, execute,
    properties::{cases, run},
    report,
};

/// A report of few instances, architectures and systems, one of which counts as `other`.
#[derive(Debug, Clone, Copy)]
struct Sent {
    instance: u8,
    arm: bool,
    odd: bool,
    heartbeat: bool,
    startup_ms: i64,
}

impl Sent {
    fn report(self) -> Report {
        let text = |text: &str| Some(text.to_owned());
        let body = ReportBody {
            instance_id: Some(id(self.instance)),
            architecture: text(if self.arm { "aarch64" } else { "x86_64" }),
            // Two instances are no proof.
            os: text(if self.odd && self.instance < 2 { "templeos" } else { "linux" }),
            event: text(if self.heartbeat { "heartbeat" } else { "start" }),
            startup_time_ms: Some(self.startup_ms),
            ..ReportBody::default()
        };
        body.into_report().unwrap()
    }
}

fn id(instance: u8) -> String {
    format!("{:032x}", u32::from(instance) + 0xabcd)
}

#[derive(Debug, Clone)]
enum Event {
    Report(Sent),
    Pass(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let sent = (0..4u8, any::<bool>(), any::<bool>(), any::<bool>(), 0..9000i64).prop_map(
        |(instance, arm, odd, heartbeat, startup_ms)| {
            Event::Report(Sent { instance, arm, odd, heartbeat, startup_ms })
        },
    );
    let minutes = prop_oneof![4 => 1..50i64, 4 => 50..3000i64, 1 => 3000..80_000i64];
    prop_oneof![3 => sent, 2 => minutes.prop_map(Event::Pass)]
}

/// Instance, values, kind, and the first and the last hour around the last event.
type Chosen =
    (Option<u8>, Vec<(Dimension, &'static str)>, Option<ReportKind>, Option<i64>, Option<i64>);

/// A selection by any combination.
fn selection() -> impl Strategy<Value = Chosen> {
    let values = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec![(Dimension::Architecture, "aarch64")]),
        1 => Just(vec![(Dimension::Os, "templeos")]),
        1 => Just(vec![(Dimension::Os, "TempleOS"), (Dimension::Architecture, "arm64")]),
    ];
    (
        prop::option::of(0..4u8),
        values,
        prop::option::weighted(
            0.2,
            prop_oneof![Just(ReportKind::Start), Just(ReportKind::Heartbeat)],
        ),
        prop::option::weighted(0.3, -100..0i64),
        prop::option::weighted(0.3, -50..50i64),
    )
}

/// A database as a server fills it.
struct Server {
    folder: TempDir,
    database: Database,
    writer: Writer,
}

impl Server {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let writer = database.writer();
        Self { folder, database, writer }
    }

    async fn send(&mut self, now: Timestamp, sent: Sent) {
        self.writer.close_hours(now).await.unwrap();
        self.writer.store(now, &[sent.report()]).await.unwrap();
        // Blocks of numbers are full after three reports, and have lists then.
        let skip = "UPDATE sqlite_sequence SET seq = seq + 1500 WHERE name = 'reports'";
        execute(self.database.path(), skip).await;
        self.writer.index(now).await.unwrap();
    }

    async fn carry_out(&mut self, now: Timestamp) {
        let orders = self.writer.orders().await.unwrap();
        assert!(!orders.is_empty());
        self.writer.read_set_aside().await.unwrap();
        self.writer.index_all().await.unwrap();
        self.database.clone().carry_out(Hour::of(now), &orders).await.unwrap().unwrap();
        self.database.clone().recount_calendar().await.unwrap();
        assert!(!self.database.has_calendar_recounts().await.unwrap());
        self.writer.forget_hours(now);
        self.writer.read_set_aside().await.unwrap();
        assert!(self.writer.orders().await.unwrap().is_empty());
    }

    /// All that answers are made of, by names instead of numbers.
    async fn state(&mut self, now: Timestamp) -> Vec<String> {
        self.writer.close_hours(now).await.unwrap();
        let verdict = self.database.verify(now).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
        let file = self.folder.path().join("telemetry.db");
        let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
        sqlx::query_scalar(include_str!("quarantine_state.sql"))
            .fetch_all(&mut connection)
            .await
            .unwrap()
    }
}

#[derive(Debug, Clone)]
struct Case {
    before: Vec<Event>,
    selection: Selection,
    future: bool,
    between: Vec<Event>,
    after: Vec<Event>,
}

/// A server whose reports are quarantined for a while, beside one that never gets them and one that keeps them.
async fn follow(case: Case) -> Result<(), TestCaseError> {
    let mut now: Timestamp = BEGIN.parse().unwrap();
    let (mut subject, mut without, mut with) =
        (Server::start().await, Server::start().await, Server::start().await);
    let Case { before, selection, future, between, after } = case;
    let ends = before.iter().map(|event| match event {
        Event::Pass(minutes) => SignedDuration::from_mins(*minutes),
        Event::Report(_) => SignedDuration::ZERO,
    });
    let end = ends.fold(now, |time, passed| time + passed);
    let hours = |time: Option<Timestamp>| {
        time.map(|time| end + SignedDuration::from_millis(time.as_millisecond()))
    };
    let selection =
        Selection { from: hours(selection.from), until: hours(selection.until), ..selection };
    for (number, events) in [before, between, after].into_iter().enumerate() {
        for event in events {
            match event {
                Event::Pass(minutes) => now += SignedDuration::from_mins(minutes),
                Event::Report(sent) => {
                    subject.send(now, sent).await;
                    with.send(now, sent).await;
                    let taken = selection.has(&sent.report(), now.as_millisecond());
                    match number {
                        0 if taken => {}
                        1 if taken && future => {}
                        2 => {}
                        _ => without.send(now, sent).await,
                    }
                }
            }
        }
        match number {
            0 => {
                subject.writer.order_quarantine(now, &selection, future).await.unwrap();
                subject.carry_out(now).await;
                prop_assert_eq!(subject.state(now).await, without.state(now).await);
            }
            1 => {
                prop_assert_eq!(subject.state(now).await, without.state(now).await);
                let id = subject.writer.quarantines().await.unwrap()[0].id;
                prop_assert!(subject.writer.order_lift(id).await.unwrap());
                subject.carry_out(now).await;
                prop_assert_eq!(subject.state(now).await, with.state(now).await);
            }
            _ => prop_assert_eq!(subject.state(now).await, with.state(now).await),
        }
    }
    Ok(())
}

fn case() -> impl Strategy<Value = Case> {
    (vec(event(), 1..14), selection(), any::<bool>(), vec(event(), 0..8), vec(event(), 0..4))
        .prop_map(|(before, (instance, values, kind, from, until), future, between, after)| Case {
            before,
            selection: Selection {
                instance: instance.map(|instance| InstanceId::parse(id(instance)).unwrap()),
                values: values
                    .into_iter()
                    .map(|(name, value)| (name, Value::parse(name, Some(value.into())).unwrap()))
                    .collect(),
                kind,
                from: from.map(hours_from_epoch),
                until: until.map(hours_from_epoch),
            },
            future,
            between,
            after,
        })
}

fn hours_from_epoch(hours: i64) -> Timestamp {
    Timestamp::from_second(hours * 3600).unwrap()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_quarantine_counts_as_if_its_reports_had_never_come_and_its_lift_as_if_they_had_stayed(
        case in case(),
    ) {
        run(follow(case))?;
    }
}

/// The exit code of a command and what it prints.
fn command(app: &App, arguments: &[&str]) -> (bool, String) {
    let url = format!("sqlite://{}", app.database.path().display());
    let output = binary().args(arguments).env("DATABASE_URL", url).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.success(), said.concat())
}

/// A spammer's reports are found by what they state, taken out beside the server, and so are later ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_quarantined_beside_the_server() {
    let app = App::start().await;
    app.report(&report("real", json!({}))).await;
    let flood = |number: u32| {
        report(&format!("spam{number}"), json!({"os": "SpamOS", "db_type": format!("db{number}")}))
    };
    for number in 0..3 {
        app.report(&flood(number)).await;
    }
    let spam = ["quarantine", "--value", "os=spamos", "--future"];
    insta::assert_snapshot!("quarantine_previewed", command(&app, &spam).1);
    assert_eq!(app.json("/metrics").await["total_deployments"], 4);
    let (done, said) = command(&app, &[&spam[..], &["--apply"]].concat());
    assert!(done && said.ends_with("quarantine 1: its reports are out of the numbers\n"), "{said}");
    let metrics = app.json("/metrics").await;
    assert_eq!(
        (&metrics["total_deployments"], &metrics["unique_instances"]),
        (&json!(1), &json!(1))
    );

    // The clock of the command is another one than that of this server.
    let (_, listed) = command(&app, &["quarantine", "list"]);
    assert!(listed.contains("active          3  --value os=spamos --future"), "{listed}");
    app.report(&flood(4)).await;
    app.report(&report("real", json!({}))).await;
    let metrics = app.json("/metrics").await;
    assert_eq!(
        (&metrics["total_deployments"], &metrics["unique_instances"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(app.json("/stats/os").await, json!([{"os": "linux", "count": 2}]));
    let (clean, said) = command(&app, &["verify"]);
    assert!(clean, "{said}");

    let (done, said) = command(&app, &["quarantine", "lift", "1"]);
    assert!(done && said == "quarantine 1 is lifted: its reports count again\n", "{said}");
    let metrics = app.json("/metrics").await;
    assert_eq!(
        (&metrics["total_deployments"], &metrics["unique_instances"]),
        (&json!(6), &json!(5))
    );
    let (clean, said) = command(&app, &["verify"]);
    assert!(clean, "{said}");
    let (done, said) = command(&app, &["quarantine", "lift", "1"]);
    assert!(!done && said == "error: there is no quarantine 1\n", "{said}");
    let (done, said) = command(&app, &["quarantine"]);
    assert!(!done && said.starts_with("error: state which reports"), "{said}");
}

/// Some days of reports.
async fn filled(server: &mut Server, begin: Timestamp) -> Timestamp {
    let mut now = begin;
    for number in 0..60_u8 {
        let sent = Sent {
            instance: number % 4,
            arm: number % 3 == 0,
            odd: number % 2 == 0,
            heartbeat: number % 5 == 0,
            startup_ms: i64::from(number) * 100,
        };
        server.send(now, sent).await;
        now += SignedDuration::from_mins(i64::from(number) * 11);
    }
    now
}

#[tokio::test]
async fn a_repair_makes_everything_anew_that_is_derived() {
    let mut server = Server::start().await;
    let now = filled(&mut server, BEGIN.parse().unwrap()).await;
    let right = server.state(now).await;
    let file = server.folder.path().join("telemetry.db");
    let damage = SqliteConnectOptions::new().filename(file).foreign_keys(false);
    let mut damage = damage.connect().await.unwrap();
    for wrong in [
        "UPDATE rollups SET starts = starts + 2 WHERE span = 1",
        "UPDATE rollups SET first_report = first_report + 1",
        "DELETE FROM rollups WHERE span <> 1",
        "INSERT INTO rollups VALUES (24, 24, 1, 1, 1, 1, 1)",
        "UPDATE startup_times SET sum_ms = 2 WHERE span = 0",
        "DELETE FROM startup_times",
        "DELETE FROM report_lists WHERE block % 2 = 0",
        "UPDATE OR REPLACE report_lists SET profile = 1",
        "UPDATE report_lists SET reports = x'ff'",
        "DELETE FROM report_blocks",
        "UPDATE report_blocks SET first_hour = last_hour + 1000, last_hour = 1000000",
        "UPDATE instances SET reports = 2, last_seen = last_seen - 100000, profile = 1",
        "DELETE FROM instances WHERE hex(id) LIKE '%D'",
        "INSERT INTO instances VALUES (x'00616263', 1, 1, 1, 1, 1)",
        "UPDATE totals SET instances = 9, returning_instances = 7",
        "DELETE FROM activity",
        "UPDATE activity SET instances = instances + 1",
        "DELETE FROM snapshots WHERE hour % 2 = 0",
        "UPDATE snapshots SET active = '[]'",
    ] {
        sqlx::raw_sql(wrong).execute(&mut damage).await.unwrap();
        let verdict = server.database.verify(now).await.unwrap();
        // No verification reads the snapshots.
        assert_eq!(verdict.is_clean(), wrong.contains("snapshots"), "{wrong}: {verdict:?}");
        server.writer.order_repair().await.unwrap();
        server.carry_out(now).await;
        assert_eq!(server.state(now).await, right, "{wrong}");
    }
}

/// Reports that counted as `other` count as if their value had had its label from the beginning.
#[tokio::test]
async fn a_repair_decides_labels_anew() {
    let (mut server, mut early) = (Server::start().await, Server::start().await);
    let begin = BEGIN.parse().unwrap();
    let templeos = Value::parse(Dimension::Os, Some("templeos".into())).unwrap();
    early.writer.accept_value(Dimension::Os, &templeos).await.unwrap();
    let now = filled(&mut server, begin).await;
    filled(&mut early, begin).await;
    server.writer.accept_value(Dimension::Os, &templeos).await.unwrap();
    let order = server.writer.order_repair().await.unwrap();
    server.carry_out(now).await;
    assert_eq!(server.state(now).await, early.state(now).await);
    let (relabelled, _) = server.writer.repaired(order).await.unwrap().unwrap();
    assert_eq!(relabelled, 15);
}

/// Counts of pruned reports move by value and time, and come back.
#[tokio::test]
async fn counts_of_pruned_reports_are_quarantined_too() {
    let mut server = Server::start().await;
    let now = filled(&mut server, BEGIN.parse().unwrap()).await;
    server.state(now).await;
    let cutoff = BEGIN.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(100);
    while server.writer.prune(cutoff).await.unwrap() > 0 {}
    let counted = |state: Vec<String>| -> Vec<String> {
        // Active instances of the past cannot be made anew from what is pruned.
        state.into_iter().filter(|line| !line.starts_with("snapshot")).collect()
    };
    let before = counted(server.state(now).await);
    let arm = Value::parse(Dimension::Architecture, Some("aarch64".into())).unwrap();
    let selections = [
        Selection { values: vec![(Dimension::Architecture, arm)], ..Selection::default() },
        Selection { kind: Some(ReportKind::Start), ..Selection::default() },
        Selection { until: Some(cutoff), ..Selection::default() },
        Selection { instance: InstanceId::parse(id(2)), ..Selection::default() },
    ];
    for (number, selection) in (1..).zip(selections) {
        server.writer.order_quarantine(now, &selection, false).await.unwrap();
        server.carry_out(now).await;
        let without = counted(server.state(now).await);
        let totals = |line: &&String| line.starts_with("count 0 0");
        let left: Vec<_> = without.iter().filter(totals).collect();
        match number {
            1 => assert!(left.iter().all(|line| line.contains("x86_64")), "{left:?}"),
            2 => assert!(left.iter().all(|line| line.contains(" 0 ")), "{left:?}"),
            _ => assert_ne!(without, before),
        }
        assert!(server.writer.order_lift(number).await.unwrap());
        server.carry_out(now).await;
        assert_eq!(counted(server.state(now).await), before, "{number}");
    }
}
