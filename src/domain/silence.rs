//! Silence: no report comes although there used to be reports.

use super::{Hour, outage::OutageTimes};

/// Hours before the last report by which the usual distance is known.
pub const USUAL_HOURS: i64 = 30 * 24;
/// Silence is so many times the longest distance in that time.
const TIMES: i64 = 3;
/// The shortest silence, in milliseconds.
const SHORTEST_MS: i64 = 3_600_000;

/// True if the time since the last report is implausible by the hours with reports in the month before it.
///
/// `hours` are those hours, in any order; `last` and `now` are in milliseconds since 1970. Outages are
/// no part of any distance. With one hour no distance is known.
#[must_use]
pub fn is_silent(hours: &[Hour], last: i64, now: i64, outages: &OutageTimes) -> bool {
    let distance = |from, until| (until - from - outages.within(from, until)).max(0);
    let mut hours: Vec<i64> = hours.iter().map(|hour| hour.start_ms()).collect();
    hours.sort_unstable();
    let usual = hours.windows(2).map(|pair| distance(pair[0], pair[1])).max();
    usual.is_some_and(|usual| distance(last, now) > (usual * TIMES).max(SHORTEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn silent(hours: &[i64], last: i64, now: i64, outages: &[(i64, i64)]) -> bool {
        let hours: Vec<Hour> = hours.iter().map(|&hour| Hour::new(hour)).collect();
        is_silent(&hours, last, now, &OutageTimes::new(outages.to_vec()))
    }

    #[test]
    fn silence_is_three_times_the_longest_distance() {
        let hours = [10, 15, 11];
        let last = 15 * HOUR + 100;
        assert!(!silent(&hours, last, last + 12 * HOUR, &[]));
        assert!(silent(&hours, last, last + 12 * HOUR + 1, &[]));
    }

    #[test]
    fn one_hour_has_no_distance() {
        assert!(!silent(&[10], 10 * HOUR, 500 * HOUR, &[]));
        assert!(!silent(&[], 0, 500 * HOUR, &[]));
    }

    /// The server was down for most of the longest distance, and after the last report.
    #[test]
    fn outages_are_no_silence() {
        let hours = [10, 30, 31];
        let down = (11 * HOUR, 29 * HOUR);
        let last = 31 * HOUR;
        assert!(!silent(&hours, last, last + 50 * HOUR, &[]));
        assert!(silent(&hours, last, last + 50 * HOUR, &[down]));
        let again = (last + HOUR, last + 46 * HOUR);
        assert!(!silent(&hours, last, last + 50 * HOUR, &[down, again]));
        assert!(silent(&hours, last, last + 52 * HOUR, &[down, again]));
    }

    #[test]
    fn an_hour_is_never_silence() {
        let down = (10 * HOUR, 11 * HOUR);
        assert!(!silent(&[10, 11], 11 * HOUR, 12 * HOUR, &[down]));
        assert!(silent(&[10, 11], 11 * HOUR, 12 * HOUR + 1, &[down]));
    }
}
