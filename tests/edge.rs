//! What a project is for, the port that it asks for, and who is believed to be its visitor.

use crate::vps::{BASE_DOMAIN, Load, Shop, Vps, listened};

/// Tells what its processes see.
const TELLS: &str = "body = ' '.join(f'{key}={os.environ.get(key)}' for key in \
                     ('HOSTKIT_ENVIRONMENT', 'LEVEL', 'ONLY', 'OWN'))";

const ENVIRONMENTS: &str = r#"
[env]
LEVEL = "info"
OWN = "default"
[env.dev]
LEVEL = "debug"
ONLY = "dev"
OWN = "overlay"
[process.once]
command = "/usr/bin/python3 -c 'import os; print(\"once in\", os.environ[\"HOSTKIT_ENVIRONMENT\"], os.environ[\"LEVEL\"])'"
when = "release"
[routes]
"/" = { process = "web" }
"/debug/" = { process = "web" }
"/docs/" = { static = "docs" }
[expose]
prod = ["/"]
dev = ["web", "/docs/"]
"#;

fn status(vps: &Vps, name: &str, path: &str) -> u16 {
    vps.get(&format!("{name}.{BASE_DOMAIN}"), path).map_or(0, |answer| answer.status)
}

#[test]
fn an_environment_has_its_variables_and_its_routes() {
    let shop = Shop::open().handling(TELLS);
    shop.version("one", ENVIRONMENTS);
    shop.tree("one", &[("docs/index.html", "docs")]);
    let told = shop.hostkit("deploy shop --source /root/one --no-watch").succeeds();
    let log = shop.hostkit("deploys shop --json").data();
    let id = log[0]["id"].to_string();
    let log = shop.hostkit(&format!("deploys shop --log {id}")).succeeds();
    assert!(log.contains("once in prod info"), "{told}{log}");
    assert_eq!(shop.serves(), "HOSTKIT_ENVIRONMENT=prod LEVEL=info ONLY=None OWN=default");
    let pages = |expected: [u16; 4]| {
        let paths = ["/", "/debug/x", "/debug", "/docs/"];
        assert_eq!(paths.map(|path| status(&shop, "shop", path)), expected);
    };
    pages([200, 404, 404, 404]);
    let would = shop.hostkit("deploy shop --source /root/one --dry-run").succeeds();
    assert!(would.contains("/docs/  docs, not in prod"), "{would}");

    let load = Load::looking(&shop.vps, "shop.apps.test", 4, &["/"]);
    let now = shop.hostkit("project environment shop dev --json").data();
    assert_eq!((&now["environment"], &now["restarted"]), (&"dev".into(), &true.into()));
    load.end().assert_none_failed(20);
    assert_eq!(shop.serves(), "HOSTKIT_ENVIRONMENT=dev LEVEL=debug ONLY=dev OWN=overlay");
    pages([200, 200, 308, 200]);
    shop.hostkit("drift shop").succeeds();

    // What an operator set wins, and a command of the project's sees what its processes see.
    shop.hostkit("env set shop OWN=mine --restart").succeeds();
    assert!(shop.serves().ends_with("OWN=mine"), "{}", shop.serves());
    let seen = shop.hostkit("exec shop -- printenv LEVEL HOSTKIT_ENVIRONMENT").succeeds();
    assert_eq!(seen, "debug\ndev\n");
    for line in ["project info shop --json", "project list --json"] {
        assert!(shop.hostkit(line).succeeds().contains("\"environment\":\"dev\""), "{line}");
    }

    // The same again is no change; another release and a reboot keep it; a lost registry, too.
    let again = shop.hostkit("project environment shop dev --json").data();
    assert_eq!(again["changed"], false);
    shop.deploy("one");
    assert!(shop.serves().contains("LEVEL=debug"), "{}", shop.serves());
    shop.sh("rm /var/lib/hostkit/registry.db*").succeeds();
    shop.hostkit("recover --from-host").succeeds();
    assert_eq!(shop.hostkit("project environment shop").succeeds(), "dev\n");

    // Stopped, it changes without a start.
    shop.hostkit("project stop shop").succeeds();
    shop.hostkit("project environment shop prod").succeeds();
    assert_eq!(shop.hostkit("project info shop --json").data()["unit"]["active"], "inactive");
    shop.hostkit("project start shop").succeeds();
    assert!(shop.serves().contains("LEVEL=info"), "{}", shop.serves());
    pages([200, 404, 404, 404]);
    shop.hostkit("project environment shop life").fails_with(2);
}

#[test]
fn an_environment_that_does_not_come_up_leaves_the_old_one() {
    let start = "if os.environ['HOSTKIT_ENVIRONMENT'] == 'staging': sys.exit('not here')";
    let shop = Shop::open();
    shop.app("one", start, "pass", "[deploy]\ntimeout = 5\n");
    shop.deploy("one");
    shop.hostkit("project environment shop staging").fails_with(6);
    assert_eq!(shop.serves(), "one");
    assert_eq!(shop.hostkit("project environment shop").succeeds(), "prod\n");
    shop.hostkit("drift shop").succeeds();

    // Whatever it fails at, it is all of the one or all of the other.
    let line = "project environment shop dev";
    let changes = shop.changes(line);
    shop.hostkit("project environment shop prod").succeeds();
    for n in (1..=changes).step_by(4) {
        let ran = shop.hostkit_fault(&format!("fail@{n}"), line);
        assert_ne!(ran.code, 0, "{n}: {ran}");
        let is = shop.hostkit("project environment shop").succeeds();
        let unit = shop.read("/etc/systemd/system/hostkit-shop.service");
        assert!(unit.contains(&format!("HOSTKIT_ENVIRONMENT={is}")), "{n}: {is}");
        shop.hostkit("drift shop").succeeds();
        shop.hostkit("project environment shop prod").succeeds();
    }

    // A site without routes shows nothing where its one process is not in the list.
    let vps = &shop.vps;
    shop.version("two", "[expose]\nstaging = []\n");
    vps.hostkit("provision quiet --no-db --no-redis --environment staging --quiet").succeeds();
    vps.hostkit("deploy quiet --source /root/two --no-watch --quiet").succeeds();
    assert_eq!(status(vps, "quiet", "/"), 404);
    vps.hostkit("project environment quiet prod").succeeds();
    assert_eq!(status(vps, "quiet", "/"), 200);
}

#[test]
fn a_port_that_is_asked_for_is_had_or_refused() {
    let vps = Vps::unlimited();
    let squat = "(python3 -m http.server 14300 --bind 127.0.0.1 >/dev/null 2>&1 &)";
    vps.sh(&format!("{squat}; {}", listened(14300))).succeeds();
    let none = "--no-db --no-redis";
    let port =
        |name: &str| vps.hostkit(&format!("project info {name} --json")).data()["port"].clone();
    let made = vps.hostkit(&format!("provision one --port 8100 {none} --json")).data();
    assert_eq!(made["port"], 8100);

    // Who has it is told, and nothing is made: a project, a port that comes with it, a process.
    for (asked, who) in [
        ("8100", "it belongs to the project one"),
        ("8300", "14300 (standby), and that belongs to a process of the user root"),
    ] {
        let said = vps.hostkit(&format!("provision two --port {asked} {none}")).fails_with(4);
        assert!(said.contains(who), "{said}");
        let said = vps.hostkit(&format!("provision two --port {asked} {none} --dry-run"));
        assert!(said.fails_with(4).contains(who));
    }
    for asked in ["8000", "80", "9000", "14100", "70000", "x"] {
        vps.hostkit(&format!("provision two --port {asked} {none}")).fails_with(2);
    }
    assert!(!vps.exists("/home/two"));

    // Others are handed what is left, and never what somebody asked for.
    vps.hostkit(&format!("provision two --port 8002 {none} --quiet")).succeeds();
    vps.hostkit(&format!("provision three {none} --quiet")).succeeds();
    vps.hostkit(&format!("provision four {none} --quiet")).succeeds();
    assert_eq!((port("three"), port("four")), (8001.into(), 8003.into()));

    // The server's own ports are its own, also while nobody listens there.
    vps.hostkit("config set ports.first 2000").succeeds();
    for (asked, who) in [
        ("3306", "MariaDB"),
        ("3900", "object storage"),
        ("5432", "PostgreSQL"),
        ("2902", "(auth), and that"),
    ] {
        let said = vps.hostkit(&format!("provision five --port {asked} {none}")).fails_with(4);
        assert!(said.contains(who), "{said}");
    }
    vps.hostkit("config set ports.first 8000").succeeds();

    // A manifest asks for one: of a directory before the project is made, else the deploy says no.
    let app = crate::vps::app("hello", "", "pass");
    let manifest =
        |port: u16| crate::vps::MANIFEST.replace("[process", &format!("port = {port}\n[process"));
    vps.write("/root/app/server.py", &app);
    vps.write("/root/app/hostkit.toml", &manifest(8000));
    vps.hostkit("deploy three --source /root/app --no-watch").fails_with(4);
    vps.hostkit(&format!("provision five --port 8001 --source /root/app {none}")).fails_with(2);
    vps.hostkit(&format!("provision five --source /root/app {none} --quiet")).succeeds();
    assert_eq!(port("five"), 8000);
    let page = |vps: &Vps| vps.get(&format!("five.{BASE_DOMAIN}"), "/").map(|answer| answer.body);
    assert_eq!(page(&vps).as_deref(), Some("hello"));
    vps.hostkit("deploy five --source /root/app --no-watch --quiet").succeeds();
    vps.crash();
    vps.boot();
    vps.wait_until("it is back", |vps| page(vps).as_deref() == Some("hello"));

    // A backup brings both back.
    vps.hostkit("project environment five dev").succeeds();
    vps.hostkit("backup create five").succeeds();
    vps.hostkit("project delete five --yes").succeeds();
    vps.hostkit(&format!("provision seven {none} --quiet")).succeeds();
    assert_eq!(port("seven"), 8000);
    vps.hostkit("project delete seven --yes").succeeds();
    vps.hostkit("provision seven --port 8004 --no-db --no-redis --quiet").succeeds();
    vps.hostkit("backup restore five").succeeds();
    assert_eq!((port("five"), page(&vps).as_deref()), (8000.into(), Some("hello")));
    assert_eq!(vps.hostkit("project environment five").succeeds(), "dev\n");

    // With the project its port goes, and may be asked for again.
    vps.hostkit("project delete five --yes").succeeds();
    let made = vps.hostkit(&format!("provision six --port 8000 {none} --json")).data();
    assert_eq!(made["port"], 8000);
    vps.hostkit("repair --all").succeeds();
    vps.hostkit("drift").succeeds();
}

#[test]
fn what_hostkit_made_is_shown_and_no_secret() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --quiet").succeeds();
    let url = vps.hostkit("env get shop DATABASE_URL").succeeds();
    let password = url.split([':', '@']).nth(2).unwrap().to_owned();
    let shown = vps.hostkit("show shop --config --json").data();
    let files = shown["files"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    for path in [
        "/etc/systemd/system/hostkit-shop.service",
        "/etc/nginx/sites-available/hostkit-shop",
        "/etc/sudoers.d/hostkit-shop",
        "/home/shop/.env",
    ] {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
    // To the letter what is on the disk; but for what is hidden.
    for file in files {
        let (path, text) = (file["path"].as_str().unwrap(), file["text"].as_str().unwrap());
        let part = &file["part"];
        assert_eq!(file["in_place"], true, "{path}");
        assert!(!text.contains(&password), "{path}");
        if part == "user and home" {
            assert!(text.contains("DATABASE_URL=***"), "{text}");
        } else {
            assert_eq!(vps.read(path), text, "{path}");
        }
    }
    let text = vps.hostkit("show shop --config").succeeds();
    assert!(text.contains("# /etc/sudoers.d/hostkit-shop (access, 0440)\n"), "{text}");
    assert!(text.contains("\n[X-Hostkit]\nProject=shop\n") && !text.contains(&password));

    // Somebody's own change is told, and not taken for ours.
    vps.sh("echo '# mine' >> /etc/systemd/system/hostkit-shop.service").succeeds();
    let text = vps.hostkit("show shop --config").succeeds();
    assert!(text.contains("the server has it otherwise") && !text.contains("# mine"), "{text}");

    // The project's own user sees what it could read: no rule of sudo's.
    let text = vps.sh_as("shop", "hostkit show --config").succeeds();
    assert!(text.contains("/home/shop/.env") && text.contains("hostkit-shop.service"), "{text}");
    assert!(!text.contains("# /etc/sudoers.d") && !text.contains(&password), "{text}");
    vps.hostkit("provision wiki --no-db --no-redis --quiet").succeeds();
    vps.sh_as("shop", "hostkit show wiki --config").fails_with(5);
    assert!(vps.sh_as("shop", "hostkit show").succeeds().contains("database 1, user shop"));
    vps.hostkit("show nothere --config").fails_with(3);
}

/// Runs a command on a terminal of a size, presses a key after a while, and tells what was drawn,
/// how it ended, and whether the terminal is as it was.
const TERMINAL: &str = r"
import fcntl, os, pty, select, struct, sys, termios, time
columns, seconds, key = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].encode()
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 12, columns, 0, 0))
before = termios.tcgetattr(theirs)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2): os.dup2(theirs, fd)
    os.environ['TERM'] = 'xterm'
    os.execvp('hostkit', ['hostkit'] + sys.argv[4:])
out, end, pressed, status = b'', time.time() + seconds, None, None
while status is None and (pressed is None or time.time() < pressed + 5):
    if select.select([ours], [], [], 0.05)[0]: out += os.read(ours, 65536)
    if pressed is None and time.time() > end:
        pressed = time.time()
        os.write(ours, key)
    done, code = os.waitpid(pid, os.WNOHANG)
    if done: status = os.waitstatus_to_exitcode(code)
took = time.time() - (pressed or time.time())
while select.select([ours], [], [], 0.2)[0]: out += os.read(ours, 65536)
sys.stdout.buffer.write(out)
same = termios.tcgetattr(theirs) == before
print(f'\nEND {status} {took < 1.5} {same}')
";

#[test]
fn the_page_is_drawn_again_until_somebody_has_seen_enough() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.deploy("one");
    shop.write("/root/terminal.py", TERMINAL);
    let watch = |columns: u16, key: &str, more: &str| {
        let line = format!(
            "LANG=C.UTF-8 python3 /root/terminal.py {columns} 3 {key} status --watch {more}"
        );
        shop.sh(&line).succeeds()
    };
    let load = Load::on(&shop.vps, "shop.apps.test", 2);
    for key in ["q", "$'\\x03'"] {
        let seen = watch(100, key, "--every 500ms");
        assert!(seen.ends_with("END 0 True True\n"), "{seen}");
        // Drawn over itself, on the other screen, and never wiped.
        assert_eq!(
            (seen.matches("\x1b[?1049h").count(), seen.matches("\x1b[?1049l").count()),
            (1, 1)
        );
        assert!(seen.matches("\x1b[H").count() >= 4 && !seen.contains("\x1b[2J"), "{seen:?}");
        let last = seen.rsplit("\x1b[H").next().unwrap();
        assert!(last.contains("REQ/S") && last.contains("CPU") && last.contains("up"), "{last:?}");
        assert!(!last.contains(" 0.0  http"), "visitors are counted: {last:?}");
    }
    load.end();
    let narrow = watch(40, "q", "--every 500ms");
    assert!(narrow.contains("shop") && !narrow.contains("REQ/S"), "{narrow:?}");
    for line in narrow.split('\n').flat_map(|line| line.split("\x1b[H")) {
        let line = console::strip_ansi_codes(line);
        assert!(line.chars().filter(|c| !c.is_control()).count() <= 40, "{line:?}");
    }

    // What ends it puts the terminal right all the same.
    shop.sh("(sleep 2; kill $(pgrep -x hostkit)) > /dev/null 2>&1 &").succeeds();
    let killed = watch(100, "x", "--every 1h");
    assert!(killed.contains("END 0 ") && killed.ends_with(" True\n"), "{killed}");
    assert!(killed.contains("\x1b[?1049l"), "{killed:?}");

    // Elsewhere one page follows the other, and a reader that goes ends it.
    let lines = shop.sh("hostkit status --watch --every 300ms --json | head -n 3").succeeds();
    let documents: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 3);
    let row = &documents[2]["data"]["projects"][0];
    assert!(row["cpu_percent"].is_number() && row["requests_per_second"].is_number(), "{row}");
    let pages = shop.sh("timeout 3 hostkit status --watch --every 500ms shop").stdout;
    assert!(pages.matches("PROJECT").count() >= 3 && !pages.contains('\x1b'), "{pages:?}");
    shop.wait_until("none is left", |vps| vps.sh("pgrep -x hostkit").code == 1);
    let by_user = shop.sh_as("shop", "hostkit status --watch --every 300ms --json | head -n 2");
    assert_eq!(by_user.succeeds().lines().count(), 2);
    shop.hostkit("status --every 2s").fails_with(2);
    shop.hostkit("status --watch --every 1ms").fails_with(2);
}

#[test]
fn a_proxy_that_is_trusted_says_who_visits_and_nobody_else() {
    let shop = Shop::open().handling(
        "body = ' '.join(str(self.headers.get(k)) for k in \
         ('X-Real-IP', 'X-Forwarded-For', 'X-Forwarded-Proto'))",
    );
    let routes = "[routes]\n\"/\" = { process = \"web\" }\n\
        \"/admin/\" = { process = \"web\", allow = [\"203.0.113.7\"] }\n";
    shop.version("one", routes);
    shop.deploy("one");
    let claims = |curl: &str, path: &str, of: &str, proto: &str| {
        let line = format!(
            "{curl} -s -w ' %{{http_code}}' -H 'Host: shop.apps.test' -H 'X-Forwarded-For: {of}' \
             -H 'X-Real-IP: 203.0.113.7' -H 'X-Forwarded-Proto: {proto}'"
        );
        format!("{line} http://ADDRESS{path}")
    };
    let address = shop.address();
    // A tunnel's end on this machine, and somebody who asks the server itself.
    let tunnel = |path: &str, of: &str, proto: &str| {
        shop.sh(&claims("curl", path, of, proto).replace("ADDRESS", "127.0.0.1")).succeeds()
    };
    let other = |path: &str, of: &str| {
        let curl = format!("curl --interface {address}");
        shop.sh(&claims(&curl, path, of, "https").replace("ADDRESS", &address)).succeeds()
    };
    let visitor = "203.0.113.7";

    // Nobody is believed, to begin with.
    assert_eq!(tunnel("/", visitor, "https"), "127.0.0.1 127.0.0.1 http 200");
    assert_eq!(other("/", visitor), format!("{address} {address} http 200"));
    assert!(tunnel("/admin/", visitor, "https").ends_with(" 403"));

    let told = shop.hostkit("config set proxy.trusted 127.0.0.1").succeeds();
    assert!(told.contains("hostkit init && hostkit repair --all"), "{told}");
    assert!(shop.hostkit("drift shop").code == 1);
    // No project is the tunnel.
    let project = |at: &str| {
        let line = "curl -s -m 5 -o /dev/null -H 'Host: shop.apps.test'";
        shop.sh_as("shop", &format!("{line} http://{at}/")).code
    };
    let all = ["127.0.0.1", &address];
    assert_eq!(all.map(project), [0; 2]);
    shop.hostkit("init --quiet").succeeds();
    assert_eq!(all.map(project), [7; 2]);
    shop.sh("systemctl restart nftables hostkit-wall").succeeds();
    assert_eq!(all.map(project), [7; 2]);
    shop.hostkit("repair --all").succeeds();
    shop.hostkit("drift shop").succeeds();
    assert_eq!(tunnel("/", visitor, "https"), format!("{visitor} {visitor} https 200"));
    assert_eq!(tunnel("/", visitor, "javascript"), format!("{visitor} {visitor} http 200"));
    assert!(tunnel("/admin/", visitor, "https").ends_with(" 200"));
    let log = shop.read("/var/log/nginx/hostkit-shop.access.log");
    assert!(log.lines().last().unwrap().starts_with("203.0.113.7 - "), "{log}");

    // What a visitor wrote into it himself comes before what the tunnel added.
    let forged = format!("{visitor}, 198.51.100.9");
    assert_eq!(tunnel("/", &forged, "http"), "198.51.100.9 198.51.100.9 http 200");
    assert!(tunnel("/admin/", &forged, "https").ends_with(" 403"));
    let mark = "/.well-known/hostkit-site";
    assert!(tunnel(mark, "127.0.0.1, 198.51.100.9", "http").ends_with(" 404"));
    assert_eq!(
        tunnel("/", &format!("{visitor}, 127.0.0.1"), "http"),
        format!("{visitor} {visitor} http 200")
    );

    // Who is no trusted proxy is himself, whatever he claims.
    assert_eq!(other("/", visitor), format!("{address} {address} http 200"));
    assert!(other("/admin/", visitor).ends_with(" 403"));

    // Another header, and a network; and what would let everybody choose is refused.
    shop.hostkit_args(&["config", "set", "proxy.trusted", "[\"::1\", \"127.0.0.0/8\"]"]).succeeds();
    shop.hostkit("config set proxy.header X-Real-IP").succeeds();
    shop.hostkit("repair --all").succeeds();
    assert_eq!(tunnel("/", "198.51.100.9", "https"), format!("{visitor} {visitor} https 200"));
    for (key, value) in [
        ("proxy.trusted", "0.0.0.0/0"),
        ("proxy.trusted", "::/0"),
        ("proxy.trusted", "10.0.0.1/8"),
        ("proxy.trusted", "all; deny"),
        ("proxy.header", "X; y"),
    ] {
        shop.hostkit_args(&["config", "set", key, value]).fails_with(2);
    }
}
