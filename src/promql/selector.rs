//! Selectors: the matchers of some series, and the time before the moment.

use super::{
    error::{QueryError, Result},
    limits,
    matcher::{Matcher, all_match},
    series::{Grid, NAME},
};
use crate::metrics;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// The matchers of some series, and the time before the moment.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Conditions on labels, the name among them.
    pub matchers: Vec<Matcher>,
    /// Time before the moment, in milliseconds.
    pub offset_ms: i64,
}

impl Selector {
    /// The conditions on the name.
    pub fn name_matchers(&self) -> impl Iterator<Item = &Matcher> {
        self.matchers.iter().filter(|matcher| matcher.label == NAME)
    }

    /// The conditions on labels other than the name.
    pub fn label_matchers(&self) -> impl Iterator<Item = &Matcher> {
        self.matchers.iter().filter(|matcher| matcher.label != NAME)
    }

    /// True if a name is selected.
    pub async fn selects_name(&self, name: &str) -> bool {
        all_match(self.name_matchers().map(|matcher| (matcher, name))).await
    }

    /// The only name that is selected, if there is one.
    pub fn only_name(&self) -> Option<&str> {
        self.name_matchers().find_map(Matcher::only_value)
    }

    /// The samples within a range before `time`: the fleet is counted each hour, the server itself
    /// each minute.
    pub fn samples_within(&self, time: i64, range_ms: i64) -> Result<Grid> {
        let minutely = self.only_name().is_some_and(metrics::is_server_metric);
        let step = if minutely { MINUTE_MS } else { HOUR_MS };
        let end = time - self.offset_ms;
        let start = (end - range_ms).div_euclid(step) + 1;
        let count = usize::try_from(end.div_euclid(step) - start + 1).unwrap_or(0);
        if count > limits::STEPS {
            return Err(QueryError::BadData(format!(
                "the range has more than {} samples per series",
                limits::STEPS
            )));
        }
        Ok(Grid { start: start * step, step, count })
    }
}
