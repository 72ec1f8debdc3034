//! Matchers: conditions on the value of a label.

use std::collections::HashSet;

use regex_lite::{Regex, RegexBuilder};

use super::{
    error::{QueryError, Result},
    limits,
    series::NAME,
};
use crate::metrics::{BUCKET_LABEL, bucket_label};

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
    Matches(Pattern),
    MatchesNot(Pattern),
}

/// A regular expression, which matches whole values.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// An alternation of plain texts, such as Grafana makes of the selected values of a variable.
    OneOf(HashSet<String>),
    Regex(Regex),
}

impl Matcher {
    /// A matcher. The bound of a bucket is meant as a number, however it is spelled.
    pub fn new(label: String, mut condition: Condition) -> Self {
        if label == BUCKET_LABEL
            && let Condition::Is(bound) | Condition::IsNot(bound) = &mut condition
            && let Ok(number) = bound.parse()
        {
            *bound = bucket_label(number);
        }
        Self { label, condition }
    }

    /// The matcher of one name.
    pub fn name_is(name: &str) -> Self {
        Self { label: NAME.to_owned(), condition: Condition::Is(name.to_owned()) }
    }

    /// True if the matcher selects a value. See [`all_match`] where there are many values.
    pub fn is_match(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Is(wanted) => wanted == value,
            Condition::IsNot(unwanted) => unwanted != value,
            Condition::Matches(pattern) => self.matches(pattern, value),
            Condition::MatchesNot(pattern) => !self.matches(pattern, value),
        }
    }

    /// True if a pattern matches a value; the bound of a bucket in either of its spellings.
    fn matches(&self, pattern: &Pattern, value: &str) -> bool {
        let whole = value.strip_suffix(".0").filter(|_| self.label == BUCKET_LABEL);
        pattern.is_match(value) || whole.is_some_and(|whole| pattern.is_match(whole))
    }

    /// The only value that the matcher selects, if there is one.
    pub fn only_value(&self) -> Option<&str> {
        match &self.condition {
            Condition::Is(value) => Some(value),
            _ => None,
        }
    }
}

impl Pattern {
    fn is_match(&self, value: &str) -> bool {
        match self {
            Self::OneOf(texts) => texts.contains(value),
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// The pattern of a regular expression that is an alternation of plain texts.
    pub fn one_of(text: &str) -> Option<Self> {
        let group = text.strip_prefix("(?:").or_else(|| text.strip_prefix('('));
        let listed = group.and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
        let (mut texts, mut alternative) = (HashSet::new(), String::new());
        let mut characters = listed.chars();
        while let Some(character) = characters.next() {
            match character {
                '|' => {
                    texts.insert(std::mem::take(&mut alternative));
                }
                '\\' => match characters.next()? {
                    '<' | '>' => return None,
                    escaped if escaped.is_ascii_punctuation() => alternative.push(escaped),
                    _ => return None,
                },
                '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => {
                    return None;
                }
                plain => alternative.push(plain),
            }
        }
        texts.insert(alternative);
        Some(Self::OneOf(texts))
    }

    /// The `number`th regular expression of a query, counted from 1. Its share of memory and time
    /// shrinks with each: the second has half of the first, the third a third.
    ///
    /// # Errors
    /// If the text is no regular expression, or would take too much memory.
    pub fn regex(text: &str, number: usize) -> Result<Self> {
        let build = |limit| {
            RegexBuilder::new(&format!("^(?:{text})$")).size_limit(limit).build().map_err(|error| {
                QueryError::BadData(format!("illegal regular expression {text:?}: {error}"))
            })
        };
        let limit = limits::PATTERN_BYTES / number;
        let regex = build(limit)?;
        // Matching takes as much memory again for each group, though no group is ever asked for.
        Ok(Self::Regex(match regex.captures_len() {
            1 => regex,
            groups => build(limit / groups)?,
        }))
    }
}

/// True if each matcher selects the value beside it. A regular expression can take milliseconds, so
/// other queries get a turn before each of them, and the time limit of this one is checked.
pub async fn all_match<'a>(pairs: impl Iterator<Item = (&'a Matcher, &'a str)>) -> bool {
    for (matcher, value) in pairs {
        if let Condition::Matches(Pattern::Regex(_)) | Condition::MatchesNot(Pattern::Regex(_)) =
            matcher.condition
        {
            tokio::task::yield_now().await;
        }
        if !matcher.is_match(value) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_before_each_pattern() {
        let with = |condition| Matcher::new("os".to_owned(), condition);
        let name = with(Condition::Is("linux".to_owned()));
        let pattern = with(Condition::Matches(Pattern::regex("l.*", 1).unwrap()));
        assert_eq!(all_match([(&name, "linux")].into_iter()).now_or_never(), Some(true));
        assert_eq!(all_match([(&pattern, "linux")].into_iter()).now_or_never(), None);
        assert!(all_match([(&name, "linux"), (&pattern, "linux")].into_iter()).await);
        assert!(!all_match([(&pattern, "windows")].into_iter()).await);
    }

    #[test]
    fn the_patterns_of_a_query_share_memory() {
        let versions = |count| (0..count).map(|n| format!("v11\\.{n}\\.+")).collect::<Vec<_>>();
        let large = versions(1000).join("|");
        Pattern::regex(&large, 1).unwrap();
        Pattern::regex(&format!("({large})"), 1).unwrap();
        Pattern::regex(&large, 2).unwrap();
        assert!(Pattern::regex(&large, 4).is_err());
        Pattern::regex(&versions(100).join("|"), 20).unwrap();
        assert!(Pattern::regex(&"()".repeat(2000), 1).is_err());
    }

    /// A list of plain texts is the same list to the regular expression that it also is.
    #[test]
    fn an_alternation_of_plain_texts_is_a_list() {
        for text in [
            "",
            "a",
            "a|b",
            "(a|b)",
            "(?:a|b)",
            "|",
            "a|",
            r"v11\.0\.0|v11\.1\.0\-rc1",
            r"\(\)\||ü",
        ] {
            let (list, regex) = (Pattern::one_of(text).unwrap(), Pattern::regex(text, 1).unwrap());
            for value in
                ["", "a", "b", "ab", "a|b", "v11.0.0", "v11.1.0-rc1", "v11x0x0", "()|", "ü"]
            {
                assert_eq!(list.is_match(value), regex.is_match(value), "{text} {value}");
            }
        }
        for text in [
            ".", "a.b", "a+", "(a|b", "a|b)", "(a)|(b)", "(a|b)c", "[ab]", "a{2}", "^a$", r"\d",
            r"a\", r"(a\)", r"\<", "(?i)a",
        ] {
            assert!(Pattern::one_of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_bucket_is_selected_by_any_spelling_of_its_bound() {
        let selected = |condition: Condition| {
            let matcher = Matcher::new(BUCKET_LABEL.to_owned(), condition);
            ["0.5", "1.0", "2.5", "10.0", "+Inf"].map(|bound| u8::from(matcher.is_match(bound)))
        };
        for one in ["1", "1.0", "1.00", "1e0", "+1"] {
            assert_eq!(selected(Condition::Is(one.to_owned())), [0, 1, 0, 0, 0], "{one}");
            assert_eq!(selected(Condition::IsNot(one.to_owned())), [1, 0, 1, 1, 1], "{one}");
        }
        for infinite in ["+Inf", "Inf", "inf"] {
            assert_eq!(selected(Condition::Is(infinite.to_owned())), [0, 0, 0, 0, 1]);
        }
        assert_eq!(selected(Condition::Is("one".to_owned())), [0; 5]);
        assert_eq!(selected(Condition::IsNot(String::new())), [1; 5]);
        for text in ["1|10", r"1\.0|10\.0", "1|10\\.0"] {
            for pattern in [Pattern::one_of(text).unwrap(), Pattern::regex(text, 1).unwrap()] {
                assert_eq!(selected(Condition::Matches(pattern.clone())), [0, 1, 0, 1, 0]);
                assert_eq!(selected(Condition::MatchesNot(pattern)), [1, 0, 1, 0, 1]);
            }
        }
        // Another label is a text.
        let os = Matcher::new("os".to_owned(), Condition::Is("1".to_owned()));
        assert!(os.is_match("1") && !os.is_match("1.0"));
    }
}
