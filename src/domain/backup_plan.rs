//! The plan of backups: the time between two of them, and which are kept.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use jiff::Timestamp;

use super::calendar::{CalendarWindow, day_of};

/// Time between two backups: a number of hours or days, such as `24h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupEvery(pub Duration);

impl FromStr for BackupEvery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hours = number_before(text, 'h')
            .or_else(|| number_before(text, 'd').and_then(|days| days.checked_mul(24)))
            .filter(|hours| *hours > 0);
        let hours = hours.ok_or_else(|| {
            format!("{text:?} is not a number of hours or days such as 24h or 7d")
        })?;
        Ok(Self(Duration::from_hours(hours.into())))
    }
}

/// Numbers of days, weeks and months of each of which one backup is kept, such as `7d,4w,12m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupKeep {
    /// Days, UTC.
    pub days: u32,
    /// ISO weeks.
    pub weeks: u32,
    /// Calendar months.
    pub months: u32,
}

impl FromStr for BackupKeep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("{text:?} is not a list of days, weeks and months such as 7d,4w,12m");
        let mut keep = Self { days: 0, weeks: 0, months: 0 };
        for item in text.split([',', ' ']).filter(|item| !item.is_empty()) {
            let parts = [('d', &mut keep.days), ('w', &mut keep.weeks), ('m', &mut keep.months)];
            let (unit, kept) =
                parts.into_iter().find(|(unit, _)| item.ends_with(*unit)).ok_or_else(refuse)?;
            if *kept != 0 {
                return Err(refuse());
            }
            *kept = number_before(item, unit).ok_or_else(refuse)?;
        }
        // Without any of them each backup would be deleted by the next one.
        if (keep.days, keep.weeks, keep.months) == (0, 0, 0) { Err(refuse()) } else { Ok(keep) }
    }
}

fn number_before(text: &str, unit: char) -> Option<u32> {
    let digits = text.strip_suffix(unit)?;
    // `parse` takes a sign, too.
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

impl BackupKeep {
    /// The backups that are kept, of those that were made at some times: the newest of each of the newest
    /// days, weeks and months that have one. Those of a time that is still to come were made by a wrong
    /// clock; they are kept, too, and count for nothing.
    #[must_use]
    pub fn kept(self, made: &BTreeSet<Timestamp>, now: Timestamp) -> BTreeSet<Timestamp> {
        let (past, to_come): (BTreeSet<_>, BTreeSet<_>) =
            made.iter().partition(|made| **made <= now);
        let mut kept = to_come;
        kept.extend(past.last());
        for (window, number) in [
            (CalendarWindow::Day, self.days),
            (CalendarWindow::Week, self.weeks),
            (CalendarWindow::Month, self.months),
        ] {
            let (mut left, mut last) = (number, None);
            for made in past.iter().rev() {
                let period = Some(window.first_day(day_of(*made)));
                if period == last {
                    continue;
                }
                let Some(fewer) = left.checked_sub(1) else { break };
                (left, last) = (fewer, period);
                kept.insert(*made);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn the_forms_of_the_settings() {
        for (text, hours) in [("24h", 24), ("7d", 168), ("1h", 1)] {
            assert_eq!(text.parse(), Ok(BackupEvery(Duration::from_hours(hours))), "{text}");
        }
        for text in [
            "",
            "24",
            "h",
            "0h",
            "0d",
            "-1d",
            "+1d",
            "1.5h",
            "30m",
            "daily",
            "1w",
            "1d ",
            "99999999999h",
        ] {
            let refused = text.parse::<BackupEvery>().unwrap_err();
            assert!(refused.contains("24h or 7d"), "{refused}");
        }
        for (text, days, weeks, months) in
            [("7d,4w,12m", 7, 4, 12), ("12m 7d", 7, 0, 12), ("3w", 0, 3, 0), ("1d, 0w", 1, 0, 0)]
        {
            assert_eq!(text.parse(), Ok(BackupKeep { days, weeks, months }), "{text}");
        }
        for text in ["", "7", "7d,7d", "0d", "7y", "d", "7d;4w", "-7d"] {
            let refused = text.parse::<BackupKeep>().unwrap_err();
            assert!(refused.contains("7d,4w,12m"), "{refused}");
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn one_is_kept_of_each_day_week_and_month() {
        let begin = time("2025-01-01T03:00:00Z");
        let daily: BTreeSet<_> = (0..400).map(|day| begin + (24 * day).hours()).collect();
        let keep = BackupKeep { days: 3, weeks: 2, months: 3 };
        let now = *daily.last().unwrap();
        // The newest is also that of its week and of its month, and 1 February was a Sunday.
        assert_eq!(now, time("2026-02-04T03:00:00Z"));
        let expected =
            ["2025-12-31", "2026-01-31", "2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"];
        let expected = expected.map(|day| time(&format!("{day}T03:00:00Z")));
        assert_eq!(keep.kept(&daily, now), BTreeSet::from(expected));
    }

    proptest! {
        /// Whatever the clock has done, the newest backup is kept, also from those that follow later.
        #[test]
        fn the_newest_backup_is_kept(
            hours in vec(0_i32..20_000, 1..60), now in 0_i32..20_000,
            days in 0_u32..4, weeks in 0_u32..4, months in 0_u32..4,
        ) {
            prop_assume!(days + weeks + months > 0);
            let keep = BackupKeep { days, weeks, months };
            let at = |hours: i32| Timestamp::UNIX_EPOCH + i64::from(hours).hours();
            let made: BTreeSet<_> = hours.into_iter().map(at).collect();
            let now = at(now);
            let kept = keep.kept(&made, now);
            prop_assert!(kept.is_subset(&made));
            prop_assert!(kept.contains(made.last().unwrap()));
            prop_assert_eq!(made.range(..=now).last(), kept.range(..=now).last());
            prop_assert!(made.iter().filter(|made| **made > now).all(|made| kept.contains(made)));
            let past = kept.range(..=now).count();
            prop_assert!(past <= 1.max((days + weeks + months) as usize));
            // Thinning twice changes nothing.
            prop_assert_eq!(keep.kept(&kept, now), kept);
        }
    }
}
