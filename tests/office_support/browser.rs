//! A real browser (Chromium under chromedriver) over the office's pages.
//!
//! `Chromium::start(&world)` serves the world on a free loopback port; then `log_in`, `open`, `fill`, `press`. [`Chromium::look_at`] is what every page of the office
//! goes through: axe-core without a violation and no error in the console, on a desktop and on a phone of 360 px without sideways scrolling. Pictures go
//! to docs/images/ufficio where VOCEGUIDA_SCREENSHOTS is set (`make screenshots`).
#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::http::Method;
use fantoccini::{Client, ClientBuilder, Locator, wd::WebDriverCompatibleCommand};
use serde_json::{Value, json};

use crate::office_support::{PASSWORD, World, picture};

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// How large the window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Desktop,
    Phone,
}

impl Size {
    fn pixels(self) -> (u32, u32) {
        match self {
            Self::Desktop => (1280, 900),
            Self::Phone => (360, 740),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Desktop => "computer",
            Self::Phone => "telefono",
        }
    }
}

/// chromedriver; ended (by its pid) when dropped.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that WebDriver does not have, but chromedriver does.
#[derive(Debug)]
struct Extra(&'static str, Value);

impl WebDriverCompatibleCommand for Extra {
    fn endpoint(&self, base_url: &url::Url, session_id: Option<&str>) -> Result<url::Url, url::ParseError> {
        base_url.join(&format!("session/{}/{}", session_id.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

/// A browser over a world.
pub struct Chromium {
    pub client: Client,
    pub base: String,
    _driver: Driver,
    _profile: tempfile::TempDir,
}

impl Chromium {
    pub async fn start(world: &World) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let pages = world.router.clone().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, pages).await.unwrap() });

        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .env("LANGUAGE", "it")
            .env("LANG", "it_IT.UTF-8")
            .env("LC_ALL", "it_IT.UTF-8")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let driver = Driver(child);
        let port = tokio::task::spawn_blocking(move || {
            let port = lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(|line| line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned()));
            // Nobody reads on: chromedriver writes nothing more that would fill the pipe.
            port.expect("chromedriver says its port")
        });
        let port = port.await.unwrap();
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-dev-shm-usage".into(),
            "--hide-scrollbars".into(),
            "--force-prefers-reduced-motion".into(),
            "--lang=it".into(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments, "binary": "/usr/bin/chromium" },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser");
        let browser = Self { client, base, _driver: driver, _profile: profile };
        browser.resize(Size::Desktop).await;
        browser
    }

    pub async fn close(self) {
        self.client.clone().close().await.unwrap();
    }

    async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.client.issue_cmd(Extra("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))).await.expect(command)
    }

    pub async fn resize(&self, size: Size) {
        let (width, height) = size.pixels();
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == Size::Phone });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Opens a page of ours.
    pub async fn open(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.base)).await.unwrap();
        self.settled().await;
    }

    /// Waits until the page stands, fonts too.
    pub async fn settled(&self) {
        let script = "const done = arguments[0]; document.fonts.ready.then(() => requestAnimationFrame(() => done(true)));";
        self.client.execute_async(script, Vec::new()).await.unwrap();
    }

    /// Where the browser is, without the site.
    pub async fn path(&self) -> String {
        self.client.current_url().await.unwrap().as_str().replacen(&self.base, "", 1)
    }

    /// The page's text as it is seen.
    pub async fn text(&self) -> String {
        self.client.execute("return document.body.innerText", Vec::new()).await.unwrap().as_str().unwrap().to_owned()
    }

    /// Waits until the page says that.
    #[track_caller]
    pub fn until_it_says<'a>(&'a self, what: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let began = Instant::now();
            loop {
                // A page that is just being left cannot be asked.
                let text = self.client.execute("return document.body ? document.body.innerText : ''", Vec::new()).await;
                let text = text.ok().and_then(|t| t.as_str().map(ToOwned::to_owned)).unwrap_or_default();
                if text.contains(what) {
                    return self.settled().await;
                }
                assert!(began.elapsed() < PATIENCE, "{caller}: \"{what}\" is not in\n{text}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Types into a field, by its name.
    pub async fn fill(&self, name: &str, value: &str) {
        let field =
            self.client.find(Locator::Css(&format!("main [name=\"{name}\"]"))).await.unwrap_or_else(|e| panic!("field {name}: {e}"));
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }

    /// Presses a button or link, by what it says.
    pub async fn press(&self, label: &str) {
        let xpath = format!("//main//*[self::button or self::a][normalize-space(.)=\"{label}\"]");
        self.client.find(Locator::XPath(&xpath)).await.unwrap_or_else(|e| panic!("button {label}: {e}")).click().await.unwrap();
    }

    /// The same for one that begins so: more follows for those who hear the page.
    pub async fn press_beginning(&self, label: &str) {
        let xpath = format!("//main//*[self::button or self::a][starts-with(normalize-space(.), \"{label}\")]");
        self.client.find(Locator::XPath(&xpath)).await.unwrap_or_else(|e| panic!("button {label}…: {e}")).click().await.unwrap();
    }

    /// Presses an entry of the menu.
    pub async fn press_in_menu(&self, label: &str) {
        let xpath = format!("//nav[@aria-label=\"Principale\"]//a[normalize-space(.)=\"{label}\"]");
        self.client.find(Locator::XPath(&xpath)).await.unwrap_or_else(|e| panic!("menu {label}: {e}")).click().await.unwrap();
    }

    /// Presses the label of a radio button or check box.
    pub async fn tick(&self, label: &str) {
        let xpath = format!("//main//label[starts-with(normalize-space(.), \"{label}\")]");
        self.client.find(Locator::XPath(&xpath)).await.unwrap_or_else(|e| panic!("label {label}: {e}")).click().await.unwrap();
    }

    /// Chooses from a list, by the beginning of what the entry says.
    pub async fn choose(&self, name: &str, entry: &str) {
        let xpath = format!("//main//select[@name=\"{name}\"]/option[starts-with(normalize-space(.), \"{entry}\")]");
        self.client.find(Locator::XPath(&xpath)).await.unwrap_or_else(|e| panic!("{entry} in {name}: {e}")).click().await.unwrap();
    }

    /// Sets a field whose keyboard depends on the language of the browser: a date.
    pub async fn set(&self, name: &str, value: &str) {
        let script = "document.querySelector(`main [name=\"${arguments[0]}\"]`).value = arguments[1]";
        self.client.execute(script, vec![name.into(), value.into()]).await.unwrap();
    }

    /// Labels and paths of the menu.
    pub async fn menu(&self) -> Vec<(String, String)> {
        let script = "return [...document.querySelectorAll('nav[aria-label=\"Principale\"] a')].map((a) => [a.innerText.trim(), a.getAttribute('href')])";
        let found = self.client.execute(script, Vec::new()).await.unwrap();
        serde_json::from_value(found).unwrap()
    }

    /// Presses a key, or types, where the focus is.
    pub async fn type_here(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Goes on with the tab key until the focus is on what says or is called that; on the way everything that has the focus shows it.
    pub async fn tab_to(&self, wanted: &str) {
        let script = "const e = document.activeElement;
            if (!e || e === document.body) return ['', '', true];
            const label = e.labels && e.labels.length ? e.labels[0].innerText : '';
            const style = getComputedStyle(e);
            // A radio button or check box is drawn by its label. A date's button is the browser's own: it has the focus then, not the field.

            const drawn = e.labels && e.labels.length ? getComputedStyle(e.labels[0]) : style;
            const before = e.labels && e.labels.length ? getComputedStyle(e.labels[0], '::before') : style;
            const shows = !e.matches(':focus') || [style, drawn, before].some((s) => (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none');
            return [(e.innerText || label || '').trim().replace(/\\s+/g, ' '), e.name || '', shows,
                [e.matches(':focus'), style.outline, style.boxShadow, document.hasFocus()].join(' | ')];";
        for _ in 0..150 {
            self.type_here("\u{E004}").await;
            let found = self.client.execute(script, Vec::new()).await.unwrap();
            let (said, name) = (found[0].as_str().unwrap_or_default(), found[1].as_str().unwrap_or_default());
            assert_eq!(found[2], true, "{}: the focus on \"{said}\" ({name}) does not show: {}", self.path().await, found[3]);
            if said.starts_with(wanted) || name == wanted {
                return;
            }
        }
        panic!("{}: the keyboard does not come to \"{wanted}\"", self.path().await);
    }

    /// Logs in with the world's password.
    pub async fn log_in(&self, login: &str) {
        self.open("/ufficio/accesso").await;
        self.fill("utente", login).await;
        self.fill("password", PASSWORD).await;
        self.press("Entra").await;
    }

    /// The errors in the console since they were last asked for.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.client.issue_cmd(Extra("se/log", json!({ "type": "browser" }))).await.expect("the console");
        let entries = entries.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|e| e["level"] == "SEVERE");
        severe.map(|e| e["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// No violation that axe-core finds.
    pub async fn assert_accessible(&self) {
        let found = self.violations().await;
        assert!(found.is_none(), "{}: {}", self.path().await, found.unwrap_or_default());
    }

    /// What axe-core finds wrong (WCAG 2.1 A and AA, and its best practices).
    async fn violations(&self) -> Option<String> {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/axe/axe.min.js");
        let axe = std::fs::read_to_string(&file).expect("target/axe/axe.min.js: run tests/install.sh");
        // Through the debugger: the content policy lets no page load it.
        self.cdp("Runtime.evaluate", json!({ "expression": axe })).await;
        let script = "const done = arguments[0];
            axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }).then(
                (found) => done(found.violations.map((v) => v.id + ': ' + v.help + '\\n' + v.nodes.map((n) => '    ' + n.html + '\\n    ' + n.failureSummary).join('\\n'))),
                (error) => done([String(error)]));";
        let found = self.client.execute_async(script, Vec::new()).await.unwrap();
        let found: Vec<_> = found.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
        (!found.is_empty()).then(|| found.join("\n"))
    }

    /// What makes the page itself scroll sideways.
    async fn too_wide(&self) -> Option<String> {
        let script = "const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
            if (wide <= 0) return [0, []];
            const width = document.documentElement.clientWidth;
            return [wide, [...document.querySelectorAll('main *, header *, footer *')].filter((e) => e.getBoundingClientRect().right > width + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 200))];";
        let found = self.client.execute(script, Vec::new()).await.unwrap();
        (found[0] != 0).then(|| format!("wider than the window: {found:#}"))
    }

    /// A picture for the documentation, where asked for: docs/images/ufficio/NAME-computer.png, NAME-telefono.png.
    pub async fn screenshot(&self, name: &str, size: Size) {
        if std::env::var_os("VOCEGUIDA_SCREENSHOTS").is_none() {
            return;
        }
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/images/ufficio");
        std::fs::create_dir_all(&folder).unwrap();
        let picture = picture::small(&self.client.screenshot().await.unwrap());
        std::fs::write(folder.join(format!("{name}-{}.png", size.word())), picture).unwrap();
    }

    /// What every page goes through; `name` is its picture's.
    pub async fn look_at(&self, name: &str, path: &str) {
        let wrong = self.look_for_faults(name, path).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// The same; what is wrong is given back.
    pub async fn look_for_faults(&self, name: &str, path: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for size in [Size::Desktop, Size::Phone] {
            self.resize(size).await;
            self.open(path).await;
            wrong.extend(self.faults_here(name, size).await);
        }
        self.resize(Size::Desktop).await;
        wrong
    }

    /// The same for the page that stands, e.g. after a form was sent.
    pub async fn look_here(&self, name: &str, size: Size) {
        let wrong = self.faults_here(name, size).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    async fn faults_here(&self, name: &str, size: Size) -> Vec<String> {
        self.screenshot(name, size).await;
        let mut wrong: Vec<String> = [self.violations().await, self.too_wide().await].into_iter().flatten().collect();
        wrong.extend(self.console_errors().await.into_iter().map(|error| format!("in the console: {error}")));
        let page = format!("{} ({})", self.path().await, size.word());
        wrong.iter().map(|wrong| format!("{page}: {wrong}")).collect()
    }

    /// A passkey authenticator that always says yes (Chromium's virtual one).
    pub async fn plug_authenticator_in(&self) {
        let options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true, "isUserConsenting": true, "isUserVerified": true,
        });
        self.client.issue_cmd(Extra("webauthn/authenticator", options)).await.expect("an authenticator");
    }
}
