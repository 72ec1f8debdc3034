//! State of the fleet at the end of an hour, and its snapshot.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use crate::{domain::Hour, storage::json};

/// State of the fleet at the end of an hour.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Instances active within each window, then the returning ones, by latest profile.
    pub active: BTreeMap<i64, [i64; 6]>,
    /// All instances so far.
    pub instances: i64,
    /// Those of them that were seen on two or more days.
    pub returning: i64,
    /// First end from which on no instance is active.
    pub empty_from: Option<i64>,
}

impl Fleet {
    /// Adds to the counts of a profile.
    pub fn add(&mut self, profile: i64, changes: [i64; 6]) {
        let counts = self.active.entry(profile).or_default();
        counts.iter_mut().zip(changes).for_each(|(count, change)| *count += change);
    }

    /// Ends an hour, all of whose changes are added.
    pub fn end(&mut self, hour: i64) {
        self.active.retain(|_, counts| counts.iter().any(|&count| count > 0));
        self.empty_from =
            self.active.is_empty().then(|| self.empty_from.map_or(hour, |from| from.min(hour)));
    }

    /// True if no instance is active at an end, nor was one at the midnight before it. The snapshot
    /// of that midnight stands for those of all ends that follow, until there is a report.
    pub fn rests(&self, end: i64) -> bool {
        self.empty_from.is_some_and(|from| from <= Hour::new(end - 1).day().number())
    }

    /// Its snapshot at the end of an hour.
    pub fn snapshot(&self, hour: i64) -> sqlx::Result<Snapshot> {
        let active: Vec<[i64; 7]> = self
            .active
            .iter()
            .map(|(&profile, &[a1, a7, a30, r1, r7, r30])| [profile, a1, a7, a30, r1, r7, r30])
            .collect();
        let active = json::encode(&active)?;
        Ok(Snapshot { hour, instances: self.instances, returning: self.returning, active })
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Snapshot {
    pub hour: i64,
    instances: i64,
    returning: i64,
    active: String,
}

impl Snapshot {
    /// Stores it, unless there is one.
    pub async fn insert(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        sqlx::query!(
            // An import beside the server may have made it anew.
            "INSERT INTO snapshots VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            self.hour,
            self.instances,
            self.returning,
            self.active
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Moves the watermark `closed` on to an hour.
pub async fn closed_until(connection: &mut SqliteConnection, hour: Hour) -> sqlx::Result<()> {
    let hour = hour.number();
    sqlx::query!(
        "INSERT INTO watermarks VALUES ('closed', ?)
         ON CONFLICT DO UPDATE SET position = max(position, excluded.position)",
        hour
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The last hour whose end is taken; before the first one, the hour of the first report.
pub async fn last_end(connection: &mut SqliteConnection, now: Hour) -> sqlx::Result<Hour> {
    let now = now.number();
    let last = sqlx::query_scalar!(
        r#"SELECT coalesce(
               (SELECT position FROM watermarks WHERE name = 'closed'),
               (SELECT min(hour) FROM activity WHERE hour >= 0 AND instances > 0),
               (
                   SELECT min(received_at) / 3600000 FROM reports
                   WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed')
                       AND received_at >= 0
               ),
               ?1
           ) AS "hour!: i64""#,
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(Hour::new(last))
}
