//! Lists of the reports of each profile: a rare version is found without a walk over all reports.
//!
//! A list has the numbers of a profile's reports in one block of numbers. The lists of a block are written once, when
//! all its reports are indexed: each report in a row of its own would be a page to change for each report, and more
//! bytes than the report's. The newest reports are in no list, and few.

mod aside;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use sqlx::{Connection as _, SqliteConnection};

pub use self::aside::{list_aside, store_aside};
use super::{bundle::Bundle, instance_key::hex, json, leb128};

/// Numbers of a block, here and in `report_blocks`.
pub const NUMBERS_OF_BLOCK: i64 = 4096;

/// Bytes of a list that has a bit for each number.
const BITS: usize = 4096 / 8;

/// Blocks that are listed together at most, and lists after which no further block is. A profile's lists lie side by
/// side, so that blocks of an import which are written together change fewer pages.
const LISTED_TOGETHER: (i64, usize) = (32, 20_000);
/// Blocks that are compared together.
const COMPARED_TOGETHER: i64 = 8;
/// Lists that are changed together.
const CHANGED_TOGETHER: usize = 64;

/// Numbers of reports, ascending, by profile and block.
pub type Lists = BTreeMap<(i64, i64), Vec<i64>>;

/// Packs ascending numbers of a block: the distance of each from the one before, of the first one from the block's
/// begin. Where a bit for each number of the block is shorter, these: no list leaves the page of its row.
fn pack(block: i64, numbers: &[i64]) -> Vec<u8> {
    let begin = block * NUMBERS_OF_BLOCK;
    let (mut packed, mut last) = (Vec::with_capacity(2 * numbers.len()), begin);
    for &number in numbers {
        leb128::put(&mut packed, number.abs_diff(last));
        last = number;
    }
    if packed.len() < BITS {
        return packed;
    }
    let mut bits = vec![0; BITS];
    for number in numbers {
        let offset = usize::try_from(number - begin).unwrap_or(0);
        bits[offset / 8] |= 1 << (offset % 8);
    }
    bits
}

/// The numbers of a list, ascending.
pub fn unpack(block: i64, mut packed: &[u8]) -> Result<Vec<i64>, Broken> {
    let begin = block.checked_mul(NUMBERS_OF_BLOCK).ok_or(Broken)?;
    if packed.len() == BITS {
        let has = |offset: &usize| packed[offset / 8] & (1 << (offset % 8)) != 0;
        let offsets = (0..8 * BITS).filter(has).filter_map(|offset| i64::try_from(offset).ok());
        return Ok(offsets.map(|offset| begin + offset).collect());
    }
    let (mut numbers, mut offset) = (Vec::with_capacity(packed.len()), 0_i64);
    while !packed.is_empty() {
        let distance = leb128::take(&mut packed).and_then(|distance| i64::try_from(distance).ok());
        let distance = distance.filter(|&distance| distance > 0 || numbers.is_empty());
        offset = distance.and_then(|distance| offset.checked_add(distance)).ok_or(Broken)?;
        if offset >= NUMBERS_OF_BLOCK {
            return Err(Broken);
        }
        numbers.push(begin + offset);
    }
    Ok(numbers)
}

/// A list that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a list of reports is broken; `verify --repair` makes it anew")]
pub struct Broken;

impl From<Broken> for sqlx::Error {
    fn from(broken: Broken) -> Self {
        Self::Decode(broken.into())
    }
}

/// The first number of which no list has the report.
pub async fn first_unlisted(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let block = sqlx::query_scalar!("SELECT position FROM watermarks WHERE name = 'listed'")
        .fetch_one(connection)
        .await?;
    Ok(block.saturating_mul(NUMBERS_OF_BLOCK))
}

/// Blocks that are to be listed next; `None` where no block without lists is indexed as a whole.
pub async fn unlisted(connection: &mut SqliteConnection) -> sqlx::Result<Option<Range<i64>>> {
    let state = sqlx::query!(
        r#"SELECT listed.position AS listed, indexed.position AS indexed
           FROM watermarks AS listed INNER JOIN watermarks AS indexed
               ON listed.name = 'listed' AND indexed.name = 'indexed'"#
    )
    .fetch_one(&mut *connection)
    .await?;
    let end = (state.indexed + 1) / NUMBERS_OF_BLOCK;
    blocks_from(connection, state.listed, end, LISTED_TOGETHER.0).await
}

/// So many blocks at most, from the first one that has reports, from one on and before another.
async fn blocks_from(
    connection: &mut SqliteConnection,
    block: i64,
    end: i64,
    most: i64,
) -> sqlx::Result<Option<Range<i64>>> {
    if block >= end {
        return Ok(None);
    }
    let next = sqlx::query_scalar!(
        r#"SELECT min(id) AS "next: i64" FROM reports WHERE id >= 4096 * ?"#,
        block
    )
    .fetch_one(connection)
    .await?;
    let first = next.map_or(end, |number| number / NUMBERS_OF_BLOCK);
    Ok((first < end).then_some(first..end.min(first + most)))
}

/// Lists the reports of every block that is indexed as a whole.
pub async fn list_blocks(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    while unlisted(connection).await?.is_some() {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        // Another process may have listed them since.
        let Some(blocks) = unlisted(&mut transaction).await? else { break };
        let (lists, end) = lists_of(&mut transaction, blocks).await?;
        write(&mut transaction, &lists).await?;
        set_listed(&mut transaction, end).await?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn set_listed(connection: &mut SqliteConnection, listed: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE watermarks SET position = ? WHERE name = 'listed'", listed)
        .execute(connection)
        .await?;
    Ok(())
}

/// The lists of some blocks, out of the reports, up to the block that is returned.
async fn lists_of(
    connection: &mut SqliteConnection,
    blocks: Range<i64>,
) -> sqlx::Result<(Lists, i64)> {
    let (mut lists, mut end) = (Lists::new(), blocks.start);
    while end < blocks.end && lists.len() < LISTED_TOGETHER.1 {
        add_block(connection, end, &mut lists).await?;
        end += 1;
    }
    Ok((lists, end))
}

/// Adds the lists of a block, out of the reports.
async fn add_block(
    connection: &mut SqliteConnection,
    block: i64,
    lists: &mut Lists,
) -> sqlx::Result<()> {
    let first = block * NUMBERS_OF_BLOCK;
    // Number and profile as one number, of which the text takes SQLite half of the time of two.
    let bundle = sqlx::query_scalar!(
        r#"SELECT CAST(string_agg(profile * 4096 + id - ?1, ' ') || ' ' AS BLOB) AS "bundle: Vec<u8>"
           FROM reports WHERE id >= ?1 AND id < ?1 + 4096"#,
        first
    )
    .fetch_one(connection)
    .await?;
    let mut bundle = Bundle::new(bundle.as_deref());
    while !bundle.is_empty() {
        let both = bundle.some_number()?;
        let (profile, offset) = (both / NUMBERS_OF_BLOCK, both % NUMBERS_OF_BLOCK);
        lists.entry((profile, block)).or_default().push(first + offset);
    }
    Ok(())
}

/// The parameter of a statement that stores lists: a JSON array of [profile, block, packed numbers].
fn rows(lists: &Lists) -> sqlx::Result<String> {
    let row = |(&(profile, block), numbers): (&(i64, i64), &Vec<i64>)| {
        (profile, block, hex(&pack(block, numbers)).collect::<String>())
    };
    json::encode(&lists.iter().map(row).collect::<Vec<_>>())
}

/// Writes lists in place of those of their profile and block. An empty one has no row.
pub async fn write(connection: &mut SqliteConnection, lists: &Lists) -> sqlx::Result<()> {
    let rows = rows(lists)?;
    sqlx::query!(
        "INSERT INTO report_lists (profile, block, reports)
         SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET reports = excluded.reports",
        rows
    )
    .execute(&mut *connection)
    .await?;
    if lists.values().any(Vec::is_empty) {
        sqlx::query!(
            "DELETE FROM report_lists WHERE reports = x'' AND (profile, block) IN (
                 SELECT value ->> 0, value ->> 1 FROM json_each(?)
             )",
            rows
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Changes of lists: by profile and number, how often a report was added less how often it was removed.
#[derive(Debug, Default)]
pub struct ListChanges(BTreeMap<(i64, i64), i64>);

impl ListChanges {
    /// Adds a report (1) to the list of its profile, or removes it (-1). One that is in no list yet changes none.
    pub fn add(&mut self, profile: i64, number: i64, sign: i64) {
        *self.0.entry((profile, number)).or_default() += sign;
    }

    /// Writes the lists that change, within a transaction.
    pub async fn store(self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let unlisted = first_unlisted(connection).await?;
        let mut changes: BTreeMap<(i64, i64), Vec<(i64, bool)>> = BTreeMap::new();
        for ((profile, number), change) in self.0 {
            if change != 0 && number < unlisted {
                let list = changes.entry((profile, number / NUMBERS_OF_BLOCK)).or_default();
                list.push((number, change > 0));
            }
        }
        let changes: Vec<_> = changes.into_iter().collect();
        for changes in changes.chunks(CHANGED_TOGETHER) {
            change(connection, changes).await?;
        }
        Ok(())
    }
}

/// Numbers that come (true) and go (false), with the profile and block of their list.
type Change = ((i64, i64), Vec<(i64, bool)>);

async fn change(connection: &mut SqliteConnection, changes: &[Change]) -> sqlx::Result<()> {
    let keys = json::encode(&changes.iter().map(|(key, _)| key).collect::<Vec<_>>())?;
    let bundle = sqlx::query_scalar!(
        r#"SELECT CAST(string_agg(list, '') AS BLOB) AS "bundle: Vec<u8>"
           FROM (
               SELECT concat(profile, ' ', block, ' ', octet_length(reports), ':', reports) AS list
               FROM json_each(?) AS keys CROSS JOIN report_lists
                   ON profile = CAST(keys.value ->> 0 AS INTEGER)
                   AND block = CAST(keys.value ->> 1 AS INTEGER)
           )"#,
        keys
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut lists = read(bundle.as_deref())?;
    for (key, changes) in changes {
        let numbers = lists.remove(key).unwrap_or_default();
        let mut numbers: BTreeSet<i64> = numbers.into_iter().collect();
        for (number, comes) in changes {
            if *comes {
                numbers.insert(*number)
            } else {
                numbers.remove(number)
            };
        }
        lists.insert(*key, numbers.into_iter().collect());
    }
    write(connection, &lists).await
}

/// Lists out of a bundle of profile, block and packed numbers. A broken one is empty: what is left of it is not known.
fn read(bundle: Option<&[u8]>) -> sqlx::Result<Lists> {
    let mut bundle = Bundle::new(bundle);
    let mut lists = Lists::new();
    while !bundle.is_empty() {
        let (profile, block) = (bundle.some_number()?, bundle.some_number()?);
        let numbers = unpack(block, bundle.bytes()?.unwrap_or_default()).unwrap_or_default();
        lists.insert((profile, block), numbers);
    }
    Ok(lists)
}

/// Forgets the hours and lists of the blocks between two numbers that have no report left.
pub async fn forget_empty(
    connection: &mut SqliteConnection,
    first: i64,
    last: i64,
) -> sqlx::Result<()> {
    let empty = sqlx::query_scalar!(
        "SELECT block FROM report_blocks
         WHERE block BETWEEN ? / 4096 AND ? / 4096 AND NOT EXISTS (
             SELECT 1 FROM reports WHERE id >= 4096 * block AND id < 4096 * (block + 1)
         )",
        first,
        last
    )
    .fetch_all(&mut *connection)
    .await?;
    for block in empty {
        sqlx::query!(
            "DELETE FROM report_lists WHERE profile IN (SELECT id FROM profiles) AND block = ?",
            block
        )
        .execute(&mut *connection)
        .await?;
        sqlx::query!("DELETE FROM report_blocks WHERE block = ?", block)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The next blocks that have lists and reports, from one on.
pub async fn listed_from(
    connection: &mut SqliteConnection,
    block: i64,
) -> sqlx::Result<Option<Range<i64>>> {
    let end = first_unlisted(connection).await? / NUMBERS_OF_BLOCK;
    blocks_from(connection, block, end, COMPARED_TOGETHER).await
}

/// Lists of some blocks compared with the reports.
#[derive(Debug)]
pub struct Compared {
    /// The lists that differ, as they should be.
    pub right: Lists,
    /// Reports that their list leaves out, or that the list of another profile has.
    pub wrong: i64,
}

/// Compares the lists of some blocks with the reports.
pub async fn compare(
    connection: &mut SqliteConnection,
    blocks: Range<i64>,
) -> sqlx::Result<Compared> {
    let (first, last) = (blocks.start, blocks.end - 1);
    let bundle = sqlx::query_scalar!(
        r#"SELECT CAST(string_agg(list, '') AS BLOB) AS "bundle: Vec<u8>"
           FROM (
               SELECT concat(profile, ' ', block, ' ', octet_length(reports), ':', reports) AS list
               FROM report_lists
               WHERE profile IN (SELECT id FROM profiles) AND block BETWEEN ? AND ?
           )"#,
        first,
        last
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut listed = read(bundle.as_deref())?;
    let mut right = Lists::new();
    for block in blocks {
        add_block(connection, block, &mut right).await?;
    }
    let reports: BTreeSet<i64> = right.values().flatten().copied().collect();
    let mut wrong = 0;
    right.retain(|key, numbers| {
        let listed = listed.remove(key).unwrap_or_default();
        if listed == *numbers {
            return false;
        }
        wrong += count(numbers.iter().filter(|&number| listed.binary_search(number).is_err()));
        wrong +=
            count(listed.iter().filter(|&number| {
                reports.contains(number) && numbers.binary_search(number).is_err()
            }));
        true
    });
    for (key, numbers) in listed {
        wrong += count(numbers.iter().filter(|&number| reports.contains(number)));
        right.insert(key, Vec::new());
    }
    Ok(Compared { right, wrong })
}

/// Reports that the list of their profile leaves out, or that the list of another one has.
pub async fn wrong(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let (mut wrong, mut block) = (0, 0);
    while let Some(blocks) = listed_from(connection, block).await? {
        block = blocks.end;
        wrong += compare(connection, blocks).await?.wrong;
    }
    Ok(wrong)
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}
