//! The units of time that the tables use.

use jiff::Timestamp;

const MS_PER_HOUR: i64 = 3_600_000;

/// Whole hours since 1970, UTC.
pub fn hour(time: Timestamp) -> i64 {
    time.as_millisecond().div_euclid(MS_PER_HOUR)
}

/// The first moment of an hour.
pub fn start_of_hour(hour: i64) -> Timestamp {
    timestamp(hour.saturating_mul(MS_PER_HOUR))
}

/// The time of a stored count of milliseconds; the nearest that can be shown where a file
/// holds one that is out of any calendar.
pub fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(if milliseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
