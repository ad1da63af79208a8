//! Somebody is told when something is wrong, and when it is well again.

use serde_json::Value;

use crate::vps::{Shop, Vps};

/// Takes what is sent to it, each message a file; answers as `/root/code` says.
const TAKER: &str = r#"
import http.server, os
os.makedirs("/root/got", exist_ok=True)
class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        code = int(open("/root/code").read())
        if code == 200:
            n = len(os.listdir("/root/got"))
            open(f"/root/got/{n:03}{self.path.replace('/', '-')}", "wb").write(body)
        self.send_response(code)
        self.send_header("Location", "http://127.0.0.1:9900/elsewhere")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 9900), Taker).serve_forever()
"#;

const HANDLE: &str = r#"
if self.path == "/bad": status = 500
if self.path == "/slow": time.sleep(1.2)
"#;

fn taker(vps: &Vps) {
    vps.write("/root/taker.py", TAKER);
    vps.sh("echo 200 > /root/code; systemd-run -q --unit=taker python3 /root/taker.py").succeeds();
    vps.wait_until("the taker", |vps| vps.sh("ss -tln | grep -q 127.0.0.1:9900").code == 0);
}

fn add(vps: &Vps, words: &str, url: &str) -> crate::vps::Ran {
    let line = format!("hostkit alert add {words}");
    vps.run(&line.split(' ').collect::<Vec<_>>(), format!("{url}\n").as_bytes())
}

/// The messages that came since, by whom they were for.
fn got(vps: &Vps) -> Vec<(String, String)> {
    let names = vps.sh("ls /root/got").succeeds();
    let messages = names.lines().map(|name| {
        let text = vps.read(&format!("/root/got/{name}"));
        (name[4..].to_owned(), text)
    });
    let messages = messages.collect();
    vps.sh("rm -f /root/got/*").succeeds();
    messages
}

fn is_up(vps: &Vps) {
    vps.wait_until("the shop", |vps| {
        vps.hostkit("status shop --json").data()["projects"][0]["state"] == "up"
    });
}

/// One look, and what it told the program: keys and states.
fn look(vps: &Vps) -> Vec<String> {
    vps.hostkit("alert check --quiet").succeeds();
    let told = got(vps);
    assert!(told.len() < 2, "{told:?}");
    let Some((_, text)) = told.first() else { return Vec::new() };
    let whole: Value = serde_json::from_str(text).unwrap();
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let mut told: Vec<String> = whole["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", word(one, "key"), word(one, "state")))
        .collect();
    told.sort();
    told
}

#[test]
fn what_is_wrong_is_told_once_and_so_is_its_end() {
    let shop = Shop::named("shop", "--no-redis");
    let vps = &shop.vps;
    shop.app("one", "", HANDLE, "");
    shop.deploy("one");
    taker(vps);
    add(vps, "ops", "http://127.0.0.1:9900/hook").succeeds();
    // From here on the looks are ours.
    vps.sh("systemctl stop hostkit-alert.timer hostkit-alert.service").succeeds();
    vps.hostkit("config set alerts.after 0s").succeeds();
    assert_eq!(look(vps), [""; 0]);

    vps.sh("systemctl stop hostkit-shop").succeeds();
    assert_eq!(look(vps), ["shop: web problem"]);
    assert_eq!(look(vps), [""; 0]);
    let listed = vps.hostkit("alert list --json").data();
    assert_eq!(listed["problems"][0]["key"], "shop: web", "{listed}");
    assert!(vps.hostkit("alert list").succeeds().contains("shop: web: stopped"));
    // Whom it does not reach is told later, of all that there is by then.
    vps.sh("systemctl start hostkit-shop").succeeds();
    is_up(vps);
    vps.sh("systemctl stop nginx; echo 500 > /root/code").succeeds();
    let told = vps.hostkit("alert check").fails_with(1);
    assert!(told.contains("did not take the message") && told.contains("answered 500"), "{told}");
    vps.sh("echo 200 > /root/code").succeeds();
    assert_eq!(look(vps), ["nginx problem", "shop: web over"]);
    vps.sh("systemctl start nginx").succeeds();
    assert_eq!(look(vps), ["nginx over"]);

    // Work that is planned wakes nobody, but for what comes besides, and what is left of it.
    let text = vps.hostkit("alert mute shop --for 2h").succeeds();
    assert!(text.starts_with("shop is muted until "), "{text}");
    vps.sh("systemctl stop hostkit-shop nginx").succeeds();
    assert_eq!(look(vps), ["nginx problem"]);
    let listed = vps.hostkit("alert list").succeeds();
    assert!(listed.contains("shop: web: stopped") && listed.contains(&text), "{listed}");
    vps.hostkit("alert unmute shop").succeeds();
    assert_eq!(look(vps), ["shop: web problem"]);
    vps.hostkit("alert mute --for 3s").succeeds();
    vps.sh("systemctl start nginx hostkit-shop").succeeds();
    is_up(vps);
    vps.hostkit("alert mute --for 1h").succeeds();
    assert_eq!(look(vps), [""; 0]);
    vps.hostkit("alert mute --for 1s").succeeds();
    vps.sh("sleep 1.1").succeeds();
    assert_eq!(look(vps), ["nginx over", "shop: web over"]);
    let text = vps.hostkit("alert unmute shop").succeeds();
    assert_eq!(text, "shop was not muted\n");
    vps.hostkit("alert mute shpo").fails_with(3);
    vps.hostkit("alert mute --for 31d").fails_with(2);
    vps.hostkit("alert mute --for 0s").fails_with(2);
    assert_eq!(vps.sh_as("shop", "hostkit alert mute").code, 5);

    // It runs, and does no work.
    vps.sh("systemctl kill --signal=STOP hostkit-shop").succeeds();
    assert_eq!(look(vps), ["shop: answers problem"]);
    vps.sh("systemctl kill --signal=CONT hostkit-shop").succeeds();
    assert_eq!(look(vps), ["shop: answers over"]);

    // What visitors meet.
    let ask = |path: &str, count: usize| {
        let one = format!("curl -s -o /dev/null -H 'Host: shop.apps.test' http://127.0.0.1{path}");
        vps.sh(&format!("for i in $(seq {count}); do {one} & done; wait")).succeeds();
    };
    ask("/", 10);
    ask("/bad", 9);
    assert_eq!(look(vps), [""; 0], "too few to say anything");
    ask("/bad", 10);
    assert_eq!(look(vps), ["shop: errors problem"]);
    vps.hostkit("config set alerts.slow 1s").succeeds();
    vps.hostkit("config set alerts.errors 0%").succeeds();
    assert_eq!(look(vps), ["shop: errors over"]);
    ask("/slow", 8);
    assert_eq!(look(vps), ["shop: slow problem"]);
    vps.sh("truncate -s 0 /var/log/nginx/hostkit-shop.access.log").succeeds();
    assert_eq!(look(vps), ["shop: slow over"]);

    vps.hostkit("config set alerts.disk 1%").succeeds();
    assert_eq!(look(vps), ["disk / problem"]);
    vps.hostkit("config set alerts.disk 0%").succeeds();
    assert_eq!(look(vps), ["disk / over"]);

    // What can't be looked at is told, and keeps nobody from hearing of the rest.
    let log = "/var/log/nginx/hostkit-shop.access.log";
    vps.sh(&format!("mv {log} /root/log; mkdir {log}; systemctl stop hostkit-shop")).succeeds();
    assert_eq!(look(vps), ["shop: log problem", "shop: web problem"]);
    vps.sh(&format!("rmdir {log}; mv /root/log {log}; systemctl start hostkit-shop")).succeeds();
    is_up(vps);
    assert_eq!(look(vps), ["shop: log over", "shop: web over"]);

    // Where no note can be made of what was told, it is not said again and again; and who comes to
    // see what is wrong is not sent to mend the registry.
    vps.sh("set -e; cd /var/lib/hostkit; mkdir /root/kept; cp -a . /root/kept; mount -t tmpfs -o size=8m,mode=700 tmpfs /var/lib/hostkit; cp -a /root/kept/. /var/lib/hostkit; dd if=/dev/zero of=/var/lib/hostkit/full bs=4k status=none || true; systemctl stop hostkit-shop").succeeds();
    assert_eq!(look(vps), ["shop: web problem"]);
    assert_eq!(look(vps), [""; 0]);
    assert!(vps.exists("/run/hostkit/alerts.json"));
    vps.hostkit("status shop").succeeds();
    let told = vps.hostkit("provision wiki --no-db --no-redis").fails_with(8);
    assert!(told.contains("is full") && told.contains("make room"), "{told}");
    vps.sh("umount /var/lib/hostkit; systemctl start hostkit-shop").succeeds();
    is_up(vps);
    assert_eq!(look(vps), ["shop: web over"]);
    assert!(!vps.exists("/run/hostkit/alerts.json"));

    // A backup that failed is one that somebody hears of.
    vps.sh_as("shop", "truncate -s 7T ~/shared/huge").succeeds();
    vps.hostkit("backup create shop").fails_with(1);
    assert_eq!(look(vps), ["shop: backup problem"]);
    vps.sh("rm /home/shop/shared/huge").succeeds();
    vps.hostkit("backup create shop --quiet").succeeds();
    assert_eq!(look(vps), ["shop: backup over"]);

    // The timer by itself, with its own patience.
    vps.sh("systemctl stop hostkit-shop; systemctl start hostkit-alert.timer").succeeds();
    let last = "systemctl show -P LastTriggerUSec hostkit-alert.timer";
    vps.wait_until("the timer", |vps| !vps.sh(last).stdout.trim().is_empty());
    vps.wait_until("a message", |vps| vps.sh("ls /root/got | grep -q .").code == 0);
    assert!(got(vps)[0].1.contains("shop: web"));
    vps.hostkit("project delete shop --yes --no-backup --quiet").succeeds();
    vps.sh("systemctl stop hostkit-alert.timer hostkit-alert.service").succeeds();
    let told = look(vps);
    assert!(told.is_empty() || told == ["shop: web over"], "{told:?}");
}

#[test]
fn addresses_are_secret_and_lead_to_nobody_who_hands_out_secrets() {
    let vps = Vps::ready();
    taker(&vps);
    let before = vps.snapshot();
    let text = vps.hostkit("alert list").succeeds();
    assert!(text.contains("nobody is told yet"), "{text}");
    vps.hostkit("alert test").fails_with(3);
    for (url, why) in [
        ("http://192.0.2.1/SECRET", "everybody on the way"),
        ("http://169.254.169.254/latest/SECRET", "everybody on the way"),
        ("https://user:SECRET@example.com/", "a user's name"),
        ("file:///etc/shadow", "no host"),
        ("SECRET", "no host"),
    ] {
        let told = add(&vps, "ops", url).fails_with(2);
        assert!(told.contains(why) && !told.contains("SECRET"), "{url}: {told}");
    }
    add(&vps, "Ops", "http://127.0.0.1:9900/x").fails_with(2);
    before.assert_same(&vps.snapshot(), "nothing of it is kept");

    // Each is written to in its own way.
    let text = add(&vps, "ops", "http://127.0.0.1:9900/hook-SECRET").succeeds();
    assert!(text.contains("told by webhook at http://127.0.0.1:9900/…"), "{text}");
    for kind in ["slack", "discord", "ntfy"] {
        let url = format!("http://127.0.0.1:9900/{kind}-SECRET");
        add(&vps, &format!("{kind} --kind {kind}"), &url).succeeds();
    }
    vps.hostkit("alert test").succeeds();
    let told = got(&vps);
    let body = |kind: &str| {
        let (_, text) = told.iter().find(|(to, _)| *to == format!("{kind}-SECRET")).unwrap();
        serde_json::from_str::<Value>(text).unwrap_or_else(|_| Value::from(text.as_str()))
    };
    let is_test = |text: &Value| text.as_str().unwrap().contains("this is a test");
    assert!(is_test(&body("slack")["text"]) && is_test(&body("discord")["content"]));
    assert!(is_test(&body("ntfy")) && is_test(&body("hook")["text"]));

    // Nobody but root reads an address, wherever it went through.
    assert_eq!(vps.sh("stat -c '%U %a' /etc/hostkit/alerts.toml").succeeds(), "root 600\n");
    let shown = vps.hostkit("alert list --json").succeeds() + &vps.hostkit("events").succeeds();
    assert!(shown.contains("127.0.0.1:9900") && !shown.contains("SECRET"), "{shown}");
    let seen = vps.sh("journalctl --no-pager | grep -c SECRET; grep -rl SECRET /var/lib/hostkit /var/log /run/hostkit 2> /dev/null");
    assert_eq!(seen.stdout, "0\n");

    // Where a name leads is looked at when it is used; redirects are not followed.
    vps.sh("echo '169.254.169.254 cloud.test' >> /etc/hosts; echo 302 > /root/code").succeeds();
    let told = vps.hostkit("alert test ops").fails_with(1);
    assert!(
        told.contains("answered 302") && !vps.sh("ls /root/got").stdout.contains("elsewhere"),
        "{told}"
    );
    add(&vps, "cloud", "https://cloud.test/SECRET").succeeds();
    let told = vps.hostkit("alert test cloud").fails_with(1);
    assert!(told.contains("leads to 169.254.169.254") && !told.contains("SECRET"), "{told}");
    let told = vps.hostkit("alert test clod").fails_with(3);
    assert!(told.contains("did you mean `cloud`"), "{told}");

    // A timer that is lost is told, and comes back.
    vps.sh("systemctl disable -q --now hostkit-alert.timer").succeeds();
    let told = vps.hostkit("doctor");
    assert!(told.code == 1 && told.stdout.contains("no timer looks"), "{told}");
    vps.hostkit("alert check --quiet").succeeds();
    vps.hostkit("doctor").succeeds();

    // Gone again, and nothing of it stays.
    assert_eq!(vps.sh("systemctl is-active hostkit-alert.timer").succeeds(), "active\n");
    for name in ["ops", "slack", "discord", "ntfy", "cloud"] {
        vps.hostkit(&format!("alert remove {name}")).succeeds();
    }
    vps.sh("sed -i /cloud.test/d /etc/hosts; echo 200 > /root/code").succeeds();
    vps.hostkit("alert remove ops").fails_with(3);
    before.assert_same(&vps.snapshot(), "came and went");
}

#[test]
fn a_server_that_is_no_more_tells_nobody() {
    let vps = Vps::bare();
    let before = vps.snapshot();
    vps.hostkit("init --base-domain apps.test --yes --quiet").succeeds();
    add(&vps, "ops", "http://127.0.0.1:9900/hook").succeeds();
    vps.hostkit("init --undo --quiet").succeeds();
    before.assert_same(&vps.snapshot(), "came and went");
}

#[test]
fn a_project_neither_asks_nor_tells() {
    let shop = Shop::open();
    for line in ["list", "test", "add ops", "check", "remove ops"] {
        let told = shop.vps.sh_as("shop", &format!("hostkit alert {line} < /dev/null"));
        assert_eq!(told.code, 5, "{told}");
    }
}
