//! Overwriting of what is left of an id in the file: in free pages, in unused parts of pages, and in the
//! write-ahead log.
//!
//! `secure_delete` overwrites what is deleted on one connection. It does not reach copies that SQLite left
//! behind when it moved rows from page to page, nor what was deleted before.

use std::{
    collections::HashSet,
    iter,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, SqliteConnection};
use tokio::time::sleep;

use super::{
    super::pace::Pace,
    Purge,
    pages::{find, unused},
};
use crate::storage::instance_key;

/// Rounds of looking for what is left.
const ROUNDS: usize = 5;
/// Length from which on a text is no part of anything else.
const UNMISTAKABLE: usize = 16;
/// Time for which a checkpoint waits for readers and writers, who wait for it, and time between two.
const BUSY: &str = "PRAGMA busy_timeout = 20";
const AGAIN: Duration = Duration::from_millis(100);
/// Checkpoints that are tried: half a minute.
const CHECKPOINTS: usize = 300;

/// Overwrites what is left of an id, then forgets the order itself.
pub async fn overwrite(
    connection: &mut SqliteConnection,
    purge: &Purge,
    pace: &mut Pace,
) -> sqlx::Result<()> {
    let texts = texts(&purge.instance);
    for last in [false, true] {
        if last {
            sqlx::query!(
                "UPDATE purges SET instance = NULL, phase = ? WHERE id = ?",
                super::CUT_LOG,
                purge.id
            )
            .execute(&mut *connection)
            .await?;
        }
        let mut left = usize::MAX;
        for _ in 0..ROUNDS {
            cut_log(connection).await?;
            let pages = pages_with(connection, &texts).await?;
            // A text that is part of others stays on the pages of these.
            if pages.is_empty() || pages.len() == left {
                break;
            }
            left = pages.len();
            for page in pages {
                let begun = Instant::now();
                clear(connection, page, &texts).await?;
                pace.rest(begun, 1).await;
            }
        }
    }
    Ok(())
}

/// The forms in which an id may lie in the file: packed, and as text.
fn texts(instance: &[u8]) -> Vec<Vec<u8>> {
    let text = instance_key::to_id(instance);
    let upper = text.to_ascii_uppercase().into_bytes();
    let mut texts = vec![instance[1..].to_vec(), text.into_bytes(), upper];
    texts.dedup();
    texts.retain(|text| !text.is_empty());
    texts
}

/// Copies the log into the file and cuts it, as soon as no reader needs it.
pub async fn cut_log(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(BUSY).execute(&mut *connection).await?;
    for _ in 0..CHECKPOINTS {
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut *connection).await?;
        let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *connection)
            .await?;
        if busy == 0 {
            break;
        }
        sleep(AGAIN).await;
    }
    sqlx::query("PRAGMA busy_timeout = 5000").execute(connection).await?;
    Ok(())
}

/// Numbers of the pages that have one of some texts. SQLite reads them: a file that is opened and closed
/// beside it in one process takes SQLite's locks away.
async fn pages_with(
    connection: &mut SqliteConnection,
    texts: &[Vec<u8>],
) -> sqlx::Result<Vec<i64>> {
    let text = |place: usize| texts.get(place).or(texts.first());
    // A virtual table of SQLite, which no schema has.
    sqlx::query_scalar(
        "SELECT pgno FROM sqlite_dbpage
         WHERE instr(data, ?) > 0 OR instr(data, ?) > 0 OR instr(data, ?) > 0",
    )
    .bind(text(0))
    .bind(text(1))
    .bind(text(2))
    .fetch_all(connection)
    .await
}

/// Overwrites a free page, or the unused parts of another one. Elsewhere, as at the end of a long row, a text
/// that is part of nothing else is overwritten itself: no row has it any more.
async fn clear(
    connection: &mut SqliteConnection,
    page: i64,
    texts: &[Vec<u8>],
) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let Some(mut data) = read(&mut transaction, page).await? else {
        return transaction.rollback().await;
    };
    let parts = if let Some(free) = free_part(&mut transaction, page, &data).await? {
        iter::once(free..data.len()).collect()
    } else if let Some(unused) = unused(&data, page == 1) {
        unused
    } else {
        find(&data, texts).into_iter().filter(|part| part.len() >= UNMISTAKABLE).collect()
    };
    parts.into_iter().for_each(|part| data[part].fill(0));
    sqlx::query("UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?")
        .bind(data)
        .bind(page)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

async fn read(connection: &mut SqliteConnection, page: i64) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar("SELECT data FROM sqlite_dbpage WHERE pgno = ?")
        .bind(page)
        .fetch_optional(connection)
        .await
}

/// Begin of the unused part of a free page; `None` for a page that is in use.
async fn free_part(
    connection: &mut SqliteConnection,
    page: i64,
    data: &[u8],
) -> sqlx::Result<Option<usize>> {
    let number = |data: &[u8], at: usize| {
        let bytes = data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| i64::from(u32::from_be_bytes(bytes)))
    };
    let mut seen = HashSet::new();
    let mut trunk = read(connection, 1).await?.map_or(0, |first| number(&first, 32));
    while trunk != 0 && seen.insert(trunk) {
        let Some(list) = read(connection, trunk).await? else { break };
        let leaves = usize::try_from(number(&list, 4)).unwrap_or(0);
        if trunk == page {
            return Ok(Some((8 + 4 * leaves).min(data.len())));
        }
        if (0..leaves).any(|leaf| number(&list, 8 + 4 * leaf) == page) {
            return Ok(Some(0));
        }
        trunk = number(&list, 0);
    }
    Ok(None)
}
