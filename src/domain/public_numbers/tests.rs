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
    ExactCounts { starts, instances: fleet.iter().map(|&instance| (profile(instance), 1)).collect() }
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

fn fleet() -> impl Strategy<Value = Vec<Instance>> {
    vec(prop::array::uniform5(prop_oneof![3 => 0..2u8, 1 => 0..6u8]), 1..60)
}

proptest! {
    /// One instance more, less or with other values changes each count by nothing or by one step.
    #[test]
    fn an_instance_changes_nothing_by_other_than_a_step(
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
            prop_assert!([0, minimum].contains(&difference), "{name:?} by {difference}");
        }
        prop_assert_eq!(before.starts.abs_diff(after.starts) % minimum, 0);
    }

    /// No group below the minimum is named, and all others have their count, rounded down.
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
            let mut shown: BTreeMap<&str, u64> = true_counts.clone();
            shown.retain(|value, count| !is_small(value, *count));
            if other >= minimum {
                shown.insert(OTHER, other);
            }
            let expected: BTreeMap<&str, u64> =
                shown.into_iter().map(|(value, count)| (value, count / minimum * minimum)).collect();
            let groups = counts.groups(dimension);
            let published: BTreeMap<&str, u64> =
                groups.iter().map(|group| (&*group.value, group.instances)).collect();
            prop_assert_eq!(groups.len(), published.len());
            prop_assert_eq!(published, expected);
        }
        if (fleet.len() as u64) < minimum {
            prop_assert_eq!((counts.instances, counts.starts), (0, 0));
        }
    }

    /// Each group that is left out may be empty or one short of being shown, and each group that is shown may
    /// have any count of its step, whatever is subtracted from the total.
    #[test]
    fn nothing_is_known_by_subtraction(fleet in fleet(), minimum in 1..8u64) {
        let counts = PublicCounts::new(&exact(&fleet, 100), minimum);
        let (step, total) = (minimum - 1, counts.instances);
        for dimension in BREAKDOWNS {
            let groups = counts.groups(dimension);
            let sum: u64 = groups.iter().map(|group| group.instances).sum();
            let named = groups.iter().filter(|group| group.value != OTHER).count() as u64;
            // The largest counts of all others beside the smallest total, and the other way round.
            prop_assert!(sum <= total, "no count at the upper end of its step is ruled out");
            prop_assert!(total <= sum + named * step, "nor is one at the lower end");
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
fn a_total_that_would_show_what_is_left_out_is_a_step_less() {
    let of = |value: u8, instances| (profile([value; 5]), instances);
    let mut exact = ExactCounts { starts: 40, instances: [0, 1, 2, 4].map(|v| of(v, 9)).into() };
    exact.instances.push(of(5, 3));
    assert_eq!(PublicCounts::new(&exact, 5).instances, 35);
    exact.instances.push(of(3, 1));
    assert_eq!(PublicCounts::new(&exact, 5).instances, 35);
    exact.instances.push(of(3, 1));
    assert_eq!(PublicCounts::new(&exact, 5).instances, 40);
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
