//! Quarantines, as the database has them.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::{
    domain::{Dimension, InstanceId, ReportKind, Selection, Value},
    storage::{instance_key, json},
};

/// Progress of a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarantineState {
    /// Its reports are being taken out.
    Applying,
    /// Its reports are out.
    Active,
    /// Its reports are being put back.
    Lifting,
}

/// A quarantine.
#[derive(Debug, Clone)]
pub struct Quarantine {
    /// Its number.
    pub id: i64,
    /// Time of the order.
    pub made_at: Timestamp,
    /// Reports that it takes.
    pub selection: Selection,
    /// True if it takes those that are still to come, too.
    pub future: bool,
    /// Its progress.
    pub state: QuarantineState,
    pub(in crate::storage) last_report: Option<i64>,
    pub(in crate::storage) phase: i64,
    pub(in crate::storage) position: i64,
}

impl Quarantine {
    /// All quarantines, in the order of their numbers.
    pub(in crate::storage) async fn all(
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<Vec<Self>> {
        let rows =
            sqlx::query!("SELECT * FROM quarantines ORDER BY id").fetch_all(connection).await?;
        let mut quarantines = Vec::with_capacity(rows.len());
        for row in rows {
            let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
            let values: Vec<(String, String)> = json::decode(&row.field_values)?;
            let values = values.into_iter().filter_map(|(name, value)| {
                let dimension = Dimension::named(&name)?;
                Some((dimension, Value::parse(dimension, Some(value))?))
            });
            let id = |key: Vec<u8>| InstanceId::parse(instance_key::to_id(&key));
            let kind = |heartbeat: i64| match heartbeat {
                0 => ReportKind::Start,
                _ => ReportKind::Heartbeat,
            };
            quarantines.push(Self {
                id: row.id,
                made_at: time(row.made_at),
                selection: Selection {
                    instance: row.instance.and_then(id),
                    values: values.collect(),
                    kind: row.heartbeat.map(kind),
                    from: row.from_at.map(time),
                    until: row.until_at.map(time),
                },
                future: row.future != 0,
                state: match &*row.state {
                    "applying" => QuarantineState::Applying,
                    "active" => QuarantineState::Active,
                    _ => QuarantineState::Lifting,
                },
                last_report: row.last_report,
                phase: row.phase,
                position: row.position,
            });
        }
        Ok(quarantines)
    }

    /// Stores a new one, and returns its number.
    pub(in crate::storage) async fn insert(
        connection: &mut SqliteConnection,
        made_at: Timestamp,
        selection: &Selection,
        future: bool,
    ) -> sqlx::Result<i64> {
        let made_at = made_at.as_millisecond();
        let instance = selection.instance.as_ref().map(|id| instance_key::to_hex(id));
        let values: Vec<(&str, &str)> =
            selection.values.iter().map(|(name, value)| (name.name(), &**value)).collect();
        let values = json::encode(&values)?;
        let heartbeat = selection.kind.map(|kind| kind == ReportKind::Heartbeat);
        let from = selection.from.map(Timestamp::as_millisecond);
        let until = selection.until.map(Timestamp::as_millisecond);
        sqlx::query_scalar!(
            r#"INSERT INTO quarantines (
                   made_at, instance, field_values, heartbeat, from_at, until_at, future, state
               ) VALUES (?, unhex(?), ?, ?, ?, ?, ?, 'applying') RETURNING id AS "id!""#,
            made_at,
            instance,
            values,
            heartbeat,
            from,
            until,
            future
        )
        .fetch_one(connection)
        .await
    }
}
