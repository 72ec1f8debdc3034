//! Conditions on a label.

use regex_lite::{Regex, RegexBuilder};

use super::{error::QueryError, series::NAME};

/// Memory of a compiled regular expression; an alternative of a thousand versions fits.
const MAX_PATTERN_BYTES: usize = 512 * 1024;

/// A label, and which of its values are selected.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub name: String,
    pub condition: Condition,
}

/// Which values are selected; a label that is not there has the empty value.
#[derive(Debug, Clone)]
pub enum Condition {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Matcher {
    pub fn name_is(name: &str) -> Self {
        Self { name: NAME.to_owned(), condition: Condition::Is(name.to_owned()) }
    }

    pub fn is_match(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Is(of) => of == value,
            Condition::IsNot(of) => of != value,
            Condition::Matches(pattern) => pattern.is_match(value),
            Condition::MatchesNot(pattern) => !pattern.is_match(value),
        }
    }

    /// The only value that it selects, where there is one.
    pub fn only_value(&self) -> Option<&str> {
        match &self.condition {
            Condition::Is(value) => Some(value),
            _ => None,
        }
    }
}

/// A regular expression that matches whole values.
///
/// # Errors
/// If it is none, or would take too much memory.
pub fn pattern(text: &str) -> Result<Regex, QueryError> {
    RegexBuilder::new(&format!("^(?:{text})$")).size_limit(MAX_PATTERN_BYTES).build().map_err(
        |error| QueryError::BadData(format!("illegal regular expression {text:?}: {error}")),
    )
}
