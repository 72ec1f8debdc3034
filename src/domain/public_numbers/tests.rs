//! Published numbers of made-up fleets: steps, small groups, and what subtraction would show.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::domain::Value;

/// An instance of a fleet: the values of its latest report.
type Instance = [u8; 5];

const VALUES: [&str; 6] = ["v1.0", "v2.0", "unknown", "other", "v3.0", "v4.0"];

fn date(day: i8) -> Date {
    Date::constant(2026, 2, day)
}

fn profile(instance: Instance) -> Arc<Profile> {
    Arc::new(Profile::new(|dimension| {
        let place = BREAKDOWNS.iter().position(|other| *other == dimension).unwrap_or(0);
        let value = VALUES[usize::from(instance[place]) % VALUES.len()];
        Value::parse(dimension, Some(value.to_owned())).unwrap()
    }))
}

fn exact(fleet: &[Instance], starts: u64) -> ExactCounts {
    ExactCounts {
        starts,
        instances: fleet.iter().map(|&instance| (profile(instance), 1)).collect(),
    }
}

/// Every count that is published of a time, but for starts; 0 where a group is not shown.
fn published(counts: &PublicCounts) -> BTreeMap<(Option<Dimension>, &str), u64> {
    let mut published = BTreeMap::from([((None, "instances"), counts.instances)]);
    for dimension in BREAKDOWNS {
        for value in VALUES {
            published.insert((Some(dimension), value), 0);
        }
        for group in counts.groups(dimension) {
            published.insert((Some(dimension), &group.value), group.instances);
        }
    }
    published
}

fn rounded_sum(counts: &BTreeMap<&str, u64>, minimum: u64) -> u64 {
    counts.values().map(|count| rounded(*count, minimum)).sum()
}

fn fleet() -> impl Strategy<Value = Vec<Instance>> {
    vec(prop::array::uniform5(prop_oneof![3 => 0..2u8, 1 => 0..6u8]), 1..60)
}

proptest! {
    /// One instance more, less or with other values changes each count by whole steps, two at most.
    #[test]
    fn an_instance_changes_nothing_by_other_than_whole_steps(
        fleet in fleet(),
        place in any::<prop::sample::Index>(),
        instead in prop::option::of(prop::array::uniform5(0..6u8)),
        minimum in 1..8u64,
        starts in 0..200u64,
        its_starts in 0..200u64,
    ) {
        let mut changed = fleet.clone();
        let place = place.index(fleet.len());
        match instead {
            Some(instance) => changed[place] = instance,
            None => { changed.swap_remove(place); }
        }
        let before = PublicCounts::new(&exact(&fleet, starts + its_starts), minimum);
        let after = PublicCounts::new(&exact(&changed, starts), minimum);
        let after_counts = published(&after);
        for (name, count) in published(&before) {
            let difference = count.abs_diff(after_counts[&name]);
            prop_assert!([0, minimum, 2 * minimum].contains(&difference), "{name:?} by {difference}");
        }
        prop_assert_eq!(before.starts.abs_diff(after.starts) % minimum, 0);
    }

    /// No group below the minimum is named; a count is never more than the true one, and less by two steps at
    /// most.
    #[test]
    fn groups_below_the_minimum_are_never_named(fleet in fleet(), minimum in 1..8u64) {
        let exact = exact(&fleet, 100);
        let counts = PublicCounts::new(&exact, minimum);
        for dimension in BREAKDOWNS {
            let mut true_counts: BTreeMap<&str, u64> = BTreeMap::new();
            for (profile, _) in &exact.instances {
                *true_counts.entry(profile.get(dimension)).or_default() += 1;
            }
            let is_small = |value: &str, count: u64| value == OTHER || count < minimum;
            let small = true_counts.iter().filter(|(value, count)| is_small(value, **count));
            let other: u64 = small.map(|(_, count)| count).sum();
            true_counts.retain(|value, count| !is_small(value, *count));
            if other >= minimum {
                true_counts.insert(OTHER, other);
            }
            let groups = counts.groups(dimension);
            for group in groups {
                let count = true_counts.get(&*group.value).copied().unwrap_or_default();
                prop_assert!(group.instances > 0 && group.instances % minimum == 0);
                let below = count.checked_sub(group.instances);
                prop_assert!(below.is_some_and(|below| below < 2 * minimum), "{group:?} of {count}");
            }
            // One may be a step lower, and so left out.
            let lowered = rounded_sum(&true_counts, minimum) - sum(groups);
            prop_assert!([0, minimum].contains(&lowered));
        }
        if (fleet.len() as u64) < minimum {
            prop_assert_eq!((counts.instances, counts.starts), (0, 0));
        }
    }

    /// Whatever is subtracted: nobody knows how many instances are left out of a breakdown, nor how many of
    /// its step a group has.
    #[test]
    fn nothing_is_known_by_subtraction(fleet in fleet(), minimum in 1..8u64) {
        let counts = PublicCounts::new(&exact(&fleet, 100), minimum);
        let sums = BREAKDOWNS.map(|dimension| sum(counts.groups(dimension)));
        let at_least = sums.into_iter().fold(counts.instances, u64::max);
        prop_assert_eq!(at_least, counts.instances);
        for dimension in BREAKDOWNS {
            let groups = counts.groups(dimension);
            if groups.iter().any(|group| group.value == OTHER) {
                continue;
            }
            // The smallest total beside the largest groups.
            let largest: u64 = groups.iter().map(|group| group.instances + minimum - 1).sum();
            let left_out = at_least.saturating_sub(largest);
            prop_assert!(left_out == 0 || left_out == 1 && minimum > 2, "at least {left_out}");
        }
    }
}

#[test]
fn the_order_is_that_of_the_rounded_counts() {
    let of = |value: u8, instances| (profile([value; 5]), instances);
    // Their true counts would put the second one first.
    let exact = ExactCounts { starts: 20, instances: vec![of(0, 6), of(1, 9), of(2, 4)] };
    let counts = PublicCounts::new(&exact, 5);
    let groups: Vec<(&str, u64)> = counts
        .groups(Dimension::ImageVersion)
        .iter()
        .map(|group| (&*group.value, group.instances))
        .collect();
    assert_eq!(groups, [("v1.0", 5), ("v2.0", 5)]);
    assert_eq!((counts.starts, counts.instances), (20, 15));
}

/// Four groups of nine, and four instances that are left out: 40 - 4 * 9 would be their number.
#[test]
fn a_sum_that_would_show_how_many_are_left_out_is_a_step_less() {
    // All have the same architecture, whose group is a sum, too.
    let of = |value: u8, instances| (profile([value, 0, 0, 0, 0]), instances);
    let fleet = |left_out: &[(Arc<Profile>, u64)]| {
        let nine = [0, 1, 2, 4].map(|value| of(value, 9));
        ExactCounts { starts: 40, instances: [nine.as_slice(), left_out].concat() }
    };
    let shown = |left_out: &[(Arc<Profile>, u64)]| {
        let counts = PublicCounts::new(&fleet(left_out), 5);
        let architecture = counts.groups(Dimension::Architecture)[0].instances;
        (counts.instances, architecture, counts.groups(Dimension::ImageVersion).len())
    };
    assert_eq!(shown(&[of(5, 3)]), (35, 35, 4));
    assert_eq!(shown(&[of(5, 4)]), (35, 35, 4));
    // Too many to be left out: they are `other`.
    assert_eq!(shown(&[of(5, 3), of(3, 2)]), (40, 40, 5));
}

#[test]
fn a_few_instances_with_many_starts_show_none() {
    let counts = PublicCounts::new(&exact(&[[0; 5]; 4], 1000), 5);
    assert_eq!((counts.starts, counts.instances), (0, 0));
    assert!(BREAKDOWNS.iter().all(|dimension| counts.groups(*dimension).is_empty()));
}

#[test]
fn adoption_follows_from_what_was_published() {
    let of = |value: u8, instances| (profile([value; 5]), instances);
    let numbers = |day, instances: Vec<_>, previous: Option<&PublicNumbers>| {
        let exact = ExactCounts { starts: 100, instances };
        PublicNumbers::new(date(day), 5, &exact, &exact, previous)
    };
    let first = numbers(1, vec![of(0, 20), of(1, 4), of(2, 9), of(3, 9)], None);
    let second = numbers(2, vec![of(0, 20), of(1, 9)], Some(&first));
    let third = numbers(5, vec![of(0, 4), of(1, 30)], Some(&second));
    let row = |version: &str, instances, shown_since, half_on: Option<i8>| PublicAdoption {
        version: version.to_owned(),
        instances,
        shown_since: date(shown_since),
        half_on: half_on.map(date),
    };
    // 20 of 40 that are shown.
    assert_eq!(first.adoption, [row("v1.0", 20, 1, Some(1))]);
    assert_eq!(second.adoption, [row("v1.0", 20, 1, Some(1)), row("v2.0", 5, 2, None)]);
    assert_eq!(third.adoption, [row("v2.0", 30, 2, Some(5))]);
    assert_eq!(second.newest_version().as_deref(), Some("v2.0"));
    assert_eq!(numbers(1, vec![of(2, 9)], None).newest_version(), None);
}
