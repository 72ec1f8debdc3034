//! The metrics that there are, apart from the server's own.

/// A metric of the deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Reports of a start.
    Starts,
    /// Startup times: how many were not above a bound.
    StartupBucket,
    /// Startup times: their sum.
    StartupSum,
    /// Startup times: how many.
    StartupCount,
    /// Distinct instance ids.
    Instances,
    /// Ids seen on two or more days.
    InstancesReturned,
    /// Ids seen within a window.
    ActiveInstances,
    /// Those of them that were seen on two or more days.
    ReturningInstances,
    /// The newest release.
    NewestVersion,
    /// The latest starts.
    RecentStart,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Part of a histogram; each part is a counter.
    Histogram,
}

/// What the metadata of a metric tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name of the metric, without the suffixes of a histogram's parts.
    pub family: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it means.
    pub help: String,
}

/// All of them.
pub const METRICS: [Metric; 10] = [
    Metric::Starts,
    Metric::StartupBucket,
    Metric::StartupSum,
    Metric::StartupCount,
    Metric::Instances,
    Metric::InstancesReturned,
    Metric::ActiveInstances,
    Metric::ReturningInstances,
    Metric::NewestVersion,
    Metric::RecentStart,
];

impl Metric {
    /// Its name.
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
            Self::NewestVersion => "mattermost_newest_version",
            Self::RecentStart => "mattermost_recent_start",
        }
    }

    /// How it behaves.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Starts => Kind::Counter,
            Self::StartupBucket | Self::StartupSum | Self::StartupCount => Kind::Histogram,
            _ => Kind::Gauge,
        }
    }

    /// Name, type and meaning.
    #[must_use]
    pub fn description(self) -> Description {
        let (family, help) = match self {
            Self::Starts => (self.name(), "Reports of a start, since the first one"),
            Self::StartupBucket | Self::StartupSum | Self::StartupCount => {
                ("mattermost_startup_seconds", "Startup times of all starts")
            }
            Self::Instances => (self.name(), "Distinct instance ids, ever"),
            Self::InstancesReturned => (self.name(), "Instance ids seen on two or more days, ever"),
            Self::ActiveInstances => (self.name(), "Instance ids seen within the window"),
            Self::ReturningInstances => {
                (self.name(), "Instance ids seen within the window, and on two or more days")
            }
            Self::NewestVersion => (self.name(), "1 for the newest release that was ever reported"),
            Self::RecentStart => {
                (self.name(), "When each of the latest 100 starts arrived, in seconds since 1970")
            }
        };
        let kind = match self.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        Description { family: family.into(), kind: kind.into(), help: help.into() }
    }
}
