//! Numbers of the public view: made once a day, at its close, and kept.

use jiff::tz::Offset;
use sqlx::SqliteConnection;

use crate::{
    domain::{ExactCounts, Hour, Moment, PublicNumbers, Window},
    storage::{Database, Result, json, profiles::find},
};

impl Database {
    /// Makes the numbers of the day that ends at a midnight. No report of a later hour may be indexed.
    /// Returns `None` where they are there already: a second set would differ in single instances.
    pub(super) async fn make_public_numbers(
        &self,
        midnight: Hour,
        minimum: u64,
    ) -> Result<Option<PublicNumbers>> {
        let previous = self.public_numbers().await?;
        let day = day_before(midnight);
        if previous.as_ref().is_some_and(|previous| previous.day == day) {
            return Ok(None);
        }
        let first = Window::Month.first_hour(midnight);
        let (past, end) = (first.number(), midnight.number());
        let active = sqlx::query!(
            r#"SELECT profile AS "profile!", sum(instances) AS "instances!: i64" FROM activity
               WHERE hour >= ? AND hour < ? GROUP BY profile"#,
            past,
            end
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let ever = sqlx::query!(
            r#"SELECT profile AS "profile!", count(*) AS "instances!: i64" FROM instances
               GROUP BY profile"#
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let profiles = self.profiles().await?;
        let groups = profiles.iter().map(|(number, _)| (*number, 0)).collect();
        let moments = [Moment::At(first), Moment::At(midnight)];
        let starts = self.starts_at(&moments, &groups).await?.pop();
        let [before, until] = starts.as_deref().unwrap_or_default() else { return Ok(None) };
        let exact = |starts, rows: &mut dyn Iterator<Item = (i64, i64)>| {
            let named = rows.filter_map(|(number, instances)| {
                Some((find(&profiles, number)?.clone(), u64::try_from(instances).ok()?))
            });
            ExactCounts { starts, instances: named.collect() }
        };
        let mut active = active.into_iter().map(|row| (row.profile, row.instances));
        let mut ever = ever.into_iter().map(|row| (row.profile, row.instances));
        let last_30_days = exact(until - before, &mut active);
        let all_time = exact(*until, &mut ever);
        Ok(Some(PublicNumbers::new(day, minimum, &last_30_days, &all_time, previous.as_ref())))
    }
}

/// The day that ends at a midnight.
fn day_before(midnight: Hour) -> jiff::civil::Date {
    Offset::UTC.to_datetime(midnight.plus(-1).start()).date()
}

/// Publishes numbers. Those of later days go: a clock was ahead.
pub async fn publish(
    transaction: &mut SqliteConnection,
    midnight: Hour,
    numbers: &PublicNumbers,
) -> sqlx::Result<()> {
    let (day, numbers) = (midnight.number() / 24 - 1, json::encode(numbers)?);
    sqlx::query!("DELETE FROM public_numbers WHERE day >= ?", day)
        .execute(&mut *transaction)
        .await?;
    sqlx::query!("INSERT INTO public_numbers VALUES (?, ?)", day, numbers)
        .execute(&mut *transaction)
        .await?;
    Ok(())
}
