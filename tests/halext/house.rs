//! A server with Halext on it, and what one does there by hand.

use std::path::Path;

use serde_json::Value;

use crate::vps::{BASE_DOMAIN, Vps};

pub const DOMAIN: &str = "org.halext.test";
pub const PASSWORD: &str = "correct-horse-battery";

/// The server, and the access code of the house.
pub struct House {
    pub vps: Vps,
    pub code: String,
}

impl House {
    /// `--source` is all that hostkit is told.
    pub fn build() -> Self {
        let vps = Vps::unlimited();
        push(&vps);
        Self::provision(vps)
    }

    /// With a change to the tree before, which stays in `/root/halext`. Nobody watches the releases.
    pub fn built(change: &str) -> Self {
        let vps = Vps::unlimited();
        push(&vps);
        let unwatched = "sed -i 's/^\\[deploy\\]/&\\nwatch = 0/' hostkit.toml";
        vps.sh(&format!("cd /root/halext && {unwatched} && {change}")).succeeds();
        Self::provision(vps)
    }

    fn provision(vps: Vps) -> Self {
        let line = format!("provision halext --source /root/halext --domain {DOMAIN}");
        let told = vps.hostkit(&line).succeeds();
        Self { code: code_of(&told), vps }
    }

    pub fn curl(&self, path: &str, options: &str) -> (u16, String) {
        let url = format!("--resolve {DOMAIN}:80:127.0.0.1 http://{DOMAIN}{path}");
        let ran =
            self.vps.sh(&format!("curl -sS --max-time 60 -w '\\n%{{http_code}}' {options} {url}"));
        let (body, status) = ran.stdout.trim_end().rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap(), body.to_owned())
    }

    pub fn json(&self, path: &str, token: &str, body: Option<&str>) -> (u16, Value) {
        let data = body.map_or(String::new(), |body| {
            format!("-H 'Content-Type: application/json' -d '{body}'")
        });
        let (status, text) = self
            .curl(&format!("/api{path}"), &format!("-H 'Authorization: Bearer {token}' {data}"));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A token, or the status that says no.
    pub fn sign_in(&self, name: &str, code: &str) -> Result<String, u16> {
        let options =
            format!("-H 'X-Halext-Code: {code}' -d 'username={name}&password={PASSWORD}'");
        let (status, text) = self.curl("/api/token", &options);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status == 200 {
            Ok(answer["access_token"].as_str().unwrap().to_owned())
        } else {
            Err(status)
        }
    }

    pub fn register(&self, name: &str, code: &str) -> u16 {
        let body = format!(r#"{{"username":"{name}","password":"{PASSWORD}","is_admin":true}}"#);
        let options =
            format!("-H 'X-Halext-Code: {code}' -H 'Content-Type: application/json' -d '{body}'");
        self.curl("/api/users/", &options).0
    }

    /// Makes an administrator, as the operator does, and signs in.
    pub fn administrator(&self, name: &str) -> String {
        let line = format!("hostkit exec halext -- venv/bin/python -m app.ctl create-admin {name}");
        self.vps.sh(&format!("printf '{PASSWORD}\\n' | {line}")).succeeds();
        self.sign_in(name, &self.code).unwrap()
    }

    /// What a chat says, as it is streamed.
    pub fn chat(&self, token: &str, message: &str) -> String {
        let options = format!(
            "-N -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
             -d '{{\"message\":\"{message}\"}}'"
        );
        let (status, text) = self.curl("/api/chat", &options);
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Tells the house of a node, as an administrator does.
    pub fn add_node(&self, admin: &str, name: &str, host: &str, port: u16) -> Value {
        let node = format!(r#"{{"name":"{name}","hostname":"{host}","port":{port}}}"#);
        let (status, added) = self.json("/admin/ai-clients", admin, Some(&node));
        assert!(status == 201 && added["status"] == "online", "{added}");
        added
    }

    /// What `hostkit health` says, and how it ends.
    pub fn health(&self) -> (i32, Value) {
        let ran = self.vps.hostkit("health halext --json");
        let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        (ran.code, said["data"].clone())
    }

    /// The one row of `hostkit status halext`.
    pub fn status(&self) -> Value {
        self.vps.hostkit("status halext --json").data()["projects"][0].take()
    }

    /// One column of the database, row by row.
    pub fn select(&self, sql: &str) -> Vec<String> {
        let ran = self.vps.run(
            &["runuser", "-u", "postgres", "--", "psql", "-qAt", "-d", "halext_db", "-c", sql],
            b"",
        );
        ran.succeeds().lines().map(str::to_owned).collect()
    }
}

/// Puts the example to `/root/halext`.
pub fn push(vps: &Vps) {
    let example = format!("{}/examples/halext", env!("CARGO_MANIFEST_DIR"));
    vps.push(Path::new(&example), "/root/halext");
}

/// The access code, as it is shown once.
pub fn code_of(told: &str) -> String {
    assert!(told.contains(&format!("http://halext.{BASE_DOMAIN}")), "{told}");
    let code = told.lines().find_map(|line| line.trim().strip_prefix("ACCESS_CODE  "));
    let code = code.and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    assert!(code.len() > 10, "it is shown once: {told}");
    code
}

/// Starts a fake AI node in the unit `node-NAME`, on a server that has the example.
pub fn start_node(vps: &Vps, name: &str, port: u16, options: &str) {
    let node = format!("/root/halext/tests/fake_node.py --name {name} --port {port} {options}");
    vps.sh(&format!("systemd-run --unit node-{name} python3 {node}")).succeeds();
    vps.wait_until("the node", |vps| {
        vps.sh(&format!("curl -s http://127.0.0.1:{port}/api/tags")).stdout.contains("llama3")
    });
}
