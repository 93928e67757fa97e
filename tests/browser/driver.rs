//! A browser, through the W3C WebDriver protocol: JSON over HTTP, as much of it as is needed here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sealpost_tests::{Daemon, Http, eventually, program};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A headless Chromium with a fresh profile.
pub(crate) struct Browser {
    http: Http,
    session: String,
    _driver: Daemon,
    _folder: TempDir,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::with_prefix("browser-").unwrap();
        let chromium = program("chromium", "chromium");
        let mut command = Command::new(program("chromedriver", "chromium-driver"));
        command
            .arg("--port=9515")
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path());
        let mut driver = Daemon::start("chromedriver", &mut command, &folder.path().join("output"));
        let http = Http(([127, 0, 0, 1], 9515).into());
        driver.wait_for_port(http.0).await;
        let profile = format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        );
        let args: Vec<&str> = ARGS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args, "binary": chromium },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let answer = http
            .send("POST", "/session", &[], &wanted.to_string())
            .await;
        let answer = answer.unwrap_or_else(|e| panic!("{e}\n{}", driver.printed()));
        let session = answer.json()["value"]["sessionId"]
            .as_str()
            .map(str::to_owned);
        let session = session.unwrap_or_else(|| panic!("{}\n{}", answer.body, driver.printed()));
        Self {
            http,
            session,
            _driver: driver,
            _folder: folder,
        }
    }

    async fn call(&self, method: &str, command: &str, body: &Value) -> Result<Value, String> {
        let path = format!("/session/{}/{command}", self.session);
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let answer = self.http.send(method, &path, &[], &body).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let value = answer.json()["value"].clone();
        if answer.status == 200 {
            return Ok(value);
        }
        Err(format!("{}: {}", value["error"], value["message"]))
    }

    async fn must(&self, method: &str, command: &str, body: Value) -> Value {
        match self.call(method, command, &body).await {
            Ok(value) => value,
            Err(error) => panic!("{command} {body}: {error}\n{}", self.story().await),
        }
    }

    pub(crate) async fn go(&self, url: &str) {
        self.must("POST", "url", json!({ "url": url })).await;
    }

    /// What a script's `return` gives.
    pub(crate) async fn script(&self, script: &str) -> Value {
        self.must(
            "POST",
            "execute/sync",
            json!({ "script": script, "args": [] }),
        )
        .await
    }

    pub(crate) async fn text_of_page(&self) -> String {
        let text = self.script("return document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true. One that cannot be evaluated is not true yet: what it is about
    /// may be drawn later.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        let body = json!({ "script": script, "args": [] });
        let mut last = Ok(Value::Null);
        let seen = eventually(PATIENCE, async || {
            last = self.call("POST", "execute/sync", &body).await;
            (last == Ok(Value::Bool(true))).then_some(())
        });
        if seen.await.is_none() {
            panic!(
                "waited in vain for {what}: {expression}: {last:?}\n{}",
                self.story().await
            );
        }
    }

    /// Waits until the page says this.
    pub(crate) async fn until_says(&self, text: &str) {
        let expression = format!("document.body.innerText.includes({})", json!(text));
        self.until(text, &expression).await;
    }

    /// Waits for an element that can be seen, and names it; an error if it is gone again meanwhile.
    async fn find(&self, css: &str) -> Result<String, String> {
        let visible = format!(
            "[...document.querySelectorAll({0})].some(e => e.checkVisibility() && !e.disabled)",
            json!(css)
        );
        self.until(css, &visible).await;
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.call("POST", "element", &wanted).await?;
        let id = found.as_object().and_then(|o| o.values().next());
        Ok(id.and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// A real click: it fails if something else lies on top.
    pub(crate) async fn click(&self, css: &str) {
        self.act_on(css, "click", json!({})).await;
    }

    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        self.act_on(css, "value", json!({ "text": text })).await;
    }

    /// Once: an element that was drawn anew since it was found is found again, nothing has been done to it.
    async fn act_on(&self, css: &str, command: &str, body: Value) {
        let acted = eventually(PATIENCE, async || {
            let element = self.find(css).await.ok()?;
            let command = format!("element/{element}/{command}");
            match self.call("POST", &command, &body).await {
                Err(error) if error.contains("stale element reference") => None,
                ended => Some(ended),
            }
        });
        match acted.await {
            Some(Ok(_)) => {}
            ended => panic!("{command} {css}: {ended:?}\n{}", self.story().await),
        }
    }

    /// Keys, to whatever has the focus. Special ones are in the private use area (W3C WebDriver,
    /// section 17.4.2).
    pub(crate) async fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let source = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        self.must("POST", "actions", source).await;
    }

    /// `light` or `dark`, as the system would say.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Runs a script on each page before its own; returns its name.
    pub(crate) async fn on_each_page(&self, source: &str) -> String {
        let command = "Page.addScriptToEvaluateOnNewDocument";
        let added = self.devtools(command, json!({ "source": source })).await;
        added["identifier"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn not_on_each_page(&self, name: &str) {
        let command = "Page.removeScriptToEvaluateOnNewDocument";
        self.devtools(command, json!({ "identifier": name })).await;
    }

    async fn devtools(&self, command: &str, params: Value) -> Value {
        let body = json!({ "cmd": command, "params": params });
        self.must("POST", "goog/cdp/execute", body).await
    }

    /// What the browser complained of on our page since the last time, for instance that the
    /// Content-Security-Policy forbids something; requests that were refused as expected left out.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let lines = self
            .must("POST", "se/log", json!({ "type": "browser" }))
            .await;
        let lines = lines.as_array().cloned().unwrap_or_default();
        let texts = lines.iter().filter_map(|line| line["message"].as_str());
        texts
            .filter(|text| !text.starts_with("chrome://"))
            .filter(|text| !text.contains("the server responded with a status of"))
            .map(str::to_owned)
            .collect()
    }

    /// A picture of the whole page, where somebody wants to look at it.
    pub(crate) async fn shoot(&self, name: &str) {
        let Some(folder) = std::env::var_os("SEALPOST_SHOTS") else {
            return;
        };
        let height = self
            .script("return document.documentElement.scrollHeight")
            .await;
        let width = self.script("return innerWidth").await;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let body = json!({ "cmd": "Page.captureScreenshot", "params": { "clip": clip, "captureBeyondViewport": true } });
        let picture = self.must("POST", "goog/cdp/execute", body).await;
        let file = Path::new(&folder).join(format!("{name}.png.base64"));
        std::fs::write(file, picture["data"].as_str().unwrap_or_default()).unwrap();
    }

    /// What can be seen, for failure reports.
    async fn story(&self) -> String {
        let script = json!({ "script": "return location.href + '\\n' + document.body.innerText", "args": [] });
        let text = self.call("POST", "execute/sync", &script).await;
        let log = self
            .call("POST", "se/log", &json!({ "type": "browser" }))
            .await;
        format!(
            "page: {}\nlog: {log:?}",
            text.unwrap_or_default().as_str().unwrap_or_default()
        )
    }
}

/// Special keys.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const SPACE: &str = " ";
pub(crate) const ESCAPE: &str = "\u{e00c}";
pub(crate) const LEFT: &str = "\u{e012}";

const ARGS: [&str; 11] = [
    "--headless",
    // The tests run as root in a namespace of their own, which the browser's sandbox does not take.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--window-size=1280,900",
];
const PATIENCE: Duration = Duration::from_secs(20);
