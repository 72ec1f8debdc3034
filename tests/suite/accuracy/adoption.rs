//! The truth about the adoption of versions, hour by hour.

use std::collections::BTreeMap;

/// Hours of the window by which a version is adopted.
const WINDOW: i64 = 7 * 24;

/// Instances by version: all that stated it, and those of them that counted under it for sure.
type ByVersion = BTreeMap<String, [i64; 2]>;

/// Two moments: the earliest and the latest at which it can be, for the reports that a slot sends together.
pub type Moments = [Option<i64>; 2];

#[derive(Debug, Default)]
pub struct Adoption {
    /// Instances by the hour and the version of their latest reports, within the window.
    by_hour: BTreeMap<i64, ByVersion>,
    active: ByVersion,
    /// First days on which versions started.
    first_days: BTreeMap<String, Moments>,
    /// Ends of the hours at which half of the active instances ran a version for the first time.
    half: BTreeMap<String, Moments>,
    passed: Option<i64>,
}

impl Adoption {
    /// Instances have had their latest report in an hour.
    pub fn add(&mut self, hour: i64, version: &str, labelled: bool, instances: i64) {
        for versions in [self.by_hour.entry(hour).or_default(), &mut self.active] {
            let counts = versions.entry(version.to_owned()).or_default();
            counts[0] += instances;
            counts[1] += if labelled { instances } else { 0 };
        }
    }

    /// An instance of that hour reports again.
    pub fn remove(&mut self, hour: i64, version: &str, labelled: bool) {
        if self.by_hour.contains_key(&hour) {
            self.add(hour, version, labelled, -1);
        }
    }

    pub fn start(&mut self, day: i64, version: &str, labelled: bool) {
        let first = self.first_days.entry(version.to_owned()).or_default();
        first[0].get_or_insert(day);
        if labelled {
            first[1].get_or_insert(day);
        }
    }

    /// Looks at each hour that ends until the begin of an hour.
    pub fn pass_to(&mut self, hour: i64) {
        let passed = self.passed.replace(hour).unwrap_or(hour);
        for end in passed + 1..=hour {
            let later = self.by_hour.split_off(&(end - WINDOW));
            for versions in std::mem::replace(&mut self.by_hour, later).into_values() {
                for (version, counts) in versions {
                    let active = self.active.entry(version).or_default();
                    active.iter_mut().zip(counts).for_each(|(active, count)| *active -= count);
                }
            }
            let all: i64 = self.active.values().map(|counts| counts[0]).sum();
            for (version, counts) in &self.active {
                for (place, &count) in counts.iter().enumerate() {
                    if count > 0 && 2 * count >= all {
                        let half = self.half.entry(version.clone()).or_default();
                        half[place].get_or_insert(end);
                    }
                }
            }
        }
    }

    /// First day, and the end of the hour of the half, of each version that started.
    pub fn versions(&self) -> impl Iterator<Item = (&str, Moments, Moments)> {
        self.first_days.iter().map(|(version, first)| {
            (&**version, *first, self.half.get(version).copied().unwrap_or_default())
        })
    }
}
