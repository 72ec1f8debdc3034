//! The truth about a world, counted as its reports are made and as they arrive. The rules are those of
//! docs/counting.md, written anew: nothing here is the server's code.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use mattermost_telemetry::domain::{Dimension, Profile, Value};

use super::{adoption::Adoption, calendar::Calendar, labels::Labels};
use crate::support::milliseconds::{DAY, HOUR};

/// Windows, in hours.
const WINDOWS: [i64; 3] = [24, 7 * 24, 30 * 24];

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// A new id at each start; sends once.
    Stock,
    /// Keeps its id, and sends starts only, once each.
    Keeper,
    /// The shell client: keeps its id, sends heartbeats, and sends again what was not taken.
    Shell,
}

/// Id of a report's instance.
#[derive(Debug, Clone, Copy)]
pub enum Id {
    /// One that was kept: its place among these.
    Kept(usize),
    /// One that no other report has.
    Once,
}

/// A report as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: Id,
    pub is_start: bool,
    /// Startup time, where one was measured.
    pub startup_ms: Option<i64>,
    pub profile: Profile,
    pub happened_at: i64,
}

/// An id that is kept.
#[derive(Debug, Default)]
struct Kept {
    latest: Option<Latest>,
    /// Days on which it was seen.
    days: Vec<i64>,
}

/// The latest report of an id.
#[derive(Debug)]
struct Latest {
    hour: i64,
    architecture: Value,
    version: Value,
    /// True if it counts under its version for sure.
    labelled: bool,
}

/// Active and returning instances of each window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    pub active: [u64; 3],
    pub returning: [u64; 3],
}

/// Counts of instances at one moment.
#[derive(Debug, Clone, Default)]
pub struct Instances {
    pub all: u64,
    pub returning: u64,
    pub active: Activity,
    pub by_architecture: BTreeMap<String, Activity>,
}

impl Instances {
    /// Adds some that were seen in an earlier hour than the present one.
    fn add(&mut self, hour: i64, seen: i64, architecture: &str, count: u64, returning: bool) {
        self.all += count;
        self.returning += if returning { count } else { 0 };
        if seen < hour - WINDOWS[2] {
            return;
        }
        if !self.by_architecture.contains_key(architecture) {
            self.by_architecture.insert(architecture.to_owned(), Activity::default());
        }
        let own = self.by_architecture.get_mut(architecture).unwrap();
        for activity in [own, &mut self.active] {
            for (place, window) in WINDOWS.iter().enumerate() {
                if seen >= hour - window {
                    activity.active[place] += count;
                    activity.returning[place] += if returning { count } else { 0 };
                }
            }
        }
    }
}

/// Starts that never arrived, by cause.
#[derive(Debug, Default)]
pub struct Lost {
    pub in_outage: u64,
    pub in_network: u64,
    pub given_up: u64,
    pub container_stopped: u64,
}

impl Lost {
    pub fn all(&self) -> u64 {
        self.in_outage + self.in_network + self.given_up + self.container_stopped
    }
}

/// Made-up reports, each an instance of its own, without a startup time.
#[derive(Debug, Clone, Copy)]
struct Flood {
    hour: i64,
    reports: u64,
    /// False while they are taken out.
    counts: bool,
}

/// All that is known about a world.
#[derive(Debug, Default)]
pub struct Truth {
    /// Starts and heartbeats that arrived, by hour, without the flood.
    starts: BTreeMap<i64, u64>,
    heartbeats: BTreeMap<i64, u64>,
    flood: Option<Flood>,
    /// Starts by dimension and value, without the flood.
    pub by_value: BTreeMap<(&'static str, String), u64>,
    /// Starts by startup time, of all and of each architecture.
    pub startup: BTreeMap<i64, u64>,
    pub startup_by_architecture: BTreeMap<String, BTreeMap<i64, u64>>,
    /// Instances at midnights, without the flood.
    midnights: BTreeMap<i64, Instances>,
    pub adoption: Adoption,
    /// Starts that happened, and what became of them.
    pub happened: u64,
    pub lost: Lost,
    /// Starts that arrived on a later day.
    pub late: u64,
    /// Reports that were sent again although they had been stored.
    pub repeated: u64,
    /// Shell clients of copied volumes, and those of them that noticed it.
    pub copied: (u64, u64),
    kept: Vec<Kept>,
    /// Ids that are used once, by hour and architecture.
    once: BTreeMap<i64, BTreeMap<String, u64>>,
    /// Client and latest sign of life of each deployment.
    deployments: HashMap<u32, (Client, i64)>,
    pub labels: Labels,
    passed: Option<i64>,
}

impl Truth {
    /// A new id that is kept.
    pub fn keep_id(&mut self) -> usize {
        self.kept.push(Kept::default());
        self.kept.len() - 1
    }

    /// A deployment starts, or is due to send a heartbeat.
    pub fn sign(&mut self, deployment: u32, client: Client, at: i64) {
        self.deployments.insert(deployment, (client, at.div_euclid(HOUR)));
    }

    /// A report arrives, for the first time. `instance` is its id.
    pub fn arrive(&mut self, at: i64, sent: &Sent, instance: &str) {
        self.pass_to(at);
        let (day, hour) = (at.div_euclid(DAY), at.div_euclid(HOUR));
        let value = |dimension| sent.profile.get(dimension).to_string();
        let version = sent.profile.get(Dimension::ImageVersion);
        let labelled = self.labels.see(version, instance, at, sent.is_start);
        self.adoption.add(hour, version, labelled, 1);
        if sent.is_start {
            self.adoption.start(day, version, labelled);
        }
        let architecture = sent.profile.get(Dimension::Architecture).clone();
        match sent.id {
            Id::Kept(place) => {
                let kept = &mut self.kept[place];
                if kept.days.last() != Some(&day) {
                    kept.days.push(day);
                }
                if let Some(Latest { hour, version, labelled, .. }) = &kept.latest {
                    self.adoption.remove(*hour, version, *labelled);
                }
                let architecture = architecture.clone();
                kept.latest =
                    Some(Latest { hour, architecture, version: version.clone(), labelled });
            }
            Id::Once => {
                let hours = self.once.entry(hour).or_default();
                *hours.entry(architecture.to_string()).or_default() += 1;
            }
        }
        if !sent.is_start {
            *self.heartbeats.entry(hour).or_default() += 1;
            return;
        }
        *self.starts.entry(hour).or_default() += 1;
        self.late += u64::from(sent.happened_at.div_euclid(DAY) < day);
        for dimension in Dimension::ALL {
            *self.by_value.entry((dimension.name(), value(dimension))).or_default() += 1;
        }
        if let Some(startup_ms) = sent.startup_ms {
            *self.startup.entry(startup_ms).or_default() += 1;
            let times = self.startup_by_architecture.entry(architecture.to_string()).or_default();
            *times.entry(startup_ms).or_default() += 1;
        }
    }

    /// Made-up reports arrive, each with an id and an architecture of its own, some with releases.
    pub fn flood(&mut self, at: i64, reports: u64, releases: usize) {
        self.pass_to(at);
        let hour = at.div_euclid(HOUR);
        self.flood = Some(Flood { hour, reports, counts: true });
        self.adoption.add(hour, "other", true, i64::try_from(reports).unwrap());
        self.labels.flood(releases);
    }

    /// The flood's reports are taken out, or put back. Adoption does not follow.
    pub fn count_flood(&mut self, counts: bool) {
        self.flood.as_mut().unwrap().counts = counts;
    }

    /// Hour and number of the flood's reports, while they count.
    fn counted_flood(&self) -> Option<(i64, u64)> {
        let flood = self.flood.filter(|flood| flood.counts);
        flood.map(|Flood { hour, reports, .. }| (hour, reports))
    }

    /// Reports of the flood that count.
    pub fn counted_in_flood(&self) -> u64 {
        self.counted_flood().map_or(0, |(_, reports)| reports)
    }

    /// Reports of the flood.
    pub fn made_up(&self) -> u64 {
        self.flood.map_or(0, |flood| flood.reports)
    }

    /// Starts of real clients that arrived.
    pub fn arrived(&self) -> u64 {
        self.starts.values().sum()
    }

    pub fn starts_in(&self, hours: Range<i64>) -> u64 {
        let flood = self.counted_flood().filter(|(hour, _)| hours.contains(hour));
        let own: u64 = self.starts.range(hours).map(|(_, count)| count).sum();
        own + flood.map_or(0, |(_, reports)| reports)
    }

    pub fn heartbeats_in(&self, hours: Range<i64>) -> u64 {
        self.heartbeats.range(hours).map(|(_, count)| count).sum()
    }

    /// Notes the instances of the midnights before a moment, and who ran which version until then.
    pub fn pass_to(&mut self, at: i64) {
        self.adoption.pass_to(at.div_euclid(HOUR));
        let day = at.div_euclid(DAY);
        let from = self.passed.replace(day).unwrap_or(day);
        for midnight in from + 1..=day {
            let instances = self.own_instances(midnight * 24);
            self.midnights.insert(midnight * 24, instances);
        }
    }

    /// Instances at a moment in an hour.
    pub fn instances(&self, hour: i64) -> Instances {
        self.with_flood(hour, self.own_instances(hour))
    }

    /// Instances at each midnight that passed.
    pub fn midnights(&self) -> impl Iterator<Item = (i64, Instances)> {
        self.midnights.iter().map(|(hour, own)| (*hour, self.with_flood(*hour, own.clone())))
    }

    fn with_flood(&self, hour: i64, mut instances: Instances) -> Instances {
        if let Some((seen, reports)) = self.counted_flood().filter(|(seen, _)| *seen < hour) {
            instances.add(hour, seen, "other", reports, false);
        }
        instances
    }

    fn own_instances(&self, hour: i64) -> Instances {
        let mut instances = Instances::default();
        for kept in &self.kept {
            if let Some(Latest { hour: seen, architecture, .. }) = &kept.latest {
                instances.add(hour, *seen, architecture, 1, kept.days.len() > 1);
            }
        }
        for (seen, architectures) in &self.once {
            for (name, count) in architectures {
                instances.add(hour, *seen, name, *count, false);
            }
        }
        instances
    }

    /// Windows of the calendar, and cohorts.
    pub fn calendar(&self) -> Calendar {
        let mut calendar = Calendar::default();
        self.kept.iter().for_each(|kept| calendar.add(&kept.days, 1));
        for (hour, architectures) in &self.once {
            calendar.add(&[hour.div_euclid(24)], architectures.values().sum());
        }
        if let Some((hour, reports)) = self.counted_flood() {
            calendar.add(&[hour.div_euclid(24)], reports);
        }
        calendar
    }

    /// Deployments of a client that gave a sign of life within each window before an hour.
    pub fn deployments(&self, client: Client, hour: i64) -> [u64; 3] {
        WINDOWS.map(|window| {
            let alive = self.deployments.values();
            let alive = alive.filter(|(own, seen)| *own == client && *seen >= hour - window);
            alive.count() as u64
        })
    }

    /// Number of deployments of a client.
    pub fn deployments_ever(&self, client: Client) -> u64 {
        self.deployments.values().filter(|(own, _)| *own == client).count() as u64
    }
}

/// The time that a share of the starts, in percent, did not exceed.
pub fn percentile(times: &BTreeMap<i64, u64>, percent: u64) -> i64 {
    let count: u64 = times.values().sum();
    let mut rank = (count * percent).div_ceil(100);
    for (&time, &starts) in times {
        if starts >= rank {
            return time;
        }
        rank -= starts;
    }
    0
}
