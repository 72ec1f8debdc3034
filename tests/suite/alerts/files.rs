//! The files that are made of the table. `UPDATE_ALERTS=1 cargo test --test suite alerts::files` writes them.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use super::rules::{Beyond, RULES, Rule};
use crate::support::binary;

const UPDATE: &str = "UPDATE_ALERTS";
const GRAFANA: &str = "grafana/provisioning/alerting/telemetry.yaml";
const PROMETHEUS: &str = "prometheus/telemetry.rules.yml";

/// A text of YAML. Every JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn grafana() -> String {
    let mut file = "# Alert rules, made of the table in tests/suite/alerts/rules.rs. docs/grafana.md describes \
                    them.\napiVersion: 1\n\ngroups:\n  - orgId: 1\n    name: Mattermost telemetry\n    \
                    folder: Mattermost telemetry\n    interval: 1m\n    rules:\n"
        .to_owned();
    for rule in &RULES {
        // A feature that is off has no metric. Whether the server is down is the concern of one rule.
        let (no_data, error) =
            if rule.when_absent { ("Alerting", "Alerting") } else { ("OK", "KeepLast") };
        let evaluator = match rule.beyond {
            Beyond::Above => "gt",
            Beyond::Below => "lt",
        };
        let Rule { uid, severity, bound, lasting, .. } = rule;
        let [title, metric, description] =
            [rule.summary, rule.metric, rule.description].map(quoted);
        write!(
            file,
            r"      - uid: {uid}
        title: {title}
        condition: B
        data:
          - refId: A
            relativeTimeRange: {{ from: 600, to: 0 }}
            datasourceUid: mattermost-telemetry
            model:
              refId: A
              datasource: {{ type: prometheus, uid: mattermost-telemetry }}
              editorMode: code
              expr: {metric}
              instant: true
              range: false
          - refId: B
            datasourceUid: __expr__
            model:
              refId: B
              datasource: {{ type: __expr__, uid: __expr__ }}
              type: threshold
              expression: A
              conditions:
                - evaluator: {{ type: {evaluator}, params: [{bound}] }}
        noDataState: {no_data}
        execErrState: {error}
        for: {lasting}
        annotations:
          summary: {title}
          description: {description}
        labels:
          severity: {severity}
        isPaused: false
"
        )
        .unwrap();
    }
    file
}

fn prometheus() -> String {
    let mut file = "# Alert rules for a Prometheus that scrapes /metrics or reads /federate, made of the table \
                    in\n# tests/suite/alerts/rules.rs. docs/operating.md describes them.\ngroups:\n  - name: \
                    mattermost-telemetry\n    interval: 1m\n    rules:\n"
        .to_owned();
    for rule in &RULES {
        let comparison =
            if rule.when_absent { format!("absent({})", rule.metric) } else { rule.comparison() };
        let [comparison, summary, description] =
            [&*comparison, rule.summary, rule.description].map(quoted);
        let Rule { alert, severity, lasting, .. } = rule;
        write!(
            file,
            r"      - alert: {alert}
        expr: {comparison}
        for: {lasting}
        labels:
          severity: {severity}
        annotations:
          summary: {summary}
          description: {description}
"
        )
        .unwrap();
    }
    file
}

#[test]
fn the_files_are_what_the_table_says() {
    for (name, made) in [(GRAFANA, grafana()), (PROMETHEUS, prometheus())] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&file, &made).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == made,
            "{name} is out of date; write it anew with \
             `{UPDATE}=1 cargo test --test suite alerts::files`"
        );
        // Grafana would take it for a variable.
        assert!(!made.contains('$'), "{name}");
    }
}

#[test]
fn each_rule_has_a_name_of_its_own() {
    let names: [fn(&Rule) -> &'static str; 4] =
        [|rule| rule.alert, |rule| rule.uid, |rule| rule.metric, |rule| rule.summary];
    for name in names {
        assert_eq!(RULES.iter().map(name).collect::<BTreeSet<_>>().len(), RULES.len());
    }
    let waits = ["0s", "5m"];
    for rule in &RULES {
        assert!(rule.uid.len() <= 40 && waits.contains(&rule.lasting), "{rule:?}");
        assert!(["critical", "warning"].contains(&rule.severity), "{rule:?}");
    }
    assert_eq!(
        RULES.iter().filter(|rule| rule.when_absent).count(),
        1,
        "one alarm for a dead server"
    );
}

#[test]
fn the_binary_prints_the_rules() {
    let output = binary().arg("rules").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), prometheus());
}
