//! The rules as Prometheus' own program judges them. These tests need `promtool`.

use std::process::Command;

/// The tests of the rules, beside them: each fires, and does not.
const TESTS: &str = "prometheus/telemetry.rules.test.yml";

fn promtool(arguments: [&str; 3]) -> String {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("promtool is needed: apt-get install prometheus");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap();
    assert!(output.status.success(), "{printed}");
    printed
}

#[test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite promtool:: -- --ignored"]
fn the_rules_are_rules() {
    let printed = promtool(["check", "rules", "prometheus/telemetry.rules.yml"]);
    assert!(printed.contains("7 rules found"), "{printed}");
}

#[test]
#[ignore = "needs Prometheus; run it with: cargo test --test suite promtool:: -- --ignored"]
fn each_rule_fires_and_does_not() {
    promtool(["test", "rules", TESTS]);
}

#[test]
fn each_rule_is_tested() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(TESTS);
    let tests = std::fs::read_to_string(file).unwrap();
    for rule in &super::rules::RULES {
        let asked: Vec<&str> = tests.split("- alertname: ").skip(1).collect();
        let asked = asked.iter().filter(|test| test.lines().next() == Some(rule.alert));
        let (fires, rests): (Vec<&str>, Vec<&str>) =
            asked.partition(|test| test.contains("exp_labels"));
        assert!(!fires.is_empty() && !rests.is_empty(), "{}", rule.alert);
    }
}
