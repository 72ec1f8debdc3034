//! A made-up fleet of Mattermost installations, which fills dashboards, tests and benchmarks.
//!
//! The module is pure: it has no IO and no clock. The same [`Settings`] give the same reports on
//! every machine.
//!
//! The fleet shows releases that come out and spread, installations that upgrade at once, late or
//! never, a fleet that grows, days and weeks with their rhythm, slow machines, restart loops,
//! clients that keep their id and clients that make a new one at every start.

mod installation;
pub mod panels;
mod random;
mod releases;
mod rhythm;

use std::{cmp::Reverse, collections::BinaryHeap};

use jiff::Timestamp;

pub use self::random::Random;
use self::{installation::Installation, releases::Releases};
use crate::domain::Report;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A fleet, and the time of its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Number of installations at the end. Most of their clients make a new id at every start, so
    /// the reports have far more ids.
    pub installations: u32,
    /// Time of the first report. Half of the installations are there by then.
    pub from: Timestamp,
    /// Time before which the last report comes.
    pub until: Timestamp,
    /// Seed of the fleet; another one gives another fleet.
    pub seed: u64,
    /// The clients that the installations have.
    pub clients: Clients,
}

/// The clients of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Some clients keep their id, and most of these send heartbeats; the others are stock clients.
    Mixed,
    /// Stock clients alone, which make a new id at every start: as many ids as reports. Unlike those
    /// of the stock image they measure their startup time, so that there is something to show.
    Stock,
}

/// The installation that sends a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Its number, below that of the fleet's installations.
    pub number: u32,
    /// True if its client keeps its id.
    pub keeps_id: bool,
    /// True if its client sends heartbeats.
    pub sends_heartbeats: bool,
}

/// The reports of a fleet, in the order of time.
#[derive(Debug)]
pub struct Fleet {
    random: Random,
    releases: Releases,
    installations: Vec<Installation>,
    /// Time of each installation's next report, in milliseconds since 1970, with its place in the
    /// list.
    queue: BinaryHeap<Reverse<(i64, u32)>>,
    until: i64,
}

impl Fleet {
    /// The fleet before its first report.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut random = Random::new(settings.seed);
        let (from, until) = (settings.from.as_millisecond(), settings.until.as_millisecond());
        let releases = Releases::between(from, until, &mut random);
        let clients = settings.clients;
        let present = settings.installations.div_ceil(2);
        let installations: Vec<Installation> = (0..settings.installations)
            .map(|number| {
                if number < present {
                    Installation::present_at(from, clients, &releases, &mut random)
                } else {
                    // The later of two moments, so that the fleet grows ever faster.
                    let come = random.between(from, until).max(random.between(from, until));
                    Installation::new_at(come, clients, &releases, &mut random)
                }
            })
            .collect();
        let queue = (0u32..)
            .zip(&installations)
            .filter_map(|(number, installation)| Some(Reverse((installation.next()?, number))))
            .collect();
        Self { random, releases, installations, queue, until }
    }

    /// The next report, with its sender and its time.
    pub fn next_sent(&mut self) -> Option<(Sender, Timestamp, Report)> {
        let Reverse((at, number)) = self.queue.pop()?;
        if at >= self.until {
            return None;
        }
        let installation = self.installations.get_mut(usize::try_from(number).ok()?)?;
        let report = installation.report(at, &self.releases, &mut self.random);
        self.queue.extend(installation.next().map(|next| Reverse((next, number))));
        let sender = Sender {
            number,
            keeps_id: installation.keeps_id(),
            sends_heartbeats: installation.sends_heartbeats(),
        };
        Some((sender, Timestamp::from_millisecond(at).ok()?, report))
    }
}

impl Iterator for Fleet {
    type Item = (Timestamp, Report);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_sent().map(|(_, at, report)| (at, report))
    }
}

#[cfg(test)]
mod tests;
