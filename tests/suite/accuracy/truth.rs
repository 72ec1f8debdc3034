//! The truth about a world, counted as its reports are made and as they arrive. The rules are those of
//! docs/counting.md, written anew: nothing here is the server's code.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use mattermost_telemetry::domain::{Dimension, Profile, Value, is_plausible_release};

use crate::support::milliseconds::{DAY, HOUR};

/// Windows, in hours.
const WINDOWS: [i64; 3] = [24, 7 * 24, 30 * 24];
/// Releases that may have a label at a time.
const RELEASES: usize = 1000;

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
    /// The day, hour and architecture of its latest report, if there is one.
    latest: Option<(i64, i64, Value)>,
    days: u32,
}

/// Active and returning instances of each window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    pub active: [u64; 3],
    pub returning: [u64; 3],
}

/// Counts of instances at one moment.
#[derive(Debug, Default)]
pub struct Instances {
    pub all: u64,
    pub returning: u64,
    pub active: Activity,
    pub by_architecture: BTreeMap<String, Activity>,
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

/// The reports of a release without a label.
#[derive(Debug, Default)]
struct Evidence {
    instances: HashSet<String>,
    days: BTreeSet<i64>,
    /// Starts before the present slot, and within it.
    starts: u64,
    in_slot: (i64, u64),
}

/// Labels of releases: the first thousand get theirs at once, later ones by a proof.
#[derive(Debug, Default)]
struct Labels {
    releases: HashSet<String>,
    made_up: usize,
    unproven: HashMap<String, Evidence>,
}

impl Labels {
    fn see(&mut self, version: &str, instance: &str, at: i64, is_start: bool) {
        if !is_plausible_release(version) {
            return;
        }
        let labelled = self.releases.contains(version);
        if !labelled && self.releases.len() + self.made_up < RELEASES {
            self.releases.insert(version.to_owned());
            return;
        }
        if labelled && !self.unproven.contains_key(version) {
            return;
        }
        let evidence = self.unproven.entry(version.to_owned()).or_default();
        if evidence.in_slot.0 != at {
            if labelled {
                return;
            }
            evidence.starts += evidence.in_slot.1;
            evidence.in_slot = (at, 0);
        }
        // Reports of a slot are sent together, so each of them may come before the proof.
        evidence.in_slot.1 += u64::from(is_start);
        evidence.instances.insert(instance.to_owned());
        evidence.days.insert(at.div_euclid(DAY));
        if evidence.instances.len() >= 3 && evidence.days.len() >= 2 {
            self.releases.insert(version.to_owned());
            evidence.instances.clear();
        }
    }
}

/// All that is known about a world.
#[derive(Debug, Default)]
pub struct Truth {
    /// Starts, heartbeats and the flood's reports that arrived, by hour.
    pub starts: BTreeMap<i64, u64>,
    pub heartbeats: BTreeMap<i64, u64>,
    pub flood: u64,
    /// Starts by dimension and value, without the flood.
    pub by_value: BTreeMap<(&'static str, String), u64>,
    /// Starts by startup time, of all and of each architecture.
    pub startup: BTreeMap<i64, u64>,
    pub startup_by_architecture: BTreeMap<String, BTreeMap<i64, u64>>,
    /// Instances at midnights.
    pub midnights: BTreeMap<i64, Instances>,
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
    labels: Labels,
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
        self.labels.see(&value(Dimension::ImageVersion), instance, at, sent.is_start);
        let architecture = sent.profile.get(Dimension::Architecture);
        match sent.id {
            Id::Kept(place) => {
                let kept = &mut self.kept[place];
                let new_day = kept.latest.as_ref().is_none_or(|(latest, ..)| *latest != day);
                kept.days += u32::from(new_day);
                kept.latest = Some((day, hour, architecture.clone()));
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
        *self.starts.entry(hour).or_default() += reports;
        *self.once.entry(hour).or_default().entry("other".to_owned()).or_default() += reports;
        self.flood += reports;
        self.labels.made_up += releases;
    }

    /// Notes the instances of the midnights before a moment.
    pub fn pass_to(&mut self, at: i64) {
        let day = at.div_euclid(DAY);
        let from = self.passed.replace(day).unwrap_or(day);
        for midnight in from + 1..=day {
            let instances = self.instances(midnight * 24);
            self.midnights.insert(midnight * 24, instances);
        }
    }

    /// Instances at a moment in an hour.
    pub fn instances(&self, hour: i64) -> Instances {
        let mut instances = Instances::default();
        let mut add = |architecture: &str, seen: i64, count: u64, returning: bool| {
            instances.all += count;
            instances.returning += if returning { count } else { 0 };
            if seen < hour - WINDOWS[2] {
                return;
            }
            if !instances.by_architecture.contains_key(architecture) {
                instances.by_architecture.insert(architecture.to_owned(), Activity::default());
            }
            let own = instances.by_architecture.get_mut(architecture).unwrap();
            for activity in [own, &mut instances.active] {
                for (place, window) in WINDOWS.iter().enumerate() {
                    if seen >= hour - window {
                        activity.active[place] += count;
                        activity.returning[place] += if returning { count } else { 0 };
                    }
                }
            }
        };
        for kept in &self.kept {
            if let Some((_, seen, architecture)) = &kept.latest {
                add(architecture, *seen, 1, kept.days > 1);
            }
        }
        for (seen, architectures) in &self.once {
            architectures.iter().for_each(|(name, &count)| add(name, *seen, count, false));
        }
        instances
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

    /// Smallest and largest number of starts of a release that count as `other`: those before its proof,
    /// which lies within the reports of one slot.
    pub fn before_proof(&self, version: &str) -> (u64, u64) {
        let Some(evidence) = self.labels.unproven.get(version) else { return (0, 0) };
        let all = evidence.starts + evidence.in_slot.1;
        let proven = self.labels.releases.contains(version);
        (if proven { evidence.starts } else { all }, all)
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
