//! Published numbers beside the truth.

use std::fmt;

/// Distance that a published number may have from the truth.
#[derive(Debug, Clone, Copy)]
pub enum Tolerance {
    Exact,
    /// So many hundredths of the truth, or one.
    Percent(f64),
    /// From one number to another; for percentiles these are the ends of the truth's bucket.
    Within(f64, f64),
    /// The truth cannot be known from the reports.
    Unknowable,
}

/// A published number beside the truth.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub published: f64,
    pub truth: f64,
    pub tolerance: Tolerance,
}

impl Row {
    pub fn exact(name: impl Into<String>, published: f64, truth: u64) -> Self {
        Self::new(name, published, truth, Tolerance::Exact)
    }

    pub fn new(name: impl Into<String>, published: f64, truth: u64, tolerance: Tolerance) -> Self {
        Self { name: name.into(), published, truth: float(truth), tolerance }
    }

    /// True if the number is in its tolerance.
    pub fn holds(&self) -> bool {
        let off = (self.published - self.truth).abs();
        match self.tolerance {
            // Means are published in tenths.
            Tolerance::Exact => off < 0.06,
            Tolerance::Percent(percent) => off <= (self.truth * percent / 100.0).max(1.0),
            Tolerance::Within(low, high) => (low..=high).contains(&self.published),
            Tolerance::Unknowable => true,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, published, truth, tolerance } = self;
        let (published, truth) = (number(*published), number(*truth));
        let allowed = match tolerance {
            Tolerance::Exact => "exact".to_owned(),
            Tolerance::Percent(percent) => format!("{percent} %"),
            Tolerance::Within(low, f64::INFINITY) => format!("{} or more", number(*low)),
            Tolerance::Within(low, high) => format!("{} to {}", number(*low), number(*high)),
            Tolerance::Unknowable => "cannot be known".to_owned(),
        };
        let wrong = if self.holds() { "" } else { ": **wrong**" };
        write!(f, "| {name} | {published} | {truth} | {allowed}{wrong} |")
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// A number with its thousands apart, and a tenth where it has one.
pub fn number(number: f64) -> String {
    let text = format!("{number:.1}");
    let (whole, tenth) = text.split_once('.').unwrap_or((&text, "0"));
    let mut shown = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if tenth == "0" { shown } else { format!("{shown}.{tenth}") }
}
