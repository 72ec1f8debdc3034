//! The unit of time in which reports are counted.

use jiff::Timestamp;
use serde::Serialize;

const MS_PER_HOUR: i64 = 3_600_000;

/// Clock hour in UTC: whole hours since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Hour(i64);

impl Hour {
    /// Before every hour in which a report can arrive.
    pub const MIN: Self = Self(i64::MIN / MS_PER_HOUR);
    /// After every hour in which a report can arrive.
    pub const MAX: Self = Self(i64::MAX / MS_PER_HOUR);

    /// The hour with a number, in whole hours since 1970.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The hour that a time lies in.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        Self(time.as_millisecond().div_euclid(MS_PER_HOUR))
    }

    /// The hour that a time lies in, in milliseconds since 1970.
    #[must_use]
    pub const fn of_ms(time_ms: i64) -> Self {
        Self(time_ms.div_euclid(MS_PER_HOUR))
    }

    /// Whole hours since 1970.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// First moment of the hour; the nearest one of the calendar where it lies outside.
    #[must_use]
    pub fn start(self) -> Timestamp {
        let ms = self.0.saturating_mul(MS_PER_HOUR);
        let outside = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_millisecond(ms).unwrap_or(outside)
    }

    /// First moment of the hour, in milliseconds since 1970.
    #[must_use]
    pub const fn start_ms(self) -> i64 {
        self.0.saturating_mul(MS_PER_HOUR)
    }

    /// The hour so many hours later, or earlier.
    #[must_use]
    pub const fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours))
    }

    /// First hour of the period of `hours` hours that this hour lies in; periods are counted from
    /// 1970, so that 24 hours are a day.
    #[must_use]
    pub const fn period(self, hours: i64) -> Self {
        Self(self.0 - self.0.rem_euclid(hours))
    }

    /// First hour of the day.
    #[must_use]
    pub const fn day(self) -> Self {
        self.period(24)
    }
}

/// Moment as of which something is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// The beginning of an hour: every report of an earlier hour is counted.
    At(Hour),
    /// The present: the open hour is counted, too.
    Now,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_before_1970_are_whole_hours_too() {
        let time: Timestamp = "1969-12-31T23:59:59.999Z".parse().unwrap();
        assert_eq!(Hour::of(time), Hour::new(-1));
        assert_eq!(Hour::of(time).day(), Hour::new(-24));
        assert_eq!(Hour::new(-1).start(), "1969-12-31T23:00:00Z".parse().unwrap());
    }

    #[test]
    fn the_present_is_after_every_hour() {
        assert!(Moment::At(Hour::MAX) < Moment::Now);
        assert!(Moment::At(Hour::new(1)) < Moment::At(Hour::new(2)));
    }

    #[test]
    fn an_hour_outside_of_the_calendar_begins_at_its_end() {
        assert_eq!(Hour::MAX.start(), Timestamp::MAX);
        assert_eq!(Hour::MIN.start(), Timestamp::MIN);
    }
}
