//! Which series there are, and which labels.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{
    MAX_SERIES, TIME_LIMIT,
    error::QueryError,
    parse,
    plan::Grouping,
    read::{existing, too_many_series},
    selector::Selector,
    series::{Labels, NAME},
};
use crate::{domain::Dimension, metrics::Metric, storage::Database};

type Result<T> = std::result::Result<T, QueryError>;

/// Selectors of one request.
const MAX_SELECTORS: usize = 50;

/// Series that any of some selectors selects; all where there is none.
#[derive(Debug)]
pub struct Selection(Vec<Selector>);

impl Selection {
    /// Of the texts of `match[]`.
    ///
    /// # Errors
    /// If one is no selector, or there are too many.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut texts: BTreeSet<&str> = texts.collect();
        if texts.len() > MAX_SELECTORS {
            return Err(QueryError::BadData(format!(
                "more than {MAX_SELECTORS} match[] are given"
            )));
        }
        if texts.is_empty() {
            texts.insert("{__name__!=\"\"}");
        }
        parse::selectors(texts).map(Self)
    }

    /// The labels of each series, each once.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn series(&self, database: &Database, now: Timestamp) -> Result<BTreeSet<Labels>> {
        let mut found = BTreeSet::new();
        self.tell(database, now, None, |labels| {
            found.insert(labels);
            if found.len() > MAX_SERIES { Err(too_many_series()) } else { Ok(()) }
        })
        .await?;
        Ok(found)
    }

    /// The names of their labels.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn label_names(
        &self,
        database: &Database,
        now: Timestamp,
    ) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        // Whatever has a version has all labels of a report, but for the newest version itself.
        let keep = Grouping::By(vec![Dimension::ImageVersion.name().to_owned()]);
        self.tell(database, now, Some(&keep), |labels| {
            let of_reports = labels.contains_key(Dimension::ImageVersion.name())
                && labels.get(NAME).is_none_or(|name| &**name != NEWEST);
            if of_reports {
                names.extend(Dimension::ALL.map(|of| of.name().to_owned()));
            }
            names.extend(labels.into_keys().map(std::borrow::Cow::into_owned));
            Ok(())
        })
        .await?;
        Ok(names)
    }

    /// The values of one of their labels.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn label_values(
        &self,
        database: &Database,
        now: Timestamp,
        name: &str,
    ) -> Result<BTreeSet<Arc<str>>> {
        let mut values = BTreeSet::new();
        let keep = Grouping::By(vec![name.to_owned()]);
        self.tell(database, now, Some(&keep), |mut labels| {
            values.extend(labels.remove(name));
            Ok(())
        })
        .await?;
        Ok(values)
    }

    async fn tell(
        &self,
        database: &Database,
        now: Timestamp,
        keep: Option<&Grouping>,
        mut tell: impl FnMut(Labels) -> Result<()>,
    ) -> Result<()> {
        let all = async {
            for selector in &self.0 {
                existing(database, now, selector, keep, &mut tell).await?;
            }
            Ok(())
        };
        tokio::time::timeout(TIME_LIMIT, all).await.unwrap_or(Err(QueryError::Timeout(TIME_LIMIT)))
    }
}

const NEWEST: &str = Metric::NewestVersion.name();
