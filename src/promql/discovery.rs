//! Discovery: the series that exist, their label names and label values.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{
    error::{QueryError, Result},
    grouping::Grouping,
    limits, parse,
    selector::Selector,
    series::{Labels, NAME},
    source,
};
use crate::{domain::Dimension, metrics::Metric, storage::Database};

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

    /// The labels of each series, each once.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn series(&self, database: &Database, now: Timestamp) -> Result<BTreeSet<Labels>> {
        let mut found = BTreeSet::new();
        self.visit(database, now, None, |labels| {
            if !found.contains(&labels) {
                limits::check_series(found.len() + 1)?;
                found.insert(labels);
            }
            Ok(())
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
        const VERSION: &str = Dimension::ImageVersion.name();
        let mut names = BTreeSet::new();
        let keep = Grouping::By(vec![VERSION.to_owned()]);
        self.visit(database, now, Some(&keep), |labels| {
            // A series with a version has all labels of a report, except the newest version itself.
            let newest =
                labels.get(NAME).is_some_and(|name| **name == *Metric::NewestVersion.name());
            if labels.contains_key(VERSION) && !newest {
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
