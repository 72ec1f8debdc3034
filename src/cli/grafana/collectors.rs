//! The dashboards for an engine that gathers several servers, each a *collector*.
//!
//! Every expression of the dashboards is a sum, so that it needs no more than a matcher of the collectors.

use std::{borrow::Cow, path::Path};

use serde_json::{Value, json};

use crate::{
    domain::Dimension,
    metrics::{Metric, is_server_metric},
};

/// The data source, which sends no token of a server to the engine.
const SOURCE: &str = include_str!("engine.yaml");
const SOURCE_PATH: &str = "provisioning/datasources/telemetry.yaml";
/// The condition that each selector gets.
const MATCHER: &str = r#"collector=~"$collector""#;

/// The variant of an embedded file; most files have none.
pub(super) fn variant<'a>(path: &Path, content: &'a [u8]) -> serde_json::Result<Cow<'a, [u8]>> {
    if path == Path::new(SOURCE_PATH) {
        return Ok(Cow::Borrowed(SOURCE.as_bytes()));
    }
    if !path.starts_with("dashboards") {
        return Ok(Cow::Borrowed(content));
    }
    let mut dashboard: Value = serde_json::from_slice(content)?;
    leave_single_reports_out(&mut dashboard);
    select_collectors(&mut dashboard);
    if let Some(variables) = dashboard["templating"]["list"].as_array_mut() {
        variables.insert(0, variable());
    }
    let mut text = serde_json::to_vec_pretty(&dashboard)?;
    text.push(b'\n');
    Ok(Cow::Owned(text))
}

/// Removes panels of single reports, which have instance ids and are in no engine, and rows that
/// have no panel then.
fn leave_single_reports_out(dashboard: &mut Value) {
    let Some(panels) = dashboard["panels"].as_array_mut() else { return };
    panels.retain(|panel| !panel["targets"].to_string().contains(Metric::RecentStart.name()));
    let is_row = |panel: &Value| panel["type"] == "row";
    let empty: Vec<bool> = (0..panels.len())
        .map(|place| is_row(&panels[place]) && panels.get(place + 1).is_none_or(is_row))
        .collect();
    let mut empty = empty.into_iter();
    panels.retain(|_| !empty.next().unwrap_or_default());
}

/// Puts the condition into every expression and into the queries of the variables.
fn select_collectors(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "expr" || name == "query" => {
                        *text = with_matcher(text);
                    }
                    _ => select_collectors(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(select_collectors),
        _ => {}
    }
}

/// An expression with the condition in each selector.
fn with_matcher(expression: &str) -> String {
    let mut text = String::with_capacity(2 * expression.len());
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let is_word =
            |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
        let length = if first == '"' {
            // The dashboards have no escaped quotes.
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else {
            rest.find(|character| !is_word(character)).unwrap_or(rest.len()).max(first.len_utf8())
        };
        let (token, after) = rest.split_at(length);
        text += token;
        rest = after;
        if is_metric(token) {
            match rest.strip_prefix('{') {
                Some(matchers) => {
                    text += &format!("{{{MATCHER}, ");
                    rest = matchers;
                }
                None => text += &format!("{{{MATCHER}}}"),
            }
        }
    }
    text
}

fn is_metric(word: &str) -> bool {
    let is_label = Dimension::ALL.iter().any(|dimension| dimension.name() == word);
    let of_the_fleet = || Metric::ALL.iter().any(|metric| metric.name() == word);
    !is_label && (is_server_metric(word) || of_the_fleet())
}

fn variable() -> Value {
    json!({
        "name": "collector",
        "label": "Collector",
        "description": "Only what these servers have received is counted.",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "mattermost-telemetry"},
        "query": {
            "qryType": 1,
            "query": "label_values(telemetry_build_info, collector)",
            "refId": "PrometheusVariableQueryEditor-VariableQuery"
        },
        "refresh": 2,
        "sort": 1,
        "multi": true,
        "includeAll": true,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_selector_selects_collectors() {
        for (expression, expected) in [
            ("1", "1"),
            ("sum(mattermost_instances)", "sum(mattermost_instances{C})"),
            (
                "a_mattermost_instances + telemetry_x{a=\"mattermost_instances\"}[1h] offset -1h",
                "a_mattermost_instances + telemetry_x{C, a=\"mattermost_instances\"}[1h] offset -1h",
            ),
            (
                "sum by (telemetry_version) (mattermost_starts_total)",
                "sum by (telemetry_version) (mattermost_starts_total{C})",
            ),
            (
                "label_values(mattermost_starts_total, image_version)",
                "label_values(mattermost_starts_total{C}, image_version)",
            ),
        ] {
            assert_eq!(with_matcher(expression), expected.replace('C', MATCHER));
        }
    }
}
