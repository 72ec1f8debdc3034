//! The id that a reporting instance gives itself.

use std::{fmt, ops::Deref};

use super::normal_form;

/// Longest id, in characters of its normal form.
pub const MAX_ID_CHARS: u64 = 128;

/// Id of an instance in its normal form: 1 to [`MAX_ID_CHARS`] characters, not blank, no control
/// characters. Random by convention: 32 hex digits or a UUID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(String);

impl InstanceId {
    /// Parses a client's text; `None` where it breaks a rule.
    #[must_use]
    pub fn parse(text: String) -> Option<Self> {
        let id = normal_form::folded(text);
        let fits = (1..=MAX_ID_CHARS).contains(&(id.chars().count() as u64));
        (fits && !normal_form::has_controls(&id)).then_some(Self(id))
    }
}

impl Deref for InstanceId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}
