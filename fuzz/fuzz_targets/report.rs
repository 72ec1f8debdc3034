//! Any body is refused, or is a report that keeps the rules and that is the same when it is sent again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mattermost_telemetry::{
    domain::{Accepted, Dimension, MAX_STARTUP_MS, ReportBody},
    http::parse_report,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = serde_json::from_slice::<ReportBody>(bytes) {
        let once = body.clone().normalised();
        assert_eq!(once.clone().normalised(), once, "normalising twice changes something");
        // Rows of a reference database are cut to fit instead of being refused.
        let salvaged = body.clone().salvage();
        let altered = body.accept().map_or(true, |accepted| !accepted.dropped.is_empty());
        assert_eq!(salvaged.altered, altered);
    }
    let Ok(Accepted { report, dropped }) = parse_report(bytes) else { return };
    let values = Dimension::ALL.map(|dimension| &**report.profile.get(dimension));
    for (text, most) in
        values.map(|value| (value, 64)).into_iter().chain([(&*report.instance_id, 128)])
    {
        assert!(!text.trim().is_empty() && text.chars().count() <= most, "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    assert!(report.startup_ms.is_none_or(|time| (1..=MAX_STARTUP_MS).contains(&time)));
    assert!(dropped.len() <= 2, "{dropped:?}");
    let sent = serde_json::to_vec(&ReportBody::from(report.clone())).unwrap();
    let again = parse_report(&sent).expect("a report in its normal form");
    assert_eq!(again, Accepted { report, dropped: Vec::new() });
});
