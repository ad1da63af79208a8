//! What gets in the way of a deploy: neighbours, other commands, a full disk, a lost connection.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use crate::vps::{BASE_DOMAIN, Load, Shop};

/// An echo for whoever asks to upgrade.
const ECHO: &str = r#"
if self.headers.get("Upgrade"):
    self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while data := self.connection.recv(64):
        self.connection.sendall(data)
    return
"#;

/// Opens 100 sockets by the neighbour's site, and speaks on each of them until it is told to stop.
const SOCKETS: &str = r#"
import os, socket, sys, time
host, stop = sys.argv[1], "/root/stop"
found = []
for _ in range(100):
    s = socket.create_connection(("127.0.0.1", 80), timeout=10)
    s.sendall(f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(1024)
    assert b" 101 " in head, head
    found.append(s)
open("/root/open", "w").close()
rounds = 0
while not os.path.exists(stop) or rounds < 3:
    for s in found:
        s.sendall(b"hello")
    for s in found:
        got = b""
        while len(got) < 5:
            part = s.recv(5 - len(got))
            if not part:
                sys.exit("a neighbour's socket was closed")
            got += part
        assert got == b"hello"
    rounds += 1
    time.sleep(0.2)
print(rounds)
"#;

const NODE: &str = r#"
const http = require("http");
http.createServer((request, response) => {
  request.resume();
  request.on("end", () => response.end("VERSION"));
}).listen(process.env.PORT, process.env.HOST);
"#;

impl Shop {
    fn node(&self, version: &str) {
        let package = "{\"name\": \"shop\", \"version\": \"1.0.0\", \"scripts\": {\"start\": \"node server.js\"}}";
        let lock = "{\"name\": \"shop\", \"version\": \"1.0.0\", \"lockfileVersion\": 3, \"requires\": true, \"packages\": {\"\": {\"name\": \"shop\", \"version\": \"1.0.0\"}}}";
        for (path, text) in [
            ("server.js", NODE.replace("VERSION", version).as_str()),
            ("package.json", package),
            ("package-lock.json", lock),
        ] {
            self.vps.write(&format!("/root/{version}/{path}"), text);
        }
    }

    /// Starts a command and does not wait for it.
    fn begin(&self, line: &str) -> std::process::Child {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        self.vps
            .command(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Nothing of a deploy is left that came to nothing.
    fn assert_tidy(&self, when: &str) {
        let left = self.vps.sh(
            "ls /run/systemd/system | grep hostkit-shop; ls /run/hostkit/next; ls -A /home/shop/releases/.staging; \
             ls /var/lib/hostkit/deploys/shop | grep upload",
        );
        assert_eq!(left.stdout, "", "{when}: {left}");
        self.vps.hostkit("drift shop").succeeds();
    }
}

#[test]
fn a_neighbours_websockets_survive_deploys_of_node() {
    let shop = Shop::open().handling(ECHO);
    let vps = &shop.vps;
    vps.hostkit("provision wiki --no-db --no-redis --quiet").succeeds();
    shop.version("wiki", "");
    vps.hostkit("deploy wiki --source /root/wiki --no-watch --quiet").succeeds();
    shop.node("one");
    shop.node("two");
    shop.deploy("one");
    assert_eq!(shop.serves(), "one");
    vps.write("/root/sockets.py", SOCKETS);
    let sockets = shop.begin(&format!("python3 /root/sockets.py wiki.{BASE_DOMAIN}"));
    vps.wait_until("all sockets are open", |vps| vps.exists("/root/open"));
    let load = Load::on(vps, &format!("shop.{BASE_DOMAIN}"), 8);
    for n in 0..10 {
        let version = ["two", "one"][n % 2];
        shop.deploy(version);
        assert_eq!(shop.serves(), version);
        vps.hostkit("rollback shop --quiet").succeeds();
        assert_eq!(shop.serves(), ["one", "two"][n % 2]);
        let newest = vps.hostkit("releases shop --json").data()[0]["id"].clone();
        vps.hostkit(&format!("rollback shop --to {} --quiet", newest.as_str().unwrap())).succeeds();
    }
    load.end().assert_none_failed(3000);
    vps.sh("touch /root/stop").succeeds();
    let out = sockets.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let rounds: usize = String::from_utf8_lossy(&out.stdout).trim().parse().unwrap();
    println!("100 websockets of a neighbour spoke {rounds} times each");
    assert!(rounds > 20, "{rounds}");
}

#[test]
fn what_began_before_a_switch_may_end() {
    // The app ends at once when it is told to: only hostkit can wait.
    let shop = Shop::open().handling("if self.path == '/slow': time.sleep(4)");
    shop.version("one", "");
    shop.version("two", "");
    shop.deploy("one");
    let host = format!("shop.{BASE_DOMAIN}");
    for (version, next) in [("one", "two"), ("two", "one")] {
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| shop.get(&host, "/slow").map(|answer| answer.body));
            std::thread::sleep(Duration::from_millis(500));
            shop.deploy(next);
            assert_eq!(slow.join().unwrap().as_deref(), Some(version));
        });
        assert_eq!(shop.serves(), next);
    }
}

#[test]
fn of_two_deploys_at_once_the_second_waits_or_says_for_whom() {
    let shop = Shop::open();
    let slow = "[build]\nsteps = [\"sleep 4\"]\n";
    shop.version("one", slow);
    shop.version("two", "");
    let first = shop.begin("hostkit deploy shop --source /root/one --no-watch");
    shop.vps.wait_until("the first one builds", |vps| vps.sh("pgrep -x sleep").code == 0);
    // While it builds nobody else gets in, and is told who is there.
    let told = shop.vps.hostkit("deploy shop --source /root/two --wait 0s").fails_with(7);
    assert!(told.contains("deploy"), "{told}");
    let told = shop.vps.hostkit("rollback shop --wait 0s").fails_with(7);
    assert!(told.contains("deploy"), "{told}");
    // One that waits comes after it: both are live, one after the other.
    shop.deploy("two");
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(shop.serves(), "two");
    let deploys = shop.vps.hostkit("deploys shop --json").data();
    let outcomes: Vec<&str> =
        deploys.as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "done"], "{deploys}");
    shop.assert_tidy("after both");
}

#[test]
fn a_deploy_and_a_deletion_do_not_meet() {
    let shop = Shop::open();
    shop.version("one", "[build]\nsteps = [\"sleep 3\"]\n");
    let deploy = shop.begin("hostkit deploy shop --source /root/one --no-watch");
    shop.vps.wait_until("it builds", |vps| vps.sh("pgrep -x sleep").code == 0);
    let before = Instant::now();
    // The deletion waits for the deploy's end, and then takes all of it.
    shop.vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert!(before.elapsed() > Duration::from_secs(1));
    assert!(deploy.wait_with_output().unwrap().status.success());
    shop.vps.hostkit("project info shop").fails_with(3);
    let left = shop.vps.sh(
        "id shop; ls -d /home/shop; ls /etc/systemd/system /run/systemd/system | grep hostkit-shop",
    );
    assert_eq!(left.stdout, "", "{left}");
    // A deploy that comes while it is deleted finds nothing to deploy to.
    shop.vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    let delete = shop.begin("hostkit project delete shop --yes --no-backup");
    let told = shop.vps.hostkit("deploy shop --source /root/one --no-watch");
    assert!(matches!(told.code, 0 | 3 | 4), "{told}");
    assert!(delete.wait_with_output().unwrap().status.success());
    shop.vps.hostkit("project info shop").fails_with(3);
    shop.vps.hostkit("doctor").succeeds();
}

#[test]
fn a_disk_that_fills_up_in_any_phase_leaves_the_old_release() {
    let shop = Shop::open();
    let vps = &shop.vps;
    shop.version("one", "");
    shop.deploy("one");
    shop.version("two", "[build]\nsteps = [\"sh build.sh\"]\n");
    vps.write("/root/two/build.sh", "head -c 6000000 /dev/urandom > made && sync made\n");
    vps.sh("head -c 6000000 /dev/urandom > /root/two/asset").succeeds();
    // The whole home on a small file system, and then what hostkit itself writes to.
    let onto = |dir: &str, size: &str| {
        vps.sh(&format!(
            "set -e; mkdir /root/kept; cp -a {dir}/. /root/kept; meta=$(stat -c '%u:%g %a' {dir}); mount -t tmpfs -o size={size} tmpfs {dir}; \
             cp -a /root/kept/. {dir}; chown ${{meta% *}} {dir}; chmod ${{meta#* }} {dir}; rm -r /root/kept"
        ))
        .succeeds();
    };
    let mut seen = Vec::new();
    for (dir, size, code) in [
        ("/var/lib/hostkit/deploys", "17m", 1),
        ("/home/shop/releases", "3m", 1),
        ("/home/shop/releases", "9m", 1),
        ("/var/lib/hostkit/deploys", "64m", 0),
        ("/home/shop/releases", "64m", 0),
    ] {
        // What is below the reserve is refused before anything begins; here it may be full.
        vps.sh("sed -i 's/^#\\?reserve.*/reserve = \"0\"/' /etc/hostkit/hostkit.toml").succeeds();
        vps.sh("systemctl stop hostkit-shop").succeeds();
        onto(dir, size);
        if dir.ends_with("deploys") && code != 0 {
            vps.sh(&format!("head -c 12000000 /dev/urandom > {dir}/filler")).succeeds();
        }
        vps.sh("systemctl start hostkit-shop").succeeds();
        vps.wait_until("it answers", |_| matches!(shop.serves().as_str(), "one" | "two"));
        let when = format!("{dir} of {size}");
        let was = shop.serves();
        let ran = vps.hostkit("deploy shop --source /root/two --no-watch");
        assert_eq!(ran.code, code, "{when}: {ran}");
        if code != 0 {
            let said = ran.stderr.to_lowercase();
            assert!(said.contains("no space left") || said.contains("full"), "{when}: {ran}");
            assert!(said.contains("still serves"), "{when}: {ran}");
            assert_eq!(shop.serves(), was, "{when}");
            seen.push(ran.stderr.lines().filter(|line| line.contains('✓')).count());
            shop.assert_tidy(&when);
        } else {
            assert_eq!(shop.serves(), "two");
            vps.hostkit("rollback shop --quiet").succeeds();
        }
        vps.sh(&format!("systemctl stop hostkit-shop; umount {dir}; systemctl start hostkit-shop"))
            .succeeds();
    }
    // It filled up while it was fetched, unpacked, and built.
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 2, "{seen:?}");
}

#[test]
fn a_lost_connection_begins_nothing_or_ends_well() {
    let shop = Shop::open();
    let vps = &shop.vps;
    vps.sh(
        "set -e; ssh-keygen -q -t ed25519 -N '' -f /root/ci; ssh-keyscan -t ed25519 127.0.0.1 > /root/known 2> /dev/null",
    )
    .succeeds();
    vps.hostkit("ssh add-key shop /root/ci.pub --ci").succeeds();
    shop.version("one", "");
    shop.version("two", "[build]\nsteps = [\"sleep 3\"]\n");
    shop.deploy("one");
    let ssh = "ssh -i /root/ci -o UserKnownHostsFile=/root/known -o BatchMode=yes shop@127.0.0.1 hostkit deploy --archive - --no-watch";
    // It goes while the archive comes: nothing was begun.
    let deploys = || vps.hostkit("deploys shop --json").data();
    let count = deploys().as_array().unwrap().len();
    vps.sh(&format!(
        "(tar -C /root/two -cz . | head -c 300; sleep 30) | {ssh} > /dev/null 2>&1 & sleep 1.5; kill %1; pkill -x ssh; sleep 1; true"
    ))
    .succeeds();
    vps.wait_until("it has noticed", |vps| vps.sh("pgrep -f 'hostkit gate'").code != 0);
    assert_eq!(shop.serves(), "one");
    let all = deploys();
    let begun = all.as_array().unwrap();
    assert!(
        begun.len() == count || begun[0]["outcome"] == "failed",
        "half an archive was deployed: {all}"
    );
    shop.assert_tidy("half an archive");
    // It goes while it is built: it runs to its end.
    vps.sh(&format!(
        "tar -C /root/two -czf /root/two.tgz . && ({ssh} < /root/two.tgz > /dev/null 2>&1 &)"
    ))
    .succeeds();
    vps.wait_until("it builds", |vps| vps.sh("pgrep -x sleep").code == 0);
    vps.sh("pkill -9 -x ssh").succeeds();
    vps.wait_until("it is live all the same", |_| shop.serves() == "two");
    vps.wait_until("it is written down", |_| deploys()[0]["outcome"] == "done");
    shop.assert_tidy("the end of a lost one");
    // So it does where the terminal goes away.
    shop.version("three", "[build]\nsteps = [\"sleep 3\"]\n");
    vps.sh("(setsid script -qfc 'hostkit deploy shop --source /root/three --no-watch' /dev/null > /dev/null 2>&1 < /dev/null &)").succeeds();
    vps.wait_until("it builds", |vps| vps.sh("pgrep -x sleep").code == 0);
    vps.sh("pkill -9 -x script").succeeds();
    vps.wait_until("it has ended", |_| deploys()[0]["outcome"] != "running");
    assert_eq!(deploys()[0]["outcome"], "done", "{}", deploys());
    assert_eq!(shop.serves(), "three");
    shop.assert_tidy("a lost terminal");
}
