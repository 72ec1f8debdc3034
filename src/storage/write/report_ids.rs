//! Ids of reports, by which one that is sent again is known and not counted again.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, SqliteConnection};

use super::{Open, Writer};
use crate::{
    domain::Report,
    storage::{Result, json},
};

/// Minutes of running for which an id is remembered: 48 hours.
const REMEMBERED_MINUTES: i64 = 48 * 60;
/// Ids that are forgotten in one transaction, which takes some milliseconds.
const FORGOTTEN_AT_A_TIME: i64 = 2_000;

/// Result of storing a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Places in the batch of reports that were stored before.
    pub repeated: Vec<usize>,
    /// Ids that were forgotten before their time.
    pub forgotten: u64,
    /// Ids that are remembered; `None` where the batch had none.
    pub remembered: Option<u64>,
}

/// The key of a report that has an id: 64 bits of a hash. Beside a million remembered ids, one report in
/// 18 million million is taken for another one by chance.
fn key(report: &Report) -> Option<i64> {
    let id = report.report_id?;
    let mut hash = Sha256::new();
    hash.update(id.bits().to_le_bytes());
    hash.update(report.instance_id.as_bytes());
    let hash = hash.finalize();
    Some(i64::from_le_bytes(*hash.first_chunk().expect("32 bytes")))
}

impl Open {
    /// Stores reports, some of which have an id, but for those that were stored before.
    pub(super) async fn store_once(
        &mut self,
        received_at: i64,
        reports: &[Report],
    ) -> sqlx::Result<Stored> {
        let mut known = HashSet::new();
        let before = remembered(&mut self.connection).await?;
        loop {
            let mut new_keys = HashSet::new();
            let (mut new, mut keys, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
            for (place, report) in reports.iter().enumerate() {
                match key(report) {
                    Some(key) if known.contains(&key) || !new_keys.insert(key) => {
                        repeated.push(place);
                        continue;
                    }
                    Some(key) => keys.push(key),
                    None => {}
                }
                new.push((received_at, report));
            }
            // The table decides, within the transaction.
            if new.is_empty() || self.store_identified(new.into_iter(), &keys).await? {
                let after = remembered(&mut self.connection).await?;
                let forgotten = (before + keys.len() as u64).saturating_sub(after);
                return Ok(Stored { repeated, forgotten, remembered: Some(after) });
            }
            let keys = json::encode(&keys)?;
            known.extend(
                sqlx::query_scalar!(
                    r#"SELECT key FROM report_ids WHERE key IN (SELECT value FROM json_each(?))"#,
                    keys
                )
                .fetch_all(&mut self.connection)
                .await?,
            );
        }
    }
}

/// Number of ids that are remembered: only the oldest are ever forgotten, so their numbers follow each
/// other.
async fn remembered(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    let ids = sqlx::query_scalar!(
        r#"SELECT coalesce(
               (SELECT max(number) FROM report_ids) - (SELECT min(number) FROM report_ids) + 1, 0
           ) AS "ids!: i64""#
    )
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(ids).unwrap_or_default())
}

impl Writer {
    /// Notes that the server ran for some minutes.
    ///
    /// # Errors
    /// The database's error.
    pub async fn ran(&mut self, minutes: u64) -> Result<()> {
        let minutes = i64::try_from(minutes).unwrap_or(i64::MAX);
        self.run(async |open| {
            let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query!("UPDATE running_time SET minutes = minutes + ?", minutes)
                .execute(&mut *transaction)
                .await?;
            sqlx::query!(
                "INSERT INTO running_minutes (minute, last_report_id)
                 SELECT minutes, last
                 FROM running_time, (SELECT max(number) AS last FROM report_ids)
                 WHERE last > coalesce(
                     (SELECT last_report_id FROM running_minutes ORDER BY minute DESC LIMIT 1), 0
                 )"
            )
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await
        })
        .await
    }

    /// Forgets some of the ids that are remembered for longer than they need to be, the oldest first.
    /// Returns how many, and how many are left. Callers repeat it until the first is 0.
    ///
    /// # Errors
    /// The database's error.
    pub async fn forget_report_ids(&mut self) -> Result<(u64, u64)> {
        self.run(async |open| {
            let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
            let forgotten = sqlx::query!(
                "DELETE FROM report_ids WHERE number <= min(
                     (SELECT min(number) FROM report_ids) - 1 + ?,
                     (
                         SELECT max(last_report_id) FROM running_minutes
                         WHERE minute <= (SELECT minutes FROM running_time) - ?
                     )
                 )",
                FORGOTTEN_AT_A_TIME,
                REMEMBERED_MINUTES
            )
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            // Those of which nothing is left to be forgotten.
            sqlx::query!(
                "DELETE FROM running_minutes
                 WHERE minute <= (SELECT minutes FROM running_time) - ?
                     AND last_report_id < coalesce((SELECT min(number) FROM report_ids), 0)",
                REMEMBERED_MINUTES
            )
            .execute(&mut *transaction)
            .await?;
            let left = remembered(&mut transaction).await?;
            transaction.commit().await?;
            Ok((forgotten, left))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use jiff::Timestamp;
    use proptest::{collection::vec, prelude::*};
    use tempfile::TempDir;

    use super::*;
    use crate::{domain::ReportBody, storage::Database};

    fn report(instance: u8, id: Option<u8>) -> Report {
        let body = ReportBody {
            instance_id: Some(format!("i{instance}")),
            report_id: id.map(|id| format!("{:032x}", u32::from(id) + 1)),
            ..ReportBody::default()
        };
        body.into_report().unwrap()
    }

    #[derive(Debug, Clone)]
    enum Act {
        Send(Vec<(u8, Option<u8>)>),
        Run(u16),
        Restart,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => vec((0..3u8, prop::option::of(0..4u8)), 1..6).prop_map(Act::Send),
            2 => (1..2000u16).prop_map(Act::Run),
            1 => Just(Act::Restart),
        ]
    }

    /// Counts of the database, and of a model that remembers each id for 48 hours of running.
    async fn counts(acts: Vec<Act>) -> (u64, u64) {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut writer = database.writer();
        let (mut expected, mut ran, mut seen) = (0, 0, HashMap::new());
        for act in acts {
            match act {
                Act::Send(batch) => {
                    let reports: Vec<_> =
                        batch.iter().map(|&(instance, id)| report(instance, id)).collect();
                    let stored = writer.store(now, &reports).await.unwrap();
                    for (place, (instance, id)) in batch.into_iter().enumerate() {
                        let repeated = id.is_some_and(|id| {
                            let before = seen.get(&(instance, id));
                            before.is_some_and(|&at| ran - at <= REMEMBERED_MINUTES)
                        });
                        assert_eq!(stored.repeated.contains(&place), repeated);
                        if !repeated {
                            expected += 1;
                            id.map(|id| seen.insert((instance, id), ran));
                        }
                    }
                }
                Act::Run(minutes) => {
                    // An id is dated at the end of its minute.
                    writer.ran(1).await.unwrap();
                    writer.ran(u64::from(minutes) - 1).await.unwrap();
                    ran += i64::from(minutes);
                    while writer.forget_report_ids().await.unwrap().0 > 0 {}
                }
                Act::Restart => {
                    writer.close().await.unwrap();
                    writer = database.writer();
                }
            }
        }
        (database.totals().await.unwrap().starts, expected)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn a_report_that_is_sent_again_counts_once(acts in vec(act(), 1..16)) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (counted, expected) = runtime.block_on(counts(acts));
            prop_assert_eq!(counted, expected);
        }
    }

    /// A million are remembered; the next one takes the place of the oldest.
    #[tokio::test]
    async fn the_oldest_of_a_million_is_forgotten_first() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut writer = database.writer();
        let first = [report(0, Some(0)), report(0, Some(1))];
        writer.store(now, &first).await.unwrap();
        // As if nearly a million had come since; those between are not read.
        let filled = writer.run(async |open| {
            sqlx::query(
                "WITH RECURSIVE n (i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
                 INSERT INTO report_ids SELECT i, i FROM n",
            )
            .execute(&mut open.connection)
            .await
        });
        filled.await.unwrap();
        let stored = writer.store(now, &[report(1, Some(0))]).await.unwrap();
        let expected = Stored { repeated: vec![], forgotten: 1, remembered: Some(1_000_000) };
        assert_eq!(stored, expected);
        let again = writer.store(now, &first).await.unwrap();
        assert_eq!(again.repeated, [1]);
    }
}
