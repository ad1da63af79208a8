//! A server with a project on it, and small apps to deploy to it.

use std::ops::Deref;

use super::{BASE_DOMAIN, Vps};

/// Tells its version, by threads and with no graceful end: what a deploy must cope with.
const SERVER: &str = r#"
import http.server, os, sys, time
START

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sent = b""
    def do_GET(self):
        status, body = 200, "VERSION"
        HANDLE
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

Server((os.environ["HOST"], int(os.environ["PORT"])), Page).serve_forever()
"#;

pub const MANIFEST: &str = r#"
[project]
runtime = "custom"
[process.web]
command = "/usr/bin/python3 server.py"
"#;

/// A server in python: what it does as it starts, and before it answers with `status` and `body`,
/// which may be to what was `sent`.
pub fn app(version: &str, start: &str, handle: &str) -> String {
    let handle = handle.replace('\n', "\n        ");
    SERVER.replace("VERSION", version).replace("START", start).replace("HANDLE", &handle)
}

/// A project, and the server that it is alone on at first.
pub struct Shop {
    pub vps: Vps,
    name: &'static str,
    handle: &'static str,
}

impl Deref for Shop {
    type Target = Vps;

    fn deref(&self) -> &Vps {
        &self.vps
    }
}

impl Vps {
    /// Runs a script as soon as a release is live that is not there yet.
    pub fn once_the_next_is_live(&self, project: &str, script: &str) {
        let releases = format!("hostkit releases {project} --json");
        let newest = self.sh(&format!("{releases} | jq -r '.data[0].id'")).succeeds();
        let is_live = format!(".data[0] | .state == \"live\" and .id != \"{}\"", newest.trim());
        let wait = format!("until {releases} | jq -e '{is_live}'; do sleep 0.2; done");
        self.sh(&format!("({wait}; {script}) > /dev/null 2>&1 &")).succeeds();
    }
}

impl Shop {
    /// Nothing is deployed yet.
    pub fn open() -> Self {
        Self::named("shop", "--no-db --no-redis")
    }

    pub fn named(name: &'static str, options: &str) -> Self {
        let vps = Vps::unlimited();
        vps.hostkit(&format!("provision {name} {options} --quiet")).succeeds();
        Self { vps, name, handle: "pass" }
    }

    /// What the versions to come do before they answer.
    pub fn handling(self, handle: &'static str) -> Self {
        Self { handle, ..self }
    }

    /// Puts a tree where `--source /root/NAME` finds it.
    pub fn tree(&self, name: &str, files: &[(&str, &str)]) {
        for (path, text) in files {
            self.vps.write(&format!("/root/{name}/{path}"), text);
        }
    }

    /// A tree with an app that answers with its name, and with more in its manifest.
    pub fn version(&self, version: &str, more: &str) {
        self.app(version, "", self.handle, more);
    }

    /// As [`version`](Self::version), with what the app does as it starts and before it answers.
    pub fn app(&self, version: &str, start: &str, handle: &str, more: &str) {
        let (server, manifest) = (app(version, start, handle), format!("{MANIFEST}{more}"));
        self.tree(version, &[("server.py", &server), ("hostkit.toml", &manifest)]);
    }

    fn line(&self, version: &str) -> String {
        format!("deploy {} --source /root/{version} --no-watch", self.name)
    }

    /// Deploys a tree; which release it is.
    pub fn deploy(&self, version: &str) -> String {
        self.hostkit(&format!("{} --quiet", self.line(version))).succeeds().trim().to_owned()
    }

    /// What a deploy says that fails in that way.
    pub fn deploy_fails(&self, version: &str, code: i32) -> String {
        self.hostkit(&self.line(version)).fails_with(code)
    }

    /// What a visitor sees: the page, or why there is none.
    pub fn serves(&self) -> String {
        match self.get(&format!("{}.{BASE_DOMAIN}", self.name), "/") {
            Some(answer) if answer.status == 200 => answer.body,
            Some(answer) => format!("{} {}", answer.status, answer.body),
            None => String::new(),
        }
    }
}
