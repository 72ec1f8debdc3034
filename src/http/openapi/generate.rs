//! The description of the interface as the code has it, and the tests that hold the file to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::{
    Extension,
    body::Body,
    extract::Request,
    http::{Method, StatusCode, header},
    response::IntoResponse as _,
};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;
use utoipa::{
    OpenApi as _,
    openapi::{
        Content, HeaderBuilder, HttpMethod, Object, ObjectBuilder, OpenApi, PathItem, Ref, RefOr,
        Required, Response, Schema, Type,
        header::Header,
        path::{Operation, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{AnyOfBuilder, ArrayItems},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{
    domain::{CalendarWindow, Dimension},
    http::{
        Peer, collect, deployments,
        error::ApiError as E,
        federate, health, metrics, open_routes, openapi,
        prometheus::{self, empty, parameters},
        public, reading_routes,
        respond::tests::state,
        responses::ProblemSchema,
        router, stats, status,
    },
    ingest::{Limited, Refused},
    storage::Interval,
};

/// Rewrites the file where this variable is set: `UPDATE_OPENAPI=1 cargo test --lib openapi`.
const UPDATE: &str = "UPDATE_OPENAPI";

/// Blanks that the server cuts off at both ends of a text.
const BLANK: &str = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/// Control characters, which the server refuses within a text.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "mattermost-telemetry",
        license(name = "MIT", identifier = "MIT"),
        description = "Self-hosted telemetry server for deployed Mattermost containers.\n\n\
            Each route that answers GET answers HEAD, with the same headers. Another method is \
            answered with 405 and `Allow`, another path with 404, both with a problem document. \
            An unknown parameter of a route that has some is refused, but for the routes of the \
            Prometheus API. Each answer has the headers `X-Request-Id`, \
            `X-Content-Type-Options: nosniff` and `Cache-Control`, which is `no-store` but for \
            the public view.",
    ),
    tags(
        (name = "reports", description = "Reports, one by one"),
        (name = "statistics", description = "Counts over many reports"),
        (name = "public", description = "The public view, where `PUBLIC_VIEW` is on"),
        (name = "prometheus", description = "Part of the HTTP API of Prometheus"),
        (name = "server", description = "The server itself"),
    ),
    paths(
        collect::collect, health::health, health::ready, status::status, metrics::metrics,
        deployments::deployments, stats::architecture, stats::version, stats::os,
        stats::container_runtime, stats::db_type, stats::startup, stats::timeseries,
        stats::active, stats::cohorts, stats::adoption, openapi::openapi_json, prometheus::query, prometheus::query_range,
        prometheus::series, prometheus::labels, prometheus::label_values, prometheus::metadata,
        prometheus::buildinfo, federate::federate, empty::rules, empty::alerts, empty::query_exemplars,
        empty::targets, empty::alertmanagers, public::public_json, public::badges::badge,
    ),
    components(schemas(
        CalendarWindow, Dimension, Interval, ProblemSchema, prometheus::Failure, parameters::Limit,
        parameters::MetadataLimit,
        parameters::Moment, parameters::OptionalMoment, parameters::Selector, parameters::Step,
    )),
)]
struct Routes;

/// The description of all routes.
fn document() -> OpenApi {
    let mut document = Routes::openapi();
    for path in ["query", "query_range", "series", "labels", "query_exemplars"] {
        let item = document.paths.paths.get_mut(&format!("/api/v1/{path}"));
        answer_forms(item.expect("a documented path"));
    }
    close_reading(&mut document);
    describe_errors(&mut document);
    describe_rules(&mut document);
    for operation in operations(&mut document) {
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description = "The answer".to_owned();
            }
        }
    }
    add_request_id(&mut document);
    document
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    let items = document.paths.paths.values_mut();
    items.flat_map(|item| [&mut item.get, &mut item.post]).flatten()
}

/// Adds `POST` with the parameters of `GET` in a form, of which each may stand in the URL instead.
fn answer_forms(item: &mut PathItem) {
    let mut post = item.get.clone().expect("a route that answers GET");
    let mut form = ObjectBuilder::new();
    for parameter in post.parameters.take().unwrap_or_default() {
        let RefOr::T(parameter) = parameter else { continue };
        assert!(parameter.parameter_in == ParameterIn::Query);
        if parameter.required == Required::True {
            form = form.required(&parameter.name);
        }
        let schema = parameter.schema.expect("a parameter's schema");
        // One value of several is written as a single one is.
        let schema = match schema {
            RefOr::T(Schema::Array(values)) => {
                let ArrayItems::RefOrSchema(one) = &values.items else { panic!("items") };
                Schema::AnyOf(AnyOfBuilder::new().item((**one).clone()).item(values).build()).into()
            }
            other => other,
        };
        form = form.property(&parameter.name, schema);
    }
    let body = RequestBodyBuilder::new()
        .content("application/x-www-form-urlencoded", Content::new(Some(Schema::from(form))))
        .description(Some("Parameters that are not in the URL"))
        .required(Some(Required::False));
    post.request_body = Some(body.build().into());
    post.operation_id = post.operation_id.map(|id| format!("{id}_form"));
    let too_large = Ref::from_response_name("TooLarge").into();
    post.responses.responses.insert("413".to_owned(), too_large);
    item.merge_operations(PathItem::new(HttpMethod::Post, post));
}

/// Has the routes that can answer 401 take a token, and none where the server has none.
fn close_reading(document: &mut OpenApi) {
    const NAME: &str = "read_token";
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("Needed if the server has a `READ_TOKEN`"));
    let scheme = SecurityScheme::Http(bearer.build());
    document.components.get_or_insert_default().add_security_scheme(NAME, scheme);
    for operation in operations(document) {
        if operation.responses.responses.contains_key("401") {
            let token = SecurityRequirement::new(NAME, Vec::<String>::new());
            operation.security = Some(vec![SecurityRequirement::default(), token]);
        }
    }
}

/// Errors by the name of the answer that describes them.
fn problems() -> [(&'static str, Vec<E>); 13] {
    let retry_after = Duration::ZERO;
    [
        ("Internal", vec![E::Internal(String::new())]),
        ("InvalidParameter", vec![E::InvalidParameter(String::new())]),
        ("InvalidReport", vec![E::InvalidReport(Vec::new())]),
        ("Limited", vec![E::Limited(Limited::Client { retry_after })]),
        ("MalformedBody", vec![E::MalformedJson(String::new()), E::BrokenBody]),
        ("NeedsAttention", vec![E::NeedsAttention(Vec::new())]),
        ("NotFound", vec![E::NotFound]),
        ("NotReady", vec![E::NotReady("")]),
        ("NotStored", vec![E::Refused(Refused::QueueFull), E::Refused(Refused::NotStored)]),
        ("TooLarge", vec![E::TooLarge(0)]),
        ("TooSlow", vec![E::TooSlow]),
        ("Unauthorized", vec![E::Unauthorized]),
        ("UnsupportedBody", vec![E::Encoded, E::NotJson]),
    ]
}

/// Answers with an error of the Prometheus API; those with `true` may be a problem document.
const FAILURES: [(&str, &str, bool); 4] = [
    ("BadData", "`bad_data`: something is not valid or not understood, or the form broke", true),
    ("Failed", "`internal`: the server could not answer", true),
    ("NotEvaluated", "`execution`: the expression cannot be evaluated", false),
    ("Unavailable", "`timeout` or `unavailable`: it took too long, or the database is busy", false),
];

fn describe_errors(document: &mut OpenApi) {
    let problem = || Content::new(Some(Ref::from_schema_name("Problem")));
    let failure = || Content::new(Some(Ref::from_schema_name("Failure")));
    let responses = &mut document.components.get_or_insert_default().responses;
    for (name, errors) in problems() {
        let text = errors.iter().map(|error| {
            let (_, kind, title) = error.kind();
            format!("`{kind}`: {title}")
        });
        let mut response = Response::new(text.collect::<Vec<_>>().join("; "));
        response.content.insert("application/problem+json".to_owned(), problem().into());
        let answer = errors.into_iter().next().expect("an error").into_response();
        let headers = [
            (header::RETRY_AFTER, "Retry-After", seconds()),
            (header::WWW_AUTHENTICATE, "WWW-Authenticate", text_header()),
            (header::ACCEPT_ENCODING, "Accept-Encoding", text_header()),
        ];
        for (header, name, described) in headers {
            if answer.headers().contains_key(header) {
                response.headers.insert(name.to_owned(), described.into());
            }
        }
        responses.insert(name.to_owned(), response.into());
    }
    for (name, text, or_problem) in FAILURES {
        let mut response = Response::new(text);
        response.content.insert("application/json".to_owned(), failure().into());
        if or_problem {
            response.content.insert("application/problem+json".to_owned(), problem().into());
        }
        responses.insert(name.to_owned(), response.into());
    }
}

fn seconds() -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    let text = "Seconds after which another try may succeed";
    HeaderBuilder::new().schema(Some(Schema::from(schema))).description(Some(text)).build()
}

fn text_header() -> Header {
    Header::new(Object::with_type(Type::String))
}

fn add_request_id(document: &mut OpenApi) {
    let schema =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-f]{8}-[1-9][0-9]*$"));
    let header = HeaderBuilder::new()
        .schema(Some(Schema::from(schema)))
        .description(Some("Id of the request in the server's log"));
    let components = document.components.get_or_insert_default();
    components.headers.insert("RequestId".to_owned(), header.build().into());
    let mark = |response: &mut RefOr<Response>| {
        if let RefOr::T(response) = response {
            let header = RefOr::Ref(Ref::new("#/components/headers/RequestId"));
            response.headers.insert("X-Request-Id".to_owned(), header);
        }
    };
    components.responses.values_mut().for_each(mark);
    operations(document)
        .for_each(|operation| operation.responses.responses.values_mut().for_each(mark));
}

/// Puts the rules for a report's texts into patterns: they hold for the text without the blanks
/// at its ends, which no keyword says.
fn describe_rules(document: &mut OpenApi) {
    let blanks = format!("[{BLANK}]*");
    let (any, solid) = (format!("[^{CONTROL}]"), format!("[^{CONTROL}{BLANK}]"));
    let value = format!("^{blanks}{any}{{0,64}}{blanks}$");
    let id = format!("^{blanks}{solid}({any}{{0,126}}{solid})?{blanks}$");
    let kind =
        format!("^{blanks}([Ss][Tt][Aa][Rr][Tt]|[Hh][Ee][Aa][Rr][Tt][Bb][Ee][Aa][Tt])?{blanks}$");

    let schemas = &mut document.components.get_or_insert_default().schemas;
    let Some(RefOr::T(Schema::Object(report))) = schemas.get_mut("ReportBody") else {
        panic!("the report is described");
    };
    for (name, property) in &mut report.properties {
        match (name.as_str(), &mut *property) {
            ("event", _) => {
                let text = ObjectBuilder::new()
                    .schema_type(nullable())
                    .pattern(Some(&kind))
                    .description(Some("`start` (the default) or `heartbeat`."));
                *property = Schema::from(text).into();
            }
            ("timestamp" | "report_id", RefOr::T(Schema::Object(time))) => {
                time.schema_type = [Type::String, Type::Number, Type::Null].into_iter().collect();
            }
            ("instance_id", RefOr::T(Schema::Object(text))) => {
                text.schema_type = Type::String.into();
                (text.min_length, text.max_length) = (None, None);
                text.pattern = Some(id.clone());
            }
            (_, RefOr::T(Schema::Object(text))) if text.max_length.is_some() => {
                text.max_length = None;
                text.pattern = Some(value.clone());
            }
            _ => {}
        }
    }
}

fn nullable() -> utoipa::openapi::schema::SchemaType {
    [Type::String, Type::Null].into_iter().collect()
}

fn generated() -> String {
    document().to_pretty_json().unwrap() + "\n"
}

/// Each reference below a value.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_file_is_what_the_code_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.json");
    let generated = generated();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(file, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    let differs = committed.lines().zip(generated.lines()).position(|(old, new)| old != new);
    assert!(
        committed == generated,
        "{file} is out of date from line {:?} on; write it anew with \
         `{UPDATE}=1 cargo test --lib openapi`",
        differs.map(|line| line + 1),
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&generated()).unwrap();
    let references = references(&document);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_error_has_the_status_that_it_is_named_under() {
    let named: BTreeMap<_, _> = problems().into_iter().collect();
    for operation in operations(&mut document()) {
        for (status, response) in &operation.responses.responses {
            let RefOr::Ref(response) = response else { continue };
            let name = response.ref_location.rsplit('/').next().unwrap();
            for error in named.get(name).into_iter().flatten() {
                assert_eq!(error.kind().0.as_str(), status, "{name}");
            }
        }
    }
}

/// A path in which a name stands for `{name}`.
fn example(path: &str) -> String {
    path.replace("/badge/{name}", "/badge/instances").replace("{name}", "os")
}

#[tokio::test]
async fn the_routes_are_those_of_the_document() {
    let document: Value = serde_json::from_str(&generated()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert((path.clone(), method.to_uppercase()));
        }
    }

    let folder = TempDir::new().unwrap();
    let state = state(&folder).await;
    let peer = Peer(([127, 0, 0, 1], 0).into());
    let server = router(&state, &[]).layer(Extension(peer));
    let mut answered = BTreeSet::new();
    let routes = open_routes().into_iter().chain(reading_routes()).chain(public::routes());
    for (path, _) in routes {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let request = Request::builder().method(&method).uri(example(path));
            let request = request.body(Body::empty()).unwrap();
            let status = server.clone().oneshot(request).await.unwrap().status();
            assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
            if status != StatusCode::METHOD_NOT_ALLOWED {
                answered.insert((path.to_owned(), method.to_string()));
            }
        }
    }
    assert_eq!(answered, documented);
}
