//! Windows of the calendar, UTC: days, ISO weeks, months, quarters and years.
//!
//! Days are whole days since 1970.

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Hour;

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Kind of a window of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CalendarWindow {
    /// A day, UTC.
    Day,
    /// An ISO week: from Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// Three calendar months, the first of which is January, April, July or October.
    Quarter,
    /// A calendar year.
    Year,
}

impl CalendarWindow {
    /// Every kind, from the shortest to the longest.
    pub const ALL: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// Name on the wire, in a series' label and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.name() == name)
    }

    /// First day of the window that a day lies in.
    #[must_use]
    pub fn first_day(self, day: i64) -> i64 {
        match self {
            Self::Day => day,
            // The first day of 1970 was a Thursday.
            Self::Week => day - (day + 3).rem_euclid(7),
            Self::Month => first_of(date(day)),
            Self::Quarter => {
                let date = date(day);
                let months = (date.month() - 1) % 3;
                (0..months).fold(first_of(date), |first, _| first_of(self::date(first - 1)))
            }
            Self::Year => number(date(day).first_of_year()),
        }
    }

    /// First day of the window after the one that a day lies in.
    #[must_use]
    pub fn next(self, day: i64) -> i64 {
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 31,
            Self::Quarter => 92,
            Self::Year => 366,
        };
        let first = self.first_day(day);
        // A shorter window ends before; none is so short that a whole one lies in between.
        self.first_day(first + days)
    }

    /// First day of the window that ended last at a time.
    #[must_use]
    pub fn last_over(self, time_ms: i64) -> i64 {
        self.first_day(self.first_day(day_of_ms(time_ms)) - 1)
    }
}

/// The day that a time lies in, in milliseconds since 1970.
#[must_use]
pub const fn day_of_ms(time_ms: i64) -> i64 {
    time_ms.div_euclid(86_400_000)
}

/// The day that a time lies in.
#[must_use]
pub fn day_of(time: Timestamp) -> i64 {
    day_of_ms(time.as_millisecond())
}

/// First moment of a day.
#[must_use]
pub fn start_of_day(day: i64) -> Timestamp {
    Hour::new(day.saturating_mul(24)).start()
}

/// The date of a day; the nearest one of the calendar where it lies outside.
fn date(day: i64) -> Date {
    let hours = SignedDuration::try_from_hours(day.saturating_mul(24));
    let date = hours.and_then(|hours| EPOCH.checked_add(hours).ok());
    date.unwrap_or(if day < 0 { Date::MIN } else { Date::MAX })
}

fn number(date: Date) -> i64 {
    date.duration_since(EPOCH).as_hours() / 24
}

fn first_of(date: Date) -> i64 {
    number(date.first_of_month())
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    use super::*;

    /// The first day by the words of its definition.
    fn first_by_search(window: CalendarWindow, day: i64) -> Date {
        let begins = |date: &Date| match window {
            CalendarWindow::Day => true,
            CalendarWindow::Week => date.iso_week_date().weekday() == jiff::civil::Weekday::Monday,
            CalendarWindow::Month => date.day() == 1,
            CalendarWindow::Quarter => date.day() == 1 && [1, 4, 7, 10].contains(&date.month()),
            CalendarWindow::Year => date.day_of_year() == 1,
        };
        let day = EPOCH + day.days();
        (0..366).map(|back: i64| day - back.days()).find(begins).unwrap()
    }

    proptest! {
        #[test]
        fn windows_are_those_of_the_calendar(day in -200_000_i64..200_000) {
            for window in CalendarWindow::ALL {
                let first = window.first_day(day);
                prop_assert_eq!(EPOCH + first.days(), first_by_search(window, day));
                let next = window.next(day);
                prop_assert!(first <= day && day < next);
                prop_assert_eq!(window.first_day(next), next);
                prop_assert_eq!(window.first_day(next - 1), first);
                let start = start_of_day(next).as_millisecond();
                prop_assert_eq!(window.last_over(start), first);
                prop_assert!(window.last_over(start - 1) < first);
            }
        }
    }

    #[test]
    fn a_week_may_begin_in_the_year_before() {
        let day = number(Date::constant(2026, 1, 2));
        let first = |window: CalendarWindow| start_of_day(window.first_day(day)).to_string();
        let firsts = CalendarWindow::ALL.map(first);
        let expected = ["2026-01-02", "2025-12-29", "2026-01-01", "2026-01-01", "2026-01-01"];
        assert_eq!(firsts, expected.map(|date| format!("{date}T00:00:00Z")));
    }

    #[test]
    fn days_outside_of_the_calendar_have_windows() {
        for window in CalendarWindow::ALL {
            assert!(window.next(i64::MAX / 86_400_000) > 0);
            assert!(window.first_day(i64::MIN / 86_400_000) < 0);
        }
    }
}
