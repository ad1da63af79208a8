//! Figures of projects: a real Prometheus reads them, and nobody but root reads those of others.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::vps::{BASE_DOMAIN, MANIFEST, Ran, Snapshot, Vps, app, listened};

/// What listens, for as long as the package comes; its own unit would take 9090 on all addresses.
const WATCH: &str = "(for i in $(seq 1200); do ss -ltnH | awk '{ print $4 }' >> /root/listened; sleep 0.1; done) \
     > /dev/null 2>&1 &";

/// Read each second, and not each quarter of a minute.
fn hurry(vps: &Vps) {
    let settings = include_str!("../templates/prometheus.yml");
    let often = settings.replace("15s", "1s").replace("10s", "1s");
    vps.write("/etc/hostkit/templates/prometheus.yml", &often);
    let unlimited = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
    vps.sh(&format!("{unlimited} /etc/hostkit/hostkit.toml")).succeeds();
}

/// A server where it is set up already.
fn server() -> Vps {
    Vps::with("metrics", |vps| {
        hurry(vps);
        vps.hostkit("metrics setup --quiet").succeeds();
    })
}

/// How an app begins that counts its visitors, and tells it; and says that it is somebody else.
const COUNT: &str = "seen = 0\nasked = 0";

const TELL: &str = r#"
global seen, asked
if self.path == "PAGE":
    asked += 1
    body = 'seen_total{project="wiki",process="root"} %d\nodd{text="\x1b[2J"} 1\n' % seen
elif self.path == "/asked":
    body = str(asked)
elif self.path == "/visit":
    seen += 1
"#;

/// One whose page leads to another's.
const LEAD_AWAY: &str = r#"
if self.path == "/metrics":
    self.send_response(302)
    self.send_header("Location", "http://127.0.0.1:WIKI/metrics")
    self.send_header("Content-Length", "0")
    self.end_headers()
    return
"#;

fn tree(vps: &Vps, version: &str, handle: &str, more: &str) {
    vps.write(&format!("/root/{version}/server.py"), &app(version, COUNT, handle));
    vps.write(&format!("/root/{version}/hostkit.toml"), &format!("{MANIFEST}{more}"));
}

/// A version whose figures are on that page, and one without any.
fn version(vps: &Vps, version: &str, page: &str) {
    let more = if page.is_empty() { String::new() } else { format!("metrics = \"{page}\"\n") };
    let more = format!("{more}[deploy]\ndrain = \"3m\"\n");
    tree(
        vps,
        version,
        &TELL.replace("PAGE", if page.is_empty() { "/metrics" } else { page }),
        &more,
    );
}

fn deploy(vps: &Vps, project: &str, version: &str) {
    let line = format!("deploy {project} --source /root/{version} --no-watch --quiet");
    vps.hostkit(&line).succeeds();
}

fn provision(vps: &Vps, project: &str) {
    vps.hostkit(&format!("provision {project} --no-db --no-redis --quiet")).succeeds();
}

/// Whom it asks for a project, and how that goes: `/metrics up`.
fn target(vps: &Vps, project: &str) -> String {
    let status = vps.hostkit(&format!("metrics status {project} --json")).data();
    let one =
        |of: &Value| format!("{} {}", of["page"].as_str().unwrap(), of["state"].as_str().unwrap());
    let all: Vec<String> = status["targets"].as_array().unwrap().iter().map(one).collect();
    all.join(", ")
}

fn query(vps: &Vps, project: &str, expression: &str) -> Value {
    vps.hostkit_args(&["metrics", "query", project, expression, "--json"]).data()
}

/// The one value that it comes to, or "".
fn value(vps: &Vps, project: &str, expression: &str) -> String {
    let said = query(vps, project, expression);
    said["samples"][0]["value"].as_str().unwrap_or_default().to_owned()
}

fn port(vps: &Vps, project: &str) -> String {
    vps.hostkit(&format!("project info {project} --json")).data()["port"].to_string()
}

/// The status that somebody gets from a port of this server, 000 where he gets nowhere.
fn asks(vps: &Vps, user: &str, address: &str) -> String {
    let curl = "curl -s -m 3 -o /dev/null -w '%{http_code}'";
    vps.sh(&format!("runuser -u {user} -- {curl} http://{address}")).stdout
}

#[test]
fn figures_of_the_live_release_are_read_and_nobody_elses_are_told() {
    let vps = server();
    provision(&vps, "shop");
    provision(&vps, "wiki");
    version(&vps, "plain", "");
    version(&vps, "one", "/metrics");
    version(&vps, "two", "/internal/figures");
    deploy(&vps, "wiki", "plain");
    deploy(&vps, "shop", "plain");
    let file = "/etc/hostkit/metrics.d/shop.json";
    assert!(!vps.exists(file) && target(&vps, "shop").is_empty());

    // A release with a page, and what it tells.
    deploy(&vps, "shop", "one");
    let found: Value = serde_json::from_str(&vps.read(file)).unwrap();
    assert_eq!(found[0]["targets"][0], format!("127.0.0.1:{}", port(&vps, "shop")));
    vps.hostkit("drift shop").succeeds();
    vps.wait_until("its page is read", |vps| target(vps, "shop") == "/metrics up");
    let visit = || vps.get(&format!("shop.{BASE_DOMAIN}"), "/visit").unwrap().body;
    for _ in 0..3 {
        assert_eq!(visit(), "one");
    }
    vps.wait_until("it is counted", |vps| value(vps, "shop", "seen_total") == "3");
    assert_eq!(value(&vps, "shop", "sum(seen_total) + 1"), "4");
    assert_eq!(query(&vps, "shop", "up[30s]")["kind"], "matrix");
    assert_eq!(value(&vps, "shop", "scalar(seen_total)"), "3");
    let shown = vps.hostkit("metrics query shop odd").succeeds();
    assert!(shown.contains(r"\u{1b}[2J") && !shown.contains('\u{1b}'), "{shown}");
    let refused = vps.hostkit("metrics query shop up{").fails_with(2);
    assert!(refused.contains("parse error"), "{refused}");
    vps.hostkit("metrics query someone up").fails_with(3);
    nobody_stands_for_another(&vps);
    nobody_else_asks(&vps);

    // Changed by hand, and put back.
    vps.sh(&format!("echo '[]' > {file}")).succeeds();
    assert!(vps.hostkit("drift shop").stdout.contains(file));
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("drift shop").succeeds();

    follows_what_is_live(&vps, file, &visit);
    leads_nowhere(&vps);
    is_told_when_it_is_down(&vps);

    // With the project it goes.
    deploy(&vps, "shop", "one");
    vps.wait_until("its page is read", |vps| target(vps, "shop") == "/metrics up");
    let listed = vps.hostkit("project delete shop --dry-run").succeeds();
    assert!(listed.contains(file), "{listed}");
    vps.hostkit("project delete shop --yes --no-backup --quiet").succeeds();
    assert!(!vps.exists(file));
    vps.write(file, "[]");
    let said = vps.hostkit("doctor").stdout;
    assert!(said.contains(&format!("{file} (of `shop`)")), "{said}");
    vps.sh(&format!("rm {file}")).succeeds();
    vps.wait_until("it is forgotten", |vps| {
        vps.sh("curl -s http://127.0.0.1:3909/api/v1/targets")
            .stdout
            .contains("\"activeTargets\":[]")
    });
    vps.hostkit("doctor").succeeds();
}

/// An app says of itself what it likes, and it counts for nothing.
fn nobody_stands_for_another(vps: &Vps) {
    let own = query(vps, "shop", "seen_total");
    let labels = &own["samples"][0]["labels"];
    assert_eq!((&labels["project"], &labels["process"]), (&"shop".into(), &"web".into()));
    assert_eq!(labels["exported_project"], "wiki");
    let others = query(vps, "wiki", "seen_total");
    assert_eq!((others["samples"].as_array().unwrap().len(), &others["left_out"]), (0, &1.into()));
}

/// Prometheus answers root alone, and gets to the ports of projects, where it can't answer.
fn nobody_else_asks(vps: &Vps) {
    for (user, code) in
        [("shop", "000"), ("wiki", "000"), ("www-data", "000"), ("nobody", "000"), ("root", "200")]
    {
        assert_eq!(asks(vps, user, "127.0.0.1:3909/api/v1/targets"), code, "{user}");
    }
    let outside = format!("{}:3909/", vps.address());
    assert_eq!(asks(vps, "root", &outside), "000", "it listens on loopback alone");
    let page = format!("127.0.0.1:{}/metrics", port(vps, "shop"));
    for (user, code) in [("prometheus", "200"), ("shop", "200"), ("wiki", "000")] {
        assert_eq!(asks(vps, user, &page), code, "{user}");
    }
    for (path, why) in [("admin/tsdb/snapshot", "admin APIs disabled"), ("write", "receiver needs")]
    {
        let post = format!("curl -s -X POST http://127.0.0.1:3909/api/v1/{path}");
        let said = vps.sh(&post).stdout;
        assert!(said.contains(why), "{path}: nobody changes what it holds: {said}");
    }
    let ran = |user: &str, line: &str| -> Ran { vps.sh_as(user, &format!("hostkit {line}")) };
    for (user, line, code) in [
        ("shop", "metrics status", 0),
        ("shop", "metrics status shop --json", 0),
        ("wiki", "metrics status shop", 5),
        ("shop", "metrics query shop up", 5),
        ("shop", "metrics remove", 5),
        ("shop", "metrics setup", 5),
    ] {
        let ran = ran(user, line);
        assert_eq!(ran.code, code, "{ran}");
        assert!(!ran.stdout.contains("wiki"), "{ran}");
    }
    // Who stands in for it while it is down is heard by nobody.
    vps.sh("systemctl stop hostkit-prometheus").succeeds();
    let squat = format!(
        "runuser -u shop -- timeout 6 python3 -m http.server 3909 --bind 127.0.0.1 >/dev/null 2>&1 & {}; \
         runuser -u wiki -- curl -s -m 2 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:3909/; \
         hostkit metrics status --json | jq -r .data.answers; wait",
        listened(3909)
    );
    assert_eq!(vps.sh(&squat).stdout, "000false\n");
    vps.sh("systemctl start hostkit-prometheus").succeeds();
    vps.wait_until("it is back", |vps| target(vps, "shop") == "/metrics up");
}

/// From one page to another, to none, and back.
fn follows_what_is_live(vps: &Vps, file: &str, visit: &impl Fn() -> String) {
    let start = Instant::now();
    deploy(vps, "shop", "two");
    // It stays connected, and is not waited for as a visitor would be.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    vps.wait_until("the other page", |vps| target(vps, "shop") == "/internal/figures up");
    assert_eq!(visit(), "two");
    vps.wait_until("another count", |vps| value(vps, "shop", "seen_total") == "1");
    let missed = value(vps, "shop", "count_over_time((up{project=\"shop\"} == 0)[1m:1s])");
    println!(
        "a deploy to another page took {:?}; reads missed, of one a second: {missed:?}",
        start.elapsed()
    );

    // One that does not come up changes nothing.
    let (before, handle) = (vps.read(file), TELL.replace("PAGE", "/metrics"));
    let dead = format!("{MANIFEST}metrics = \"/metrics\"\n[deploy]\ntimeout = 2\n");
    vps.write("/root/dead/server.py", &app("dead", "sys.exit(1)", &handle));
    vps.write("/root/dead/hostkit.toml", &dead);
    vps.hostkit("deploy shop --source /root/dead --no-watch --quiet").fails_with(6);
    assert_eq!(vps.read(file), before);

    // Back to one that has another page, and to one that has none.
    vps.hostkit("rollback shop").succeeds();
    vps.wait_until("the first page", |vps| target(vps, "shop") == "/metrics up");
    vps.hostkit("rollback shop").succeeds();
    assert!(!vps.exists(file));
    vps.wait_until("nothing is read", |vps| query(vps, "shop", "up")["samples"][0].is_null());
    vps.hostkit("drift shop").succeeds();
}

/// Prometheus may go where no project may: it is not sent there.
fn leads_nowhere(vps: &Vps) {
    let away = LEAD_AWAY.replace("WIKI", &port(vps, "wiki"));
    tree(vps, "sly", &away, "metrics = \"/metrics\"\n");
    let asked = || vps.get(&format!("wiki.{BASE_DOMAIN}"), "/asked").unwrap().body;
    let before = asked();
    deploy(vps, "shop", "sly");
    vps.wait_until("it is refused", |vps| target(vps, "shop") == "/metrics down");
    let status = vps.hostkit("metrics status shop --json").data();
    assert!(status["targets"][0]["error"].as_str().unwrap().contains("302"), "{status}");
    assert_eq!(asked(), before, "the neighbour was asked");
}

fn is_told_when_it_is_down(vps: &Vps) {
    vps.sh("systemctl stop hostkit-prometheus").succeeds();
    let said = vps.hostkit("doctor").stdout;
    assert!(said.contains("Prometheus does not answer"), "{said}");
    let status = vps.hostkit("metrics status --json").data();
    assert_eq!(
        (&status["answers"], &status["targets"][0]["state"]),
        (&false.into(), &"unknown".into())
    );
    vps.hostkit("metrics query shop up").fails_with(8);
    let mended = vps.hostkit("doctor --fix").succeeds();
    assert!(mended.contains("systemctl start hostkit-prometheus"), "{mended}");
    vps.hostkit("metrics status").succeeds();
}

const SETUP: &str = "metrics setup --quiet";
const REMOVE: &str = "metrics remove --data --quiet";
const DATA: &str = "/var/lib/hostkit-prometheus";

/// What there is of it, besides the package.
fn left(vps: &Vps) -> String {
    vps.sh(
        "ls -d /etc/systemd/system/*prometheus* /etc/systemd/system/*.wants/*prometheus* \
         /etc/hostkit/metrics.d /etc/hostkit/prometheus.yml /var/lib/hostkit-prometheus 2> /dev/null",
    )
    .stdout
}

/// Whether it is there; and then all of it is, and else nothing.
fn is_whole(vps: &Vps, (before, after): (&Snapshot, &Snapshot), when: &str) -> bool {
    let is_there = vps.exists("/etc/systemd/system/hostkit-prometheus.service");
    let wanted = if is_there { after } else { before };
    wanted.assert_same(&vps.snapshot(), when);
    let answers = vps.sh("curl -sf http://127.0.0.1:3909/-/ready").code == 0;
    assert_eq!((answers, vps.exists(DATA)), (is_there, is_there), "{when}");
    is_there
}

#[test]
fn failed_or_killed_anywhere_it_is_whole_or_not_there() {
    let vps = server();
    provision(&vps, "shop");
    version(&vps, "one", "/metrics");
    deploy(&vps, "shop", "one");
    let after = vps.snapshot();
    let removing = vps.changes(REMOVE);
    assert_eq!(left(&vps), "");
    let before = vps.snapshot();
    let total = vps.changes(SETUP);
    after.assert_same(&vps.snapshot(), "removed and set up");
    vps.hostkit(REMOVE).succeeds();
    before.assert_same(&vps.snapshot(), "set up and removed");
    let mut points = 0;
    let modes = ["fail-after", "kill", "fail", "kill-after"];
    for (line, total, back) in [(SETUP, total, REMOVE), (REMOVE, removing, SETUP)] {
        let is_setup = line == SETUP;
        for n in 0..total {
            for mode in modes {
                let when = format!("{line}: {mode}@{n}");
                let ran = vps.hostkit_fault(&format!("{mode}@{n}"), line);
                points += 1;
                assert!(matches!(ran.code, 0 | 1 | 137), "{when}: {ran}");
                vps.hostkit("recover --quiet").succeeds();
                if !is_setup {
                    // What could not be brought back goes last: the same command goes on with it.
                    let is_left = !vps.exists("/etc/systemd/system/hostkit-prometheus.service");
                    if is_left && ran.code != 0 {
                        let again = vps.hostkit(line);
                        assert!(matches!(again.code, 0 | 3), "{when}: {again}");
                    }
                }
                let is_done = is_whole(&vps, (&before, &after), &when) == is_setup;
                assert!(is_done || ran.code != 0, "{when}: {ran}");
                if is_done {
                    vps.hostkit(back).succeeds();
                }
            }
        }
        vps.hostkit(line).succeeds();
    }
    println!("failure points walked: {points} (metrics, of {total} and {removing} changes)");
}

#[test]
fn the_package_comes_when_it_is_wanted_and_its_own_unit_never_listens() {
    let vps = Vps::ready();
    vps.hostkit("metrics status").fails_with(8);
    vps.hostkit("metrics remove").fails_with(3);
    for odd in ["--retention soon", "--retention 1h", "--size 1M", "--size lots"] {
        vps.hostkit(&format!("metrics setup {odd}")).fails_with(2);
    }
    let shown = vps.hostkit("metrics setup --dry-run");
    assert!(shown.stderr.contains("the package prometheus would be installed"), "{shown}");
    assert!(shown.stdout.contains("--web.listen-address=127.0.0.1:3909"), "{shown}");
    assert_eq!(left(&vps), "");

    // Where it can't be had nothing is left, and nothing where that is interrupted.
    vps.sh("mkdir /root/apt; mv /etc/apt/sources.list* /root/apt; rm -rf /var/lib/apt/lists/*")
        .succeeds();
    let error = vps.hostkit("metrics setup").fails_with(1);
    assert!(error.contains("apt-get install prometheus"), "{error}");
    assert_eq!(left(&vps), "");
    for n in 0.. {
        let ran = vps.hostkit_fault(&format!("kill@{n}"), SETUP);
        vps.hostkit("recover --quiet").succeeds();
        assert_eq!(left(&vps), "", "kill@{n}: {ran}");
        if ran.code != 137 {
            assert!(n > 3, "hardly anything was walked: {n}");
            break;
        }
    }
    vps.sh("mv /root/apt/* /etc/apt").succeeds();

    vps.sh(WATCH).succeeds();
    let done = vps.hostkit("metrics setup --retention 36h --size 512M --json").data();
    assert_eq!((&done["retention"], &done["size"]), (&"36h".into(), &"512M".into()));
    let again = vps.hostkit("metrics setup --json").data();
    assert_eq!((&again["changed"], &again["retention"]), (&0.into(), &"36h".into()));
    let flags = vps.sh("curl -s http://127.0.0.1:3909/api/v1/status/flags").succeeds();
    for told in [
        r#""storage.tsdb.retention.time":"1d12h""#,
        r#""storage.tsdb.retention.size":"512MiB""#,
        r#""web.enable-admin-api":"false""#,
        r#""web.enable-lifecycle":"false""#,
    ] {
        assert!(flags.contains(told), "{told}: {flags}");
    }
    let seen = vps.sh("sort -u /root/listened | grep -E ':(9090|9100|3909)$'").stdout;
    assert_eq!(seen, "127.0.0.1:3909\n");
    vps.sh("systemctl start prometheus").fails_with(1);
    assert_eq!(vps.sh("journalctl -q -u prometheus | grep -c Started").stdout, "0\n");
    vps.hostkit("doctor").succeeds();
    let longer = vps.hostkit("metrics setup --retention 2w --json").data();
    assert_eq!((&longer["changed"], &longer["retention"]), (&2.into(), &"14d".into()));

    // It goes, and what it stored stays until that is to go as well; the package's unit is off.
    let removed = vps.hostkit("metrics remove").succeeds();
    assert!(removed.contains("the package prometheus stays"), "{removed}");
    assert_eq!(left(&vps), format!("{DATA}\n"));
    vps.hostkit("doctor").succeeds();
    vps.hostkit(REMOVE).succeeds();
    assert_eq!(left(&vps), "");
    vps.hostkit(REMOVE).fails_with(3);
    assert!(!vps.sh("nft list table inet hostkit").succeeds().contains("3909"));
    vps.crash();
    vps.boot();
    assert_eq!(vps.sh("ss -ltnH | grep -E ':(9090|3909) '").stdout, "");

    // One that somebody runs himself is left alone.
    vps.sh("systemctl enable --now prometheus").succeeds();
    let error = vps.hostkit("metrics setup").fails_with(4);
    assert!(error.contains("another Prometheus runs on this server"), "{error}");
    vps.sh("systemctl is-active prometheus").succeeds();
    vps.sh("systemctl disable --now prometheus").succeeds();
    let squat =
        "python3 -m http.server 3909 --bind 127.0.0.1 > /dev/null 2>&1 & echo $! > /root/pid";
    vps.sh(&format!("{squat}; {}", listened(3909))).succeeds();
    let error = vps.hostkit("metrics setup").fails_with(4);
    assert!(error.contains("port 3909 is taken"), "{error}");
    vps.sh("kill $(cat /root/pid); tail --pid $(cat /root/pid) -f /dev/null").succeeds();

    // All that init and setup made is taken back together.
    vps.hostkit(SETUP).succeeds();
    vps.hostkit("init --undo --yes").succeeds();
    assert_eq!(left(&vps), "");
}
