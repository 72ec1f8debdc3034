//! Matchers: conditions on the value of a label.

use regex_lite::{Regex, RegexBuilder};

use super::{
    error::{QueryError, Result},
    limits,
    series::NAME,
};

/// A condition on the value of a label.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Name of the label.
    pub label: String,
    pub condition: Condition,
}

/// A condition on a value. The value of a label that a series does not have is empty.
#[derive(Debug, Clone)]
pub enum Condition {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Matcher {
    /// The matcher of one name.
    pub fn name_is(name: &str) -> Self {
        Self { label: NAME.to_owned(), condition: Condition::Is(name.to_owned()) }
    }

    /// True if the matcher selects a value. See [`all_match`] where there are many values.
    pub fn is_match(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Is(wanted) => wanted == value,
            Condition::IsNot(unwanted) => unwanted != value,
            Condition::Matches(pattern) => pattern.is_match(value),
            Condition::MatchesNot(pattern) => !pattern.is_match(value),
        }
    }

    /// The only value that the matcher selects, if there is one.
    pub fn only_value(&self) -> Option<&str> {
        match &self.condition {
            Condition::Is(value) => Some(value),
            _ => None,
        }
    }
}

/// True if each matcher selects the value beside it. A pattern can take milliseconds, so other
/// queries get a turn before each of them, and the time limit of this one is checked.
pub async fn all_match<'a>(pairs: impl Iterator<Item = (&'a Matcher, &'a str)>) -> bool {
    for (matcher, value) in pairs {
        if matches!(matcher.condition, Condition::Matches(_) | Condition::MatchesNot(_)) {
            tokio::task::yield_now().await;
        }
        if !matcher.is_match(value) {
            return false;
        }
    }
    true
}

/// The `number`th regular expression of a query, counted from 1, which matches whole values. Its
/// share of memory and time shrinks with each: the second has half of the first, the third a third.
///
/// # Errors
/// If the text is no regular expression, or would take too much memory.
pub fn pattern(text: &str, number: usize) -> Result<Regex> {
    let build = |limit| {
        RegexBuilder::new(&format!("^(?:{text})$")).size_limit(limit).build().map_err(|error| {
            QueryError::BadData(format!("illegal regular expression {text:?}: {error}"))
        })
    };
    let limit = limits::PATTERN_BYTES / number;
    let pattern = build(limit)?;
    // Matching takes as much memory again for each group, though no group is ever asked for.
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
    async fn others_have_their_turn_before_each_pattern() {
        let with = |condition| Matcher { label: "os".to_owned(), condition };
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
