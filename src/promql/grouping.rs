//! Groupings: the labels by which series belong together.

use std::sync::Arc;

use super::series::{Labels, NAME};

/// Labels that are kept, or dropped.
#[derive(Debug, Clone)]
pub enum Grouping {
    /// Only these are kept.
    By(Vec<String>),
    /// These are dropped, and the name.
    Without(Vec<String>),
}

impl Grouping {
    /// The labels that are named in the expression.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::By(labels) | Self::Without(labels) => labels,
        }
    }

    /// The labels that are kept of a series.
    pub fn apply(&self, labels: &Labels) -> Labels {
        labels
            .iter()
            .filter(|(label, _)| self.keeps(label))
            .map(|(label, value)| (label.clone(), Arc::clone(value)))
            .collect()
    }

    /// True if a label is kept.
    pub fn keeps(&self, label: &str) -> bool {
        match self {
            Self::By(named) => named.iter().any(|named| named == label),
            Self::Without(named) => label != NAME && named.iter().all(|named| named != label),
        }
    }
}
