//! A made-up world: deployments, their clients and the networks between them and the server. It is pure:
//! the same settings give the same reports. The truth about it is counted beside.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use jiff::Timestamp;
use mattermost_telemetry::{
    domain::{Dimension, Profile, Report, ReportKind, UNKNOWN, Value},
    simulation::{Clients, Fleet, Random, Sender, Settings},
};

use super::{
    plan::Outage,
    truth::{Client, Id, Sent, Truth},
};
use crate::support::milliseconds::{DAY, HOUR, SECOND};

/// Releases among the values of the flood: more than may have a label.
pub const FLOOD_RELEASES: usize = 1_100;
/// The operating system that all of its reports state.
pub const FLOOD_OS: &str = "floodos";
/// Pause of the shell client before it sends again, and time after which it gives up.
const LONGEST_PAUSE: i64 = HOUR;
const GIVES_UP: i64 = 47 * HOUR;

/// Rates, of a thousand.
const LOST: i64 = 3;
const HELD_UP: i64 = 15;
const REPEATED: i64 = 30;
const COPIED: i64 = 8;
const STEPPED: i64 = 30;

/// A report on its way.
#[derive(Debug, Clone)]
struct Message {
    sender: u32,
    instance: String,
    body: String,
    sent: Sent,
    /// True once it was stored.
    stored: bool,
    gives_up_at: i64,
}

/// Bodies that are sent together. Those of one number are sent in their order.
pub type Bodies = Vec<(usize, String)>;

pub struct World {
    fleet: Fleet,
    next: Option<(Sender, Timestamp, Report)>,
    until: i64,
    /// Length of a slot, whose reports are sent together, at its middle.
    slot: i64,
    outage: Outage,
    random: Random,
    /// Messages that are sent later, by time and number.
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    messages: HashMap<u64, Message>,
    numbers: u64,
    /// Messages of shell clients that were not taken yet: each waits for its one.
    undelivered: HashMap<u32, u64>,
    /// Ids of the deployments that keep one.
    ids: HashMap<u32, (usize, String)>,
    /// Deployment of the shell client whose volume is copied next.
    volume: Option<u32>,
    pub truth: Truth,
}

impl World {
    pub fn new(settings: Settings, slot: i64, outage: Outage) -> Self {
        assert_eq!(settings.clients, Clients::Mixed);
        let mut fleet = Fleet::new(settings);
        let next = fleet.next_sent();
        Self {
            fleet,
            next,
            until: settings.until.as_millisecond(),
            slot,
            outage,
            random: Random::new(settings.seed + (1 << 32)),
            queue: BinaryHeap::new(),
            messages: HashMap::new(),
            numbers: 0,
            undelivered: HashMap::new(),
            ids: HashMap::new(),
            volume: None,
            truth: Truth::default(),
        }
    }

    /// Time of the next slot in which something happens.
    pub fn next_slot(&self) -> Option<i64> {
        Some(self.next_time()?.div_euclid(self.slot) * self.slot + self.slot / 2)
    }

    /// The bodies that are sent in the slot at a time.
    pub fn slot(&mut self, at: i64) -> Bodies {
        let mut bodies = Vec::new();
        while let Some(time) = self.next_time().filter(|time| *time < at + self.slot / 2) {
            if let Some(Reverse((sent_at, number))) = self.queue.peek().copied()
                && sent_at == time
            {
                self.queue.pop();
                if let Some(message) = self.messages.remove(&number) {
                    if self.undelivered.get(&message.sender) == Some(&number) {
                        self.undelivered.remove(&message.sender);
                    }
                    self.send(time, at, message, &mut bodies);
                }
            } else if let Some((sender, _, report)) = self.next.take() {
                self.next = self.fleet.next_sent();
                self.happen(time, at, sender, &report, &mut bodies);
            }
        }
        bodies
    }

    fn next_time(&self) -> Option<i64> {
        let sent = self.queue.peek().map(|Reverse((at, _))| *at);
        let made = self.next.as_ref().map(|(_, at, _)| at.as_millisecond());
        [sent, made].into_iter().flatten().min().filter(|time| *time < self.until)
    }

    /// A deployment starts, or is due to send a heartbeat.
    fn happen(&mut self, time: i64, at: i64, sender: Sender, report: &Report, bodies: &mut Bodies) {
        let client = match sender {
            Sender { sends_heartbeats: true, .. } => Client::Shell,
            Sender { keeps_id: true, .. } => Client::Keeper,
            Sender { .. } => Client::Stock,
        };
        let is_start = report.kind == ReportKind::Start;
        self.truth.sign(sender.number, client, time);
        self.truth.happened += u64::from(is_start);
        if client == Client::Shell {
            if !is_start && self.undelivered.contains_key(&sender.number) {
                return; // It waits until its last report is taken.
            }
            if let Some(number) = self.undelivered.remove(&sender.number)
                && let Some(message) = self.messages.remove(&number)
            {
                self.truth.lost.container_stopped += u64::from(message.sent.is_start);
            }
        } else if self.outage.covers(time) {
            self.truth.lost.in_outage += 1;
            return;
        } else if self.random.chance(LOST) {
            self.truth.lost.in_network += 1;
            return;
        }
        let message = self.message(time, sender, client, report);
        if client == Client::Shell && self.random.chance(HELD_UP) {
            let longest = self.random.pick(&[(90, HOUR), (10, 44 * HOUR)]);
            let later = time + self.random.between(30 * SECOND, longest);
            self.send_later(later, message);
        } else {
            self.send(time, at, message, bodies);
        }
    }

    fn message(&mut self, time: i64, sender: Sender, client: Client, report: &Report) -> Message {
        let (id, instance) = match client {
            Client::Stock => (Id::Once, report.instance_id.to_string()),
            Client::Keeper | Client::Shell => self.kept_id(sender.number, client, report),
        };
        let is_start = report.kind == ReportKind::Start;
        // The clock of the client's machine steps while it starts.
        let stepped = client == Client::Keeper && self.random.chance(STEPPED);
        let startup_ms = match client {
            Client::Stock => 0,
            Client::Keeper if stepped => -3 * HOUR,
            Client::Keeper | Client::Shell => report.startup_ms.unwrap_or_default(),
        };
        let value = |dimension| report.profile.get(dimension).to_string();
        let mut profile = report.profile.clone();
        if client == Client::Keeper {
            profile = with_format(&profile, "1.0");
        }
        let mut body = format!(
            r#"{{"instance_id":"{instance}","image_version":"{}","architecture":"{}","os":"Linux","db_type":"{}","telemetry_version":"{}""#,
            // As an image's variable has it.
            value(Dimension::ImageVersion).trim_start_matches('v'),
            value(Dimension::Architecture),
            value(Dimension::DbType),
            &**profile.get(Dimension::TelemetryVersion),
        );
        let runtime = value(Dimension::ContainerRuntime);
        let empty = client != Client::Shell && runtime == UNKNOWN;
        let runtime = if empty { "" } else { &runtime };
        body += &format!(r#","container_runtime":"{runtime}""#);
        match client {
            Client::Stock => body += r#","startup_time_ms":0"#,
            Client::Keeper => {
                let timestamp = self.client_clock(time);
                body += &format!(r#","startup_time_ms":{startup_ms},"timestamp":{timestamp}"#);
            }
            Client::Shell => {
                let event = if is_start { "start" } else { "heartbeat" };
                let report_id = self.random.id();
                body += &format!(r#","event":"{event}","report_id":"{report_id:032x}""#);
                if is_start {
                    body += &format!(r#","startup_time_ms":{startup_ms}"#);
                }
            }
        }
        body.push('}');
        let sent = Sent {
            id,
            is_start,
            startup_ms: (is_start && startup_ms > 0).then_some(startup_ms),
            profile,
            happened_at: time,
        };
        let gives_up_at = time + GIVES_UP;
        Message { sender: sender.number, instance, body, sent, stored: false, gives_up_at }
    }

    /// The id of a deployment that keeps one: its own, or that of a volume that it was copied from.
    fn kept_id(&mut self, number: u32, client: Client, report: &Report) -> (Id, String) {
        if !self.ids.contains_key(&number) {
            let mut new = None;
            if client == Client::Shell {
                if self.random.chance(COPIED)
                    && let Some(original) = self.volume.take()
                {
                    let notices = self.random.chance(500);
                    self.truth.copied.0 += 1;
                    self.truth.copied.1 += u64::from(notices);
                    new = (!notices).then(|| self.ids[&original].clone());
                }
                self.volume = Some(number);
            }
            let new = new.unwrap_or_else(|| (self.truth.keep_id(), report.instance_id.to_string()));
            self.ids.insert(number, new);
        }
        let (place, instance) = &self.ids[&number];
        (Id::Kept(*place), instance.clone())
    }

    /// The time as the clock of a client's machine shows it, or something else.
    fn client_clock(&mut self, time: i64) -> String {
        let shown = |time| Timestamp::from_millisecond(time).unwrap().to_string();
        match self.random.pick(&[(80, 0), (8, 1), (6, 2), (3, 3), (3, 4)]) {
            0 => format!("{:?}", shown(time)),
            1 => format!("{:?}", shown(time - 56 * 365 * DAY)),
            2 => format!("{:?}", shown(time + 400 * DAY)),
            3 => (time / SECOND).to_string(),
            _ => "\"\"".to_owned(),
        }
    }

    /// Sends a message, which is stored if the server is there.
    fn send(&mut self, time: i64, at: i64, mut message: Message, bodies: &mut Bodies) {
        if self.outage.covers(time) {
            let again = time + self.random.between(LONGEST_PAUSE / 2, LONGEST_PAUSE);
            if message.stored {
                return;
            }
            if again < message.gives_up_at {
                self.send_later(again, message);
            } else {
                self.truth.lost.given_up += u64::from(message.sent.is_start);
            }
            return;
        }
        let lane = match message.sent.id {
            Id::Kept(place) => place,
            Id::Once => bodies.len(),
        };
        bodies.push((lane, message.body.clone()));
        if message.stored {
            self.truth.repeated += 1;
            return;
        }
        self.truth.arrive(at, &message.sent, &message.instance);
        // The answer is lost.
        if message.body.contains("report_id") && self.random.chance(REPEATED) {
            message.stored = true;
            let times = self.random.between(1, 4);
            for _ in 0..times {
                let later = time + self.random.between(15 * SECOND, LONGEST_PAUSE);
                self.numbers += 1;
                self.queue.push(Reverse((later, self.numbers)));
                self.messages.insert(self.numbers, message.clone());
            }
        }
    }

    fn send_later(&mut self, time: i64, message: Message) {
        self.numbers += 1;
        self.undelivered.insert(message.sender, self.numbers);
        self.queue.push(Reverse((time, self.numbers)));
        self.messages.insert(self.numbers, message);
    }

    /// Reports with made-up ids and another made-up value in each field but one, by which they can be told.
    pub fn flood(&mut self, at: i64, reports: usize) -> Bodies {
        self.truth.flood(at, reports as u64, reports.min(FLOOD_RELEASES));
        let body = |number: usize| {
            let version = if number < FLOOD_RELEASES {
                format!("v{}.{}.7", 200 + number / 500, number % 500)
            } else {
                format!("build-{number}")
            };
            format!(
                r#"{{"instance_id":"{:032x}","image_version":"{version}","architecture":"machine{number}","os":"{FLOOD_OS}","container_runtime":"runtime{number}","db_type":"database{number}","telemetry_version":"{number}.{number}.0"}}"#,
                self.random.id()
            )
        };
        (0..reports).map(body).enumerate().collect()
    }
}

/// A profile with another version of the report's format.
fn with_format(profile: &Profile, format: &str) -> Profile {
    Profile::new(|dimension| match dimension {
        Dimension::TelemetryVersion => {
            Value::parse(dimension, Some(format.to_owned())).unwrap_or_else(Value::unknown)
        }
        other => profile.get(other).clone(),
    })
}
