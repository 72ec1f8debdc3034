//! The releases of Mattermost that the made-up fleet runs.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::{DAY, HOUR, random::Random};
use crate::domain::UNKNOWN;

/// The time before the first moment that releases reach back, for those that never upgrade.
const OLDEST: i64 = 550 * DAY;

/// The releases in the order in which they came out: on the 16th of each month, a new major
/// version each October, and for some a patch a little later.
#[derive(Debug)]
pub struct Releases(Vec<Release>);

#[derive(Debug)]
struct Release {
    at: i64,
    version: String,
}

impl Releases {
    pub fn between(from: i64, until: i64, random: &mut Random) -> Self {
        let mut month = day(from - OLDEST).first_of_month();
        let mut releases = Vec::new();
        loop {
            let at = milliseconds(month) + 15 * DAY + 13 * HOUR;
            let next = month.saturating_add(1.month());
            if at >= until || next == month {
                return Self(releases);
            }
            let since = (i32::from(month.year()) - 2014) * 12 + i32::from(month.month()) - 10;
            let (major, minor) = (since.div_euclid(12), since.rem_euclid(12));
            releases.push(Release { at, version: format!("v{major}.{minor}.0") });
            if random.chance(500) {
                let at = at + random.between(5 * DAY, 14 * DAY);
                releases.push(Release { at, version: format!("v{major}.{minor}.1") });
            }
            month = next;
        }
    }

    /// Place in the list of the newest release at a moment; that of the oldest if none was out.
    pub fn newest(&self, at: i64) -> u16 {
        let out = self.0.partition_point(|release| release.at <= at);
        u16::try_from(out.saturating_sub(1)).unwrap_or(u16::MAX)
    }

    /// Time at which the next release after one comes out, if it does.
    pub fn next(&self, release: u16) -> Option<i64> {
        self.0.get(usize::from(release) + 1).map(|release| release.at)
    }

    pub fn version(&self, release: u16) -> &str {
        self.0.get(usize::from(release)).map_or(UNKNOWN, |release| &release.version)
    }
}

fn day(at: i64) -> Date {
    let at = Timestamp::from_millisecond(at).unwrap_or_default();
    TimeZone::UTC.to_datetime(at).date()
}

/// The beginning of a day.
fn milliseconds(day: Date) -> i64 {
    let days = day.duration_since(Date::constant(1970, 1, 1));
    days.as_secs() * 1000
}
