//! The view that a URL of the page asks for: a range of time, divided into periods, and filters.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::{Dimension, Hour, Moment, Profile};

/// Range of time that ends at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Range {
    /// 24 hours.
    #[serde(rename = "24h")]
    Day,
    /// 7 days.
    #[serde(rename = "7d")]
    Week,
    /// 30 days.
    #[default]
    #[serde(rename = "30d")]
    Month,
    /// 90 days.
    #[serde(rename = "90d")]
    Quarter,
    /// A year of 52 weeks.
    #[serde(rename = "1y")]
    Year,
    /// All time.
    #[serde(rename = "all")]
    All,
}

impl Range {
    /// Every range, from the shortest to the longest.
    pub const ALL: [Self; 6] =
        [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year, Self::All];

    /// Name in the URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::Quarter => "90d",
            Self::Year => "1y",
            Self::All => "all",
        }
    }

    /// Name on the page.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
            Self::Quarter => "90 days",
            Self::Year => "1 year",
            Self::All => "all time",
        }
    }
}

/// View of the page. A form sends a field that is not filled in as an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    #[serde(default)]
    range: Range,
    version: Option<String>,
    architecture: Option<String>,
}

impl View {
    /// Its range.
    pub const fn range(&self) -> Range {
        self.range
    }

    /// The one version that is shown, in its normal form; `None` for all.
    pub fn version(&self) -> Option<String> {
        filter(Dimension::ImageVersion, self.version.as_ref())
    }

    /// The one architecture that is shown, in its normal form; `None` for all.
    pub fn architecture(&self) -> Option<String> {
        filter(Dimension::Architecture, self.architecture.as_ref())
    }

    /// The view in its normal form: the same for all URLs that ask for it.
    pub fn normal(&self) -> Self {
        let (version, architecture) = (self.version(), self.architecture());
        Self { range: self.range, version, architecture }
    }

    /// The ranges in words, the same view of each, and whether it is this one.
    pub fn ranges(&self) -> Vec<(&'static str, Self, bool)> {
        let view = |range| Self { range, ..self.clone() };
        Range::ALL.map(|range| (range.words(), view(range), range == self.range)).into()
    }

    /// True if a profile is shown.
    pub fn shows(&self, profile: &Profile) -> bool {
        let is = |dimension: Dimension, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| **profile.get(dimension) == **wanted)
        };
        is(Dimension::ImageVersion, &self.version())
            && is(Dimension::Architecture, &self.architecture())
    }
}

fn filter(dimension: Dimension, given: Option<&String>) -> Option<String> {
    let given = given.filter(|value| !value.trim().is_empty())?;
    Some(dimension.normal_form(Some(given.clone())))
}

/// The query string of the view.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [("version", self.version()), ("architecture", self.architecture())];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("range", self.range.name()).extend_pairs(fields);
        f.write_str(&query.finish())
    }
}

/// Length of the periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Hours.
    Hour,
    /// Days, UTC.
    Day,
    /// ISO weeks: from Monday on.
    Week,
    /// Four weeks, from a Monday on.
    FourWeeks,
}

impl Step {
    /// Length in hours.
    pub const fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::FourWeeks => 28 * 24,
        }
    }

    /// Name of one period.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::FourWeeks => "four weeks",
        }
    }

    /// First hour of the period that an hour lies in.
    const fn begin(self, hour: Hour) -> Hour {
        // Hours are counted from 1970, which began on a Thursday.
        const MONDAY: i64 = 4 * 24;
        match self {
            Self::Hour | Self::Day => hour.period(self.hours()),
            Self::Week | Self::FourWeeks => hour.plus(-MONDAY).period(self.hours()).plus(MONDAY),
        }
    }

    /// Step for the time from a first report on, so that there are some hundred periods at most.
    const fn of_hours(hours: i64) -> Self {
        match hours {
            ..=48 => Self::Hour,
            49..2_400 => Self::Day,
            2_400..26_280 => Self::Week,
            _ => Self::FourWeeks,
        }
    }
}

/// Periods of a range, which follow each other. The last one is the present one and not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Periods {
    /// Length of each.
    pub step: Step,
    /// First hour of each.
    pub begins: Vec<Hour>,
}

impl Periods {
    /// The periods of a range up to now; of all time from the hour of the first report on.
    pub fn new(range: Range, now: Timestamp, first_report: Option<Hour>) -> Self {
        let now = Hour::of(now);
        let (step, count) = match range {
            Range::Day => (Step::Hour, 24),
            Range::Week => (Step::Day, 7),
            Range::Month => (Step::Day, 30),
            Range::Quarter => (Step::Day, 90),
            Range::Year => (Step::Week, 52),
            Range::All => {
                let first = first_report.unwrap_or(now).min(now);
                let step = Step::of_hours(now.number() - first.number());
                let hours = step.begin(now).number() - step.begin(first).number();
                (step, hours / step.hours() + 1)
            }
        };
        let last = step.begin(now);
        let begins = (0..count).rev().map(|back| last.plus(-back * step.hours())).collect();
        Self { step, begins }
    }

    /// Begin of the range.
    pub fn first(&self) -> Hour {
        self.begins.first().copied().unwrap_or(Hour::MIN)
    }

    /// The begins, and the present: one moment more than there are periods.
    pub fn moments(&self) -> Vec<Moment> {
        self.begins.iter().copied().map(Moment::At).chain([Moment::Now]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(range: Range, now: &str, first: Option<&str>) -> (Step, usize, String) {
        let first = first.map(|first| Hour::of(first.parse().unwrap()));
        let periods = Periods::new(range, now.parse().unwrap(), first);
        let first = periods.first().start().to_string();
        (periods.step, periods.begins.len(), first)
    }

    #[test]
    fn ranges_end_with_the_present_period() {
        let now = "2026-03-18T10:30:00Z"; // A Wednesday.
        for (range, step, count, first) in [
            (Range::Day, Step::Hour, 24, "2026-03-17T11:00:00Z"),
            (Range::Week, Step::Day, 7, "2026-03-12T00:00:00Z"),
            (Range::Month, Step::Day, 30, "2026-02-17T00:00:00Z"),
            (Range::Quarter, Step::Day, 90, "2025-12-19T00:00:00Z"),
            (Range::Year, Step::Week, 52, "2025-03-24T00:00:00Z"),
        ] {
            assert_eq!(periods(range, now, None), (step, count, first.into()));
        }
    }

    #[test]
    fn all_time_has_a_bounded_number_of_periods() {
        let now = "2026-03-18T10:30:00Z";
        for (first, step, count, begin) in [
            ("2026-03-18T10:00:00Z", Step::Hour, 1, "2026-03-18T10:00:00Z"),
            ("2026-03-16T10:00:00Z", Step::Hour, 49, "2026-03-16T10:00:00Z"),
            ("2026-03-16T09:00:00Z", Step::Day, 3, "2026-03-16T00:00:00Z"),
            ("2025-03-18T10:00:00Z", Step::Week, 53, "2025-03-17T00:00:00Z"),
        ] {
            assert_eq!(periods(Range::All, now, Some(first)), (step, count, begin.into()));
        }
        assert_eq!(periods(Range::All, now, None).1, 1);
        // The clock went back.
        assert_eq!(periods(Range::All, now, Some("2027-01-01T00:00:00Z")).1, 1);
        let (step, count, _) = periods(Range::All, now, Some("2019-01-01T00:00:00Z"));
        assert!(step == Step::FourWeeks && count < 100, "{count}");
    }

    #[test]
    fn a_view_is_its_query_string() {
        let view = View {
            range: Range::Year,
            version: Some(" 11.0.0 ".into()),
            architecture: Some(String::new()),
        };
        assert_eq!(view.to_string(), "range=1y&version=v11.0.0");
        assert_eq!(view.normal().to_string(), view.to_string());
        assert_eq!(View::default().to_string(), "range=30d");
        let other = View { architecture: Some("a b&c".into()), ..View::default() };
        assert_eq!(other.to_string(), "range=30d&architecture=a+b%26c");
    }
}
