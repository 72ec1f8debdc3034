//! The truth about windows of the calendar and cohorts: days on which an instance was seen, and dates.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{ToSpan as _, civil::Date};

pub const KINDS: [&str; 5] = ["day", "week", "month", "quarter", "year"];
/// Place of the week among these.
const WEEK: usize = 1;

/// First days of the windows that a day lies in.
fn first_days(day: i64) -> [Date; 5] {
    let date = Date::constant(1970, 1, 1) + day.days();
    let monday = date - i64::from(date.weekday().to_monday_zero_offset()).days();
    let month = (date.month() - 1) / 3 * 3 + 1;
    let quarter = Date::new(date.year(), month, 1).unwrap();
    [date, monday, date.first_of_month(), quarter, date.first_of_year()]
}

#[derive(Debug, Default)]
pub struct Calendar {
    /// Instances by kind and first day of a window.
    pub windows: BTreeMap<(&'static str, Date), u64>,
    /// Instances by the week in which they were first seen, and weeks from there.
    pub cohorts: BTreeMap<(Date, u64), u64>,
    dates: BTreeMap<i64, [Date; 5]>,
}

impl Calendar {
    /// Counts instances that were seen on these days.
    pub fn add(&mut self, days: &[i64], instances: u64) {
        let mut seen: [BTreeSet<Date>; 5] = Default::default();
        for &day in days {
            let dates = *self.dates.entry(day).or_insert_with(|| first_days(day));
            seen.iter_mut().zip(dates).for_each(|(seen, date)| {
                seen.insert(date);
            });
        }
        for (kind, firsts) in KINDS.iter().zip(&seen) {
            for first in firsts {
                *self.windows.entry((kind, *first)).or_default() += instances;
            }
        }
        let Some(&first) = seen[WEEK].first() else { return };
        for &week in &seen[WEEK] {
            let later = week.duration_since(first).as_hours().unsigned_abs() / (7 * 24);
            *self.cohorts.entry((first, later)).or_default() += instances;
        }
    }
}
