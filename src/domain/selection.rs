//! Selection of reports, by what they state and when they were received.

use jiff::Timestamp;

use super::{Dimension, InstanceId, Report, ReportKind, Value};

/// Reports that have all of these in common. A field that is empty selects any report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Their instance.
    pub instance: Option<InstanceId>,
    /// Values that they state, whatever these count as.
    pub values: Vec<(Dimension, Value)>,
    /// Their kind.
    pub kind: Option<ReportKind>,
    /// First time of receipt. A report without a date is in no time.
    pub from: Option<Timestamp>,
    /// First time of receipt that is not selected.
    pub until: Option<Timestamp>,
}

impl Selection {
    /// True if every report is selected.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// True if it has a report that was received at a time, in milliseconds since 1970 or as
    /// [`super::undated`].
    #[must_use]
    pub fn has(&self, report: &Report, received_at: i64) -> bool {
        let Self { instance, values, kind, from, until } = self;
        let after = |time: &Timestamp| received_at >= time.as_millisecond();
        instance.as_ref().is_none_or(|id| *id == report.instance_id)
            && kind.is_none_or(|kind| kind == report.kind)
            && values.iter().all(|(dimension, value)| report.profile.get(*dimension) == value)
            && (received_at >= 0 || (from.is_none() && until.is_none()))
            && from.as_ref().is_none_or(after)
            && !until.as_ref().is_some_and(after)
    }
}
