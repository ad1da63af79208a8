//! Chromium without a window, driven by the protocol of its driver: <https://www.w3.org/TR/webdriver2/>.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::wire::{Request, Wire};

/// How long a page may take to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the protocol calls a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Opens one that knows a single name, and so nothing beyond this machine.
    pub fn open(host: &str, address: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = start();
        let port = port_of(&mut driver);
        let mut browser = Self { driver, port, session: String::new(), profile };
        let rules = format!("--host-resolver-rules=MAP {host} {address}, MAP * ~NOTFOUND");
        let data = format!("--user-data-dir={}", browser.profile.path().display());
        let mut flags = vec![rules, data];
        flags.extend(
            [
                "--headless=new",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--no-proxy-server",
                "--window-size=1280,860",
                "--hide-scrollbars",
                "--no-first-run",
                "--no-default-browser-check",
                "--no-pings",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-default-apps",
                "--disable-domain-reliability",
                "--disable-extensions",
                "--disable-sync",
                "--disable-features=OptimizationHints,MediaRouter,Translate",
                "--password-store=basic",
            ]
            .map(str::to_owned),
        );
        let chrome = json!({ "args": flags, "binary": "/usr/bin/chromium" });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": chrome });
        let session =
            browser.call("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser
    }

    pub fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// The path of the page that is shown.
    pub fn path(&self) -> String {
        self.script("return location.pathname").as_str().unwrap().to_owned()
    }

    /// What a piece of JavaScript returns.
    pub fn script(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The texts of all elements that are found now, by CSS.
    pub fn texts(&self, what: &str) -> Vec<String> {
        let each = "const of = document.querySelectorAll(arguments[0]); return [...of].map((e) => e.innerText)";
        let found = self.ask("POST", "/execute/sync", &json!({ "script": each, "args": [what] }));
        found
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|text| Some(text.as_str()?.to_owned()))
            .collect()
    }

    /// Waits until the page shows it, in an element that CSS finds.
    pub fn sees(&self, what: &str, text: &str) {
        let start = Instant::now();
        while !self.texts(what).iter().any(|is| is.contains(text)) {
            assert!(
                start.elapsed() < PATIENCE,
                "`{what}` does not show `{text}` within {PATIENCE:?}; on {}: {}",
                self.path(),
                self.script("return document.body.innerText")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Clicks on it as soon as it is there and can be clicked. What begins with `//` is an
    /// `XPath`.
    pub fn click(&self, what: &str) {
        self.act(what, |element| (format!("/element/{element}/click"), json!({})));
    }

    /// Types into a field that is emptied before.
    pub fn fill(&self, what: &str, text: &str) {
        self.act(what, |element| (format!("/element/{element}/clear"), json!({})));
        self.act(what, |element| (format!("/element/{element}/value"), json!({ "text": text })));
    }

    fn act(&self, what: &str, request: impl Fn(&str) -> (String, Value)) {
        let using = if what.starts_with("//") { "xpath" } else { "css selector" };
        let start = Instant::now();
        loop {
            let found = self.try_ask("POST", "/element", &json!({ "using": using, "value": what }));
            let done = found.and_then(|found| {
                let (path, body) = request(found[ELEMENT].as_str().unwrap());
                self.try_ask("POST", &path, &body)
            });
            let Err(why) = done else { return };
            assert!(start.elapsed() < PATIENCE, "{what}: {why}; on {}", self.path());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Keeps what is seen as a picture: in `$HOSTKIT_ARTEFACTS`, or below the target directory.
    pub fn picture(&self, name: &str) {
        let dir = std::env::var_os("HOSTKIT_ARTEFACTS").map_or_else(
            || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots"),
            PathBuf::from,
        );
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("{name}.png"));
        let picture = self.ask("GET", "/screenshot", &Value::Null);
        let bytes = data_encoding::BASE64.decode(picture.as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        println!("{}", path.display());
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.request(method, &format!("/session/{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.request(method, path, body).unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = "Content-Type: application/json\r\nConnection: close\r\n";
        let address = ([127, 0, 0, 1], self.port).into();
        let (head, text) = Wire::open(address, "localhost", Duration::from_mins(1))
            .and_then(|mut wire| wire.ask(&Request { method, path, headers, body: &body }))
            .map_err(|e| e.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
        match head.status {
            200 => Ok(answer["value"].take()),
            status => Err(format!("status {status}: {}", answer["value"]["message"])),
        }
    }
}

impl Drop for Browser {
    /// The driver is the first process of a namespace: with it goes all that it started.
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn start() -> Child {
    for program in ["/usr/bin/chromium", "/usr/bin/chromedriver"] {
        assert!(
            PathBuf::from(program).exists(),
            "there is no {program}: apt-get install --no-install-recommends chromium chromium-driver"
        );
    }
    Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "chromedriver", "--port=0"])
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The port that the driver chose, as it says.
fn port_of(driver: &mut Child) -> u16 {
    let said = BufReader::new(driver.stdout.take().unwrap());
    let mut lines = said.lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        line.rsplit_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    // It goes on to speak, and must not wait for somebody to listen.
    std::thread::spawn(move || lines.for_each(drop));
    port.expect("chromedriver says on which port it listens")
}
