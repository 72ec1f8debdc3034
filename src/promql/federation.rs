//! Federation: the present values of selected series, for an engine that gathers several servers.
//!
//! Series are read in parts, each within the limits of a query, so that any number of them takes the memory of
//! one part.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    error::{QueryError, Result},
    limits, parse,
    selector::Selector,
    series::{Labels, NAME},
    source::{self, Numbered},
};
use crate::{
    domain::Dimension,
    metrics::{BUCKET_LABEL, Description, Metric},
    storage::Database,
};

/// Profiles of one part. Their buckets are some thousand series.
const PROFILES: usize = 100;
/// Families in the order of their names. Recent starts are not among them: a `purge` must reach every
/// instance id, and reaches none in another engine.
const FAMILIES: [(&[Metric], ByProfile); 9] = [
    (&[Metric::ActiveInstances], true),
    (&[Metric::CalendarInstances], false),
    (&[Metric::CohortInstances], false),
    (&[Metric::Instances], false),
    (&[Metric::InstancesReturned], false),
    (&[Metric::NewestVersion], false),
    (&[Metric::ReturningInstances], true),
    (&[Metric::Starts], true),
    (&[Metric::StartupBucket, Metric::StartupSum, Metric::StartupCount], true),
];

/// True of a family whose series have the labels of a report.
type ByProfile = bool;

/// Series that any of some selectors selects, in parts.
#[derive(Debug)]
pub struct Federation {
    selectors: Arc<[Selector]>,
    parts: VecDeque<Source>,
    /// Time that reading took so far.
    spent: Duration,
}

/// The place of the series of a part.
#[derive(Debug)]
enum Source {
    Fleet(&'static [Metric], Numbered),
    Server,
}

/// A series and its present value.
#[derive(Debug, PartialEq)]
pub struct Present {
    /// Name of its family, which is the name without the ending of a histogram's part.
    pub family: String,
    /// Its labels, the name among them.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

impl Federation {
    /// Reads the texts of `match[]`.
    ///
    /// # Errors
    /// If there is none, one is no selector, or there are too many.
    pub async fn parse<'a>(
        database: &Database,
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<Self> {
        let texts: Vec<&str> = texts.take(limits::SELECTORS + 1).collect();
        if texts.is_empty() {
            return Err(QueryError::BadData("no match[] parameter provided".into()));
        }
        if texts.len() > limits::SELECTORS {
            return Err(QueryError::BadData(format!(
                "a request may have at most {} match[] parameters",
                limits::SELECTORS
            )));
        }
        let selectors = parse::selectors(texts)?;
        let mut profiles = database.profiles().await?.to_vec();
        let mut dimensions = Dimension::ALL;
        dimensions.sort_by_key(|dimension| dimension.name());
        profiles.sort_by(|(_, a), (_, b)| {
            dimensions.map(|each| a.get(each)).cmp(&dimensions.map(|each| b.get(each)))
        });
        let mut parts = VecDeque::new();
        for (metrics, by_profile) in FAMILIES {
            if by_profile {
                let chunks = profiles.chunks(PROFILES).map(<[_]>::to_vec);
                parts.extend(chunks.map(|chunk| Source::Fleet(metrics, chunk)));
            } else {
                parts.push_back(Source::Fleet(metrics, Vec::new()));
            }
        }
        parts.push_back(Source::Server);
        Ok(Self { selectors: selectors.into(), parts, spent: Duration::ZERO })
    }

    /// The series of the next part, in the order of their families, labels and buckets, each once; `None`
    /// after the last part. `descriptions` are those of the server's own metrics.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn next(
        &mut self,
        database: &Database,
        now: Timestamp,
        descriptions: &[Description],
    ) -> Result<Option<Vec<Present>>> {
        let Some(part) = self.parts.pop_front() else { return Ok(None) };
        let begun = Instant::now();
        let left = limits::TIME.saturating_sub(self.spent);
        let read = tokio::time::timeout(left, self.read(database, now, &part)).await;
        let found = read.unwrap_or(Err(QueryError::Timeout(limits::TIME)))?;
        self.spent += begun.elapsed();
        let mut sorted = BTreeMap::new();
        for (labels, value) in found {
            let family = match &part {
                Source::Fleet(metrics, _) => metrics[0].family().to_owned(),
                Source::Server => family(&labels, descriptions),
            };
            let place = place(&family, &labels);
            sorted.entry(place).or_insert(Present { family, labels, value });
        }
        Ok(Some(sorted.into_values().collect()))
    }

    async fn read(
        &self,
        database: &Database,
        now: Timestamp,
        part: &Source,
    ) -> Result<Vec<(Labels, f64)>> {
        let mut found = Vec::new();
        for selector in self.selectors.iter() {
            match part {
                Source::Fleet(metrics, profiles) => {
                    for metric in *metrics {
                        let read = source::present(database, now, selector, *metric, profiles);
                        found.extend(read.await?);
                    }
                }
                Source::Server => {
                    found.extend(source::present_of_server(database, now, selector).await?);
                }
            }
        }
        Ok(found)
    }
}

/// The family of a series of the server's own.
fn family(labels: &Labels, descriptions: &[Description]) -> String {
    let name = labels.get(NAME).map_or("", |name| &**name);
    let is_histogram = |family: &&str| {
        descriptions.iter().any(|known| known.family == **family && known.kind == "histogram")
    };
    let mut endings = ["_bucket", "_sum", "_count"].into_iter();
    let family = endings.find_map(|ending| name.strip_suffix(ending).filter(is_histogram));
    family.unwrap_or(name).to_owned()
}

/// The place of a series: the parts of a histogram follow each other, its buckets by their bounds.
fn place(family: &str, labels: &Labels) -> (String, Labels, u8, u64) {
    let mut rest = labels.clone();
    let name = rest.remove(NAME);
    let bound = rest.remove(BUCKET_LABEL).and_then(|bound| bound.parse::<f64>().ok());
    let part = match name.as_deref().and_then(|name| name.strip_prefix(family)) {
        Some("_sum") => 1,
        Some("_count") => 2,
        _ => 0,
    };
    // The order of numbers from 0 on is that of their bits.
    (family.to_owned(), rest, part, bound.map_or(0, f64::to_bits))
}
