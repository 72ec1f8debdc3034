//! Which series.

use super::{
    MAX_STEPS,
    error::QueryError,
    matcher::{Matcher, all_match},
    series::{Grid, NAME},
};
use crate::metrics::is_of_server;

type Result<T> = std::result::Result<T, QueryError>;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// Which series, and how long before the moment.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Conditions on labels, the name among them.
    pub matchers: Vec<Matcher>,
    /// How long before, in milliseconds.
    pub offset_ms: i64,
}

impl Selector {
    /// Whether a name is one that it selects.
    pub async fn selects_name(&self, name: &str) -> bool {
        let matchers = self.matchers.iter().filter(|of| of.name == NAME);
        all_match(matchers.map(|of| (of, name))).await
    }

    /// The samples within a range before `time`: the deployments are counted each hour, the
    /// server itself each minute.
    pub fn samples_within(&self, time: i64, range_ms: i64) -> Result<Grid> {
        let of_server = self
            .matchers
            .iter()
            .any(|of| of.name == NAME && of.only_value().is_some_and(is_of_server));
        let step = if of_server { MINUTE_MS } else { HOUR_MS };
        let end = time - self.offset_ms;
        let start = (end - range_ms).div_euclid(step) + 1;
        let count = usize::try_from(end.div_euclid(step) - start + 1).unwrap_or(0);
        if count > MAX_STEPS {
            return Err(QueryError::BadData(format!(
                "the range has more than {MAX_STEPS} samples a series"
            )));
        }
        Ok(Grid { start: start * step, step, count })
    }
}
