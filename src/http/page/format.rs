//! Numbers and times as a page shows them. The script writes those of `<data>` and `<time>` in the way of the
//! browser's language.

use std::fmt;

use askama::filters::HtmlSafe;
use jiff::{Timestamp, civil::DateTime, tz::Offset};

use crate::domain::{Dimension, Hour};

/// A count, with a comma between thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u64);

impl HtmlSafe for Count {}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count) = self;
        write!(f, r#"<data value="{count}">{}</data>"#, thousands(*count))
    }
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole, in per cent with one digit after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The part.
    pub part: u64,
    /// The whole.
    pub whole: u64,
}

impl Share {
    /// The part of 1 that it is.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53rd bit")]
    pub fn ratio(self) -> f64 {
        if self.whole == 0 { 0.0 } else { self.part as f64 / self.whole as f64 }
    }
}

impl HtmlSafe for Share {}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.ratio();
        write!(f, r#"<data value="{ratio:.4}">{:.1} %</data>"#, ratio * 100.0)
    }
}

/// A startup time in milliseconds, or a dash where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StartupMs(pub Option<f64>);

impl HtmlSafe for StartupMs {}

impl fmt::Display for StartupMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // As the JSON routes round it.
            Some(ms) => {
                write!(f, r#"<data value="{}">{}</data>"#, (ms * 10.0).round() / 10.0, seconds(ms))
            }
            None => f.write_str("–"),
        }
    }
}

/// A startup time in seconds, with three digits.
pub fn seconds(ms: f64) -> String {
    let seconds = ms / 1000.0;
    match seconds {
        ..10.0 => format!("{seconds:.2} s"),
        ..100.0 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl HtmlSafe for Bytes {}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let bytes = self.0 as f64;
        match bytes {
            ..1e6 => write!(f, "{:.0} kB", bytes / 1e3),
            ..1e9 => write!(f, "{:.1} MB", bytes / 1e6),
            _ => write!(f, "{:.1} GB", bytes / 1e9),
        }
    }
}

/// A moment, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl HtmlSafe for Time {}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = utc(self.0).strftime("%Y-%m-%d %H:%M UTC").to_string();
        write!(f, r#"<time datetime="{}">{shown}</time>"#, self.0)
    }
}

/// Id and title of the part of a page that lists a dimension's values.
#[must_use]
pub const fn part(dimension: Dimension) -> (&'static str, &'static str) {
    match dimension {
        Dimension::ImageVersion => ("versions", "Versions"),
        Dimension::Architecture => ("architectures", "Architectures"),
        Dimension::DbType => ("databases", "Databases"),
        Dimension::ContainerRuntime => ("runtimes", "Container runtimes"),
        Dimension::Os => ("os", "Operating systems"),
        Dimension::TelemetryVersion => ("formats", "Formats of the report"),
    }
}

/// The begin of a period: its day, or with its hour.
#[must_use]
pub fn period(begin: Hour, with_hour: bool) -> String {
    let format = if with_hour { "%Y-%m-%d %H:00" } else { "%Y-%m-%d" };
    utc(begin.start()).strftime(format).to_string()
}

/// The begin of a period, for the axis of a chart.
#[must_use]
pub fn tick(begin: Hour, with_hour: bool, years: bool) -> String {
    let format = match (with_hour, years) {
        (true, _) => "%H:00",
        (false, false) => "%-d %b",
        (false, true) => "%b %Y",
    };
    utc(begin.start()).strftime(format).to_string()
}

fn utc(time: Timestamp) -> DateTime {
    Offset::UTC.to_datetime(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (count, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(count), shown);
        }
        assert_eq!(Count(1200).to_string(), r#"<data value="1200">1,200</data>"#);
        assert_eq!(
            Share { part: 1, whole: 3 }.to_string(),
            r#"<data value="0.3333">33.3 %</data>"#
        );
        assert!(Share { part: 0, whole: 0 }.to_string().contains(">0.0 %<"));
        assert_eq!(StartupMs(Some(1234.56)).to_string(), r#"<data value="1234.6">1.23 s</data>"#);
        assert_eq!(StartupMs(None).to_string(), "–");
        assert_eq!([seconds(12_345.0), seconds(123_456.0)], ["12.3 s", "123 s"]);
        let bytes = [4096, 12_345_678, 1_234_567_890].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(bytes, ["4 kB", "12.3 MB", "1.2 GB"]);
    }

    #[test]
    fn times_are_utc() {
        let time: Timestamp = "2026-03-18T10:30:59.5Z".parse().unwrap();
        let shown = r#"<time datetime="2026-03-18T10:30:59.5Z">2026-03-18 10:30 UTC</time>"#;
        assert_eq!(Time(time).to_string(), shown);
        let hour = Hour::of(time);
        assert_eq!(period(hour, true), "2026-03-18 10:00");
        assert_eq!(period(hour, false), "2026-03-18");
        assert_eq!(tick(hour, true, false), "10:00");
        assert_eq!(tick(hour, false, false), "18 Mar");
        assert_eq!(tick(hour, false, true), "Mar 2026");
    }
}
