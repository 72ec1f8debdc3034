//! Reports that are to come and do not count: those that a quarantine takes, and those of an instance that
//! was purged.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;

use super::{Labels, Open, Quarantine, QuarantineState, Writer};
use crate::{
    domain::{OTHER, Profile, Report, ReportKind, Selection, Value},
    storage::{Result, instance_key, json},
};

/// Reports that are set aside, by what selects them. With none of that a batch costs one look.
#[derive(Debug, Default)]
pub struct SetAside {
    quarantines: Vec<(i64, Selection)>,
    purged: Purged,
}

/// Instances that were purged, by a keyed hash.
#[derive(Debug, Default)]
pub struct Purged {
    pub key: Vec<u8>,
    pub hashes: HashSet<Vec<u8>>,
}

impl Purged {
    pub async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let hashes = sqlx::query_scalar!("SELECT hash FROM purged_instances")
            .fetch_all(&mut *connection)
            .await?;
        let key =
            sqlx::query_scalar!("SELECT key FROM purge_key").fetch_optional(connection).await?;
        Ok(Self { key: key.unwrap_or_default(), hashes: hashes.into_iter().collect() })
    }

    /// The hash of an id: 128 bits.
    pub fn hash(&self, id: &str) -> Vec<u8> {
        Sha256::new().chain_update(&self.key).chain_update(id).finalize()[..16].to_vec()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub fn has(&self, id: &str) -> bool {
        !self.is_empty() && self.hashes.contains(&self.hash(id))
    }
}

/// A report that goes into quarantine: the quarantine, then as in `quarantined_reports`.
#[derive(Debug, Serialize)]
pub struct Row(i64, i64, String, i64, i32, Option<i64>, Option<i64>, Option<String>);

impl SetAside {
    pub async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let quarantines = Quarantine::all(&mut *connection).await?;
        let quarantines = quarantines
            .into_iter()
            .filter(|one| one.future && one.state != QuarantineState::Lifting)
            .map(|one| (one.id, one.selection));
        Ok(Self { quarantines: quarantines.collect(), purged: Purged::load(connection).await? })
    }

    pub fn is_empty(&self) -> bool {
        self.quarantines.is_empty() && self.purged.is_empty()
    }

    /// True for a report of an instance that was purged.
    pub fn is_purged(&self, report: &Report) -> bool {
        self.purged.has(&report.instance_id)
    }

    /// The quarantine that takes a report. `other` stands for all values without a label.
    fn quarantine(&self, labels: &Labels, report: &Report, received_at: i64) -> Option<i64> {
        let counted = counted(labels, report);
        let takes = |selection: &Selection| {
            let (others, stated): (Vec<_>, Vec<_>) =
                selection.values.iter().cloned().partition(|(_, value)| **value == *OTHER);
            others.iter().all(|(dimension, _)| **counted.get(*dimension) == *OTHER)
                && Selection { values: stated, ..selection.clone() }.has(report, received_at)
        };
        self.quarantines.iter().find(|(_, selection)| takes(selection)).map(|(id, _)| *id)
    }
}

/// The profile that a report counts as by the labels as they are. It can change none of them.
fn counted(labels: &Labels, report: &Report) -> Profile {
    Profile::new(|dimension| {
        let value = report.profile.get(dimension);
        if labels.standing(dimension, value).is_some() { value.clone() } else { Value::other() }
    })
}

impl Open {
    /// Takes reports that are set aside out of a batch. Those of an instance that was purged are dropped.
    pub(super) async fn set_aside<'a>(
        &mut self,
        reports: impl Iterator<Item = (i64, &'a Report)>,
    ) -> sqlx::Result<(Vec<(i64, &'a Report)>, Vec<Row>)> {
        let (mut kept, mut aside) = (Vec::new(), Vec::new());
        self.profiles.begin_batch();
        for (received_at, report) in reports {
            if self.set_aside.is_purged(report) {
                continue;
            }
            let Some(quarantine) = self.set_aside.quarantine(&self.labels, report, received_at)
            else {
                kept.push((received_at, report));
                continue;
            };
            let counted = counted(&self.labels, report);
            let unproven: Vec<(&str, &str)> = crate::domain::Dimension::ALL
                .into_iter()
                .map(|dimension| (dimension, report.profile.get(dimension)))
                .filter(|(dimension, value)| counted.get(*dimension) != *value)
                .map(|(dimension, value)| (dimension.name(), &**value))
                .collect();
            let profile =
                self.profiles.number(&mut self.connection, &counted, &self.labels).await?;
            aside.push(Row(
                quarantine,
                received_at,
                instance_key::to_hex(&report.instance_id),
                profile,
                i32::from(report.kind == ReportKind::Heartbeat),
                report.startup_ms,
                report.timestamp.map(Timestamp::as_millisecond),
                if unproven.is_empty() { None } else { Some(json::encode(&unproven)?) },
            ));
        }
        Ok((kept, aside))
    }
}

impl Writer {
    /// Reads anew which reports are set aside.
    ///
    /// # Errors
    /// The database's error.
    pub async fn read_set_aside(&mut self) -> Result<()> {
        self.run(async |open| {
            open.set_aside = SetAside::load(&mut open.connection).await?;
            Ok(())
        })
        .await
    }
}
