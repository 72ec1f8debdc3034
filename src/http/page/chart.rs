//! Charts: SVG that is part of the page, so that it is there without a script. The page has the numbers of
//! each in a table, too.

use std::fmt;

use askama::filters::HtmlSafe;
use plotters::prelude::*;

use crate::http::error::ApiError;

/// Size in units of the picture, of which a screen of 360 pixels shows two in a pixel.
const SIZE: (u32, u32) = (760, 340);
/// Size of the text of the axes.
const TEXT: u32 = 21;
/// Colours of the series, in their order. Each has a contrast of 3 with both backgrounds at least.
const COLOURS: [RGBColor; 11] = [
    RGBColor(0x1f, 0x77, 0xc4),
    RGBColor(0xc8, 0x5a, 0x12),
    RGBColor(0x21, 0x8a, 0x4b),
    RGBColor(0xc2, 0x41, 0x6b),
    RGBColor(0x82, 0x62, 0xd6),
    RGBColor(0x8a, 0x70, 0x1a),
    RGBColor(0x0c, 0x88, 0x96),
    RGBColor(0xb0, 0x4f, 0xae),
    RGBColor(0x5f, 0x80, 0x1f),
    RGBColor(0xcb, 0x46, 0x46),
    RGBColor(0x75, 0x7d, 0x87),
];

/// Numbers of a chart: a series has one for each period, or `None`.
#[derive(Debug)]
pub struct Chart<'a> {
    /// Begin of each period, as the axis shows it.
    pub ticks: &'a [String],
    /// The series, from the most important to the least.
    pub series: Vec<Vec<Option<f64>>>,
    /// The form of the numbers of the axis.
    pub unit: fn(f64) -> String,
}

/// A picture in SVG.
#[derive(Debug)]
pub struct Svg(String);

impl HtmlSafe for Svg {}

impl fmt::Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Form of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A bar for each number of the first series.
    Bars,
    /// A line for each series.
    Lines,
    /// Areas, each upon the ones before it.
    Areas,
}

impl Chart<'_> {
    /// Draws the chart.
    ///
    /// # Errors
    /// An error of the drawing.
    pub fn draw(&self, form: Form) -> Result<Svg, ApiError> {
        let mut text = String::new();
        self.draw_into(&mut text, form).map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(Svg(text))
    }

    fn draw_into(
        &self,
        text: &mut String,
        form: Form,
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let periods = self.ticks.len();
        let series = if form == Form::Areas { self.stacked() } else { self.series.clone() };
        let highest = series.iter().flatten().flatten().copied().fold(0.0, f64::max);
        let top = if highest > 0.0 { highest * 1.05 } else { 1.0 };
        // A bar stands between two moments, a line leads from one to the next.
        #[expect(clippy::cast_precision_loss, reason = "some hundred periods")]
        let right = if form == Form::Bars { periods } else { periods.max(2) - 1 } as f64;

        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .margin_right(16)
            .x_label_area_size(36)
            .y_label_area_size(84)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        let tick = |at: &f64| self.tick(*at);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(5)
            .y_labels(4)
            .label_style(("sans-serif", TEXT))
            .x_label_formatter(&tick)
            .y_label_formatter(&|value| (self.unit)(*value))
            .draw()?;
        match form {
            Form::Bars => {
                let bars = series.iter().take(1).flatten().enumerate();
                let bars = bars.filter_map(|(place, value)| Some((place, (*value)?)));
                chart.draw_series(bars.map(|(place, value)| {
                    let left = at(place);
                    Rectangle::new([(left + 0.1, 0.0), (left + 0.9, value)], COLOURS[0].filled())
                }))?;
            }
            Form::Lines => {
                for (points, colour) in series.iter().zip(COLOURS) {
                    for stretch in stretches(points) {
                        chart.draw_series([PathElement::new(stretch, colour.stroke_width(4))])?;
                    }
                }
            }
            Form::Areas => {
                // The uppermost first: each hides the part of it that belongs to those below.
                for (place, points) in series.iter().enumerate().rev() {
                    let colour =
                        if place + 1 == COLOURS.len() { COLOURS[10] } else { COLOURS[place % 10] };
                    for mut stretch in stretches(points) {
                        let ends = stretch.last().zip(stretch.first()).map(|(a, b)| (a.0, b.0));
                        stretch.extend(ends.into_iter().flat_map(|(a, b)| [(a, 0.0), (b, 0.0)]));
                        chart.draw_series([Polygon::new(stretch, colour.filled())])?;
                    }
                }
            }
        }
        root.present()
    }

    /// The label of a place on the axis of time; none between two periods.
    fn tick(&self, at: f64) -> String {
        if at.fract().abs() > 1e-6 {
            return String::new();
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place")]
        self.ticks.get(at as usize).cloned().unwrap_or_default()
    }

    /// The sums of each series and those before it.
    fn stacked(&self) -> Vec<Vec<Option<f64>>> {
        let mut sums: Vec<Vec<Option<f64>>> = Vec::new();
        for series in &self.series {
            let below = sums.last();
            let sum = series.iter().enumerate().map(|(place, value)| {
                let below = below.and_then(|below| below[place]);
                value.or(below).map(|_| value.unwrap_or(0.0) + below.unwrap_or(0.0))
            });
            sums.push(sum.collect());
        }
        sums
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred places")]
const fn at(place: usize) -> f64 {
    place as f64
}

/// The points of a series without those that are not known, which divide it.
fn stretches(points: &[Option<f64>]) -> Vec<Vec<(f64, f64)>> {
    let mut stretches: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (place, value) in points.iter().enumerate() {
        match (value, stretches.last_mut()) {
            (Some(value), Some(last)) => last.push((at(place), *value)),
            _ => stretches.push(Vec::new()),
        }
    }
    stretches.retain(|stretch| !stretch.is_empty());
    // A single point is a line without a length; it is drawn as one of a fifth of a period.
    for stretch in &mut stretches {
        if let [(at, value)] = stretch[..] {
            stretch.push((at + 0.2, value));
        }
    }
    stretches
}

/// A count on an axis.
pub fn count(value: f64) -> String {
    match value {
        ..1e4 => format!("{value:.0}"),
        ..1e6 => format!("{:.0}k", value / 1e3),
        _ => format!("{:.1}M", value / 1e6),
    }
}

/// A share on an axis.
pub fn per_cent(value: f64) -> String {
    format!("{:.0} %", value * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Vec<Option<f64>>>) -> Chart<'static> {
        static TICKS: std::sync::LazyLock<Vec<String>> =
            std::sync::LazyLock::new(|| ["1 Mar", "2 Mar", "3 Mar"].map(String::from).into());
        Chart { ticks: &TICKS, series, unit: count }
    }

    #[test]
    fn a_bar_for_each_number() {
        let svg =
            chart(vec![vec![Some(1.0), None, Some(3.0)]]).draw(Form::Bars).unwrap().to_string();
        assert_eq!(svg.matches("fill=\"#1F77C4\"").count(), 2, "{svg}");
        assert!(svg.contains("2 Mar") && !svg.contains("style="), "{svg}");
    }

    #[test]
    fn a_gap_divides_a_line() {
        let series = vec![vec![Some(1.0), None, Some(3.0)], vec![Some(2.0); 3]];
        let svg = chart(series).draw(Form::Lines).unwrap().to_string();
        assert_eq!(svg.matches("stroke=\"#1F77C4\"").count(), 2, "{svg}");
        assert_eq!(svg.matches("stroke=\"#C85A12\"").count(), 1, "{svg}");
    }

    #[test]
    fn areas_stand_upon_each_other() {
        let chart = chart(vec![vec![Some(1.0), None, Some(3.0)], vec![Some(2.0), None, None]]);
        assert_eq!(
            chart.stacked(),
            [[Some(1.0), None, Some(3.0)], [Some(3.0), None, Some(3.0)]].map(Vec::from)
        );
        assert!(chart.draw(Form::Areas).is_ok());
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        for form in [Form::Bars, Form::Lines, Form::Areas] {
            for series in [vec![], vec![vec![]], vec![vec![None; 3]]] {
                assert!(chart(series).draw(form).is_ok());
            }
        }
    }
}
