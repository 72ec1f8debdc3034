//! The value of a dimension.

use std::{borrow::Borrow, fmt, ops::Deref};

use super::{Dimension, OTHER, UNKNOWN, normal_form::has_controls};

/// Longest value, in characters of its normal form.
pub const MAX_VALUE_CHARS: u64 = 64;

/// Value of a dimension in its normal form: 1 to [`MAX_VALUE_CHARS`] characters, no control
/// characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(String);

impl Value {
    /// Parses a client's text for a field; `None` where it breaks a rule.
    #[must_use]
    pub fn parse(dimension: Dimension, given: Option<String>) -> Option<Self> {
        let text = dimension.normal_form(given);
        let fits = text.chars().count() as u64 <= MAX_VALUE_CHARS;
        (fits && !has_controls(&text)).then_some(Self(text))
    }

    /// Value of a field that is empty or missing.
    #[must_use]
    pub fn unknown() -> Self {
        Self(UNKNOWN.to_owned())
    }

    /// Value that stands for all that are not kept apart.
    #[must_use]
    pub fn other() -> Self {
        Self(OTHER.to_owned())
    }
}

impl Deref for Value {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Value {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        value.0
    }
}
