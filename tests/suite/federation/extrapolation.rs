//! The difference between `increase` of Prometheus and growth. Prometheus does not count the value with which a series
//! begins, and extrapolates what it counts. Growth counts all, and nothing twice; the same samples have it.

use mattermost_telemetry::simulation::panels::Question;

/// A time in which all samples lie.
const ALL_S: i64 = 48 * 3600;
/// Intervals between samples that are extrapolated at most, at both ends together: 1.1 at each.
const EXTRAPOLATED: f64 = 2.2;

/// A call of `increase` in an expression.
struct Increase<'a> {
    selector: &'a str,
    range_s: i64,
    offset_s: i64,
}

impl<'a> Increase<'a> {
    /// Reads what stands between the parentheses.
    fn parse(inner: &'a str) -> Self {
        let (selector, rest) = inner.split_once('[').unwrap();
        let (range, rest) = rest.split_once(']').unwrap();
        let offset_s = rest.strip_prefix(" offset ").map_or(0, seconds);
        Self { selector, range_s: seconds(range), offset_s }
    }

    /// The same call with another function.
    fn over_time(&self, function: &str) -> String {
        let Self { selector, range_s, offset_s } = self;
        // An offset of 0 is refused.
        let offset = if *offset_s == 0 { String::new() } else { format!(" offset {offset_s}s") };
        format!("{function}_over_time({selector}[{range_s}s]{offset})")
    }

    /// Growth from one sample to the next, in the range.
    fn least(&self) -> String {
        format!("({} - {})", self.over_time("max"), self.over_time("min"))
    }

    /// The same, extrapolated as far as Prometheus ever does.
    fn most(&self) -> String {
        let intervals = format!("clamp_min({} - 1, 1)", self.over_time("count"));
        format!("({} * (1 + {EXTRAPOLATED} / {intervals}))", self.least())
    }

    /// Growth since the begin of the range, from 0 where the series begins later.
    fn growth(&self) -> String {
        let last = self.over_time("max");
        let selector = self.selector;
        let before = Self { selector, range_s: ALL_S, offset_s: self.offset_s + self.range_s };
        format!("({last} - ({} or {last} * 0))", before.over_time("max"))
    }
}

/// A length of time as Grafana writes it.
fn seconds(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => panic!("{text}"),
    };
    number.parse::<i64>().unwrap() * unit
}

/// A question with another expression.
fn asks(question: &Question, expression: String) -> Question {
    let mut question = question.clone();
    for (_, query) in question.form.iter_mut().filter(|(name, _)| *name == "query") {
        query.clone_from(&expression);
    }
    Question { expression, ..question }
}

/// A question with growth in the place of each `increase`.
pub fn with_growth(question: &Question) -> Question {
    let mut parts = question.expression.split("increase(");
    let mut expression = parts.next().unwrap().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once(')').unwrap();
        expression += &Increase::parse(inner).growth();
        expression += rest;
    }
    asks(question, expression)
}

/// Each `increase` of a question, alone, between what it is at least and at most.
pub fn bounds(question: &Question) -> Vec<[Question; 3]> {
    let parts = question.expression.split("increase(").skip(1);
    let calls = parts.map(|part| part.split_once(')').unwrap().0);
    calls
        .map(|inner| {
            let call = Increase::parse(inner);
            [call.least(), format!("increase({inner})"), call.most()]
                .map(|expression| asks(question, expression))
        })
        .collect()
}
