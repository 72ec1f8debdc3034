//! A browser of our own, driven through `WebDriver`.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    str::FromStr,
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Server;

/// Time in which a page shows what it should.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Themes of a system, as a browser names them.
pub const THEMES: [&str; 2] = ["light", "dark"];

/// A browser with an empty profile. Ended when it is dropped.
pub struct Browser {
    pub client: Client,
    driver: Child,
    driver_address: SocketAddr,
    _profile: TempDir,
}

/// A command that only Chromium's driver knows.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as FromStr>::Err> {
        base.join(&format!("session/{}/{}", session.unwrap(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    pub async fn start() -> Self {
        let profile = TempDir::new().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver is needed (.ci/browser): {error}"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = lines
            .find_map(|line| {
                let line = line.unwrap();
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("the driver listens");
        let driver_address = SocketAddr::from(([127, 0, 0, 1], port));

        let capabilities = json!({
            "goog:chromeOptions": { "args": [
                "--headless=new",
                // Containers have neither user namespaces nor much shared memory.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--lang=en-GB",
                format!("--user-data-dir={}", profile.path().display()),
            ]},
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{driver_address}"))
            .await
            .unwrap();
        Self { client, driver, driver_address, _profile: profile }
    }

    pub async fn open(&self, server: &Server, path: &str) {
        self.client.goto(&server.url(path)).await.unwrap();
    }

    /// The path and query of the page.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// Waits for an element.
    pub async fn find(&self, selector: &str) -> Element {
        let wait = self.client.wait().at_most(TIME_LIMIT).every(Duration::from_millis(50));
        let found = wait.for_element(Locator::Css(selector)).await;
        match found {
            Ok(element) => element,
            Err(error) => {
                panic!("{selector}: {error}\n{}", self.client.source().await.unwrap_or_default())
            }
        }
    }

    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script returns true of a page that is loaded.
    pub async fn until(&self, script: &str) {
        let script = format!("if (document.readyState !== 'complete') return false; {script}");
        let until = async {
            // The page may be left while the script runs.
            while self.client.execute(&script, Vec::new()).await.ok() != Some(Value::Bool(true)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let shown = tokio::time::timeout(TIME_LIMIT, until).await.is_ok();
        assert!(shown, "{script}\n{}", self.text("body").await);
    }

    /// Value that a script returns of the first of such elements, its `element`. In one step: the page replaces
    /// its content when it refreshes itself.
    pub async fn of(&self, selector: &str, script: &str) -> Value {
        self.find(selector).await;
        let selector = json!(selector);
        self.run(&format!("const element = document.querySelector({selector}); {script}")).await
    }

    /// The visible text below an element.
    pub async fn text(&self, selector: &str) -> String {
        self.of(selector, "return element.innerText").await.as_str().unwrap().to_owned()
    }

    /// Number that a tile shows, without the spelling of the browser's language.
    pub async fn tile(&self, id: &str) -> u64 {
        let number = self.of(&format!("#{id} .number data"), "return Number(element.value)").await;
        number.as_u64().unwrap()
    }

    async fn extension(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Extension { path, body }).await.unwrap()
    }

    /// A command of the developer tools.
    pub async fn tools(&self, command: &str, parameters: Value) -> Value {
        self.extension("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.extension("se/log", json!({ "type": kind })).await;
        log.as_array().unwrap().clone()
    }

    /// The lines of the console that are no mere notes, since the last call.
    pub async fn complaints(&self) -> Vec<String> {
        let lines = self.log("browser").await;
        let loud = lines
            .iter()
            .filter(|line| ["WARNING", "SEVERE"].contains(&line["level"].as_str().unwrap()));
        loud.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Origins that pages asked for anything, since the last call.
    pub async fn origins(&self) -> BTreeSet<String> {
        let entries = self.log("performance").await;
        let messages = entries.iter().map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()
        });
        let urls = messages.filter_map(|message| {
            let message = &message["message"];
            let request = message["method"] == "Network.requestWillBeSent";
            request.then(|| message["params"]["request"]["url"].as_str().unwrap().to_owned())
        });
        // The browser's own pages are those of other schemes.
        let asks = |url: &Url| ["http", "https", "ws", "wss"].contains(&url.scheme());
        let urls = urls.map(|url| Url::parse(&url).unwrap()).filter(asks);
        urls.map(|url| url.origin().ascii_serialization()).collect()
    }

    /// Asserts that the pages since the last call complained of nothing, and asked this origin alone.
    pub async fn assert_quiet(&self, origin: &str) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert_eq!(self.origins().await, [origin.to_owned()].into(), "requests to others");
    }

    /// Shows the page on a screen so wide, in a theme.
    pub async fn show(&self, width: u32, theme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        self.tools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        self.resize(width, 900).await;
    }

    async fn resize(&self, width: u32, height: u64) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tools("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// Asserts that nothing has to be scrolled sideways, and keeps a picture of the whole page as
    /// `target/browser/NAME-WIDTH-THEME.png`.
    pub async fn picture(&self, name: &str, width: u32, theme: &str) -> PathBuf {
        self.show(width, theme).await;
        let wide = self.run("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{name} is {wide} wide at {width}");
        let height = self.run("return document.documentElement.scrollHeight").await;
        self.resize(width, height.as_u64().unwrap().min(16_000)).await;
        let folder = pictures();
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}-{width}-{theme}.png"));
        fs::write(&file, self.client.screenshot().await.unwrap()).unwrap();
        file
    }

    /// Asserts that axe-core finds no fault of accessibility.
    pub async fn assert_accessible(&self, page: &str) {
        let file = std::env::var("AXE").expect("AXE names axe.min.js (.ci/browser)");
        self.run(&fs::read_to_string(file).unwrap()).await;
        let script = "
            const done = arguments[0];
            axe.run(document).then(({ violations, passes }) => done([passes.length, violations.map(
                ({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html) }))]))";
        let found = self.client.execute_async(script, Vec::new()).await.unwrap();
        assert!(found[0].as_u64().unwrap() > 5, "axe looked at something: {found}");
        assert_eq!(found[1], json!([]), "{page}: {found:#}");
    }
}

/// The folder of the pictures.
fn pictures() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into()).join("browser")
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when it is asked to end, and not when it is killed.
        if let Ok(mut stream) = TcpStream::connect(self.driver_address) {
            let _ = stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let _ = self.driver.wait();
        } else {
            let _ = self.driver.kill();
            let _ = self.driver.wait();
        }
    }
}
