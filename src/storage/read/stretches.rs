//! Stretches of time between moments, and the way from the counts of stretches back to the counts
//! before each moment.

use serde::Serialize;

use super::table::{Groups, Table, group_count};
use crate::domain::{Hour, Moment};

/// Stretch of time whose counts lead to those before a moment.
///
/// As a JSON array it is the parameter of a statement. Whole days are read from the counts of days,
/// so a stretch may have several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Number of the stretch: 0 is all time, others are those from a moment to the next or to the
    /// present, by the moment's place from 1 on.
    pub stretch: usize,
    /// Span of the counts that are read.
    span: i64,
    /// First hour.
    from: Hour,
    /// First hour that is not read any more.
    until: Hour,
}

impl Part {
    /// All time.
    pub const ALL_TIME: Self = Self { stretch: 0, span: 0, from: Hour::MIN, until: Hour::MAX };

    /// Whole days, from the day that begins at `from` to before the one that begins at `until`.
    pub const fn days(from: Hour, until: Hour) -> Self {
        Self { stretch: 0, span: 24, from, until }
    }
}

/// Parts of packed days, and the others, where days before an hour are packed.
pub fn split_packed(parts: &[Part], packed_until: Hour) -> (Vec<Part>, Vec<Part>) {
    let (mut packed, mut rows) = (Vec::new(), Vec::new());
    // The times of a request may be the wrong way around.
    for part in parts.iter().filter(|part| part.from < part.until) {
        let cut =
            if part.span == 24 { packed_until.clamp(part.from, part.until) } else { part.from };
        packed.push(Part { until: cut, ..*part });
        rows.push(Part { from: cut, ..*part });
    }
    for parts in [&mut packed, &mut rows] {
        parts.retain(|part| part.from < part.until);
    }
    (packed, rows)
}

/// The part that a day lies in, among parts that follow each other.
pub fn part_of_day(parts: &[Part], day: i64) -> Option<&Part> {
    let day = Hour::new(day);
    let place = parts.partition_point(|part| part.until <= day);
    parts.get(place).filter(|part| part.from <= day)
}

/// First hour of some parts that follow each other, and the first one after them.
pub fn bounds(parts: &[Part]) -> Option<(i64, i64)> {
    Some((parts.first()?.from.number(), parts.last()?.until.number()))
}

/// All time, and the stretches from each of `moments` to the next.
///
/// They are read backwards, since nearly all questions are about the latest part of the history.
pub fn stretches(moments: &[Moment]) -> Vec<Part> {
    let mut parts = vec![Part::ALL_TIME];
    for (place, &moment) in moments.iter().enumerate() {
        let Moment::At(from) = moment else {
            break; // Nothing is after the present.
        };
        let until = match moments.get(place + 1) {
            Some(Moment::At(until)) => *until,
            Some(Moment::Now) | None => Hour::MAX,
        };
        let first_day = from.plus(23).day();
        let past_day = if until == Hour::MAX { until } else { until.day() };
        let stretch = place + 1;
        let mut part = |span, from, until| parts.push(Part { stretch, span, from, until });
        if first_day < past_day {
            part(1, from, first_day);
            part(24, first_day, past_day);
            part(1, past_day, until);
        } else {
            part(1, from, until);
        }
    }
    parts.retain(|part| part.from < part.until);
    parts
}

/// Table of the counts of all time, in the first column, and of the stretch after each moment.
pub fn empty_table<T: Clone + Default>(moments: usize, groups: &Groups) -> Table<T> {
    vec![vec![T::default(); moments + 1]; group_count(groups)]
}

/// Turns the counts of all time and of the stretch after each moment into the counts before each.
/// `subtract` takes the second from the first.
pub fn before_each<T: Clone + Default>(
    mut table: Table<T>,
    subtract: impl Fn(&mut T, &T),
) -> Table<T> {
    for row in &mut table {
        let mut left = std::mem::take(&mut row[0]);
        for counted in row[1..].iter_mut().rev() {
            subtract(&mut left, counted);
            *counted = left.clone();
        }
        row.remove(0);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_ends_before_it_begins_is_none() {
        let part = Part::days(Hour::new(72), Hour::new(24));
        for packed_until in [0, 48, 96] {
            assert_eq!(split_packed(&[part], Hour::new(packed_until)), (Vec::new(), Vec::new()));
        }
    }

    #[test]
    fn whole_days_are_read_as_days() {
        let moments = [Moment::At(Hour::new(47)), Moment::At(Hour::new(100)), Moment::Now];
        let parts = stretches(&moments);
        let part = |stretch, span, from, until| Part {
            stretch,
            span,
            from: Hour::new(from),
            until: Hour::new(until),
        };
        let max = Hour::MAX.number();
        assert_eq!(
            parts,
            [
                part(0, 0, Hour::MIN.number(), max),
                part(1, 1, 47, 48),
                part(1, 24, 48, 96),
                part(1, 1, 96, 100),
                part(2, 1, 100, 120),
                part(2, 24, 120, max),
            ]
        );
    }

    #[test]
    fn days_before_an_hour_are_packed() {
        let parts = stretches(&[Moment::At(Hour::new(24)), Moment::At(Hour::new(47)), Moment::Now]);
        let (packed, rows) = split_packed(&parts, Hour::new(72));
        let days = |parts: &[Part]| -> Vec<_> {
            parts.iter().map(|p| (p.stretch, p.span, p.from.number(), p.until.number())).collect()
        };
        let (min, max) = (Hour::MIN.number(), Hour::MAX.number());
        assert_eq!(days(&packed), [(2, 24, 48, 72)]);
        assert_eq!(
            days(&rows),
            [(0, 0, min, max), (1, 1, 24, 47), (2, 1, 47, 48), (2, 24, 72, max)]
        );
        assert_eq!(bounds(&packed), Some((48, 72)));
        assert_eq!(part_of_day(&packed, 48), Some(&packed[0]));
        assert_eq!(part_of_day(&packed, 72), None);
        assert_eq!(part_of_day(&packed, 24), None);
    }
}
