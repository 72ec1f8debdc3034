//! The table of alert rules, of which the files for Grafana and for Prometheus are made.

/// Direction in which a metric must not pass its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    Above,
    Below,
}

/// An alert: one metric, compared with one bound.
#[derive(Debug)]
pub struct Rule {
    /// Name in Prometheus.
    pub alert: &'static str,
    /// Identifier in Grafana.
    pub uid: &'static str,
    pub severity: &'static str,
    /// Selector of the metric.
    pub metric: &'static str,
    pub beyond: Beyond,
    pub bound: f64,
    /// Time for which it must hold.
    pub lasting: &'static str,
    /// True if the absence of the metric is the alarm.
    pub when_absent: bool,
    pub summary: &'static str,
    pub description: &'static str,
}

impl Rule {
    /// The comparison, as PromQL.
    pub fn comparison(&self) -> String {
        let operator = match self.beyond {
            Beyond::Above => ">",
            Beyond::Below => "<",
        };
        format!("{} {operator} {}", self.metric, self.bound)
    }
}

pub const RULES: [Rule; 7] = [
    Rule {
        alert: "TelemetryDown",
        uid: "telemetry-down",
        severity: "critical",
        metric: "telemetry_build_info",
        beyond: Beyond::Below,
        bound: 1.0,
        lasting: "5m",
        when_absent: true,
        summary: "The telemetry server does not answer, or has no metrics of its own",
        description: "Reports are lost while it is down. Start it, and look at its log. Where it answers, \
                      /status has the reason: with a wrong clock or a disk that cannot be written it keeps \
                      no samples.",
    },
    Rule {
        alert: "TelemetrySilence",
        uid: "telemetry-silence",
        severity: "warning",
        metric: "telemetry_silent_since_timestamp_seconds",
        beyond: Beyond::Above,
        bound: 0.0,
        lasting: "0s",
        when_absent: false,
        summary: "No report comes although there used to be reports",
        description: "The last one is longer ago than three times the longest distance in the month before \
                      it. Send a report by hand: if it is stored, look at the clients, else at what stands \
                      between them and the server.",
    },
    Rule {
        alert: "TelemetryRefusals",
        uid: "telemetry-refusals",
        severity: "warning",
        metric: "telemetry_reports_refused_ratio",
        beyond: Beyond::Above,
        bound: 3.0,
        lasting: "5m",
        when_absent: false,
        summary: "More reports are refused than usual",
        description: "In the last hour more than three times as many were refused as in a mean hour of the \
                      day before. A refused report is lost. The dashboard of the server shows the kinds of \
                      problem.",
    },
    Rule {
        alert: "TelemetryNewestReleaseSlow",
        uid: "telemetry-newest-release-slow",
        severity: "warning",
        metric: "telemetry_newest_release_startup_ratio",
        beyond: Beyond::Above,
        bound: 1.2,
        lasting: "0s",
        when_absent: false,
        summary: "The newest release starts 20 % slower than the one before",
        description: "The middle half of its starts in the last 30 days took more than 1.2 times as long. \
                      The dashboard of startup times shows both releases, and whether they run on other \
                      architectures.",
    },
    Rule {
        alert: "TelemetryDisk",
        uid: "telemetry-disk",
        severity: "critical",
        metric: "telemetry_disk_low",
        beyond: Beyond::Above,
        bound: 0.0,
        lasting: "5m",
        when_absent: false,
        summary: "The disk of the telemetry server is nearly full, or refuses",
        description: "Reports are lost once it is full. Free space on the disk of the database; where there \
                      is enough, the log has the reason for which it cannot be written.",
    },
    Rule {
        alert: "TelemetryBackup",
        uid: "telemetry-backup",
        severity: "warning",
        metric: "telemetry_backup_overdue",
        beyond: Beyond::Above,
        bound: 0.0,
        lasting: "5m",
        when_absent: false,
        summary: "The newest good backup of the telemetry server is too old",
        description: "It is older than twice the time between two backups, or there is none. Look for the \
                      failed backup in the log.",
    },
    Rule {
        alert: "TelemetryClock",
        uid: "telemetry-clock",
        severity: "warning",
        metric: "telemetry_clock_state{state=~\"far|wrong\"}",
        beyond: Beyond::Above,
        bound: 0.0,
        lasting: "5m",
        when_absent: false,
        summary: "The clock of the telemetry server is doubtful",
        description: "Nothing is deleted for its age, and with a wrong clock reports have no dates yet. Set \
                      the machine's clock, or run `clock confirm` if it is right.",
    },
];
