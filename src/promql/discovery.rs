//! Discovery: the series that exist, their label names and label values.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{
    error::{QueryError, Result},
    grouping::Grouping,
    limits, parse,
    selector::Selector,
    series::Labels,
    source,
};
use crate::{domain::Dimension, storage::Database};

/// Series that any of some selectors selects; all series where no selector is given.
#[derive(Debug)]
pub struct Discovery(Vec<Selector>);

impl Discovery {
    /// Reads the texts of `match[]`.
    ///
    /// # Errors
    /// If one is no selector, or there are too many.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut different = BTreeSet::new();
        for text in texts {
            different.insert(text);
            if different.len() > limits::SELECTORS {
                return Err(QueryError::BadData(format!(
                    "a request may have at most {} different match[] parameters",
                    limits::SELECTORS
                )));
            }
        }
        if different.is_empty() {
            different.insert("{__name__!=\"\"}");
        }
        parse::selectors(different).map(Self)
    }

    /// The labels of the first series in their order, each once: `limit` of them at most, and one
    /// more to show that there are others.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn series(
        &self,
        database: &Database,
        now: Timestamp,
        limit: Option<usize>,
    ) -> Result<BTreeSet<Labels>> {
        let most = limit.map_or(usize::MAX, |limit| limit.min(limits::SERIES)).saturating_add(1);
        let mut found = BTreeSet::new();
        self.visit(database, now, None, |labels| {
            if found.len() == most && found.last().is_some_and(|last| *last <= labels) {
                return Ok(());
            }
            found.insert(labels);
            if found.len() > most {
                found.pop_last();
            }
            if limit.is_none() { limits::check_series(found.len()) } else { Ok(()) }
        })
        .await?;
        Ok(found)
    }

    /// The names of all labels that the series have.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn label_names(
        &self,
        database: &Database,
        now: Timestamp,
    ) -> Result<BTreeSet<String>> {
        // A series that has this label of a report has all of them, and its values are few.
        const ANY: &str = Dimension::TelemetryVersion.name();
        let mut names = BTreeSet::new();
        let keep = Grouping::By(vec![ANY.to_owned()]);
        self.visit(database, now, Some(&keep), |labels| {
            if labels.contains_key(ANY) {
                names.extend(Dimension::ALL.map(|dimension| dimension.name().to_owned()));
            }
            names.extend(labels.into_keys().map(Cow::into_owned));
            Ok(())
        })
        .await?;
        Ok(names)
    }

    /// The values that one label has in the series.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn label_values(
        &self,
        database: &Database,
        now: Timestamp,
        label: &str,
    ) -> Result<BTreeSet<Arc<str>>> {
        let mut values = BTreeSet::new();
        let keep = Grouping::By(vec![label.to_owned()]);
        self.visit(database, now, Some(&keep), |mut labels| {
            values.extend(labels.remove(label));
            Ok(())
        })
        .await?;
        Ok(values)
    }

    async fn visit(
        &self,
        database: &Database,
        now: Timestamp,
        keep: Option<&Grouping>,
        mut visit: impl FnMut(Labels) -> Result<()>,
    ) -> Result<()> {
        let all = async {
            for selector in &self.0 {
                source::existing(database, now, selector, keep, &mut visit).await?;
            }
            Ok(())
        };
        tokio::time::timeout(limits::TIME, all)
            .await
            .unwrap_or(Err(QueryError::Timeout(limits::TIME)))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{BUCKETS, ReportBody},
        storage::Writer,
    };

    const NOW: &str = "2026-01-31T12:30:00Z";

    /// Stores a start of each of some versions.
    async fn store(writer: &mut Writer, versions: std::ops::Range<usize>) {
        let start = |number: usize| {
            let body = ReportBody {
                instance_id: Some(format!("i{number}")),
                image_version: Some(format!("v11.{number}.0")),
                startup_time_ms: Some(1000),
                ..ReportBody::default()
            };
            body.into_report().unwrap()
        };
        let reports: Vec<_> = versions.map(start).collect();
        writer.store(NOW.parse().unwrap(), &reports).await.unwrap();
        writer.close_hours(NOW.parse().unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn too_many_series_are_refused_or_cut() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut writer = database.writer();
        let now = NOW.parse().unwrap();
        let series = async |selector, limit| {
            let found = Discovery::parse([selector].into_iter()).unwrap();
            found.series(&database, now, limit).await.map(|series| series.len())
        };
        let buckets = "mattermost_startup_seconds_bucket";
        let refused = "the query selects more than 10000 series";

        let most = limits::SERIES / BUCKETS;
        store(&mut writer, 0..most).await;
        assert_eq!(series(buckets, None).await.unwrap(), most * BUCKETS);
        assert_eq!(series(buckets, Some(most * BUCKETS)).await.unwrap(), most * BUCKETS);
        let all = series("{__name__=~\"mattermost_startup_.*\"}", None).await;
        assert_eq!(all.unwrap_err().to_string(), refused);

        store(&mut writer, most..most + 1).await;
        assert_eq!(series(buckets, None).await.unwrap_err().to_string(), refused);
        // With a limit they are cut, and one more shows that there are others.
        assert_eq!(series(buckets, Some(7)).await.unwrap(), 8);
        assert_eq!(series(buckets, Some(40_000)).await.unwrap(), limits::SERIES + 1);
        let first = Discovery::parse([buckets].into_iter()).unwrap();
        let first = first.series(&database, now, Some(BUCKETS)).await.unwrap();
        let versions: Vec<_> = first.iter().map(|labels| &*labels["image_version"]).collect();
        assert_eq!(versions[..BUCKETS], ["v11.0.0"; BUCKETS]);
        assert_eq!(versions[BUCKETS], "v11.1.0");
        // The names of labels and the values of one need no series of each version.
        let all = Discovery::parse(std::iter::empty()).unwrap();
        let names = all.label_names(&database, now).await.unwrap();
        assert!(names.contains("le") && names.contains("image_version"), "{names:?}");
        let values = async |label| all.label_values(&database, now, label).await.unwrap().len();
        assert_eq!(values("image_version").await, most + 1);
        assert_eq!(values("le").await, BUCKETS);
        assert_eq!(values("window").await, 3);
        writer.close().await.unwrap();
        database.close().await;
    }
}
