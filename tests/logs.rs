//! What a project said, what the web server noted of it, and how the project is.

use crate::vps::{BASE_DOMAIN, Vps, app, until};

const SERVER: &str = r#"
import http.server, os
class Page(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        print("asked", self.path, "\x1b[2J", flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Page).serve_forever()
"#;

const MANIFEST: &str = "[project]\nruntime = \"custom\"\n[process.web]\ncommand = \"/usr/bin/python3 server.py\"\n\
    [process.queue]\ncommand = \"/bin/sh -c 'echo in the queue; exec sleep 1000'\"\n";

#[test]
fn a_project_shows_what_it_said_and_what_nginx_noted() {
    let vps = Vps::ready();
    vps.write("/root/one/server.py", SERVER);
    vps.write("/root/one/hostkit.toml", MANIFEST);
    for name in ["shop", "wiki"] {
        vps.hostkit(&format!("provision {name} --no-db --no-redis --quiet")).succeeds();
    }
    vps.hostkit("deploy shop --source /root/one --no-watch --quiet").succeeds();
    vps.get(&format!("shop.{BASE_DOMAIN}"), "/mark").unwrap();
    let log = vps.hostkit("log shop").succeeds();
    assert!(log.contains("web out    | asked /mark") && log.contains("in the queue"), "{log}");
    let queue = vps.hostkit("log shop queue -n 1 --json").data();
    assert_eq!(queue[0]["line"], "in the queue", "{queue}");
    let nginx = vps.hostkit("log shop --nginx").succeeds();
    assert!(nginx.contains("nginx access | ") && nginx.contains("GET /mark"), "{nginx}");
    assert!(!nginx.contains('\u{1b}') && !log.contains('\u{1b}'), "{nginx}");

    // Its own user may, by whichever name, and no neighbour.
    for line in
        ["hostkit log --nginx", "hostkit log shop queue", "hostkit log queue", "hostkit log"]
    {
        vps.sh_as("shop", line).succeeds();
    }
    for line in ["hostkit log shop", "hostkit log shop queue", "hostkit log shop --nginx"] {
        let ran = vps.sh_as("wiki", line);
        assert!(ran.code != 0 && ran.stdout.is_empty(), "{line}: {ran}");
    }
    vps.hostkit("log nothing --nginx").fails_with(3);
    vps.hostkit("log shop queue --nginx").fails_with(2);
    let follow = "timeout 60 hostkit log shop --nginx --follow > /root/followed";
    let visit =
        format!("curl -s -o /dev/null -H \"Host: shop.{BASE_DOMAIN}\" http://127.0.0.1/later");
    let seen = until(&format!("{visit}; grep -q \"GET /later\" /root/followed"));
    vps.sh(&format!("{follow} & {seen}; code=$?; kill %1; exit $code")).succeeds();
}

/// Healthy until a file says otherwise.
const PATIENT: &str = r#"
if self.path == "/health" and os.path.exists("/home/shop/shared/ill"):
    status = 503
"#;

#[test]
fn health_tells_what_is_wrong_with_a_project() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    let wrong = |vps: &Vps| -> Vec<String> {
        let ran = vps.hostkit("health shop --json");
        assert!(ran.code == 0 || ran.code == 6, "{ran}");
        let health: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let checks = health["data"]["checks"].as_array().unwrap().clone();
        let ill = checks.iter().filter(|check| check["healthy"] == false);
        let found: Vec<String> =
            ill.map(|check| format!("{}: {}", check["what"], check["said"])).collect();
        assert_eq!(found.is_empty(), ran.code == 0, "{ran}");
        found
    };
    assert!(wrong(&vps)[0].contains("none yet"));
    vps.write("/root/one/server.py", &app("hello", "", PATIENT));
    vps.write("/root/one/hostkit.toml", MANIFEST);
    vps.hostkit("deploy shop --source /root/one --no-watch --quiet").succeeds();
    assert!(wrong(&vps).is_empty());
    assert!(vps.sh_as("shop", "hostkit health").succeeds().contains("shop is healthy"));

    vps.sh("touch /home/shop/shared/ill").succeeds();
    let found = wrong(&vps);
    assert!(found.len() == 1 && found[0].contains("`GET /health` answers 503"), "{found:?}");
    vps.sh("rm /home/shop/shared/ill; systemctl stop hostkit-shop-queue").succeeds();
    let found = wrong(&vps);
    assert!(
        found.len() == 1 && found[0].contains("queue") && found[0].contains("stopped"),
        "{found:?}"
    );
    vps.sh("systemctl start hostkit-shop-queue; systemctl stop hostkit-shop").succeeds();
    let found = wrong(&vps).join("; ");
    assert!(
        found.contains("web") && found.contains("answers") && found.contains("site"),
        "{found}"
    );
    vps.sh("systemctl start hostkit-shop; systemctl stop nginx").succeeds();
    vps.wait_until("the app", |vps| wrong(vps).len() == 1);
    assert!(wrong(&vps)[0].contains("site"));
}
