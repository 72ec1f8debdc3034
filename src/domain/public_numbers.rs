//! Numbers of the public view: counts are rounded down, and small groups are left out.
//!
//! Everything that is published is in [`PublicNumbers`], the one source of page, JSON and badges.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Dimension, OTHER, Profile, UNKNOWN, newer_release};

/// Dimensions that the public view has a breakdown by.
const BREAKDOWNS: [Dimension; 5] = [
    Dimension::ImageVersion,
    Dimension::Architecture,
    Dimension::DbType,
    Dimension::ContainerRuntime,
    Dimension::Os,
];

/// Counts of a time, exact, out of which public ones are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExactCounts {
    /// Starts.
    pub starts: u64,
    /// Instances by latest profile.
    pub instances: Vec<(Arc<Profile>, u64)>,
}

/// Numbers that are published, of one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicNumbers {
    /// Day (UTC) at whose end they were made.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// Each count is rounded down to a multiple of this, and no smaller group is shown. A count of 0 stands
    /// for fewer than this.
    #[schema(minimum = 1)]
    pub minimum: u64,
    /// Counts of the 30 days up to the end of the day.
    pub last_30_days: PublicCounts,
    /// Counts of all time.
    pub all_time: PublicCounts,
    /// Versions that are shown in the last 30 days, most instances first.
    pub adoption: Vec<PublicAdoption>,
}

/// Counts of a time, rounded down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicCounts {
    /// Starts; 0 where the instances are fewer than the minimum.
    pub starts: u64,
    /// Distinct `instance_id`s that reported.
    pub instances: u64,
    /// Instances by a field of their latest report, by the field's name.
    pub breakdowns: BTreeMap<Dimension, Vec<PublicGroup>>,
}

/// Instances of one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicGroup {
    /// The value; `other` stands for all groups that are not shown, too.
    #[schema(example = "aarch64")]
    pub value: String,
    /// Instances, rounded down.
    #[schema(minimum = 1)]
    pub instances: u64,
}

/// Adoption of a version, out of published numbers alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicAdoption {
    /// The version.
    #[schema(example = "v11.0.0")]
    pub version: String,
    /// Instances of the last 30 days that run it, rounded down.
    #[schema(minimum = 1)]
    pub instances: u64,
    /// First day since which it is shown.
    #[schema(value_type = String, format = Date)]
    pub shown_since: Date,
    /// First day on which it had half of the instances shown.
    #[schema(value_type = Option<String>, format = Date)]
    pub half_on: Option<Date>,
}

impl PublicNumbers {
    /// Makes the numbers of a day that has ended. `previous` are those that were published before.
    #[must_use]
    pub fn new(
        day: Date,
        minimum: u64,
        last_30_days: &ExactCounts,
        all_time: &ExactCounts,
        previous: Option<&Self>,
    ) -> Self {
        let minimum = minimum.max(1);
        let last_30_days = PublicCounts::new(last_30_days, minimum);
        let known: HashMap<&str, &PublicAdoption> = previous
            .into_iter()
            .flat_map(|previous| &previous.adoption)
            .map(|adoption| (&*adoption.version, adoption))
            .collect();
        let versions = last_30_days.groups(Dimension::ImageVersion).iter();
        let versions = versions.filter(|group| ![OTHER, UNKNOWN].contains(&&*group.value));
        let adoption = versions.map(|group| {
            let known = known.get(&*group.value);
            let has_half = group.instances * 2 >= last_30_days.instances;
            PublicAdoption {
                version: group.value.clone(),
                instances: group.instances,
                shown_since: known.map_or(day, |known| known.shown_since),
                half_on: known.and_then(|known| known.half_on).or(has_half.then_some(day)),
            }
        });
        let adoption = adoption.collect();
        let all_time = PublicCounts::new(all_time, minimum);
        Self { day, minimum, last_30_days, all_time, adoption }
    }

    /// The newest release that is shown in the last 30 days.
    #[must_use]
    pub fn newest_version(&self) -> Option<String> {
        let versions = self.adoption.iter().map(|adoption| adoption.version.clone());
        versions.fold(None, newer_release)
    }
}

impl PublicCounts {
    fn new(exact: &ExactCounts, minimum: u64) -> Self {
        let total = exact.instances.iter().map(|(_, instances)| instances).sum();
        let breakdowns = BREAKDOWNS.map(|dimension| (dimension, groups(exact, dimension, minimum)));
        let mut breakdowns = BTreeMap::from(breakdowns);
        // No sum is larger than that of any breakdown may be: the difference would be left out of it.
        let most = breakdowns.values().filter_map(|groups| most(groups, minimum)).min();
        let instances = rounded(most.map_or(total, |most| most.min(total)), minimum);
        // A few instances may have many starts. Where ids rotate, starts are a sum of instances, too.
        let starts = if total < minimum { 0 } else { rounded(exact.starts, minimum) };
        let starts = starts.saturating_sub(rounded(total, minimum) - instances);
        for groups in breakdowns.values_mut() {
            if sum(groups) > instances {
                groups[0].instances -= minimum;
                groups.retain(|group| group.instances > 0);
                order(groups);
            }
        }
        Self { starts, instances, breakdowns }
    }

    /// Groups of a breakdown, most instances first, `other` last.
    #[must_use]
    pub fn groups(&self, dimension: Dimension) -> &[PublicGroup] {
        self.breakdowns.get(&dimension).map_or(&[], Vec::as_slice)
    }
}

/// Largest sum beside which nobody knows how many instances are left out of a breakdown, but perhaps that there
/// are some. `None` where `other` is shown: too many to be left out.
fn most(groups: &[PublicGroup], minimum: u64) -> Option<u64> {
    // Of fewer than two it would be known that it is one.
    let some = u64::from(minimum > 2);
    let most = groups.iter().map(|group| group.instances + minimum - 1).sum::<u64>() + some;
    groups.iter().all(|group| group.value != OTHER).then_some(most)
}

fn sum(groups: &[PublicGroup]) -> u64 {
    groups.iter().map(|group| group.instances).sum()
}

/// Orders groups by what is published, since another order would show which of two is larger; `other` is last.
fn order(groups: &mut [PublicGroup]) {
    groups.sort_by_key(|group| (group.value == OTHER, Reverse(group.instances)));
}

fn rounded(count: u64, minimum: u64) -> u64 {
    count - count % minimum
}

/// Groups of at least `minimum` instances. The rest is one group, which follows the same rule.
fn groups(exact: &ExactCounts, dimension: Dimension, minimum: u64) -> Vec<PublicGroup> {
    let mut by_value: BTreeMap<&str, u64> = BTreeMap::new();
    for (profile, instances) in &exact.instances {
        *by_value.entry(profile.get(dimension)).or_default() += instances;
    }
    let mut other = by_value.remove(OTHER).unwrap_or_default();
    let mut groups = Vec::new();
    for (value, instances) in by_value {
        if instances < minimum {
            other += instances;
        } else {
            let instances = rounded(instances, minimum);
            groups.push(PublicGroup { value: value.to_owned(), instances });
        }
    }
    if other >= minimum {
        let instances = rounded(other, minimum);
        groups.push(PublicGroup { value: OTHER.to_owned(), instances });
    }
    order(&mut groups);
    groups
}

#[cfg(test)]
mod tests;
