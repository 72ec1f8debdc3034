//! Sign-in: a session for a browser.

use reqwest::{Client, Method, RequestBuilder, Response, header, redirect::Policy};
use tempfile::TempDir;

use crate::support::{App, stock};

const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A server with a token, and a client that follows no redirect.
struct Closed {
    app: App,
    client: Client,
}

impl Closed {
    async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap(), "secret").await
    }

    async fn start_in(folder: TempDir, token: &str) -> Self {
        let app = App::start_in(folder, |config| {
            config.read_token = Some(token.to_owned());
            config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            config.cors_allowed_origins = vec!["https://status.example.com".parse().unwrap()];
        })
        .await;
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { app, client }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.app.address))
    }

    /// The answer that a browser gets.
    async fn get(&self, path: &str, cookies: &str) -> Response {
        let request = self.request(Method::GET, path).header(header::ACCEPT, HTML);
        request.header(header::COOKIE, cookies).send().await.unwrap()
    }

    /// The form with a token, as a client behind a proxy sends it.
    fn form(&self, path: &str, client: &str, token: &str) -> RequestBuilder {
        let request = self.request(Method::POST, path).header("x-forwarded-for", client);
        request.form(&[("token", token)])
    }

    async fn sign_in(&self, token: &str) -> Response {
        self.form("/sign-in", "192.0.2.1", token).send().await.unwrap()
    }

    /// The cookies after a sign-in, as a browser sends them.
    async fn signed_in(&self) -> String {
        let answer = self.sign_in("secret").await;
        assert_eq!(answer.status(), 303);
        cookies(&answer)
            .iter()
            .map(|set| set.split(';').next().unwrap())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

fn cookies(answer: &Response) -> Vec<&str> {
    let cookies = answer.headers().get_all(header::SET_COOKIE).iter();
    cookies.map(|cookie| cookie.to_str().unwrap()).collect()
}

fn location(answer: &Response) -> &str {
    answer.headers()[header::LOCATION].to_str().unwrap()
}

#[tokio::test]
async fn a_browser_is_led_to_the_form_and_back_to_its_view() {
    let closed = Closed::start().await;
    let view = "/stats/timeseries?interval=day&by=image_version";
    let answer = closed.get(view, "").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let page = answer.text().await.unwrap();
    let form = "/sign-in?to=%2Fstats%2Ftimeseries%3Finterval%3Dday%26by%3Dimage_version";
    assert!(page.contains(&format!("content=\"0; url={form}\"")), "{page}");

    let answer = closed.get(form, "").await;
    assert_eq!(answer.status(), 200);
    let page = answer.text().await.unwrap();
    assert!(page.contains(&format!("action=\"{form}\"")), "{page}");

    let answer = closed.form(form, "192.0.2.1", " secret\r\n").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), location(&answer)), (303, view));
    // Whoever is signed in is led on from the form.
    let cookies = closed.signed_in().await;
    let answer = closed.get(form, &cookies).await;
    assert_eq!((answer.status().as_u16(), location(&answer)), (303, view));
    assert_eq!(closed.get(view, &cookies).await.status(), 200);
}

#[tokio::test]
async fn a_session_opens_reading_and_nothing_else() {
    let closed = Closed::start().await;
    closed.app.report(&stock("a")).await;
    let cookies = closed.signed_in().await;
    for path in ["/metrics", "/deployments", "/stats/version", "/openapi.json", "/api/v1/labels"] {
        assert_eq!(closed.get(path, &cookies).await.status(), 200, "{path}");
        let head = closed.request(Method::HEAD, path).header(header::COOKIE, &cookies);
        assert_eq!(head.send().await.unwrap().status(), 200, "{path}");
    }
    // A form of the Prometheus API carries the token itself.
    let post = || closed.request(Method::POST, "/api/v1/query").form(&[("query", "1")]);
    assert_eq!(post().header(header::COOKIE, &cookies).send().await.unwrap().status(), 401);
    assert_eq!(post().bearer_auth("secret").send().await.unwrap().status(), 200);
    // Behind a proxy with a password of its own, a browser sends that, too.
    let both = closed.request(Method::GET, "/metrics").header(header::COOKIE, &cookies);
    assert_eq!(both.basic_auth("a", Some("b")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_program_is_answered_with_a_problem() {
    let closed = Closed::start().await;
    for accept in ["", "*/*", "application/json", "application/json, text/plain, */*", "text/plain"]
    {
        let request = closed.request(Method::GET, "/metrics").header(header::ACCEPT, accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        let kind = &answer.headers()[header::CONTENT_TYPE];
        assert_eq!(kind, "application/problem+json", "{accept}");
    }
}

#[tokio::test]
async fn a_wrong_token_begins_no_session() {
    let closed = Closed::start().await;
    for token in ["", "secre", "secrets", "SECRET"] {
        let answer = closed.sign_in(token).await;
        assert_eq!(answer.status(), 401, "{token}");
        assert!(cookies(&answer).is_empty());
        let page = answer.text().await.unwrap();
        assert!(page.contains("This is not the token.") && !page.contains("secre"), "{page}");
    }
    let large = closed.sign_in(&"a".repeat(5000)).await;
    assert_eq!(large.status(), 413);
    for forged in ["telemetry_session=1", "telemetry_session=9999999999.00", "telemetry_session="] {
        assert_eq!(closed.get("/metrics", forged).await.status(), 401, "{forged}");
    }
    // The mark of a browser alone opens nothing.
    let cookies = closed.signed_in().await;
    let (session, mark) = cookies.split_once("; ").unwrap();
    assert_eq!(closed.get("/metrics", session).await.status(), 200);
    assert_eq!(closed.get("/metrics", mark).await.status(), 401);
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_and_with_a_new_token() {
    let closed = Closed::start().await;
    let cookies = closed.signed_in().await;
    closed.app.pass(30 * 24 - 1);
    assert_eq!(closed.get("/metrics", &cookies).await.status(), 200);
    closed.app.pass(1);
    assert_eq!(closed.get("/metrics", &cookies).await.status(), 401);

    let closed = Closed::start().await;
    let cookies = closed.signed_in().await;
    let folder = closed.app.stop().await;
    let again = Closed::start_in(folder, "secret").await;
    assert_eq!(again.get("/metrics", &cookies).await.status(), 200);
    let folder = again.app.stop().await;
    let other = Closed::start_in(folder, "another").await;
    assert_eq!(other.get("/metrics", &cookies).await.status(), 401);
}

#[tokio::test]
async fn signing_out_removes_the_session() {
    let closed = Closed::start().await;
    let answer = closed.request(Method::POST, "/sign-out").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/sign-in"));
    let attributes = "Max-Age=0; Path=/; HttpOnly; SameSite=Strict";
    assert_eq!(
        cookies(&answer),
        [
            format!("telemetry_session=; {attributes}"),
            format!("__Host-telemetry_session=; {attributes}; Secure"),
        ]
    );
    assert_eq!(closed.get("/sign-out", "").await.status(), 405);
}

#[tokio::test]
async fn other_sites_neither_sign_in_nor_out() {
    let closed = Closed::start().await;
    for path in ["/sign-in", "/sign-out"] {
        for (name, value) in
            [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "null")]
        {
            let request = closed.form(path, "192.0.2.1", "secret").header(name, value);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} {value}");
            assert!(cookies(&answer).is_empty());
            assert!(answer.text().await.unwrap().contains("/problems/other-site"));
        }
        let origin = format!("http://{}", closed.app.address);
        let own = closed.form(path, "192.0.2.1", "secret").header("origin", origin);
        assert_eq!(own.send().await.unwrap().status(), 303);
    }
    // Nor do they read: no answer allows a request with cookies from elsewhere.
    let cookies = closed.signed_in().await;
    let read = closed.request(Method::GET, "/metrics").header(header::COOKIE, cookies);
    let answer = read.header("origin", "https://status.example.com").send().await.unwrap();
    assert!(answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
}

#[tokio::test]
async fn a_cookie_is_secure_behind_tls() {
    let closed = Closed::start().await;
    for (name, value, secure) in [
        ("x-forwarded-proto", "https", true),
        ("x-forwarded-proto", "http", false),
        // A proxy that does not say so, but passes Sec-Fetch-Site on.
        ("origin", "https://telemetry.example.com", true),
    ] {
        let request = closed.form("/sign-in", "192.0.2.1", "secret").header(name, value);
        let answer = request.header("sec-fetch-site", "same-origin").send().await.unwrap();
        for (cookie, name) in
            cookies(&answer).iter().zip(["telemetry_session", "telemetry_browser"])
        {
            let prefix = if secure { "__Host-" } else { "" };
            assert!(cookie.starts_with(&format!("{prefix}{name}=")), "{cookie}");
            assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
            assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
        }
        let cookie = cookies(&answer)[0].to_owned();
        assert_eq!(closed.get("/metrics", cookie.split(';').next().unwrap()).await.status(), 200);
    }
}

#[tokio::test]
async fn attempts_are_limited_and_keep_no_operator_out() {
    let closed = Closed::start().await;
    let known = closed.signed_in().await;
    let closed = &closed;
    let attempt = |client: String| async move {
        closed.form("/sign-in", &client, "wrong").send().await.unwrap()
    };
    for _ in 0..10 {
        assert_eq!(attempt("192.0.2.7".into()).await.status(), 401);
    }
    let answer = attempt("192.0.2.7".into()).await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(answer.text().await.unwrap().contains("Try again in"));
    // Another one is let in, until all together have had enough.
    assert_eq!(attempt("192.0.2.8".into()).await.status(), 401);
    let mut refused = 0;
    for network in 0..80 {
        refused += u32::from(attempt(format!("2001:db8:{network:x}::1")).await.status() == 429);
    }
    assert!(refused > 0);
    // Not so the browser that has signed in before, even when its session is over.
    closed.app.pass(60 * 24);
    let request = closed.form("/sign-in", "192.0.2.7", "secret").header(header::COOKIE, known);
    assert_eq!(request.send().await.unwrap().status(), 303);
    // The token itself is let in at all times.
    let read = closed.request(Method::GET, "/metrics").bearer_auth("secret");
    assert_eq!(read.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn without_a_token_there_is_nothing_to_sign_in_to() {
    let app = App::start().await;
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    for method in [Method::GET, Method::POST] {
        let url = format!("http://{}/sign-in?to=/metrics", app.address);
        let answer = client.request(method, url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/metrics"));
        assert!(cookies(&answer).is_empty());
    }
}
