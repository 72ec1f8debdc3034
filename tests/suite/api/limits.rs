//! Limits of rate, size and access.

use futures_util::StreamExt as _;
use insta::assert_snapshot;
use reqwest::{Method, Response, header};

use crate::support::{App, Server, binary, report, show, stock};

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

/// The proxy of one platform passes IPv6 clients on by the address of its bridge.
#[tokio::test]
async fn clients_that_a_proxy_hides_are_limited_by_instance_alone() {
    let app = App::start_with(|config| {
        config.rate_limit_per_minute = 1;
        config.instance_rate_limit_per_hour = 2;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for (number, header) in ["127.0.0.9", "unknown", "", "127.0.0.9, 127.0.0.8"].iter().enumerate()
    {
        for report in 0..2 {
            let answer = forwarded(&app, header, &format!("{number}-{report}")).await;
            assert_eq!(answer.status(), 200, "{header}");
        }
    }
    for id in ["a", "b", "c"] {
        app.report(&stock(id)).await; // Without the header.
    }
    // Each instance keeps its own limit, and so does a client that is known.
    app.report(&stock("a")).await;
    assert_eq!(forwarded(&app, "unknown", "a").await.status(), 429);
    assert_eq!(forwarded(&app, "192.0.2.1", "d").await.status(), 200);
    assert_eq!(forwarded(&app, "192.0.2.1", "e").await.status(), 429);
}

#[tokio::test]
async fn hidden_clients_together_have_a_bound() {
    let app = App::start_with(|config| {
        config.rate_limit_per_minute = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    // Refused reports count, and cost the test less.
    let mut answers = futures_util::stream::iter(0..7000)
        .map(|_| async { app.post("{").await })
        .buffer_unordered(16);
    let mut limited = 0;
    while let Some(answer) = answers.next().await {
        if answer.status() != 429 {
            assert_eq!(answer.status(), 400);
            continue;
        }
        limited += 1;
        if limited == 1 {
            assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
            assert_snapshot!("limited_proxy", show(answer).await);
        }
    }
    assert!(limited > 0);
    // A client that is known is not refused because of them.
    assert_eq!(forwarded(&app, "192.0.2.1", "a").await.status(), 200);
}

/// The log names the situation and the setting, once, and no address.
#[tokio::test]
async fn a_proxy_that_hides_its_clients_is_logged_once_an_hour() {
    let cases = [
        ("127.0.0.1", None, "sends no X-Forwarded-For"),
        ("127.0.0.1", Some("127.0.0.1"), "has addresses of TRUSTED_PROXIES alone"),
        ("127.0.0.1", Some("unknown"), "writes no address into X-Forwarded-For"),
        ("", Some("198.51.100.23"), "such as TRUSTED_PROXIES=127.0.0.0/8"),
    ];
    let client = reqwest::Client::new();
    for (trusted, header, line) in cases {
        let folder = tempfile::TempDir::new().unwrap();
        let database = format!("sqlite://{}/telemetry.db", folder.path().display());
        let server = Server::start_command(
            binary().env("DATABASE_URL", database).env("TRUSTED_PROXIES", trusted),
        );
        for id in ["a", "b", "c"] {
            let mut request = client.post(server.url("/collect")).json(&stock(id));
            if let Some(header) = header {
                request = request.header("x-forwarded-for", header);
            }
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
        let (status, log) = server.terminate();
        assert!(status.success());
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
        assert_eq!(warnings.len(), 1, "{log}");
        assert!(warnings[0].contains(line) && warnings[0].contains("docs/proxies.md"), "{log}");
        assert!(!log.contains("198.51.100.23") && !log.contains("127.0.0.1:"), "{log}");
    }
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
    for path in ["/health", "/ready", "/status"] {
        assert_eq!(app.get(path).await.status(), 200, "{path}");
    }
    assert_snapshot!("no_token", show(app.get("/metrics").await).await);
    let paths = [
        "/metrics",
        "/deployments",
        "/stats/version",
        "/stats/active",
        "/stats/cohorts",
        "/stats/adoption",
        "/openapi.json",
        "/federate?match[]=mattermost_instances",
    ];
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
