//! Packing of the days that are over.

use std::time::{Duration, Instant};

use sqlx::Connection as _;

use super::Open;
use crate::{
    domain::Hour,
    storage::{Result, Writer, packed_days::PackedDay},
};

/// Longest time of a transaction before the next one packs fewer days.
const LONGEST: Duration = Duration::from_millis(4);
/// Days in one transaction at most.
const MOST_DAYS: usize = 32;

impl Writer {
    /// Packs some of the days that are over, rolled up and not packed. Returns whether there may be more.
    ///
    /// # Errors
    /// The database's error.
    pub async fn pack_days(&mut self) -> Result<bool> {
        self.run(async |open| open.pack_days().await).await
    }
}

impl Open {
    pub async fn pack_days(&mut self) -> sqlx::Result<bool> {
        let (begun, most) = (Instant::now(), self.days_at_a_time);
        // Lost days are packed again, so this needs no sync of its own.
        sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut self.connection).await?;
        let (packed_until, more) = self.pack(most).await?;
        sqlx::query("PRAGMA synchronous = FULL").execute(&mut self.connection).await?;
        self.packed_until_ms = Hour::new(packed_until).start_ms();
        let longer = begun.elapsed() > LONGEST;
        self.days_at_a_time = if longer { 1.max(most / 2) } else { MOST_DAYS.min(most * 2) };
        Ok(more)
    }

    /// Packs so many days at most. Returns the new position, and whether there may be more.
    async fn pack(&mut self, most: usize) -> sqlx::Result<(i64, bool)> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let state = sqlx::query!(
            r#"SELECT
                   packed.position AS packed,
                   min(rolled_up.position, coalesce(
                       (
                           SELECT min(received_at) FROM reports
                           WHERE received_at >= 0
                               AND id > (SELECT position FROM watermarks WHERE name = 'indexed')
                       ) / 3600000,
                       rolled_up.position
                   )) AS "complete!: i64",
                   EXISTS (SELECT 1 FROM watermarks WHERE name = 'importing') AS "importing!: bool"
               FROM watermarks AS packed INNER JOIN watermarks AS rolled_up
                   ON packed.name = 'packed' AND rolled_up.name = 'rolled_up'"#
        )
        .fetch_one(&mut *transaction)
        .await?;
        let until = Hour::new(state.complete).day().number();
        let mut from = state.packed;
        // An import brings reports of any day.
        if state.importing || from >= until {
            return Ok((from, false));
        }
        let mut more = true;
        for _ in 0..most {
            let day = sqlx::query_scalar!(
                r#"SELECT min(period) AS "day: i64" FROM rollups
                   WHERE span = 24 AND period >= ? AND period < ?"#,
                from,
                until
            )
            .fetch_one(&mut *transaction)
            .await?;
            more = day.is_some();
            let next = day.map_or(until, |day| day + 24);
            sqlx::query!("DELETE FROM packed_days WHERE period >= ? AND period < ?", from, next)
                .execute(&mut *transaction)
                .await?;
            from = next;
            let Some(day) = day else { break };
            let PackedDay { starts, startup_times } =
                PackedDay::of_rows(&mut transaction, day).await?;
            sqlx::query!("INSERT INTO packed_days VALUES (?, ?, ?)", day, starts, startup_times)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query!("UPDATE watermarks SET position = ? WHERE name = 'packed'", from)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok((from, more))
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{Moment, Report, ReportBody},
        storage::{Database, Groups, packed_days::packed_until},
    };

    const BEGIN: Timestamp = Timestamp::constant(1_769_860_800, 0); // 2026-01-31T12:00:00Z

    fn at(hours: i64) -> Timestamp {
        BEGIN + SignedDuration::from_hours(hours)
    }

    fn start(startup_time_ms: i64) -> Report {
        let (instance_id, startup_time_ms) = (Some("a".into()), Some(startup_time_ms));
        let body = ReportBody { instance_id, startup_time_ms, ..ReportBody::default() };
        body.into_report().unwrap()
    }

    /// Days for which packed days count, of those since the begin.
    async fn days_packed(writer: &mut Writer) -> i64 {
        let until = writer.run(async |open| packed_until(&mut open.connection).await);
        (until.await.unwrap().number() - Hour::of(BEGIN).day().number()) / 24
    }

    /// Starts of each day so far, of those with a startup time, and faults that `verify` finds.
    async fn starts(
        database: &Database,
        now: i64,
    ) -> (Vec<u64>, Vec<u64>, Vec<(&'static str, i64)>) {
        let days = 0..=(now + 12) / 24;
        let mut moments: Vec<Moment> =
            days.map(|day| Moment::At(Hour::of(BEGIN).day().plus(24 * day))).collect();
        moments.push(Moment::Now);
        let groups: Groups = vec![(1, 0)];
        let starts = database.starts_at(&moments, &groups).await.unwrap().remove(0);
        let starts = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (times, _) = database.startup_between(&moments, &groups).await.unwrap();
        let mut times: Vec<u64> = times.iter().map(crate::domain::StartupTimes::count).collect();
        times.pop();
        let checks = database.verify(at(now)).await.unwrap().checks;
        (starts, times, checks.into_iter().filter(|(_, faults)| *faults > 0).collect())
    }

    /// A server that runs for five days, with a report each day at noon.
    async fn five_days(folder: &TempDir) -> (Database, Writer) {
        let database = Database::open_in(folder).await;
        let mut writer = database.writer();
        for day in 0..5 {
            writer.close_hours(at(24 * day)).await.unwrap();
            writer.store(at(24 * day), &[start(2400)]).await.unwrap();
            writer.index(at(24 * day)).await.unwrap();
        }
        writer.close_hours(at(97)).await.unwrap();
        assert_eq!(days_packed(&mut writer).await, 4);
        assert_eq!(starts(&database, 97).await, (vec![1; 5], vec![1; 5], vec![]));
        (database, writer)
    }

    #[tokio::test]
    async fn a_late_report_has_its_day_packed_anew() {
        let folder = TempDir::new().unwrap();
        let (database, mut writer) = five_days(&folder).await;
        writer.store(at(24), &[start(300), start(700)]).await.unwrap();
        assert_eq!(days_packed(&mut writer).await, 1);
        // They are not indexed, so that their day is not complete.
        assert!(!writer.pack_days().await.unwrap());
        assert_eq!(days_packed(&mut writer).await, 1);
        assert_eq!(starts(&database, 97).await, (vec![1, 3, 1, 1, 1], vec![1; 5], vec![]));
        writer.index_all().await.unwrap();
        while writer.pack_days().await.unwrap() {}
        assert_eq!(days_packed(&mut writer).await, 4);
        let expected = vec![1, 3, 1, 1, 1];
        assert_eq!(starts(&database, 97).await, (expected.clone(), expected, vec![]));
    }

    #[tokio::test]
    async fn a_server_packs_no_day_while_another_process_imports() {
        let folder = TempDir::new().unwrap();
        let (database, mut writer) = five_days(&folder).await;
        let mut import = database.writer();
        let store = async |import: &mut Writer, row| {
            let report = start(700);
            let reports = [(at(24).as_millisecond(), &report)];
            let stored =
                import.run(async |open| open.store_rows(reports.into_iter(), &[(row, row)]).await);
            assert!(stored.await.unwrap());
        };
        store(&mut import, 1).await;
        assert_eq!(days_packed(&mut writer).await, -Hour::of(BEGIN).day().number() / 24);
        writer.index_all().await.unwrap();
        assert!(!writer.pack_days().await.unwrap());
        store(&mut import, 2).await;
        let finished = import.run(async |open| {
            open.index_all().await?;
            sqlx::query("DELETE FROM watermarks WHERE name = 'importing'")
                .execute(&mut open.connection)
                .await
        });
        finished.await.unwrap();
        let expected = vec![1, 3, 1, 1, 1];
        for _ in 0..2 {
            let (starts, times, faults) = starts(&database, 97).await;
            assert_eq!((starts, times), (expected.clone(), expected.clone()));
            let packed = |(name, _): &(&str, i64)| name.starts_with("packed");
            assert!(!faults.iter().any(packed), "{faults:?}");
            while writer.pack_days().await.unwrap() {}
            assert_eq!(days_packed(&mut writer).await, 4);
        }
    }

    #[tokio::test]
    async fn a_packed_day_that_is_wrong_is_found_and_repaired() {
        let folder = TempDir::new().unwrap();
        let (database, mut writer) = five_days(&folder).await;
        for broken in [
            "UPDATE packed_days SET starts = x'0109' WHERE period = (SELECT min(period) FROM packed_days)",
            "UPDATE packed_days SET startup_times = x'80'",
            "DELETE FROM packed_days WHERE period = (SELECT min(period) FROM packed_days)",
        ] {
            let done =
                writer.run(async |open| sqlx::raw_sql(broken).execute(&mut open.connection).await);
            done.await.unwrap();
            let checks = database.verify(at(97)).await.unwrap().checks;
            let faults: Vec<_> = checks.iter().filter(|(_, faults)| *faults > 0).collect();
            assert!(faults[0].0.starts_with("packed days") && faults.len() == 1, "{faults:?}");
            let repair = writer.order_repair().await.unwrap();
            writer.carry_out_alone(at(97)).await.unwrap().unwrap();
            let (_, repaired) = writer.repaired(repair).await.unwrap().unwrap();
            assert!(repaired > 0);
            assert_eq!(starts(&database, 97).await, (vec![1; 5], vec![1; 5], vec![]));
            while writer.pack_days().await.unwrap() {}
            assert_eq!(starts(&database, 97).await, (vec![1; 5], vec![1; 5], vec![]));
        }
    }
}
