//! Halext, as its owner sets it up: one command, then what a house does with it.

use std::path::Path;

use serde_json::Value;

use crate::vps::{BASE_DOMAIN, Vps};

const DOMAIN: &str = "org.halext.test";

/// The server, and the access code of the house.
struct House {
    vps: Vps,
    code: String,
}

impl House {
    /// `--source` is all that hostkit is told.
    fn build() -> Self {
        let vps = Vps::unlimited();
        let example = format!("{}/examples/halext", env!("CARGO_MANIFEST_DIR"));
        vps.push(Path::new(&example), "/root/halext");
        let line = format!("provision halext --source /root/halext --domain {DOMAIN}");
        let told = vps.hostkit(&line).succeeds();
        assert!(told.contains(&format!("http://halext.{BASE_DOMAIN}")), "{told}");
        let code = told.lines().find_map(|line| line.trim().strip_prefix("ACCESS_CODE  "));
        let code = code.and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
        assert!(code.len() > 10, "it is shown once: {told}");
        Self { vps, code }
    }

    fn curl(&self, path: &str, options: &str) -> (u16, String) {
        let url = format!("--resolve {DOMAIN}:80:127.0.0.1 http://{DOMAIN}{path}");
        let ran =
            self.vps.sh(&format!("curl -sS --max-time 60 -w '\\n%{{http_code}}' {options} {url}"));
        let (body, status) = ran.stdout.trim_end().rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap(), body.to_owned())
    }

    fn json(&self, path: &str, token: &str, body: Option<&str>) -> (u16, Value) {
        let data = body.map_or(String::new(), |body| {
            format!("-H 'Content-Type: application/json' -d '{body}'")
        });
        let (status, text) = self
            .curl(&format!("/api{path}"), &format!("-H 'Authorization: Bearer {token}' {data}"));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A token, or the status that says no.
    fn sign_in(&self, name: &str, code: &str) -> Result<String, u16> {
        let options = format!(
            "-H 'X-Halext-Code: {code}' -d 'username={name}&password=correct-horse-battery'"
        );
        let (status, text) = self.curl("/api/token", &options);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status == 200 {
            Ok(answer["access_token"].as_str().unwrap().to_owned())
        } else {
            Err(status)
        }
    }

    fn register(&self, name: &str, code: &str) -> u16 {
        let body = format!(
            r#"{{"username":"{name}","password":"correct-horse-battery","is_admin":true}}"#
        );
        let options =
            format!("-H 'X-Halext-Code: {code}' -H 'Content-Type: application/json' -d '{body}'");
        self.curl("/api/users/", &options).0
    }

    /// What a chat says, as it is streamed.
    fn chat(&self, token: &str, message: &str) -> String {
        let options = format!(
            "-N -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
             -d '{{\"message\":\"{message}\"}}'"
        );
        let (status, text) = self.curl("/api/chat", &options);
        assert_eq!(status, 200, "{text}");
        text
    }
}

#[test]
fn a_house_moves_in_with_one_command() {
    let house = House::build();
    let House { vps, code } = &house;
    // The page, its deep links and its parts; nothing beside them.
    let (status, index) = house.curl("/", "");
    assert!(status == 200 && index.contains("<div id=\"root\""), "{index}");
    assert_eq!(house.curl("/tasks", "").1, index);
    let script = index.split('"').find(|part| part.starts_with("/assets/")).unwrap();
    let (status, head) = house.curl(script, "-o /dev/null -D -");
    assert!(status == 200 && head.contains("immutable"), "{head}");
    for hidden in ["/assets/gone.js", "/hostkit.toml", "/package.json", "/.env", "/metrics"] {
        let (_, body) = house.curl(hidden, "");
        assert!(!body.contains("process.web") && !body.contains("halext_"), "{hidden}: {body}");
    }

    // No code, no account and no way in; and nobody makes himself an administrator.
    assert_eq!(house.register("ann", "wrong"), 401);
    assert_eq!(house.register("ann", code), 200);
    assert_eq!(house.sign_in("ann", "wrong"), Err(401));
    let ann = house.sign_in("ann", code).unwrap();
    assert_eq!(house.json("/admin/ai-clients", &ann, None).0, 403);
    let task = r#"{"title":"water the plants","priority":"high"}"#;
    assert_eq!(house.json("/tasks/", &ann, Some(task)).0, 201);
    assert_eq!(house.json("/tasks/", "", None).0, 401);

    // Chat: the mock, then a node that an administrator adds, then the mock again.
    assert!(house.chat(&ann, "hello").contains("event: done"));
    let create = "printf 'correct-horse-battery\\n' | hostkit exec halext -- venv/bin/python -m app.ctl create-admin root1";
    vps.sh(create).succeeds();
    let admin = house.sign_in("root1", code).unwrap();
    vps.sh("systemd-run --unit fake-node python3 /root/halext/tests/fake_node.py --name cellar")
        .succeeds();
    vps.wait_until("the node", |vps| {
        vps.sh("curl -s http://127.0.0.1:11434/api/tags").stdout.contains("llama3")
    });
    let node = r#"{"name":"cellar","hostname":"127.0.0.1","port":11434}"#;
    let (status, added) = house.json("/admin/ai-clients", &admin, Some(node));
    assert!(status == 201 && added["status"] == "online", "{added}");
    let said = house.chat(&ann, "who are you");
    assert!(said.contains("cellar") && said.contains("heard"), "{said}");
    vps.sh("systemctl stop fake-node").succeeds();
    let said = house.chat(&ann, "are you there");
    assert!(!said.contains("heard") && said.contains("event: done"), "{said}");

    // The panel may ask for a deploy where that is granted, and gets what hostkit says.
    assert_eq!(house.json("/admin/rebuild-frontend", &admin, Some("{}")).0, 501);
    let line = "deploy --only frontend";
    vps.hostkit_args(&["permissions", "grant", "halext", "--app", line]).succeeds();
    let (status, why) = house.json("/admin/rebuild-frontend", &admin, Some("{}"));
    assert!(status == 502 && why["detail"] == "nothing says what to deploy", "{status} {why}");
    assert_eq!(house.json("/admin/rebuild-frontend", &ann, Some("{}")).0, 403);

    // A new code lets nobody in by the old one, and nobody who is in goes out.
    vps.hostkit("env set halext ACCESS_CODE --generate --restart").succeeds();
    let fresh = vps.hostkit("env get halext ACCESS_CODE").succeeds().trim().to_owned();
    assert_ne!(&fresh, code);
    assert_eq!(house.sign_in("ann", code), Err(401));
    house.sign_in("ann", &fresh).unwrap();
    assert_eq!(house.json("/tasks/", &ann, None).1[0]["title"], "water the plants");

    // Another version: nothing is installed again, and what was written stays.
    vps.write("/root/halext/VERSION", "9.9.9\n");
    let told = vps.hostkit("deploy halext --source /root/halext --no-watch").succeeds();
    assert_eq!(house.json("/version", "", None).1["version"], "9.9.9", "{told}");
    let of = vps.sh("find /home/halext/app/venv/ -type f -links 1 | wc -l").succeeds();
    assert!(of.trim().parse::<u32>().unwrap() < 100, "the packages are shared: {of}");

    // One part alone: the other stays as it is live, whatever the source says of it.
    vps.write("/root/halext/VERSION", "9.9.10\n");
    vps.sh("sed -i 's|<title>.*</title>|<title>another</title>|' /root/halext/frontend/index.html")
        .succeeds();
    vps.sh(
        "sed -i 's|\"name\": \"halext\"|\"name\": \"changed\"|' /root/halext/backend/app/routes.py",
    )
    .succeeds();
    for odd in ["../backend", "nothing", ".complete", "VERSION", "venv"] {
        let line = format!("deploy halext --source /root/halext --only {odd} --no-watch");
        vps.hostkit(&line).fails_with(2);
    }
    let only = |part: &str| {
        let line = format!("deploy halext --source /root/halext --only {part} --no-watch");
        vps.hostkit(&line).succeeds();
        (house.curl("/", "").1.contains("another"), house.json("/version", "", None).1)
    };
    let (is_new, version) = only("frontend");
    assert!(is_new && version["name"] == "halext" && version["version"] == "9.9.9", "{version}");
    vps.sh("sed -i 's|<title>.*</title>|<title>a third</title>|' /root/halext/frontend/index.html")
        .succeeds();
    let (is_old, version) = only("backend");
    assert!(is_old && version["name"] == "changed" && version["version"] == "9.9.9", "{version}");
    vps.hostkit("drift halext").succeeds();

    // A migration that fails, and a frontend that can't be built, change nothing.
    for (path, text) in [
        ("backend/app/migrations/0003_broken.sql", "ALTER TABLE nothing ADD COLUMN x int;"),
        ("frontend/src/broken.ts", "export const broken: number = \"no\";"),
    ] {
        vps.write(&format!("/root/halext/{path}"), text);
        let ran = vps.hostkit("deploy halext --source /root/halext --no-watch");
        assert!(ran.code == 1 || ran.code == 6, "{path}: {ran}");
        vps.sh(&format!("rm /root/halext/{path}")).succeeds();
        assert_eq!(house.json("/version", "", None).1["version"], "9.9.9");
    }
    assert_eq!(house.json("/tasks/", &ann, None).1[0]["title"], "water the plants");

    // The database goes and comes: the truth is told, and nobody has to help.
    vps.sh("systemctl stop postgresql@15-main").succeeds();
    assert_eq!(house.json("/health", "", None).0, 503);
    vps.hostkit("health halext").fails_with(6);
    vps.sh("systemctl start postgresql@15-main").succeeds();
    vps.wait_until("the house is well", |vps| vps.hostkit("health halext").code == 0);
    assert_eq!(house.json("/tasks/", &ann, None).1[0]["title"], "water the plants");
    vps.hostkit("rollback halext").succeeds();
    assert_eq!(house.json("/version", "", None).1["name"], "halext");
    vps.hostkit("drift halext").succeeds();
    vps.hostkit("project delete halext --yes --no-backup").succeeds();
    vps.sh("id halext").fails_with(1);
}
