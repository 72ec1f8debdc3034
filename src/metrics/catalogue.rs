//! The catalogue of the metrics of the fleet, `mattermost_…`: name, kind, unit and meaning of each.
//!
//! The answers of PromQL and of a scrape take them from here.

use prometheus_client::{metrics::MetricType, registry::Unit};

use crate::domain::{BOUNDS_MS, BUCKETS};

/// Label of a bucket: its upper bound in seconds.
pub const BUCKET_LABEL: &str = "le";
/// Label of a window: its length.
pub const WINDOW_LABEL: &str = "window";
/// Label of a cohort: the first day of its week.
pub const WEEK_LABEL: &str = "week";
/// Label of a cohort's later week: its number of weeks from there.
pub const LATER_WEEKS_LABEL: &str = "later_weeks";
/// Number of starts that [`Metric::RecentStart`] lists.
pub const RECENT_STARTS: u32 = 100;

static SECONDS: Unit = Unit::Seconds;

/// A metric of the fleet. The three parts of a histogram are metrics of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Number of starts.
    Starts,
    /// Starts whose startup time is not above a bound.
    StartupBucket,
    /// Sum of the startup times.
    StartupSum,
    /// Number of the startup times.
    StartupCount,
    /// Distinct instance ids.
    Instances,
    /// Ids seen on two or more days.
    InstancesReturned,
    /// Ids seen within a window.
    ActiveInstances,
    /// Ids seen within a window, and on two or more days.
    ReturningInstances,
    /// Ids seen within the last window of the calendar that is over.
    CalendarInstances,
    /// Ids of a cohort that were seen in a later week that is over.
    CohortInstances,
    /// The newest release.
    NewestVersion,
    /// The latest starts.
    RecentStart,
}

impl Metric {
    /// Every metric of the fleet.
    pub const ALL: [Self; 12] = [
        Self::Starts,
        Self::StartupBucket,
        Self::StartupSum,
        Self::StartupCount,
        Self::Instances,
        Self::InstancesReturned,
        Self::ActiveInstances,
        Self::ReturningInstances,
        Self::CalendarInstances,
        Self::CohortInstances,
        Self::NewestVersion,
        Self::RecentStart,
    ];

    /// Name of its series.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starts => "mattermost_starts_total",
            Self::StartupBucket => "mattermost_startup_seconds_bucket",
            Self::StartupSum => "mattermost_startup_seconds_sum",
            Self::StartupCount => "mattermost_startup_seconds_count",
            Self::Instances => "mattermost_instances",
            Self::InstancesReturned => "mattermost_instances_returned",
            Self::ActiveInstances => "mattermost_active_instances",
            Self::ReturningInstances => "mattermost_returning_instances",
            Self::CalendarInstances => "mattermost_calendar_instances",
            Self::CohortInstances => "mattermost_cohort_instances",
            Self::NewestVersion => "mattermost_newest_version",
            Self::RecentStart => "mattermost_recent_start",
        }
    }

    /// Meaning of its value.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Starts => "Reports of a start, since the first one",
            Self::StartupBucket | Self::StartupSum | Self::StartupCount => {
                "Startup times of all starts"
            }
            Self::Instances => "Distinct instance ids, ever",
            Self::InstancesReturned => "Instance ids seen on two or more days, ever",
            Self::ActiveInstances => "Instance ids seen within the window",
            Self::ReturningInstances => {
                "Instance ids seen within the window, and on two or more days"
            }
            Self::CalendarInstances => {
                "Instance ids seen within the last calendar window that is over (UTC)"
            }
            Self::CohortInstances => {
                "Instance ids first seen in the week that were seen so many weeks later"
            }
            Self::NewestVersion => "1 for the newest release that was ever reported",
            Self::RecentStart => {
                "When each of the latest 100 starts arrived, in seconds since 1970"
            }
        }
    }

    /// Kind of the metric: a counter only grows, and so does each part of a histogram.
    #[must_use]
    pub const fn kind(self) -> MetricType {
        match self {
            Self::Starts => MetricType::Counter,
            Self::StartupBucket | Self::StartupSum | Self::StartupCount => MetricType::Histogram,
            Self::Instances
            | Self::InstancesReturned
            | Self::ActiveInstances
            | Self::ReturningInstances
            | Self::CalendarInstances
            | Self::CohortInstances
            | Self::NewestVersion
            | Self::RecentStart => MetricType::Gauge,
        }
    }

    /// Unit that is part of the name.
    #[must_use]
    pub fn unit(self) -> Option<&'static Unit> {
        (self.kind() == MetricType::Histogram).then_some(&SECONDS)
    }

    /// Name without the ending of a histogram's part.
    #[must_use]
    pub fn family(self) -> &'static str {
        let name = self.name();
        match self.kind() {
            MetricType::Histogram => name.rsplit_once('_').map_or(name, |(family, _)| family),
            _ => name,
        }
    }

    /// Name without any of the endings that the encoder of a scrape adds: the unit, `_total`, and
    /// those of a histogram's parts.
    #[must_use]
    pub fn stem(self) -> &'static str {
        let family = self.family();
        let stem = family.strip_suffix("_total").unwrap_or(family);
        self.unit()
            .and_then(|unit| stem.strip_suffix(unit.as_str())?.strip_suffix('_'))
            .unwrap_or(stem)
    }

    /// The metadata of its family.
    #[must_use]
    pub fn description(self) -> Description {
        Description {
            family: self.family().to_owned(),
            kind: self.kind().as_str().to_owned(),
            help: self.help().to_owned(),
        }
    }
}

/// Metadata of a family of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name of the metric, without the endings of a histogram's parts.
    pub family: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Meaning of the value.
    pub help: String,
}

/// Upper bounds of the buckets of startup times, in seconds. The last one is infinite.
#[must_use]
pub fn bucket_bounds() -> [f64; BUCKETS] {
    std::array::from_fn(|bucket| {
        BOUNDS_MS.get(bucket).map_or(f64::INFINITY, |&bound| f64::from(bound) / 1000.0)
    })
}

/// Value of [`BUCKET_LABEL`] as OpenMetrics spells it, and Prometheus 3 stores it: `1.0`, not `1`.
#[must_use]
pub fn bucket_label(bound: f64) -> String {
    if bound == f64::INFINITY { "+Inf".to_owned() } else { format!("{bound:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_histogram_are_one_family() {
        for part in [Metric::StartupBucket, Metric::StartupSum, Metric::StartupCount] {
            assert_eq!(part.family(), "mattermost_startup_seconds");
            assert_eq!(part.stem(), "mattermost_startup");
        }
        assert_eq!(Metric::Starts.family(), "mattermost_starts_total");
        assert_eq!(Metric::Starts.stem(), "mattermost_starts");
        assert_eq!(Metric::InstancesReturned.stem(), "mattermost_instances_returned");
    }

    #[test]
    fn the_help_states_the_number_of_recent_starts() {
        assert!(Metric::RecentStart.help().contains(&format!("latest {RECENT_STARTS} starts")));
    }
}
