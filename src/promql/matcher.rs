//! Conditions on a label.

use regex_lite::{Regex, RegexBuilder};

use super::{error::QueryError, series::NAME};

/// Memory of the first regular expression of a query. An alternation of a thousand versions takes
/// a third of it, and as much again for a group around it.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

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

    /// Whether it selects a value. Where there are many of them, [`all_match`] tells.
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
/// after each of them others have their turn, and the time that a query may take is looked at.
pub async fn all_match<'a>(beside: impl Iterator<Item = (&'a Matcher, &'a str)>) -> bool {
    for (matcher, value) in beside {
        if matches!(matcher.condition, Condition::Matches(_) | Condition::MatchesNot(_)) {
            tokio::task::yield_now().await;
        }
        if !matcher.is_match(value) {
            return false;
        }
    }
    true
}

/// The `number`th regular expression of a query, which matches whole values. What it may take of
/// memory and time gets less with each: the second has half of the first, the third a third.
///
/// # Errors
/// If it is none, or would take too much memory.
pub fn pattern(text: &str, number: usize) -> Result<Regex, QueryError> {
    let build = |limit| {
        RegexBuilder::new(&format!("^(?:{text})$")).size_limit(limit).build().map_err(|error| {
            QueryError::BadData(format!("illegal regular expression {text:?}: {error}"))
        })
    };
    let limit = MAX_PATTERN_BYTES / number;
    let pattern = build(limit)?;
    // While it matches, it takes as much for each group, though nobody asks what they matched.
    match pattern.captures_len() {
        1 => Ok(pattern),
        groups => build(limit / groups),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_after_each_pattern() {
        let with = |condition| Matcher { name: "os".to_owned(), condition };
        let name = with(Condition::Is("linux".to_owned()));
        let pattern = with(Condition::Matches(pattern("l.*", 1).unwrap()));
        assert_eq!(all_match([(&name, "linux")].into_iter()).now_or_never(), Some(true));
        assert_eq!(all_match([(&pattern, "linux")].into_iter()).now_or_never(), None);
        assert!(all_match([(&name, "linux"), (&pattern, "linux")].into_iter()).await);
        assert!(!all_match([(&pattern, "windows")].into_iter()).await);
    }

    #[test]
    fn the_patterns_of_a_query_share_memory() {
        let versions = |count| (0..count).map(|n| format!("v11\\.{n}\\.0")).collect::<Vec<_>>();
        let large = versions(1000).join("|");
        pattern(&large, 1).unwrap();
        pattern(&format!("({large})"), 1).unwrap();
        pattern(&large, 2).unwrap();
        assert!(pattern(&large, 4).is_err());
        pattern(&versions(100).join("|"), 20).unwrap();
        assert!(pattern(&"()".repeat(2000), 1).is_err());
    }
}
