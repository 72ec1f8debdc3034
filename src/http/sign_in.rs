//! `/sign-in` and `/sign-out`: a session for a browser, which cannot send a header with the token.

use askama::Template;
use axum::{
    Extension,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::PathAndQuery},
    response::{AppendHeaders, IntoResponse as _, Response},
    routing::{get, post},
};

use super::{
    AppState, Peer, Routes,
    auth::{has_session, is_token},
    error::{ApiError, whole_seconds},
    extract::read_body,
    page::Html,
    session::Cookie,
};

const PATH: &str = "/sign-in";
/// Largest form, in bytes.
const MAX_FORM: usize = 4 * 1024;

type Answered = Result<Response, ApiError>;

/// The form, and its message where an attempt failed.
#[derive(Template)]
#[template(path = "sign_in.html")]
struct Form {
    /// The path with the view to which it leads.
    action: String,
    message: Option<String>,
}

/// The page that leads to the form.
#[derive(Template)]
#[template(path = "sign_in_first.html")]
struct First {
    form: String,
}

/// Routes of the form, which are open to everyone.
pub fn routes() -> Routes {
    vec![(PATH, get(form).post(sign_in)), ("/sign-out", post(sign_out))]
}

/// The answer to a browser that must sign in before it sees what it asked for.
///
/// It is a page that leads to the form, and no redirect: a browser leaves the session out of requests that
/// begin at another site, such as by a link in Grafana, and follows redirects without it. The request for
/// the form begins here, so that it carries a session where there is one, and leads back at once.
pub fn first(asked: &Uri) -> Answered {
    let asked = asked.path_and_query().map_or("/", PathAndQuery::as_str);
    page(StatusCode::UNAUTHORIZED, &First { form: form_for(asked) })
}

/// Shows the form, or leads on where none is needed.
async fn form(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answered {
    let view = view(query.as_deref());
    if state.read_token.is_none() || has_session(&state, &headers) {
        return Ok(see_other(&view));
    }
    page(StatusCode::OK, &Form { action: form_for(&view), message: None })
}

/// Begins a session for the token.
async fn sign_in(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Answered {
    let (parts, body) = request.into_parts();
    let (headers, now) = (&parts.headers, state.clock.now());
    if !is_of_this_site(headers) {
        return Err(ApiError::OtherSite);
    }
    let view = view(parts.uri.query());
    let Some(token) = &state.read_token else { return Ok(see_other(&view)) };
    let again =
        |status, message| page(status, &Form { action: form_for(&view), message: Some(message) });

    let browser = Cookie::Browser.find(headers, token, now);
    let client = state.proxies.client(peer.ip(), headers);
    if let Err(wait) = state.attempts.check(browser, client) {
        let wait = whole_seconds(wait);
        let message = format!("There were too many attempts. Try again in {wait} seconds.");
        let mut answer = again(StatusCode::TOO_MANY_REQUESTS, message)?;
        answer.headers_mut().insert(header::RETRY_AFTER, wait.into());
        return Ok(answer);
    }
    let form = read_body(body, MAX_FORM).await?;
    if !is_token(&state, value(&form, "token").trim().as_bytes()) {
        let mut answer = again(StatusCode::UNAUTHORIZED, "This is not the token.".to_owned())?;
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Ok(answer);
    }

    // The browser itself says by which scheme it came, where the proxy does not.
    let origin = headers.get(header::ORIGIN);
    let secure = state.proxies.has_tls(peer.ip(), headers)
        || origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let cookies = [Cookie::Session, Cookie::Browser];
    let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie.set(token, now, secure)));
    Ok((AppendHeaders(cookies), see_other(&view)).into_response())
}

/// Ends the session of this browser. The mark of the browser stays: it opens nothing.
async fn sign_out(headers: HeaderMap) -> Answered {
    if !is_of_this_site(&headers) {
        return Err(ApiError::OtherSite);
    }
    let removals = Cookie::Session.removal().map(|removal| (header::SET_COOKIE, removal));
    Ok((AppendHeaders(removals), see_other(PATH)).into_response())
}

fn page(status: StatusCode, template: &impl Template) -> Answered {
    // Without the request's headers: it is never one that the browser has already.
    let mut answer = Html::new(template)?.answer(&HeaderMap::new())?;
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().remove(header::ETAG);
    Ok(answer)
}

fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

/// Returns whether a page of this server sent the form, or a program, which has no cookies of others.
/// `SameSite=Strict` keeps the session out of forms of other sites. This keeps out other servers on the
/// same host, too, and attempts in the name of the operator's address.
fn is_of_this_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // Browsers send this one by TLS, and to their own machine.
    if let Some(site) = text("sec-fetch-site") {
        return ["same-origin", "none"].contains(&site);
    }
    let Some(origin) = text("origin") else { return true };
    let origin = origin.split_once("://").map(|(_, host)| host);
    origin.zip(text("host")).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// The first value of a field.
fn value(encoded: &[u8], name: &str) -> String {
    let mut pairs = form_urlencoded::parse(encoded);
    pairs.find(|(field, _)| field == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The path of the form that leads to a view.
fn form_for(view: &str) -> String {
    if view == "/" {
        return PATH.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", view).finish();
    format!("{PATH}?{query}")
}

/// The view to which a form leads: a path of this server, or the first page.
fn view(query: Option<&str>) -> String {
    let to = value(query.unwrap_or_default().as_bytes(), "to");
    // A browser takes `//host` and `/\host` for another server, and leaves out line breaks and tabs.
    let is_path = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
    let is_plain = to.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && is_plain { to } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_leads_to_views_of_this_server_only() {
        for view_of_this in ["/", "/?range=7d&version=v11.0.0", "/metrics", "/a//b", "/?to=//x"] {
            assert_eq!(leads(view_of_this), view_of_this);
        }
        for elsewhere in [
            "",
            "//example.com",
            "/\\example.com",
            "\\\\example.com",
            "https://example.com",
            "example.com",
            "javascript:alert(1)",
            "/\t/example.com",
            "/\n/example.com",
            " //example.com",
            "/ü",
            "/a b",
            "/a\r\nSet-Cookie: a=b",
        ] {
            assert_eq!(leads(elsewhere), "/", "{elsewhere:?}");
        }
    }

    /// The view to which the form for it leads.
    fn leads(to: &str) -> String {
        view(form_for(to).split_once('?').map(|(_, query)| query))
    }

    proptest! {
        #[test]
        fn no_form_leads_elsewhere(to in "[/\\\\\\t\\n:.a?#@ ]{0,8}", any: String) {
            for to in [to, any] {
                let view = leads(&to);
                prop_assert!(HeaderValue::try_from(&view).is_ok());
                // As a browser reads it: without tabs and line breaks, a backslash as a slash.
                let read = view.replace(['\t', '\n', '\r'], "").replace('\\', "/");
                prop_assert!(read.starts_with('/') && !read.starts_with("//"), "{:?}", view);
            }
        }
    }

    #[test]
    fn forms_of_other_sites_are_told_apart() {
        let site = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (name.parse::<header::HeaderName>().unwrap(), HeaderValue::from_static(value))
            });
            is_of_this_site(&pairs.collect())
        };
        let host = ("host", "board:8080");
        for own in [
            &[host][..],
            &[host, ("origin", "http://board:8080")],
            &[host, ("origin", "https://Board:8080")],
            &[host, ("sec-fetch-site", "same-origin"), ("origin", "https://telemetry.example.com")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(site(own), "{own:?}");
        }
        for other in [
            &[host, ("origin", "http://board:3000")][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://board:8080.example.com")],
            &[("origin", "http://board:8080")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site"), ("origin", "http://board:8080")],
        ] {
            assert!(!site(other), "{other:?}");
        }
    }
}
