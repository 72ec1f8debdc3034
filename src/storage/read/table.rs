//! Groups of profiles, and tables of their counts.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{Dimension, Profile, Value};

/// Group of each wanted profile: pairs of a profile's number and a group, counted from 0.
pub type Groups = Vec<(i64, usize)>;

/// Counts of groups at moments: a row a group, a column a moment.
pub type Table<T> = Vec<Vec<T>>;

/// Number of groups.
pub fn group_count(groups: &Groups) -> usize {
    groups.iter().map(|(_, group)| group + 1).max().unwrap_or(0)
}

/// Groups all profiles by the values of a dimension; one group of all where there is none. Returns
/// the groups, and the value of each; `None` is that of all.
#[must_use]
pub fn groups_by(
    profiles: &[(i64, Arc<Profile>)],
    dimension: Option<Dimension>,
) -> (Groups, Vec<Option<Value>>) {
    let mut values = Vec::new();
    let mut places = BTreeMap::new();
    let groups = profiles.iter().map(|(number, profile)| {
        let value = dimension.map(|dimension| profile.get(dimension));
        let place = *places.entry(value).or_insert_with(|| {
            values.push(value.cloned());
            values.len() - 1
        });
        (*number, place)
    });
    (groups.collect(), values)
}

/// The group of each profile, found by its number.
#[derive(Debug)]
pub struct GroupOf(Vec<Option<usize>>);

impl GroupOf {
    /// The groups by profile. Numbers of profiles are few and dense.
    pub fn new(groups: &Groups) -> Self {
        let numbers = groups.iter().filter_map(|(profile, _)| usize::try_from(*profile).ok());
        let mut of = vec![None; numbers.max().map_or(0, |most| most + 1)];
        for (profile, group) in groups {
            if let Some(place) = usize::try_from(*profile).ok().and_then(|at| of.get_mut(at)) {
                *place = Some(*group);
            }
        }
        Self(of)
    }

    /// The group of a profile, if it is wanted.
    pub fn get(&self, profile: usize) -> Option<usize> {
        self.0.get(profile).copied().flatten()
    }
}

/// The cell whose place the database returned.
pub fn cell<T>(table: &mut Table<T>, row: i64, column: i64) -> Option<&mut T> {
    let (row, column) = (usize::try_from(row).ok()?, usize::try_from(column).ok()?);
    table.get_mut(row)?.get_mut(column)
}

/// A count, which the database stores as a signed number.
pub fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
