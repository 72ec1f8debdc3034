//! Series: their labels, and their values at the moments of a grid.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// The label that holds the name of a series.
pub const NAME: &str = "__name__";

/// Labels of a series, its name among them.
pub type Labels = BTreeMap<Cow<'static, str>, Arc<str>>;

/// One series: a value, or none, at each moment of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its values.
    pub points: Vec<Option<f64>>,
}

impl Series {
    /// True if there is a value at any moment.
    pub fn has_values(&self) -> bool {
        self.points.iter().any(Option::is_some)
    }
}

/// Moments at equal distances, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The first moment.
    pub start: i64,
    /// Distance from one moment to the next.
    pub step: i64,
    /// Number of moments.
    pub count: usize,
}

impl Grid {
    /// A single moment.
    #[must_use]
    pub const fn at(time: i64) -> Self {
        Self { start: time, step: 1, count: 1 }
    }

    /// All moments, in order.
    pub fn times(self) -> impl Iterator<Item = i64> {
        std::iter::successors(Some(self.start), move |time| Some(time.saturating_add(self.step)))
            .take(self.count)
    }
}
