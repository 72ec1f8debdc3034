//! Everything that is collected of a report, for `/public/fields`.

use super::Dimension;

/// Length of time for which something of a report is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As long as the single report.
    WithReport,
    /// As long as the single report; counts by it for ever.
    WithReportAndCounts,
    /// The id with the report, and what is known of the instance until it is purged.
    UntilPurged,
    /// A hash of it for 48 hours of running.
    TwoDays,
    /// In memory alone.
    InMemory,
}

/// Something that is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Name of the field in the report; in words where the report has no such field.
    pub name: &'static str,
    /// Its meaning.
    pub meaning: &'static str,
    /// The reason for which it is collected.
    pub reason: &'static str,
    /// The time for which it is kept.
    pub kept: Kept,
}

/// Everything that is collected: the fields of the report first.
pub fn collected() -> impl Iterator<Item = Collected> {
    let of = |name, meaning, reason, kept| Collected { name, meaning, reason, kept };
    let instance = of(
        "instance_id",
        "Random id that the client makes; it names no person and no machine",
        "Counts distinct instances, and those that are seen on two or more days",
        Kept::UntilPurged,
    );
    let others = [
        of(
            "startup_time_ms",
            "Time that the container took to start, in milliseconds",
            "Shows how fast starts are, by version and architecture",
            Kept::WithReportAndCounts,
        ),
        of(
            "timestamp",
            "Time by the client's clock",
            "Is shown beside the report; nothing is counted by it, since such clocks are wrong",
            Kept::WithReport,
        ),
        of(
            "event",
            "start, or heartbeat of a container that still runs",
            "Keeps starts and heartbeats apart",
            Kept::WithReportAndCounts,
        ),
        of(
            "report_id",
            "Random id of the report itself",
            "Counts a report once that is sent again",
            Kept::TwoDays,
        ),
        of(
            "time of arrival",
            "Time by the server's clock at which the report came",
            "Everything is counted by it",
            Kept::WithReportAndCounts,
        ),
        of(
            "network address",
            "A keyed hash of the address that the report came from",
            "Limits how many reports one sender may send; it is never stored or logged",
            Kept::InMemory,
        ),
    ];
    [instance].into_iter().chain(Dimension::ALL.map(dimension)).chain(others)
}

fn dimension(dimension: Dimension) -> Collected {
    let (meaning, reason) = match dimension {
        Dimension::ImageVersion => (
            "Version of the Mattermost image",
            "Shows which versions run, and how fast new ones spread",
        ),
        Dimension::Architecture => {
            ("Architecture of the machine", "Shows for which machines images are needed")
        }
        Dimension::Os => ("Operating system", "Shows on which systems it runs"),
        Dimension::ContainerRuntime => ("Container runtime", "Shows in which runtimes it runs"),
        Dimension::DbType => ("Kind of database", "Shows beside which databases it runs"),
        Dimension::TelemetryVersion => {
            ("Version of the report's format", "Tells the server how to read the report")
        }
    };
    Collected { name: dimension.name(), meaning, reason, kept: Kept::WithReportAndCounts }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::ReportBody;

    #[test]
    fn each_field_of_the_report_is_listed() {
        let body = serde_json::to_value(ReportBody::default()).unwrap();
        let fields: BTreeSet<&str> = body.as_object().unwrap().keys().map(|key| &**key).collect();
        let listed: Vec<&str> = collected().map(|collected| collected.name).collect();
        let of_report: BTreeSet<&str> =
            listed.iter().copied().filter(|name| !name.contains(' ')).collect();
        assert_eq!(of_report, fields);
        assert_eq!(listed.len(), of_report.len() + 2, "nothing is listed twice");
    }
}
