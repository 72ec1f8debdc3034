//! Lists of the reports of each profile: a rare version is found without a walk over all reports.
//!
//! A list has the numbers of a profile's reports in one block of numbers. The lists of a block are written once, when
//! all its reports are indexed: each report in a row of its own would be a page to change for each report, and more
//! bytes than the report's. The newest reports are in no list, and few.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use sqlx::{Connection as _, SqliteConnection};

use super::{bundle::Bundle, instance_key::hex, json, leb128};

/// Numbers of a block, here and in `report_blocks`.
pub const NUMBERS_OF_BLOCK: i64 = 4096;

/// Blocks that are listed together at most. A profile's lists lie side by side, so that blocks of an import which are
/// written together change fewer pages.
const LISTED_TOGETHER: i64 = 32;

/// Numbers of reports, ascending, by profile and block.
pub type Lists = BTreeMap<(i64, i64), Vec<i64>>;

/// Packs the numbers of a block: the distance of each from the one before, of the first one from the block's begin.
fn pack(block: i64, numbers: &[i64]) -> Vec<u8> {
    let (mut packed, mut last) = (Vec::with_capacity(2 * numbers.len()), block * NUMBERS_OF_BLOCK);
    for &number in numbers {
        leb128::put(&mut packed, number.abs_diff(last));
        last = number;
    }
    packed
}

/// The numbers of a list.
pub fn unpack(block: i64, mut packed: &[u8]) -> Result<Vec<i64>, Broken> {
    let begin = block.checked_mul(NUMBERS_OF_BLOCK).ok_or(Broken)?;
    let (mut numbers, mut offset) = (Vec::with_capacity(packed.len()), 0_i64);
    while !packed.is_empty() {
        let distance = leb128::take(&mut packed).and_then(|distance| i64::try_from(distance).ok());
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
        r#"SELECT
               indexed.position AS indexed,
               (SELECT min(id) FROM reports WHERE id >= 4096 * listed.position) AS "next: i64"
           FROM watermarks AS listed INNER JOIN watermarks AS indexed
               ON listed.name = 'listed' AND indexed.name = 'indexed'"#
    )
    .fetch_one(connection)
    .await?;
    let end = (state.indexed + 1) / NUMBERS_OF_BLOCK;
    let first = state.next.map_or(end, |number| number / NUMBERS_OF_BLOCK);
    Ok((first < end).then_some(first..end.min(first + LISTED_TOGETHER)))
}

/// Lists the reports of every block that is indexed as a whole.
pub async fn list_blocks(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    while unlisted(connection).await?.is_some() {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        // Another process may have listed them since.
        let Some(blocks) = unlisted(&mut transaction).await? else { break };
        let lists = stored(&mut transaction, blocks.clone()).await?;
        write(&mut transaction, &lists).await?;
        sqlx::query!("UPDATE watermarks SET position = ? WHERE name = 'listed'", blocks.end)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// The lists of some blocks, out of the reports.
async fn stored(connection: &mut SqliteConnection, blocks: Range<i64>) -> sqlx::Result<Lists> {
    let mut lists = Lists::new();
    for block in blocks {
        let first = block * NUMBERS_OF_BLOCK;
        // Number and profile as one number, of which the text takes SQLite half of the time of two.
        let bundle = sqlx::query_scalar!(
            r#"SELECT CAST(string_agg(profile * 4096 + id - ?1, ' ') || ' ' AS BLOB) AS "bundle: Vec<u8>"
               FROM reports WHERE id >= ?1 AND id < ?1 + 4096"#,
            first
        )
        .fetch_one(&mut *connection)
        .await?;
        let mut bundle = Bundle::new(bundle.as_deref());
        while !bundle.is_empty() {
            let both = bundle.some_number()?;
            let (profile, offset) = (both / NUMBERS_OF_BLOCK, both % NUMBERS_OF_BLOCK);
            lists.entry((profile, block)).or_default().push(first + offset);
        }
    }
    Ok(lists)
}

/// Writes lists in place of those of their profile and block. An empty one has no row.
pub async fn write(connection: &mut SqliteConnection, lists: &Lists) -> sqlx::Result<()> {
    let row = |(&(profile, block), numbers): (&(i64, i64), &Vec<i64>)| {
        (profile, block, hex(&pack(block, numbers)).collect::<String>())
    };
    let rows = json::encode(&lists.iter().map(row).collect::<Vec<_>>())?;
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
        if changes.is_empty() {
            return Ok(());
        }
        let keys = json::encode(&changes.keys().collect::<Vec<_>>())?;
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
            let mut numbers: BTreeSet<i64> =
                lists.remove(&key).unwrap_or_default().into_iter().collect();
            for (number, is_added) in changes {
                if is_added {
                    numbers.insert(number)
                } else {
                    numbers.remove(&number)
                };
            }
            lists.insert(key, numbers.into_iter().collect());
        }
        write(connection, &lists).await
    }
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

/// Forgets the lists of the blocks before that of a number: none of their reports is left.
pub async fn forget_before(connection: &mut SqliteConnection, number: i64) -> sqlx::Result<()> {
    let block = number / NUMBERS_OF_BLOCK;
    sqlx::query!(
        "DELETE FROM report_lists WHERE profile IN (SELECT id FROM profiles) AND block < ?",
        block
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The next blocks that have lists and reports, from one on.
pub async fn listed_from(
    connection: &mut SqliteConnection,
    block: i64,
) -> sqlx::Result<Option<Range<i64>>> {
    let state = sqlx::query!(
        r#"SELECT
               position AS end,
               (SELECT min(id) FROM reports WHERE id >= 4096 * ?) AS "next: i64"
           FROM watermarks WHERE name = 'listed'"#,
        block
    )
    .fetch_one(connection)
    .await?;
    let first = state.next.map_or(state.end, |number| number / NUMBERS_OF_BLOCK);
    Ok((first < state.end).then_some(first..state.end.min(first + LISTED_TOGETHER)))
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
    let mut right = stored(connection, blocks).await?;
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

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}
