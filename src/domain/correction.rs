//! Corrections of the times of reports.

use super::stretch::{Stretch, UNDATED};

/// Milliseconds of a second.
pub(super) const SECOND: i64 = 1000;

/// Reports whose times are to be changed: those with the numbers after one up to another, and with
/// times in a range. All times in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Their numbers are larger than this one.
    pub after_report: i64,
    /// Their last number.
    pub last_report: i64,
    /// First and last time that they may have.
    pub from_ms: i64,
    /// See `from_ms`.
    pub until_ms: i64,
    /// Time by which they become later; whole seconds.
    pub shift_ms: i64,
    /// Bounds of the new times; whole seconds.
    pub earliest_ms: i64,
    /// See `earliest_ms`.
    pub latest_ms: i64,
}

/// Corrections to be made, in this order, after a change of the stretches.
pub type Corrections = Vec<Correction>;

impl Correction {
    /// Moves the reports of a stretch up to a number by a time, into bounds.
    pub(super) fn of_stretch(
        stretch: &Stretch,
        last_report: i64,
        shift_ms: i64,
        earliest: i64,
        latest: i64,
    ) -> Self {
        Self {
            after_report: stretch.after_report,
            last_report,
            from_ms: stretch.began_at,
            until_ms: stretch.ended_at,
            shift_ms,
            earliest_ms: next_second(earliest).min(whole_seconds(latest)),
            latest_ms: whole_seconds(latest),
        }
    }

    /// Dates the reports between two numbers that have no date: the start of the run is `offset` after
    /// 1970.
    pub(super) const fn of_undated(
        after_report: i64,
        last_report: i64,
        offset: i64,
        earliest_ms: i64,
        latest_ms: i64,
    ) -> Self {
        Self {
            after_report,
            last_report,
            from_ms: i64::MIN,
            until_ms: -1,
            shift_ms: offset - UNDATED,
            earliest_ms,
            latest_ms,
        }
    }
}

/// A time in whole seconds, or a part of one earlier.
pub(super) const fn whole_seconds(ms: i64) -> i64 {
    ms.div_euclid(SECOND) * SECOND
}

/// A time in whole seconds, or a part of one later.
pub(super) const fn next_second(ms: i64) -> i64 {
    if ms == i64::MIN { ms } else { whole_seconds(ms + SECOND - 1) }
}
