//! The queries of the panels of Grafana's dashboards, in the form in which Grafana sends them.

use anyhow::{bail, ensure};
use include_dir::{Dir, include_dir};
use serde_json::Value;

static DASHBOARDS: Dir = include_dir!("$CARGO_MANIFEST_DIR/grafana/dashboards");

/// The dashboards of `grafana/`, in the order of their files' names.
///
/// # Errors
/// If a file is no JSON.
pub fn dashboards() -> serde_json::Result<Vec<Value>> {
    DASHBOARDS.files().map(|file| serde_json::from_slice(file.contents())).collect()
}

/// The elements of an array; none where there is none.
#[must_use]
pub fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text field; empty where there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The panels and rows of a dashboard, those within a folded row too.
#[must_use]
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    array(&dashboard["panels"])
        .iter()
        .flat_map(|panel| std::iter::once(panel).chain(array(&panel["panels"])))
        .collect()
}

/// The interval in seconds that Grafana chooses for a range and a number of points. It is that of
/// `roundInterval` in `@grafana/data`, from ten seconds on.
fn interval(range: i64, points: i64, least: i64) -> i64 {
    const STEPS: [(i64, i64); 18] = [
        (15, 10),
        (18, 15),
        (25, 20),
        (45, 30),
        (90, 60),
        (210, 120),
        (450, 300),
        (750, 600),
        (1050, 900),
        (1500, 1200),
        (2700, 1800),
        (5400, 3600),
        (9000, 7200),
        (16_200, 10_800),
        (32_400, 21_600),
        (86_400, 43_200),
        (604_800, 86_400),
        (1_814_400, 604_800),
    ];
    let wanted = range / points;
    let step = STEPS.iter().find(|(below, _)| wanted < *below).map_or(2_592_000, |(_, step)| *step);
    step.max(least)
}

/// A length of time as Grafana writes it.
fn length(seconds: i64) -> String {
    match seconds {
        _ if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        _ if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        _ if seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// The request of one target of a panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The panel's title.
    pub panel: String,
    /// The letter of the target within the panel.
    pub target: String,
    /// The query, with Grafana's variables filled in.
    pub expression: String,
    /// The path of the request.
    pub route: &'static str,
    /// The body of the request.
    pub form: Vec<(&'static str, String)>,
}

/// The questions of a dashboard about the `range` seconds before `now`, with all versions and
/// architectures chosen.
///
/// # Errors
/// If a panel names an interval or a variable that is not known here.
pub fn questions(dashboard: &Value, now: i64, range: i64) -> anyhow::Result<Vec<Question>> {
    let mut questions = Vec::new();
    for panel in panels(dashboard) {
        for target in array(&panel["targets"]) {
            questions.push(question(panel, target, now, range)?);
        }
    }
    Ok(questions)
}

fn question(panel: &Value, target: &Value, now: i64, range: i64) -> anyhow::Result<Question> {
    let least = match text(panel, "interval") {
        "1h" => 3600,
        "" | "1m" => 60,
        other => bail!("an interval of {other}"),
    };
    let step = interval(range, panel["maxDataPoints"].as_i64().unwrap_or(1000), least);
    let expression = text(target, "expr")
        .replace("$__interval", &length(step))
        .replace("$__range", &format!("{range}s"))
        .replace("$version", ".*")
        .replace("$architecture", ".*")
        .replace("$collector", ".*");
    ensure!(!expression.contains('$'), "a variable in {expression}");
    let (route, form) = if target["instant"] == true {
        ("/api/v1/query", vec![("query", expression.clone()), ("time", now.to_string())])
    } else {
        // Grafana moves both ends to multiples of the step.
        let (start, end) = ((now - range) / step * step, now / step * step);
        let form = vec![
            ("end", end.to_string()),
            ("query", expression.clone()),
            ("start", start.to_string()),
            ("step", step.to_string()),
        ];
        ("/api/v1/query_range", form)
    };
    let (panel, target) = (text(panel, "title").to_owned(), text(target, "refId").to_owned());
    Ok(Question { panel, target, expression, route, form })
}
