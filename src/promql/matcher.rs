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

    /// Whether it selects a value; [`all_match`] where there are many values.
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

/// Whether each matcher selects the value beside it. A pattern can take milliseconds to tell, so
/// others have their turn in between, and the time that a query may take is looked at.
pub async fn all_match<'a>(beside: impl Iterator<Item = (&'a Matcher, &'a str)>) -> bool {
    for (matcher, value) in beside {
        tokio::task::coop::consume_budget().await;
        if !matcher.is_match(value) {
            return false;
        }
    }
    true
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_while_values_are_matched() {
        let matcher = Matcher::name_is("x");
        let pairs = |count| std::iter::repeat_n((&matcher, "x"), count);
        assert_eq!(all_match(pairs(10)).now_or_never(), Some(true));
        assert_eq!(all_match(pairs(1000)).now_or_never(), None);
        assert!(all_match(pairs(1000)).await);
    }
}
