use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::plan::Grouping;

/// The label that holds a series' name.
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

/// Moments at equal distances, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The first.
    pub start: i64,
    /// Distance to the next.
    pub step: i64,
    /// How many.
    pub count: usize,
}

impl Grid {
    /// A single moment.
    #[must_use]
    pub const fn at(time: i64) -> Self {
        Self { start: time, step: 1, count: 1 }
    }

    /// All of them, in order.
    pub fn times(self) -> impl Iterator<Item = i64> {
        std::iter::successors(Some(self.start), move |time| Some(time.saturating_add(self.step)))
            .take(self.count)
    }
}

impl Grouping {
    /// The labels that it leaves, without the name unless that is asked for.
    pub fn apply(&self, labels: &Labels) -> Labels {
        labels
            .iter()
            .filter(|(label, _)| self.keeps(label))
            .map(|(label, value)| (label.clone(), Arc::clone(value)))
            .collect()
    }

    /// Whether it leaves a label.
    pub fn keeps(&self, label: &str) -> bool {
        match self {
            Self::By(named) => named.iter().any(|named| named == label),
            Self::Without(named) => label != NAME && named.iter().all(|named| named != label),
        }
    }
}
