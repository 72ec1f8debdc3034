//! Spelling of the bounds of buckets in a scrape.

use super::catalogue::{BUCKET_LABEL, bucket_label};

/// The text format with the bounds of buckets spelled as in OpenMetrics. Prometheus keeps them as
/// they are written, so that the same query works on either scrape.
pub(super) fn spell_bounds(text: &str) -> String {
    let label = format!("{BUCKET_LABEL}=\"");
    let mut spelled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(&label) {
        spelled += before;
        spelled += &label;
        rest = after;
        if before.ends_with(['{', ','])
            && let Some((bound, _)) = after.split_once('"')
            && let Ok(number) = bound.parse()
        {
            spelled += &bucket_label(number);
            rest = &after[bound.len()..];
        }
    }
    spelled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounds_are_spelled_anew() {
        let text = "a_bucket{le=\"1\"} 1\na_bucket{b=\"x\",le=\"+Inf\"} 1\nc{role=\"1\",d=\"le=\\\"1\\\"\"} 1\n";
        assert_eq!(spell_bounds(text), text.replace("{le=\"1\"", "{le=\"1.0\""));
    }
}
