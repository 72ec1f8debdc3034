//! `/federate`: the present values of selected series, as Prometheus' own route of that name has them.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, future, stream};
use jiff::Timestamp;
use utoipa::IntoParams;

use super::{
    AppState,
    metrics::TEXT,
    prometheus::{ApiError, Form, number, parameters::Selector},
    responses::{PrometheusErrors, SeriesErrors},
    room::Held,
};
use crate::{
    metrics::{Description, Metric},
    promql::{Federation, NAME, Present},
};

/// Bytes that are gathered before they are sent. A shorter answer is sent whole.
const PIECE: usize = 64 * 1024;
/// Memory that a longer answer takes, in bytes: a part of the series and its text.
const HELD: usize = 2 * 1024 * 1024;

/// Parameters of `/federate`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a type for the description of the interface, which tests make")]
pub struct FederateParameters {
    /// Selectors of series, one parameter each.
    #[param(rename = "match[]", min_items = 1)]
    selectors: Vec<Selector>,
}

/// Present values of the selected series, as a Prometheus server has them for another one. Series that
/// name an instance are not among them.
#[utoipa::path(
    get, path = "/federate", tag = "prometheus", params(FederateParameters),
    responses(
        (status = 200, content((String = "text/plain; version=0.0.4"))),
        PrometheusErrors, SeriesErrors,
    )
)]
pub async fn federate(State(state): State<AppState>, form: Form) -> Result<Response, ApiError> {
    let federation = Federation::parse(&state.database, form.all("match[]")).await?;
    let mut answer = Answer::new(state, federation);
    let first = answer.piece().await?.unwrap_or_default();
    let content_type = [(header::CONTENT_TYPE, TEXT)];
    if first.len() < PIECE {
        return Ok((content_type, first).into_response());
    }
    let rest = stream::try_unfold(answer, |mut answer| async move {
        let piece = answer.piece().await.map_err(|error| {
            // The status is sent already: the connection ends early instead.
            tracing::warn!(%error, "a long answer of /federate was cut off");
            error.to_string()
        })?;
        Ok::<_, String>(piece.map(|piece| (piece, answer)))
    });
    let pieces = stream::once(future::ready(Ok(first))).chain(rest);
    let mut response = (content_type, Body::from_stream(pieces)).into_response();
    response.extensions_mut().insert(Held(HELD));
    Ok(response)
}

/// An answer of which a part is not written yet.
struct Answer {
    state: AppState,
    /// `None` after the last part.
    federation: Option<Federation>,
    now: Timestamp,
    /// Metadata of the server's own metrics.
    own: Vec<Description>,
    /// Kind of each family.
    kinds: BTreeMap<String, String>,
    /// The family that was written last.
    family: String,
}

impl Answer {
    fn new(state: AppState, federation: Federation) -> Self {
        let (now, own) = (state.clock.now(), state.metrics.descriptions());
        let fleet = Metric::ALL.map(Metric::description);
        let kinds = fleet.iter().chain(&own);
        let kinds = kinds.map(|known| (known.family.clone(), known.kind.clone())).collect();
        Self { state, federation: Some(federation), now, own, kinds, family: String::new() }
    }

    /// The next piece of the text; `None` after the last one.
    async fn piece(&mut self) -> Result<Option<String>, ApiError> {
        let mut text = String::new();
        while let Some(mut federation) = self.federation.take() {
            let (state, now, own) = (self.state.clone(), self.now, self.own.clone());
            let reading = async move {
                let read = federation.next(&state.database, now, &own).await;
                read.map(|series| (federation, series))
            };
            let (federation, Some(series)) = self.state.in_turn(reading).await? else { break };
            self.federation = Some(federation);
            for one in &series {
                self.write(one, &mut text);
            }
            if text.len() >= PIECE {
                break;
            }
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn write(&mut self, series: &Present, text: &mut String) {
        let Present { family, labels, value } = series;
        // Writing to a string does not fail.
        if self.family != *family {
            self.family.clone_from(family);
            let kind = self.kinds.get(family).map_or("untyped", String::as_str);
            let _ = writeln!(text, "# TYPE {family} {kind}");
        }
        text.push_str(labels.get(NAME).map_or("", |name| name));
        let mut before = '{';
        for (label, value) in labels.iter().filter(|(label, _)| *label != NAME) {
            let _ = write!(text, "{before}{label}=\"{}\"", escaped(value));
            before = ',';
        }
        if before == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {} {}", number(*value), self.now.as_millisecond());
    }
}

/// A value of a label as the text format spells it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
