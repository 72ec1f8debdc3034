//! The public view, in a browser.

use serde_json::json;

use super::{
    WIDTHS,
    driver::{Browser, THEMES},
};
use crate::support::{App, report, stock};

#[tokio::test]
#[ignore = "needs a browser: .ci/browser"]
async fn the_public_view_is_that_of_its_json_and_accessible() {
    // In this process, so that its clock can pass midnight.
    let app = App::start_with(|config| {
        config.public_minimum = Some(5);
        config.read_token = Some("secret".to_owned());
    })
    .await;
    for number in 0..23 {
        let version = if number < 9 { "v11.0.0" } else { "v11.1.0" };
        app.report(&report(&number.to_string(), json!({ "image_version": version }))).await;
    }
    app.pass(24);
    app.report(&stock("of-the-next-day")).await;
    let numbers = app.json("/public.json").await["numbers"].take();

    let origin = format!("http://{}", app.address);
    let browser = Browser::start().await;
    browser.client.goto(&format!("{origin}/public")).await.unwrap();
    for (id, count) in [
        ("active-30d", &numbers["last_30_days"]["instances"]),
        ("instances", &numbers["all_time"]["instances"]),
        ("starts", &numbers["all_time"]["starts"]),
    ] {
        let shown = browser.tile(id).await;
        assert_eq!((*count == shown, shown), (true, 20), "{id}");
    }
    pictures(&browser, "public").await;
    browser.find("a[href='/public/fields']").await.click().await.unwrap();
    browser.find("#fields").await;
    pictures(&browser, "fields").await;
    browser.assert_quiet(&origin).await;
    // The rest stays behind the token.
    browser.client.goto(&origin).await.unwrap();
    browser.find("#token").await;
}

async fn pictures(browser: &Browser, name: &str) {
    for theme in THEMES {
        for width in WIDTHS {
            browser.picture(name, width, theme).await;
        }
        browser.assert_accessible(&format!("{name}, {theme}")).await;
    }
}
