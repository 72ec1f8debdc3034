//! The truth about the labels of releases.

use std::collections::{BTreeSet, HashMap, HashSet};

use mattermost_telemetry::domain::is_plausible_release;

use crate::support::milliseconds::DAY;

/// Releases that may have a label at a time.
const RELEASES: usize = 1000;

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
pub struct Labels {
    releases: HashSet<String>,
    made_up: usize,
    unproven: HashMap<String, Evidence>,
}

impl Labels {
    /// A report states a version. Returns true if it counts under it for sure.
    pub fn see(&mut self, version: &str, instance: &str, at: i64, is_start: bool) -> bool {
        if !is_plausible_release(version) {
            return true;
        }
        let labelled = self.releases.contains(version);
        if !labelled && self.releases.len() + self.made_up < RELEASES {
            self.releases.insert(version.to_owned());
            return true;
        }
        if labelled && !self.unproven.contains_key(version) {
            return true;
        }
        let evidence = self.unproven.entry(version.to_owned()).or_default();
        if evidence.in_slot.0 != at {
            if labelled {
                return true;
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
        false
    }

    /// Made-up releases take labels.
    pub fn flood(&mut self, releases: usize) {
        self.made_up += releases;
    }

    /// Reports of proven releases move to these.
    pub fn repair(&mut self) {
        for (version, evidence) in &mut self.unproven {
            if self.releases.contains(version) {
                evidence.starts = 0;
                evidence.in_slot.1 = 0;
            }
        }
    }

    /// True if a release got no label at once.
    pub fn came_late(&self, version: &str) -> bool {
        self.unproven.contains_key(version)
    }

    /// Smallest and largest number of starts of a release that count as `other`: those before its proof,
    /// which lies within the reports of one slot.
    pub fn before_proof(&self, version: &str) -> (u64, u64) {
        let Some(evidence) = self.unproven.get(version) else { return (0, 0) };
        let all = evidence.starts + evidence.in_slot.1;
        let proven = self.releases.contains(version);
        (if proven { evidence.starts } else { all }, all)
    }
}
