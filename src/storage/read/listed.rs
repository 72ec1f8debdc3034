//! Numbers of the newest reports of some profiles, out of their lists.

use std::ops::RangeInclusive;

use sqlx::SqliteConnection;

use crate::storage::{
    bundle::Bundle,
    report_lists::{NUMBERS_OF_BLOCK, unpack},
};

/// Lists of a profile that are read together: fewest and most.
const LISTS: (usize, usize) = (4, 512);
/// Lists of all profiles that are read together, beside the fewest of each.
const LISTS_OF_ALL: usize = 50_000;

/// Walk down the lists of some profiles, within a range of numbers.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    /// Numbers of the profiles, as a JSON array.
    profiles: &'a str,
    /// Lists of a profile that are read next, and the most of them.
    lists: (usize, usize),
    numbers: RangeInclusive<i64>,
    /// The newest block that was not read; below that of the first number at the end.
    block: i64,
}

impl<'a> Listed<'a> {
    /// For so many reports of profiles, of which there are `count`.
    pub fn new(
        profiles: &'a str,
        count: usize,
        numbers: RangeInclusive<i64>,
        wanted: usize,
    ) -> Self {
        let block = *numbers.end() / NUMBERS_OF_BLOCK;
        let count = count.max(1);
        let most = (LISTS_OF_ALL / count).clamp(LISTS.0, LISTS.1);
        // A list has a report at least, so that these are enough where the profiles are equally frequent.
        let lists = (wanted / count).clamp(LISTS.0, most);
        Self { profiles, lists: (lists, most), numbers, block }
    }

    /// The next numbers, newest first: so many at least, or all that are left.
    pub async fn next(
        &mut self,
        snapshot: &mut SqliteConnection,
        wanted: usize,
    ) -> sqlx::Result<Vec<i64>> {
        let first = *self.numbers.start() / NUMBERS_OF_BLOCK;
        let mut found = Vec::new();
        while self.block >= first && found.len() < wanted {
            let (lists, most) = self.lists;
            let limit = i64::try_from(lists).unwrap_or(i64::MAX);
            let bundle = sqlx::query_file_scalar!(
                "src/storage/read/newest_lists.sql",
                self.profiles,
                first,
                self.block,
                limit
            )
            .fetch_one(&mut *snapshot)
            .await?;
            self.add(bundle.as_deref(), first, wanted, &mut found)?;
            self.lists.0 = most.min(2 * lists);
        }
        Ok(found)
    }

    /// Adds the numbers of lists, newest first, until so many are found at the end of a block.
    fn add(
        &mut self,
        bundle: Option<&[u8]>,
        first: i64,
        wanted: usize,
        found: &mut Vec<i64>,
    ) -> sqlx::Result<()> {
        let (mut lists, mut of_profile, mut last) = (Vec::new(), 0, None);
        // The first block whose lists were all read: a profile with the most may have older ones.
        let mut complete = first;
        let mut bundle = Bundle::new(bundle);
        while !bundle.is_empty() {
            let (profile, block) = (bundle.some_number()?, bundle.some_number()?);
            lists.push((block, bundle.bytes()?.unwrap_or_default()));
            of_profile = if last == Some(profile) { of_profile + 1 } else { 1 };
            last = Some(profile);
            if of_profile == self.lists.0 {
                complete = complete.max(block);
            }
        }
        lists.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        for block in lists.chunk_by(|(one, _), (other, _)| one == other) {
            let number = block[0].0;
            if number < complete {
                break;
            }
            let begin = found.len();
            for (_, packed) in block {
                let numbers = unpack(number, packed)?;
                found.extend(numbers.into_iter().filter(|number| self.numbers.contains(number)));
            }
            found[begin..].sort_unstable_by(|one, other| other.cmp(one));
            if found.len() >= wanted {
                self.block = number - 1;
                return Ok(());
            }
        }
        self.block = complete - 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::btree_map, prelude::*};
    use sqlx::Connection as _;
    use tempfile::TempDir;

    use super::*;
    use crate::storage::{
        Database, json,
        report_lists::{Lists, write},
    };

    /// Lists of the profiles of reports by their numbers, and walks for the reports of some profiles.
    async fn check(
        reports: BTreeMap<i64, i64>,
        walks: Vec<(Vec<i64>, RangeInclusive<i64>, usize)>,
    ) -> Result<(), TestCaseError> {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let writer = database.writer();
        let mut connection = writer.second_connection().await.unwrap();
        let mut lists = Lists::new();
        for (&number, &profile) in &reports {
            lists.entry((profile, number / NUMBERS_OF_BLOCK)).or_default().push(number);
        }
        write(&mut connection, &lists).await.unwrap();
        for (profiles, numbers, wanted) in walks {
            let expected = reports.iter().rev();
            let expected = expected.filter(|&(number, profile)| {
                numbers.contains(number) && profiles.contains(profile)
            });
            let expected: Vec<i64> = expected.map(|(number, _)| *number).collect();
            let json = json::encode(&profiles).unwrap();
            let mut listed = Listed::new(&json, profiles.len(), numbers, wanted);
            let mut found = Vec::new();
            loop {
                let next = listed.next(&mut connection, wanted).await.unwrap();
                let is_last = found.len() + next.len() == expected.len();
                prop_assert!(next.len() >= wanted || is_last);
                if next.is_empty() {
                    break;
                }
                found.extend(next);
            }
            prop_assert_eq!(found, expected);
        }
        connection.close().await.unwrap();
        writer.close().await.unwrap();
        database.close().await;
        Ok(())
    }

    prop_compose! {
        fn walk()(
            profiles in proptest::sample::subsequence(vec![1, 2, 3], 1..=3),
            from in 0..400_000_i64,
            numbers in 0..400_000_i64,
            wanted in 1..40_usize,
        ) -> (Vec<i64>, RangeInclusive<i64>, usize) {
            (profiles, from..=from + numbers, wanted)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn numbers_come_newest_first_and_none_is_left_out(
            reports in btree_map(
                1..400_000_i64, prop_oneof![8 => Just(1_i64), 2 => Just(2), 1 => Just(3)], 0..200
            ),
            walks in proptest::collection::vec(walk(), 8),
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(check(reports, walks))?;
        }
    }
}
