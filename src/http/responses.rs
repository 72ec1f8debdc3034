//! Error answers as the routes name them for the description of the interface.
#![expect(dead_code, reason = "types for the description of the interface, which tests make")]

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, ToSchema,
    openapi::{Ref, RefOr, Response},
};

use super::error::{FieldError, ReasonAndRemedy};

/// A problem document (RFC 9457).
#[derive(Debug, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemSchema {
    /// Kind of problem; stable.
    #[schema(example = "/problems/invalid-report", pattern = "^/problems/[a-z-]+$")]
    r#type: String,
    /// HTTP status.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    status: u16,
    /// The kind in words; stable.
    title: String,
    /// This occurrence, in words.
    detail: String,
    /// For an invalid report: each field that breaks a rule.
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// For `/status`: why the operator should look at the server.
    #[schema(required = false)]
    reasons: Vec<ReasonAndRemedy>,
}

/// Declares error answers that routes have in common: statuses, and the name of the answer in
/// `components/responses`.
macro_rules! error_answers {
    ($($(#[doc = $doc:literal])+ $name:ident: $($status:literal $answer:literal),+;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(($status.to_owned(), Ref::from_response_name($answer).into())),+].into()
            }
        }
    )+};
}

error_answers! {
    /// Errors of every route.
    AnyErrors: "408" "TooSlow", "500" "Internal";
    /// Errors of every route that `READ_TOKEN` closes.
    TokenErrors: "401" "Unauthorized", "408" "TooSlow", "500" "Internal";
    /// Errors of a route of the public view, which is not there where that is off.
    PublicErrors: "404" "NotFound", "408" "TooSlow", "500" "Internal";
    /// Error of a route that needs the database.
    DatabaseErrors: "503" "NotReady";
    /// Error of the route that monitors ask.
    AttentionErrors: "503" "NeedsAttention";
    /// Error of a route that has parameters.
    ParameterErrors: "400" "InvalidParameter";
    /// Errors of the route that takes reports.
    ReportErrors:
        "400" "MalformedBody", "408" "TooSlow", "413" "TooLarge", "415" "UnsupportedBody",
        "422" "InvalidReport", "429" "Limited", "500" "Internal", "503" "NotStored";
    /// Errors of a route of the Prometheus API that has parameters.
    PrometheusErrors:
        "400" "BadData", "401" "Unauthorized", "408" "TooSlow", "500" "Failed";
    /// Errors of a route of the Prometheus API that reads series.
    SeriesErrors: "422" "NotEvaluated", "503" "Unavailable";
}
