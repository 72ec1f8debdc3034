//! Any text is refused, or is an expression within the limits that means the same in parentheses.
#![no_main]

use std::iter;

use libfuzzer_sys::fuzz_target;
use mattermost_telemetry::promql::{self, Discovery, Plan};

/// Parts of one expression.
const PARTS: usize = 100;
/// Bytes of one expression.
const LONGEST: usize = 128 * 1024;
/// Bytes of a text that is repeated.
const SHORT: usize = 100;

/// The text of a plan, in the order of its bytes: the alternatives of a pattern have none.
fn shown(plan: &Plan) -> Vec<u8> {
    let mut bytes = format!("{plan:?}").into_bytes();
    bytes.sort_unstable();
    bytes
}

fuzz_target!(|text: &str| {
    let selects = Discovery::parse(iter::once(text)).is_ok();
    if let Ok(length) = promql::duration(text) {
        assert!(length > 0, "{length}");
    }
    let Ok(plan) = promql::parse(text) else {
        assert!(!selects, "a selector is an expression");
        return;
    };
    assert!(text.len() <= LONGEST && plan.reads.len() <= PARTS);
    // The line's end ends a comment.
    match promql::parse(&format!("({text}\n)")) {
        Ok(enclosed) => assert_eq!(shown(&enclosed), shown(&plan)),
        Err(error) => {
            let error = error.to_string();
            let limits = ["has more than 100 parts", "is longer than 131072 bytes"];
            assert!(limits.iter().any(|limit| error.contains(limit)), "{error}");
        }
    }
    if text.len() <= SHORT {
        assert!(promql::parse(&[text; PARTS + 1].join("\n+")).is_err(), "too many parts");
    }
});
