//! Numbers of the newest reports of some profiles, out of their lists.

use std::ops::RangeInclusive;

use sqlx::SqliteConnection;

use crate::storage::{
    bundle::Bundle,
    report_lists::{NUMBERS_OF_BLOCK, unpack},
};

/// Lists of a profile that are read together: fewest and most.
const LISTS: (usize, usize) = (16, 512);

/// Walk down the lists of some profiles, within a range of numbers.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    /// Numbers of the profiles, as a JSON array.
    profiles: &'a str,
    /// Number of the profiles.
    count: usize,
    numbers: RangeInclusive<i64>,
    /// The newest block that was not read; below that of the first number at the end.
    block: i64,
}

impl<'a> Listed<'a> {
    pub fn new(profiles: &'a str, count: usize, numbers: RangeInclusive<i64>) -> Self {
        let block = *numbers.end() / NUMBERS_OF_BLOCK;
        Self { profiles, count, numbers, block }
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
            let most = ((wanted - found.len()) / self.count.max(1)).clamp(LISTS.0, LISTS.1);
            let limit = i64::try_from(most).unwrap_or(i64::MAX);
            let bundle = sqlx::query_file_scalar!(
                "src/storage/read/newest_lists.sql",
                self.profiles,
                first,
                self.block,
                limit
            )
            .fetch_one(&mut *snapshot)
            .await?;
            self.add(bundle.as_deref(), first, most, wanted, &mut found)?;
        }
        Ok(found)
    }

    /// Adds the numbers of lists, newest first, until so many are found at the end of a block.
    fn add(
        &mut self,
        bundle: Option<&[u8]>,
        first: i64,
        most: usize,
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
            if of_profile == most {
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
