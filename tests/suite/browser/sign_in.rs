//! The form for the token, in a browser.

use tempfile::TempDir;

use super::{
    WIDTHS,
    driver::{Browser, THEMES},
};
use crate::support::{Server, binary};

/// A server with a token, and the folder of its database.
fn closed() -> (TempDir, Server) {
    let folder = TempDir::new().unwrap();
    let database = format!("sqlite://{}/telemetry.db", folder.path().display());
    let mut command = binary();
    let server =
        Server::start_command(command.env("DATABASE_URL", database).env("READ_TOKEN", "secret"));
    (folder, server)
}

#[tokio::test]
#[ignore = "needs a browser: .ci/browser"]
async fn a_browser_signs_in_and_out() {
    let (_folder, server) = closed();
    let browser = Browser::start().await;
    browser.open(&server, "/?range=7d").await;
    browser.find("#token").await.send_keys("wrong\n").await.unwrap();
    assert_eq!(browser.text("[role=alert]").await, "This is not the token.");
    // A browser names each answer of 401 in its console, and nothing else is there.
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("401 (Unauthorized)")), "{complaints:#?}");

    // The field has the focus: whoever has a keyboard types at once.
    browser.until("return document.activeElement.id === 'token'").await;
    browser.client.active_element().await.unwrap().send_keys("secret\n").await.unwrap();
    browser.find("#empty").await;
    assert_eq!(browser.path().await, "/?range=7d");
    // No script reads the session.
    assert_eq!(browser.run("return document.cookie").await, "");
    browser.assert_quiet(&server.url("")).await;
    browser.open(&server, "/metrics").await;
    assert!(browser.text("body").await.contains("total_deployments"));

    // A link of another site leads there, too, though the browser leaves the session out of its request.
    let port = server.address.port();
    browser.client.goto(&format!("http://localhost:{port}/health")).await.unwrap();
    browser.run(&format!("location.href = '{}'", server.url("/metrics?"))).await;
    browser.until("return document.body.textContent.includes('total_deployments')").await;

    browser.open(&server, "/").await;
    browser.find("form[action='/sign-out'] button").await.click().await.unwrap();
    browser.find("#token").await;
    browser.open(&server, "/metrics").await;
    browser.find("#token").await;
    assert_eq!(browser.path().await, "/sign-in?to=%2Fmetrics");
}

#[tokio::test]
#[ignore = "needs a browser: .ci/browser"]
async fn the_form_is_accessible_at_each_width() {
    let (_folder, server) = closed();
    let browser = Browser::start().await;
    browser.open(&server, "/sign-in").await;
    browser.find("#token").await;
    browser.assert_quiet(&server.url("")).await;
    for theme in THEMES {
        for width in WIDTHS {
            browser.picture("sign-in", width, theme).await;
        }
        browser.assert_accessible("sign-in").await;
    }
}
