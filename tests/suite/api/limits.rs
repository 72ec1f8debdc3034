//! Limits of rate, size and access.

use insta::assert_snapshot;
use reqwest::{Method, Response, header};

use crate::support::{App, report, show, stock};

async fn forwarded(app: &App, client: &str, id: &str) -> Response {
    app.request(Method::POST, "/collect")
        .header("x-forwarded-for", client)
        .json(&stock(id))
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_client_that_floods_learns_when_to_come_back() {
    let app = App::start_with(|config| config.rate_limit_per_minute = 3).await;
    for id in ["a", "b", "c"] {
        app.report(&stock(id)).await;
    }
    let answer = app.post(stock("d").to_string()).await;
    let wait: u64 = answer.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_snapshot!(
        "limited_client",
        show(answer).await.replace(&format!("after: {wait}"), "after: [1 to 20]")
    );
    // Reading is not limited, and nothing was stored.
    assert_eq!(app.json("/metrics").await["total_deployments"], 3);
}

#[tokio::test]
async fn an_instance_that_floods_does_not_silence_others() {
    let app = App::start_with(|config| config.instance_rate_limit_per_hour = 2).await;
    app.report(&stock("a")).await;
    app.report(&stock("A ")).await;
    let answer = app.post(stock("a").to_string()).await;
    let wait: u64 = answer.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    assert_eq!(answer.status(), 429);
    app.report(&stock("b")).await;
}

#[tokio::test]
async fn without_trusted_proxies_a_header_changes_nothing() {
    let app = App::start_with(|config| config.rate_limit_per_minute = 1).await;
    assert_eq!(forwarded(&app, "192.0.2.1", "a").await.status(), 200);
    assert_eq!(forwarded(&app, "192.0.2.2", "b").await.status(), 429);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let app = App::start_with(|config| {
        config.rate_limit_per_minute = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    assert_eq!(forwarded(&app, "192.0.2.1", "a").await.status(), 200);
    assert_eq!(forwarded(&app, "192.0.2.1", "b").await.status(), 429);
    // A client can write only what stands further left.
    assert_eq!(forwarded(&app, "203.0.113.9, 192.0.2.1", "c").await.status(), 429);
    assert_eq!(forwarded(&app, "192.0.2.2", "d").await.status(), 200);
    // An IPv6 host has at least a /64 to send from.
    assert_eq!(forwarded(&app, "2001:db8:0:1::1", "e").await.status(), 200);
    assert_eq!(forwarded(&app, "2001:db8:0:1:ffff::2", "f").await.status(), 429);
    assert_eq!(forwarded(&app, "2001:db8:0:2::1", "g").await.status(), 200);
}

#[tokio::test]
async fn a_refused_report_counts_against_the_client() {
    let app = App::start_with(|config| config.rate_limit_per_minute = 1).await;
    assert_eq!(app.post("nonsense").await.status(), 400);
    assert_eq!(app.post(report("a", serde_json::json!({})).to_string()).await.status(), 429);
}

#[tokio::test]
async fn a_token_closes_reading_and_nothing_else() {
    let app = App::start_with(|config| config.read_token = Some("secret".into())).await;
    app.report(&stock("a")).await;
    for path in ["/health", "/ready"] {
        assert_eq!(app.get(path).await.status(), 200, "{path}");
    }
    assert_snapshot!("no_token", show(app.get("/metrics").await).await);
    let paths = ["/metrics", "/deployments", "/stats/version", "/stats/active", "/openapi.json"];
    for path in paths {
        for authorization in ["", "Bearer", "Bearer wrong", "Bearer secrets", "Basic secret"] {
            let request = app.request(Method::GET, path);
            let answer = request.header(header::AUTHORIZATION, authorization).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path} {authorization}");
        }
        let answer = app.request(Method::GET, path).bearer_auth("secret").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    // A route that does not exist says so to anyone.
    assert_eq!(app.get("/no/such/route").await.status(), 404);
}

#[tokio::test]
async fn only_named_origins_may_read_from_a_browser() {
    let origin = "https://status.example.com";
    let app = App::start_with(|config| {
        config.cors_allowed_origins = vec![origin.parse().unwrap()];
    })
    .await;
    let ask = |origin: &'static str| {
        app.request(Method::GET, "/stats/version").header(header::ORIGIN, origin).send()
    };
    let allowed = ask(origin).await.unwrap();
    assert_eq!(allowed.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
    let other = ask("https://example.org").await.unwrap();
    assert!(!other.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));

    let closed = App::start().await;
    let answer = closed.request(Method::GET, "/stats/version").header(header::ORIGIN, origin);
    let answer = answer.send().await.unwrap();
    assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}
