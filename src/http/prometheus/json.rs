//! Bodies of the Prometheus API: numbers are strings, moments are seconds.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema, Type,
        schema::{ArrayBuilder, ArrayItems},
    },
};

use crate::{
    http::list,
    promql::{Answer, Grid, Labels, Series},
};

/// Warning of a list that is cut, in the words of Prometheus.
const CUT: &str = "results truncated due to limit";
/// Memory of a label and of the labels of a series, in bytes.
pub const LABEL_BYTES: usize = 64;
pub const SERIES_BYTES: usize = 640;

/// The body of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Success<T> {
    #[schema(example = "success")]
    status: &'static str,
    data: T,
    /// That the answer is cut by `limit`; absent where it is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<String>)]
    warnings: Vec<&'static str>,
}

pub fn success<T>(data: T) -> Json<Success<T>> {
    Json(Success { status: "success", data, warnings: Vec::new() })
}

/// An answer whose data is a list of names, values or series, at most `limit`.
pub fn listed<T: Serialize + Send + 'static>(
    items: impl IntoIterator<Item = T>,
    limit: Option<usize>,
    bytes_each: usize,
) -> Response {
    let (items, cut) = first(items, limit);
    let bytes = items.len() * bytes_each;
    list::answer(r#"{"status":"success","data":["#, items, end("]", cut), bytes)
}

/// At most `limit` of some items, and whether there are more.
fn first<T>(items: impl IntoIterator<Item = T>, limit: Option<usize>) -> (Vec<T>, bool) {
    let mut items = items.into_iter();
    let first = items.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
    (first, items.next().is_some())
}

/// The end of an answer after its list.
fn end(brackets: &str, cut: bool) -> String {
    let warnings = if cut { format!(r#","warnings":["{CUT}"]"#) } else { String::new() };
    format!("{brackets}{warnings}}}")
}

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    #[schema(example = "error")]
    status: &'static str,
    #[schema(example = "bad_data")]
    error_type: &'static str,
    error: String,
}

impl Failure {
    pub const fn new(error_type: &'static str, error: String) -> Self {
        Self { status: "error", error_type, error }
    }
}

/// The result of a query.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum Data {
    Scalar(Sample),
    Vector(Vec<InstantSeries>),
    Matrix(Vec<RangeSeries>),
}

/// A series and its value at the moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstantSeries {
    #[schema(value_type = BTreeMap<String, String>)]
    metric: Labels,
    value: Sample,
}

/// A series and its values over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct RangeSeries {
    #[schema(value_type = BTreeMap<String, String>)]
    metric: Labels,
    #[schema(value_type = Vec<Sample>)]
    values: Samples,
}

impl Data {
    /// The value of a query at one moment.
    pub fn at(time: i64, answer: Answer) -> Self {
        match answer {
            Answer::Scalar(numbers) => {
                Self::Scalar(Sample(time, numbers.first().copied().unwrap_or(f64::NAN)))
            }
            Answer::Vector(series) => {
                let values = series.into_iter().filter_map(|Series { labels, points }| {
                    let value = Sample(time, points.first().copied().flatten()?);
                    Some(InstantSeries { metric: labels, value })
                });
                Self::Vector(values.collect())
            }
            Answer::Matrix(grid, series) => Self::matrix(grid, series),
        }
    }

    /// The value of a query over time.
    pub fn over(grid: Grid, answer: Answer) -> Self {
        let series = match answer {
            Answer::Scalar(numbers) => {
                let points = numbers.into_iter().map(Some).collect();
                vec![Series { labels: Labels::new(), points }]
            }
            Answer::Vector(series) | Answer::Matrix(_, series) => series,
        };
        Self::matrix(grid, series)
    }

    fn matrix(grid: Grid, series: Vec<Series>) -> Self {
        let series = series.into_iter().map(|Series { labels, points }| RangeSeries {
            metric: labels,
            values: Samples(grid, points),
        });
        Self::Matrix(series.collect())
    }

    /// The answer, with at most `limit` series.
    pub fn answer(self, limit: Option<usize>) -> Response {
        let begin =
            |kind| format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":["#);
        match self {
            Self::Scalar(_) => success(self).into_response(),
            Self::Vector(series) => {
                let (series, cut) = first(series, limit);
                let bytes = series.len() * SERIES_BYTES;
                list::answer(begin("vector"), series, end("]}", cut), bytes)
            }
            Self::Matrix(series) => {
                let (series, cut) = first(series, limit);
                let bytes = series.iter().map(RangeSeries::bytes).sum();
                list::answer(begin("matrix"), series, end("]}", cut), bytes)
            }
        }
    }
}

impl RangeSeries {
    /// Memory that it takes.
    fn bytes(&self) -> usize {
        SERIES_BYTES + self.values.1.len() * size_of::<Option<f64>>()
    }
}

/// A moment in milliseconds, and the value.
#[derive(Debug)]
pub struct Sample(i64, f64);

impl PartialSchema for Sample {
    fn schema() -> RefOr<Schema> {
        let seconds = ObjectBuilder::new().schema_type(Type::Number);
        let value = ObjectBuilder::new().schema_type(Type::String);
        ArrayBuilder::new()
            .prefix_items([Schema::from(seconds), Schema::from(value)])
            .items(ArrayItems::False)
            .into()
    }
}

impl ToSchema for Sample {}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(time, value) = *self;
        let value = number(value);
        if time % 1000 == 0 {
            return (time / 1000, value).serialize(serializer);
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds within the calendar")]
        let seconds = time as f64 / 1000.0;
        (seconds, value).serialize(serializer)
    }
}

/// The values that there are at the moments of a grid. Written out as they are sent.
#[derive(Debug)]
pub struct Samples(Grid, Vec<Option<f64>>);

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(grid, points) = self;
        let mut samples = serializer.serialize_seq(None)?;
        for (time, value) in grid.times().zip(points) {
            if let Some(value) = value {
                samples.serialize_element(&Sample(time, *value))?;
            }
        }
        samples.end()
    }
}

/// A number as Prometheus writes it: infinity with its sign, an exponent of two digits or more
/// where the number is very small or large.
pub fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if value.is_nan() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return value.to_string();
    }
    let written = format!("{value:e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_moments() {
        let shown = |sample| serde_json::to_string(&sample).unwrap();
        assert_eq!(shown(Sample(1_435_781_451_781, 0.1)), r#"[1435781451.781,"0.1"]"#);
        assert_eq!(shown(Sample(1_435_781_451_000, 3.0)), r#"[1435781451,"3"]"#);
        assert_eq!(shown(Sample(-1, f64::NAN)), r#"[-0.001,"NaN"]"#);
        assert_eq!(shown(Sample(0, f64::NEG_INFINITY)), r#"[0,"-Inf"]"#);
        assert_eq!(shown(Sample(0, f64::INFINITY)), r#"[0,"+Inf"]"#);
        // As Prometheus 2.42 gives them.
        assert_eq!(shown(Sample(0, 1e20)), r#"[0,"100000000000000000000"]"#);
        assert_eq!(shown(Sample(0, 1e21)), r#"[0,"1e+21"]"#);
        assert_eq!(shown(Sample(0, -1.5e300)), r#"[0,"-1.5e+300"]"#);
        assert_eq!(shown(Sample(0, 4e-7)), r#"[0,"4e-07"]"#);
    }
}
