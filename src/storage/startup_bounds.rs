//! The bounds of startup times in the file, which are those of the version that writes it. A version with other
//! bounds moves the starts into its own buckets.

use std::collections::BTreeSet;

use sqlx::{Connection as _, SqliteConnection};

use super::{json, maintain::sort_on_disk, packed_days::unpack_from};
use crate::domain::{Hour, StartupTimes};

/// Writes the buckets of startup times if those of the file are not those of this version.
pub async fn write_bounds(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let bounds: Vec<i64> = StartupTimes::bucket_bounds_ms().collect();
    if written(connection).await? == bounds {
        return Ok(());
    }
    sort_on_disk(connection).await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Another process may have moved them since.
    let old = written(&mut transaction).await?;
    move_starts(&mut transaction, &moved_times(&old, &bounds)).await?;
    // Packed days have the places of the old ones.
    unpack_from(&mut transaction, Hour::new(0)).await?;
    let bounds = json::encode(&bounds)?;
    sqlx::query!("DELETE FROM startup_bounds").execute(&mut *transaction).await?;
    sqlx::query!("INSERT INTO startup_bounds SELECT value FROM json_each(?)", bounds)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Startup times that lie in another bucket now: over the first time, up to the second one, in the bucket with
/// the third bound before and with the fourth one now.
fn moved_times(old: &[i64], new: &[i64]) -> Vec<[i64; 4]> {
    let bound = |bounds: &[i64], ms| bounds.iter().copied().find(|&bound| bound >= ms);
    let all: BTreeSet<i64> = [-1].iter().chain(old).chain(new).copied().collect();
    let ranges = all.iter().zip(all.iter().skip(1));
    ranges
        .filter_map(|(&above, &up_to)| {
            let (before, now) = (bound(old, up_to)?, bound(new, up_to)?);
            (before != now).then_some([above, up_to, before, now])
        })
        .collect()
}

/// Moves the starts whose reports are stored. What is subtracted later is then what was added. The others stay
/// under their old bounds: nothing is known of them but these.
async fn move_starts(connection: &mut SqliteConnection, times: &[[i64; 4]]) -> sqlx::Result<()> {
    if times.is_empty() {
        return Ok(());
    }
    let times = json::encode(&times)?;
    sqlx::query_file!("src/storage/move_starts.sql", times).execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM startup_times WHERE starts = 0").execute(connection).await?;
    Ok(())
}

/// The bounds of the file.
async fn written(connection: &mut SqliteConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("SELECT up_to_ms FROM startup_bounds ORDER BY up_to_ms")
        .fetch_all(connection)
        .await
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{InstanceId, Moment, Report, ReportBody, Selection},
        storage::{Database, Groups, Writer},
    };

    const BEGIN: Timestamp = Timestamp::constant(1_769_860_800, 0); // 2026-01-31T12:00:00Z

    fn start(id: &str, startup_time_ms: i64) -> Report {
        let (instance_id, startup_time_ms) = (Some(id.into()), Some(startup_time_ms));
        let body = ReportBody { instance_id, startup_time_ms, ..ReportBody::default() };
        body.into_report().unwrap()
    }

    async fn execute(writer: &mut Writer, statement: &'static str) {
        let done =
            writer.run(async |open| sqlx::raw_sql(statement).execute(&mut open.connection).await);
        done.await.unwrap();
    }

    /// Starts of all time by the bound of their bucket; those of the day and of the present are the same.
    async fn starts(database: &Database) -> Vec<(i64, u64)> {
        let all = database.startup(None, None).await.unwrap();
        let day = Hour::of(BEGIN).day();
        let days = database.startup(None, Some((day, Hour::new(day.number() + 24)))).await.unwrap();
        assert_eq!(all, days);
        let groups: Groups = vec![(1, 0)];
        let now = database.startup_at(&[Moment::Now], &groups).await.unwrap();
        assert_eq!(now[0][0], all[0].startup);
        let counts = StartupTimes::bucket_bounds_ms().zip(all[0].startup.buckets);
        counts.filter(|(_, starts)| *starts > 0).collect()
    }

    /// The bucket up to 3 s of an older version is split at 2.5 s, and its bound of 3.5 s is gone.
    #[tokio::test]
    async fn starts_follow_their_bounds() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        execute(
            &mut writer,
            "DELETE FROM startup_bounds WHERE up_to_ms = 2500;
             INSERT INTO startup_bounds VALUES (3500);",
        )
        .await;
        let at = |minutes| BEGIN + SignedDuration::from_mins(minutes);
        writer.store(at(0), &[start("old", 2400), start("old", 3300)]).await.unwrap();
        writer
            .store(at(10), &[start("a", 2300), start("b", 2700), start("c", 3400)])
            .await
            .unwrap();
        writer.close_hours(at(20)).await.unwrap();
        writer.index(at(20)).await.unwrap();
        writer.close_hours(at(70)).await.unwrap();
        writer.store(at(70), &[start("a", 2200), start("d", 700)]).await.unwrap();
        writer.index(at(70)).await.unwrap();
        // The first reports of the hour are pruned, the others stay.
        assert_eq!(writer.prune(at(5)).await.unwrap(), 2);
        // This one is not indexed yet.
        writer.store(at(71), &[start("a", 2100)]).await.unwrap();
        writer.close().await.unwrap();
        database.close().await;

        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        writer.index(at(72)).await.unwrap();
        let expected = [(750, 1), (2500, 3), (3000, 2), (4000, 2)];
        assert_eq!(starts(&database).await, expected);
        let verdict = database.verify(at(72)).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");

        for instance in ["a", "c"] {
            let instance = Some(InstanceId::parse(instance.into()).unwrap());
            let selection = Selection { instance, ..Selection::default() };
            writer.order_quarantine(at(73), &selection, false).await.unwrap();
        }
        writer.carry_out_alone(at(73)).await.unwrap().unwrap();
        // The pruned ones stay under the bounds that they had.
        assert_eq!(starts(&database).await, [(750, 1), (3000, 2), (4000, 1)]);
        let verdict = database.verify(at(74)).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }

    /// A day that is packed follows its rows into other buckets.
    #[tokio::test]
    async fn a_packed_day_follows_its_bounds() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let next_day = BEGIN + SignedDuration::from_hours(24);
        writer.close_hours(BEGIN).await.unwrap();
        writer.store(BEGIN, &[start("a", 2300)]).await.unwrap();
        // That of an older version, which has no bound of 2.5 s.
        execute(&mut writer, "DELETE FROM startup_bounds WHERE up_to_ms = 2500;").await;
        writer.close_hours(next_day).await.unwrap();
        assert_eq!(starts(&database).await, [(3000, 1)]);
        writer.close().await.unwrap();
        database.close().await;

        let database = Database::open_in(&folder).await;
        assert_eq!(starts(&database).await, [(2500, 1)]);
        let verdict = database.verify(next_day).await.unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
    }

    #[tokio::test]
    async fn a_cell_below_zero_fails_no_query() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        writer.close_hours(BEGIN).await.unwrap();
        writer.store(BEGIN, &[start("a", 700)]).await.unwrap();
        writer.index(BEGIN).await.unwrap();
        let hour = "INSERT INTO startup_times
            SELECT span, period, profile, 2500, -1, -2300 FROM startup_times";
        execute(&mut writer, hour).await;
        assert_eq!(starts(&database).await, [(750, 1)]);
    }
}
