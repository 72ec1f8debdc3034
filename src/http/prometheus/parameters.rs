//! Parameters of the Prometheus API as the description of the interface shows them.
#![expect(dead_code, reason = "types for the description of the interface, which tests make")]

use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type, schema::AnyOfBuilder,
    },
};

use super::form::MAX_SECONDS;

/// Parameters of `/api/v1/query`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct QueryParameters {
    /// Expression in the part of PromQL that the server understands.
    #[param(min_length = 1, format = "promql")]
    query: String,
    /// Moment of the answer; now by default.
    time: Option<OptionalMoment>,
    /// Most series in the answer; 0 is no limit.
    limit: Option<Limit>,
}

/// Parameters of `/api/v1/query_range`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RangeParameters {
    /// Expression in the part of PromQL that the server understands.
    #[param(min_length = 1, format = "promql")]
    query: String,
    /// First moment of the answer.
    start: Moment,
    /// Last moment of the answer, not before the first one.
    end: Moment,
    /// Time between two moments, of which there are at most 11,000.
    step: Step,
    /// Most series in the answer; 0 is no limit.
    limit: Option<Limit>,
}

/// Parameters of `/api/v1/series`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesParameters {
    /// Selectors of series, one parameter each.
    #[param(rename = "match[]", min_items = 1)]
    selectors: Vec<Selector>,
    /// Moment that is checked and makes no difference: every series lasts.
    start: Option<OptionalMoment>,
    /// Moment that is checked and makes no difference.
    end: Option<OptionalMoment>,
    /// Most series in the answer; 0 is no limit.
    limit: Option<Limit>,
}

/// Parameters of `/api/v1/labels` and `/api/v1/label/{name}/values`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LabelParameters {
    /// Selectors of series, one parameter each; all series by default.
    #[param(rename = "match[]")]
    selectors: Option<Vec<Selector>>,
    /// Moment that is checked and makes no difference: every series lasts.
    start: Option<OptionalMoment>,
    /// Moment that is checked and makes no difference.
    end: Option<OptionalMoment>,
    /// Most names or values in the answer; 0 is no limit.
    limit: Option<Limit>,
}

/// Parameters of `/api/v1/metadata`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MetadataParameters {
    /// Name of the one metric in the answer; all by default.
    metric: Option<String>,
    /// Most metrics in the answer; a negative one is no limit.
    limit: Option<MetadataLimit>,
}

/// Parameters of `/api/v1/rules`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RuleParameters {
    /// Kind of the rules: `alert` or `record`; both by default.
    #[param(pattern = "^(alert|record)?$")]
    r#type: Option<String>,
}

/// Parameters of `/api/v1/query_exemplars`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExemplarParameters {
    /// Expression that is not looked at.
    #[param(min_length = 1)]
    query: String,
    /// First moment.
    start: Option<OptionalMoment>,
    /// Last moment, not before the first one.
    end: Option<OptionalMoment>,
}

/// Declares a type of parameter by its schema.
macro_rules! parameter_types {
    ($($(#[doc = $doc:literal])+ $name:ident: $schema:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.description(Some(concat!($($doc),+).trim())).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

parameter_types! {
    /// Seconds since 1970, or a time of RFC 3339.
    Moment: moment();
    /// Seconds since 1970, or a time of RFC 3339; an empty one is none.
    OptionalMoment: moment().item(text().max_length(Some(0)));
    /// Seconds, or a duration such as `1h30m`.
    Step: text().pattern(Some("^(?=.*[1-9])(([0-9]+(ms|[smhdwy]))+|[0-9]+([.][0-9]+)?)$"));
    /// Whole number; an empty one is no limit.
    Limit: limit(Some(0));
    /// Whole number; an empty one is no limit.
    MetadataLimit: limit(None::<i64>);
    /// Selector of series as in PromQL.
    Selector: text().min_length(Some(1)).format(Some(SchemaFormat::Custom("promql-selector".into())));
}

fn limit(minimum: Option<i64>) -> AnyOfBuilder {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(minimum.unwrap_or(i64::MIN)))
        .maximum(Some(i64::MAX));
    AnyOfBuilder::new().item(number).item(text().max_length(Some(0)))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn moment() -> AnyOfBuilder {
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(-MAX_SECONDS))
        .maximum(Some(MAX_SECONDS));
    let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    AnyOfBuilder::new().item(seconds).item(time)
}
