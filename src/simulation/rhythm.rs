//! The rhythm of days and weeks: people and their jobs at night start containers, more in some
//! hours and on some days than on others.

use super::{DAY, HOUR, MINUTE, random::Random};

/// The likelihood of a start in each hour (UTC), in percent of the likeliest.
const HOURS: [i64; 24] = [
    25, 20, 30, 45, 35, 30, 40, 60, 85, 100, 95, 85, 75, 90, 100, 95, 85, 70, 60, 55, 50, 45, 35,
    30,
];
/// Starts on Saturdays and Sundays that wait for two days, of a thousand.
const AFTER_THE_WEEKEND: i64 = 550;

/// The given moment, or a likelier one in the next hours or days.
pub fn likely(at: i64, random: &mut Random) -> i64 {
    let waits = is_weekend(at) && random.chance(AFTER_THE_WEEKEND);
    let mut at = if waits { at + 2 * DAY } else { at };
    while random.between(0, 100) >= in_this_hour(at) {
        at += random.between(30 * MINUTE, 3 * HOUR);
    }
    at
}

fn in_this_hour(at: i64) -> i64 {
    usize::try_from(at.rem_euclid(DAY) / HOUR).map_or(100, |hour| HOURS[hour])
}

fn is_weekend(at: i64) -> bool {
    // 1970 began on a Thursday; 0 is Monday.
    (at.div_euclid(DAY) + 3).rem_euclid(7) >= 5
}
