//! The token of the read routes, and the session that stands for it in a browser.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq as _;

use super::{AppState, error::ApiError, media_type::preferred, session::Cookie, sign_in};

/// Lets a request through that carries the token or, where it only reads, a session. Lets every request
/// through if no token is set.
pub async fn require_token(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let (method, headers) = (request.method(), request.headers());
    // A request that changes something needs more than a cookie, which a browser sends by itself.
    let reads = [Method::GET, Method::HEAD].contains(method);
    if carries_token(&state, headers) || (reads && has_session(&state, headers)) {
        return next.run(request).await;
    }
    let offers = [("application/problem+json", false), ("text/html", true)];
    if reads && preferred(headers, &offers) == Some(true) {
        return sign_in::first(request.uri()).into_response();
    }
    ApiError::Unauthorized.into_response()
}

fn carries_token(state: &AppState, headers: &HeaderMap) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii())
        .unwrap_or_default();
    is_token(state, given)
}

/// Returns whether these bytes are the token, or none is needed. Takes as long for any of one length.
pub fn is_token(state: &AppState, given: &[u8]) -> bool {
    state.read_token.as_ref().is_none_or(|token| given.ct_eq(token.as_bytes()).into())
}

/// Returns whether the request carries a valid session, which it does only where a token is set.
pub fn has_session(state: &AppState, headers: &HeaderMap) -> bool {
    let now = state.clock.now();
    let token = state.read_token.as_deref();
    token.is_some_and(|token| Cookie::Session.find(headers, token, now).is_some())
}
