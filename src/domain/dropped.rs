//! Values that only the field produces: a clock that stepped, a time in another form. They are dropped
//! and their start is counted, because its sender would neither see a refusal nor send it again.

use jiff::Timestamp;
use serde::{
    Deserialize as _, Deserializer,
    de::{Error as _, Unexpected},
};
use serde_json::value::RawValue;

use super::{MAX_STARTUP_MS, ReportId};

/// A value that was dropped: its field, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// A startup time below 0.
    NegativeStartup,
    /// A startup time above [`MAX_STARTUP_MS`].
    TooLongStartup,
    /// A timestamp without a text.
    EmptyTimestamp,
    /// A timestamp in another form than that of RFC 3339, or of a day or an hour that does not exist.
    TimestampForm,
    /// A report's id without a text.
    EmptyReportId,
    /// A report's id that is no UUID, or the nil one.
    ReportIdForm,
}

impl Dropped {
    /// Every field with every reason.
    pub const ALL: [Self; 6] = [
        Self::NegativeStartup,
        Self::TooLongStartup,
        Self::EmptyTimestamp,
        Self::TimestampForm,
        Self::EmptyReportId,
        Self::ReportIdForm,
    ];

    /// Name of the field.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::NegativeStartup | Self::TooLongStartup => "startup_time_ms",
            Self::EmptyTimestamp | Self::TimestampForm => "timestamp",
            Self::EmptyReportId | Self::ReportIdForm => "report_id",
        }
    }

    /// Name of the reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NegativeStartup => "negative",
            Self::TooLongStartup => "too-long",
            Self::EmptyTimestamp | Self::EmptyReportId => "empty",
            Self::TimestampForm | Self::ReportIdForm => "form",
        }
    }
}

/// Returns the reason for which a startup time is of no use.
pub(super) fn startup_fault(startup_ms: i64) -> Option<Dropped> {
    match startup_ms {
        ..0 => Some(Dropped::NegativeStartup),
        0..=MAX_STARTUP_MS => None,
        _ => Some(Dropped::TooLongStartup),
    }
}

/// Returns the reason for which a timestamp is of no use.
pub(super) fn timestamp_fault(text: &str) -> Option<Dropped> {
    if text.is_empty() {
        return Some(Dropped::EmptyTimestamp);
    }
    text.parse::<Timestamp>().is_err().then_some(Dropped::TimestampForm)
}

/// Returns the reason for which a report's id is of no use.
pub(super) fn report_id_fault(text: &str) -> Option<Dropped> {
    if text.is_empty() {
        return Some(Dropped::EmptyReportId);
    }
    ReportId::parse(text).is_none().then_some(Dropped::ReportIdForm)
}

/// Reads a number and rounds it. One that no `i64` holds becomes the nearest.
///
/// The number is parsed from its text: `serde_json` takes one beyond `f64`, such as `1e400`, for a
/// fault of the syntax.
#[expect(clippy::cast_possible_truncation, reason = "rounded; beyond i64 it saturates")]
pub(super) fn rounded<'de, D: Deserializer<'de>>(given: D) -> Result<Option<i64>, D::Error> {
    let Some(raw) = Option::<Box<RawValue>>::deserialize(given)? else { return Ok(None) };
    match raw.get().parse::<f64>() {
        Ok(number) => Ok(Some(number.round() as i64)),
        Err(_) => Err(D::Error::invalid_type(unexpected(&raw), &"a number")),
    }
}

/// Reads a text, or the digits of a number: a time in another form is often one.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(
    given: D,
) -> Result<Option<String>, D::Error> {
    let Some(raw) = Option::<Box<RawValue>>::deserialize(given)? else { return Ok(None) };
    match raw.get().bytes().next() {
        // A text that cannot be read, such as one with half a surrogate pair, is no time either.
        Some(b'"') => {
            Ok(Some(serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())))
        }
        Some(b'-' | b'0'..=b'9') => Ok(Some(raw.get().to_owned())),
        _ => Err(D::Error::invalid_type(unexpected(&raw), &"a string")),
    }
}

/// The kind of a value that is no number.
fn unexpected(raw: &RawValue) -> Unexpected<'static> {
    match raw.get().bytes().next() {
        Some(b'"') => Unexpected::Other("string"),
        Some(b'[') => Unexpected::Seq,
        Some(b'{') => Unexpected::Map,
        _ => Unexpected::Other("boolean"),
    }
}
