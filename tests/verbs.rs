//! Commands, services, timers, limits, operators, rights: the verbs around a project that runs.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use crate::vps::{BASE_DOMAIN, Load, Vps};

const SERVER: &str = r#"
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"VERSION"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
    def log_message(self, *args):
        print("asked", self.path, flush=True)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server((os.environ["HOST"], int(os.environ["PORT"])), Page).serve_forever()
"#;

const MANIFEST: &str = r#"
[project]
runtime = "custom"
[env]
FROM_MANIFEST = "yes"
[process.web]
command = "/usr/bin/python3 server.py"
"#;

/// A server with a project `shop` that something is deployed to.
pub fn shop(more: &str) -> Vps {
    let vps = Vps::ready();
    let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
    vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    version(&vps, "one", more);
    deploy(&vps, "one");
    vps
}

fn version(vps: &Vps, version: &str, more: &str) {
    vps.write(&format!("/root/{version}/server.py"), &SERVER.replace("VERSION", version));
    vps.write(&format!("/root/{version}/hostkit.toml"), &format!("{MANIFEST}{more}"));
}

fn deploy(vps: &Vps, version: &str) {
    vps.hostkit(&format!("deploy shop --source /root/{version} --no-watch --quiet")).succeeds();
}

fn serves(vps: &Vps) -> String {
    vps.get(&format!("shop.{BASE_DOMAIN}"), "/").map_or(String::new(), |answer| answer.body)
}

/// Nothing of a command is left: no process, no unit, no file.
fn assert_nothing_left(vps: &Vps, mark: &str) {
    let start = Instant::now();
    loop {
        let left = vps
            .sh(&format!(
                "pgrep -f '^sleep {mark}'; ls /run/systemd/system | grep exec-; ls -A /run/hostkit/exec; \
                 systemctl list-units --all --no-legend '*.exec-*'"
            ))
            .stdout;
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{mark}: {left}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_command_runs_as_the_project_and_hands_all_of_its_own_on() {
    let vps = shop("");
    vps.hostkit("provision bob --no-db --no-redis --quiet").succeeds();
    vps.hostkit("env set shop GREETING=hello").succeeds();
    let exec = |words: &[&str], stdin: &[u8]| {
        vps.run(&[&["hostkit", "exec", "shop", "--"], words].concat(), stdin)
    };
    let said = exec(&["sh", "-c", "id -un; pwd -P; env"], b"").succeeds();
    let release = vps.hostkit("project info shop --json").data()["release"].clone();
    let release = release.as_str().unwrap();
    assert!(said.starts_with(&format!("shop\n/home/shop/releases/{release}\n")), "{said}");
    for line in [
        "GREETING=hello",
        "FROM_MANIFEST=yes",
        "PORT=8001",
        "HOME=/home/shop",
        &format!("HOSTKIT_RELEASE={release}"),
        "PATH=/home/shop/app/venv/bin:/home/shop/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin",
    ] {
        assert!(said.lines().any(|l| l == line), "{line}: {said}");
    }
    assert!(!said.contains("HOSTKIT_COMMAND"), "{said}");
    // Words arrive as they are, streams stay apart, and the end is the command's own.
    let odd = exec(&["printf", "%s|", "a b", "$HOME", "50%", "it's", "\"", "", "x\ny", "-h"], b"");
    assert_eq!(odd.succeeds(), "a b|$HOME|50%|it's|\"||x\ny|-h|");
    let ran = exec(&["sh", "-c", "echo out; echo err >&2; exit 7"], b"");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    for (words, code) in [
        (&["true"][..], 0),
        (&["no-such-program"], 127),
        (&["/etc/passwd"], 126),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["sh", "-c", "kill -15 $$"], 143),
    ] {
        assert_eq!(exec(words, b"").code, code, "{words:?}");
    }
    let many: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let ran = exec(&["sha256sum"], &many);
    let direct = vps.run(&["sha256sum"], &many);
    assert_eq!(ran.succeeds(), direct.succeeds());
    assert_eq!(exec(&["head", "-c", "3000000", "/dev/zero"], b"").succeeds().len(), 3_000_000);
    assert_eq!(exec(&["cat"], b"").succeeds(), "");
    // As confined as the project itself.
    for (what, script) in [
        ("a neighbour", "ls /home/bob/"),
        ("hostkit", "ls /var/lib/hostkit"),
        ("the release", "touch /home/shop/app/x"),
        ("the system", "touch /etc/x"),
        ("root", "sudo -n true"),
        ("a namespace", "unshare -r true"),
    ] {
        assert_ne!(exec(&["sh", "-c", script], b"").code, 0, "{what}");
    }
    assert!(
        exec(&["sh", "-c", "touch ~/shared/mine && cat /proc/self/cgroup"], b"")
            .succeeds()
            .contains("hostkit-shop.slice")
    );
    // What is refused, and what is written down: who, and the program alone.
    vps.hostkit("exec bob -- true").fails_with(3);
    vps.hostkit("exec nothere -- true").fails_with(3);
    vps.hostkit("exec shop --process nothing -- true").fails_with(3);
    vps.hostkit("exec shop true").fails_with(2);
    vps.hostkit("exec shop").fails_with(2);
    vps.hostkit("exec shop --json -- true").fails_with(2);
    exec(&["echo", "very-secret-argument"], b"").succeeds();
    let events = vps.hostkit("events shop --json").succeeds();
    assert!(events.contains("\"detail\":\"echo\"") && !events.contains("very-secret"), "{events}");
    let journal = vps.sh("journalctl -o cat --no-pager | grep -v COMMAND=").stdout;
    assert!(journal.contains("exec shop by root: echo"), "{journal}");
    assert!(!journal.contains("very-secret"), "{journal}");
    assert_nothing_left(&vps, "0");
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn a_command_ends_with_whoever_waits_for_it() {
    let vps = shop("");
    let begin = |words: &[&str], out: Stdio| {
        let mut child = vps
            .command(words)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        (child, input)
    };
    let runs = |mark: &str| {
        vps.wait_until(mark, |vps| vps.sh(&format!("pgrep -f '^sleep {mark}'")).code == 0);
    };
    // Its time is over.
    let ran = vps.hostkit("exec shop --timeout 1s -- sleep 4001");
    assert_eq!(ran.code, 124, "{ran}");
    assert!(ran.stderr.contains("did not end in time"), "{ran}");
    assert_nothing_left(&vps, "4001");
    // Ctrl-C, and `kill`; what ignores both goes all the same, with what it started.
    for (signal, mark, code) in [("INT", "4002", 130), ("TERM", "4003", 143), ("HUP", "4004", 129)]
    {
        let script =
            format!("trap '' INT TERM HUP; setsid sleep {mark} & sleep {mark}; sleep {mark}");
        let (mut child, _input) =
            begin(&["hostkit", "exec", "shop", "--", "sh", "-c", &script], Stdio::null());
        runs(mark);
        vps.sh(&format!("pkill -{signal} -f '^hostkit exec shop -- sh'")).succeeds();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        assert_nothing_left(&vps, mark);
    }
    // Nobody reads any more what it says, though it says nothing.
    let (mut child, input) =
        begin(&["hostkit", "exec", "shop", "--", "sleep", "4005"], Stdio::piped());
    runs("4005");
    drop(child.stdout.take());
    child.wait().unwrap();
    drop(input);
    assert_nothing_left(&vps, "4005");
    // An ssh connection that goes, with a terminal and without, by a login and by a key of CI.
    vps.sh(
        "set -e; for key in ci login; do ssh-keygen -q -t ed25519 -N '' -C $key@test -f /root/$key; done; \
         ssh-keyscan -t ed25519 127.0.0.1 > /root/known 2> /dev/null",
    )
    .succeeds();
    vps.hostkit("ssh add-key shop /root/ci.pub --ci --verbs exec").succeeds();
    vps.hostkit("ssh add-key shop /root/login.pub").succeeds();
    let ssh = "ssh -o UserKnownHostsFile=/root/known -o BatchMode=yes -o LogLevel=ERROR";
    for (key, options, mark) in
        [("ci", "", "4006"), ("login", "", "4007"), ("login", "-tt", "4008")]
    {
        let line = format!(
            "exec {ssh} -i /root/{key} {options} shop@127.0.0.1 hostkit exec -- sleep {mark}"
        );
        let (mut child, _input) = begin(&["sh", "-c", &line], Stdio::piped());
        runs(mark);
        // The connection is cut, not closed.
        vps.sh(&format!("pkill -9 -f '^ssh.*sleep {mark}$'")).succeeds();
        child.wait().unwrap();
        assert_nothing_left(&vps, mark);
    }
    // Output, input and code come back over it.
    let line =
        format!("printf 'a\\nb\\n' | {ssh} -i /root/ci shop@127.0.0.1 hostkit exec -- sort -r");
    assert_eq!(vps.sh(&line).succeeds(), "b\na\n");
    let line = format!("{ssh} -n -i /root/ci shop@127.0.0.1 'hostkit exec -- sh -c \"exit 9\"'");
    vps.sh(&line).fails_with(9);
    // What is over does not wait for input that never ends.
    for verb in ["exec -- true", "status"] {
        let line = format!("exec {ssh} -i /root/login shop@127.0.0.1 hostkit {verb}");
        let start = Instant::now();
        let (mut child, _input) = begin(&["timeout", "20", "sh", "-c", &line], Stdio::null());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{verb}");
        assert!(start.elapsed() < Duration::from_secs(10), "{verb}");
    }
    // A key without the verb, and another project.
    vps.hostkit("ssh add-key shop /root/ci.pub --ci").succeeds();
    let line = format!("{ssh} -n -i /root/ci shop@127.0.0.1 hostkit exec -- id");
    assert_eq!(vps.sh(&line).code, 5);
    vps.hostkit("provision bob --no-db --no-redis --quiet").succeeds();
    assert_eq!(vps.sh_as("shop", "hostkit exec bob -- id").code, 5);
    assert!(vps.sh_as("shop", "hostkit exec -- id -un").succeeds().contains("shop"));
    // What a killed hostkit leaves goes with the next command.
    let (mut child, _input) =
        begin(&["hostkit", "exec", "shop", "--", "sleep", "4009"], Stdio::null());
    runs("4009");
    vps.sh("pkill -9 -f '^hostkit exec shop -- sleep 4009'").succeeds();
    child.wait().unwrap();
    vps.hostkit("project restart shop").succeeds();
    assert_nothing_left(&vps, "4009");
}

#[test]
fn a_command_gets_a_terminal_where_there_is_one() {
    let vps = shop("");
    vps.write(
        "/root/play.py",
        "import os, pty, select, struct, fcntl, sys, termios, time\n\
         pid, fd = pty.fork()\n\
         if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])\n\
         fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 41, 123, 0, 0))\n\
         keys = [(b'ready', b'echo first; stty size; tty; echo $TERM\\r'), (b'xterm', b'sleep 5001\\r'), (b'sleep', b''), (b'', b'\\x03'), (b'', b'echo after\\r'), (b'after\\r\\n', b'exit 5\\r')]\n\
         seen = b''\n\
         while True:\n\
         \x20   ready, _, _ = select.select([fd], [], [], 1.0)\n\
         \x20   if ready:\n\
         \x20       try: part = os.read(fd, 4096)\n\
         \x20       except OSError: break\n\
         \x20       if not part: break\n\
         \x20       seen += part\n\
         \x20       sys.stdout.buffer.write(part); sys.stdout.flush()\n\
         \x20   elif not keys: pass\n\
         \x20   if keys and keys[0][0] in seen and not ready:\n\
         \x20       os.write(fd, keys[0][1]); seen = b''; keys.pop(0)\n\
         sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n",
    );
    vps.sh("chmod 755 /root/play.py; cp /root/play.py /usr/local/bin/play").succeeds();
    let command = "sh -c 'echo ready; exec sh -i'";
    let play = |who: &str| {
        let line = format!(
            "TERM=xterm timeout 60 python3 /usr/local/bin/play hostkit exec {who} -- {command}"
        );
        if who.is_empty() { vps.sh_as("shop", &line) } else { vps.sh(&line) }
    };
    for who in ["shop", ""] {
        let ran = play(who);
        assert_eq!(ran.code, 5, "{who}: {ran}");
        assert!(ran.stdout.contains("41 123"), "{who}: {ran}");
        assert!(ran.stdout.contains("/dev/pts/") && ran.stdout.contains("xterm"), "{who}: {ran}");
        assert!(ran.stdout.contains("after\r\n"), "{who}: {ran}");
        assert_nothing_left(&vps, "5001");
    }
}

const PROCESSES: &str = r#"
[process.queue]
command = "/usr/bin/python3 -u -c 'import time; print(\"queue is up\"); time.sleep(3600)'"
[process.tidy]
command = "/bin/sh -c 'echo tidied; exit $(cat /home/shop/shared/status)'"
schedule = "daily"
"#;

fn names(listed: &serde_json::Value) -> Vec<String> {
    let name = |process: &serde_json::Value| process["name"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn processes_are_started_stopped_and_read_one_by_one() {
    let vps = shop(PROCESSES);
    vps.sh("echo 0 > /home/shop/shared/status; chown shop: /home/shop/shared/status").succeeds();
    let listed = vps.hostkit("service list shop --json").data();
    assert_eq!(names(&listed), ["web", "queue", "tidy"]);
    assert_eq!(
        (&listed[0]["state"], &listed[1]["state"]),
        (&"up".into(), &"up".into()),
        "{listed}"
    );
    assert!(listed[2]["next"].as_str().unwrap().ends_with('Z'), "{listed}");
    let active = |unit: &str| vps.sh(&format!("systemctl is-active {unit}")).stdout;
    vps.hostkit("service stop shop queue").succeeds();
    assert_eq!(active("hostkit-shop-queue"), "inactive\n");
    assert_eq!(serves(&vps), "one");
    vps.hostkit("service start shop queue").succeeds();
    assert_eq!(active("hostkit-shop-queue"), "active\n");
    let before = vps.sh("systemctl show -P MainPID hostkit-shop-queue hostkit-shop").succeeds();
    vps.hostkit("service restart shop queue").succeeds();
    let after = vps.sh("systemctl show -P MainPID hostkit-shop-queue hostkit-shop").succeeds();
    let pids = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(pids(&before)[0], pids(&after)[0]);
    assert_eq!(pids(&before)[1], pids(&after)[1], "the web process was left alone");
    // The web process restarts without a failed request.
    let load = Load::on(&vps, &format!("shop.{BASE_DOMAIN}"), 4);
    for _ in 0..3 {
        vps.hostkit("service restart shop web").succeeds();
    }
    load.end().assert_none_failed(100);
    assert_ne!(vps.sh("systemctl show -P MainPID hostkit-shop").succeeds().trim(), pids(&after)[1]);
    let told = vps.hostkit("service stop shop").succeeds();
    assert!(told.contains("answers no visitor now (502)"), "{told}");
    assert_eq!(vps.get(&format!("shop.{BASE_DOMAIN}"), "/").unwrap().status, 502);
    for unit in ["hostkit-shop", "hostkit-shop-queue", "hostkit-shop-tidy.timer"] {
        assert_eq!(active(unit), "inactive\n", "{unit}");
    }
    vps.hostkit("service start shop").succeeds();
    vps.wait_until("it serves", |vps| serves(vps) == "one");
    assert_eq!(active("hostkit-shop-tidy.timer"), "active\n");
    vps.hostkit("drift shop").succeeds();
    // What there is not, with what there is.
    let told = vps.hostkit("service stop shop quue").fails_with(3);
    assert!(told.contains("web, queue, tidy") && told.contains("did you mean `queue`?"), "{told}");
    for line in [
        "service status shop x",
        "service logs shop x",
        "service list nothere",
        "cron run shop queue",
    ] {
        vps.hostkit(line).fails_with(3);
    }
    vps.hostkit("provision bob --no-db --no-redis --quiet").succeeds();
    vps.hostkit("service start bob").fails_with(3);
    // Logs: the end of them, and what comes.
    let text = vps.hostkit("service logs shop queue -n 1").succeeds();
    assert_eq!(text, "queue is up\n");
    let lines = vps.hostkit("service logs shop web --json").data();
    assert!(lines.as_array().unwrap().iter().any(|l| l["line"] == "asked /"), "{lines}");
    vps.hostkit("service logs shop -f --json").fails_with(2);
    let text = vps
        .sh("(sleep 1; hostkit service restart shop queue) > /dev/null & timeout -s INT 5 hostkit service logs shop queue -n 0 -f; wait")
        .succeeds();
    assert_eq!(text, "queue is up\n");
    // Its own user sees, reads and restarts, and stops nothing.
    for line in
        ["service list", "service status queue", "service logs queue", "service restart queue"]
    {
        vps.sh_as("shop", &format!("hostkit {line}")).succeeds();
    }
    assert_eq!(vps.sh_as("shop", "hostkit service list bob").code, 5);
    assert_ne!(vps.sh_as("shop", "hostkit service stop queue").code, 0);
    assert_ne!(vps.sh_as("shop", "sudo -n hostkit service stop shop queue").code, 0);
    // A process that does not come up says why.
    vps.sh("systemctl stop hostkit-shop-queue; mv /usr/bin/python3 /usr/bin/python3.away")
        .succeeds();
    let told = vps.hostkit("service start shop queue").fails_with(6);
    assert!(told.contains("hostkit service logs shop queue"), "{told}");
}

#[test]
fn an_operators_processes_go_with_each_release() {
    let vps = shop("");
    let active = |unit: &str| vps.sh(&format!("systemctl is-active {unit}")).stdout;
    let loops =
        "import os, time; print('mail of', os.environ['HOSTKIT_RELEASE']); time.sleep(3600)";
    vps.run(
        &[
            &["hostkit", "worker", "add", "shop", "mail", "--"][..],
            &["/usr/bin/python3", "-u", "-c", loops],
        ]
        .concat(),
        b"",
    )
    .succeeds();
    let add = |schedule: &str, name: &str, script: &str| {
        vps.hostkit_args(&[
            "cron",
            "add",
            "shop",
            name,
            "--schedule",
            schedule,
            "--",
            "/bin/sh",
            "-c",
            script,
        ])
    };
    add("0 3 * * 1-5", "cleanup", "echo cleaned; echo of $HOSTKIT_RELEASE; exit 4").succeeds();
    assert_eq!(active("hostkit-shop-mail"), "active\n");
    assert_eq!(active("hostkit-shop-cleanup.timer"), "active\n");
    vps.hostkit("drift shop").succeeds();
    // systemd reads each time as cron means it.
    for (n, (cron, calendar, days)) in [
        ("0 9-17 * * *", "*-*-* 09..17:00:00", 7),
        ("30 2 * * 1-5", "Mon..Fri *-*-* 02:30:00", 5),
        ("0 0 * * 5-7", "Fri..Sun *-*-* 00:00:00", 3),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("at{n}");
        add(cron, &name, "true").succeeds();
        let unit = vps.read(&format!("/etc/systemd/system/hostkit-shop-{name}.timer"));
        assert!(unit.contains(&format!("OnCalendar={calendar}\n")), "{cron}: {unit}");
        let said =
            vps.sh(&format!("systemd-analyze calendar --iterations=200 '{calendar}'")).succeeds();
        let seen: std::collections::BTreeSet<&str> = said
            .lines()
            .filter(|line| line.contains("Next elapse:") || line.contains("Iter. #"))
            .filter_map(|line| line.split(": ").nth(1)?.split_whitespace().next())
            .collect();
        assert_eq!(seen.len(), *days, "{cron}: {said}");
        vps.hostkit(&format!("cron remove shop {name}")).succeeds();
        assert!(!vps.exists(&format!("/etc/systemd/system/hostkit-shop-{name}.timer")));
    }
    // Now, with what it says and how it ends.
    let ran = vps.hostkit("cron run shop cleanup");
    let release = |vps: &Vps| {
        vps.hostkit("project info shop --json").data()["release"].as_str().unwrap().to_owned()
    };
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.stdout.starts_with(&format!("cleaned\nof {}\n", release(&vps))), "{ran}");
    assert!(ran.stdout.contains("with status 4"), "{ran}");
    let logs = vps.hostkit("cron logs shop cleanup -n 2").succeeds();
    assert_eq!(logs, format!("cleaned\nof {}\n", release(&vps)));
    // With a release that knows nothing of them, and back.
    version(&vps, "two", "");
    deploy(&vps, "two");
    let id = release(&vps);
    vps.wait_until("the worker of the new release", |vps| {
        vps.hostkit("service logs shop mail -n 1").succeeds() == format!("mail of {id}\n")
    });
    assert_eq!(active("hostkit-shop-cleanup.timer"), "active\n");
    vps.hostkit("rollback shop --quiet").succeeds();
    assert_eq!((serves(&vps).as_str(), active("hostkit-shop-mail").as_str()), ("one", "active\n"));
    vps.hostkit("drift shop").succeeds();
    // A manifest that brings such a name is refused before anything is built.
    version(
        &vps,
        "three",
        "[process.mail]\ncommand = \"/bin/sleep 99\"\n[build]\nsteps = [\"touch /home/shop/shared/built\"]\n",
    );
    let told = vps.hostkit("deploy shop --source /root/three --no-watch").fails_with(4);
    assert!(told.contains("hostkit worker remove shop mail"), "{told}");
    assert!(!vps.exists("/home/shop/shared/built"));
    assert_eq!(serves(&vps), "one");
    // And the other way round; and what can't be.
    vps.hostkit("worker add shop mail -- /bin/sleep 9").fails_with(4);
    for (line, code) in [
        ("worker add shop web -- /bin/true", 2),
        ("worker add shop next -- /bin/true", 2),
        ("worker add shop Mail -- /bin/true", 2),
        ("worker add shop x -- ../../bin/true", 2),
        ("worker add nothere x -- /bin/true", 3),
        ("cron add shop x --schedule 61 -- /bin/true", 2),
        ("worker remove shop cleanup", 3),
        ("cron remove shop mail", 3),
    ] {
        vps.hostkit(line).fails_with(code);
    }
    assert_ne!(vps.sh_as("shop", "hostkit worker add x -- /bin/true").code, 0);
    // One that does not stay up leaves nothing.
    let told = vps.hostkit("worker add shop broken -- /bin/false").fails_with(6);
    assert!(told.contains("does not stay up"), "{told}");
    assert!(!vps.exists("/etc/systemd/system/hostkit-shop-broken.service"));
    assert_eq!(names(&vps.hostkit("worker list shop --json").data()), ["mail"]);
    vps.hostkit("drift shop").succeeds();
    // Off stays off over deploys, and is still known.
    vps.hostkit("cron disable shop cleanup").succeeds();
    assert_eq!(active("hostkit-shop-cleanup.timer"), "inactive\n");
    deploy(&vps, "two");
    assert_eq!(active("hostkit-shop-cleanup.timer"), "inactive\n");
    let listed = vps.hostkit("cron list shop --json").data();
    assert_eq!(listed[0]["state"], "off", "{listed}");
    vps.hostkit("cron run shop cleanup").fails_with(4);
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("cron enable shop cleanup").succeeds();
    assert_eq!(active("hostkit-shop-cleanup.timer"), "active\n");
    // A lost registry knows them again, a repair makes them again, and gone is gone.
    vps.sh("rm /var/lib/hostkit/registry.db*; hostkit recover --from-host").succeeds();
    assert_eq!(names(&vps.hostkit("service list shop --json").data()), ["web", "cleanup", "mail"]);
    vps.sh("rm /etc/systemd/system/hostkit-shop-cleanup.timer").succeeds();
    assert_eq!(vps.hostkit("drift shop").code, 1);
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("worker remove shop mail").succeeds();
    assert!(!vps.exists("/etc/systemd/system/hostkit-shop-mail.service"));
    assert_eq!(active("hostkit-shop-mail"), "inactive\n");
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert_eq!(
        vps.sh("ls /etc/systemd/system | grep shop; ls /etc/systemd/system/*.wants | grep shop")
            .stdout,
        ""
    );
}

#[test]
fn a_change_of_processes_killed_anywhere_is_undone_or_done() {
    let vps = shop("");
    let add = "worker add shop mail -- /bin/sleep 3600";
    let total = |told: &str| -> usize {
        told.lines()
            .find_map(|l| {
                l.strip_prefix("hostkit: ")?.strip_suffix(" changes passed")?.parse().ok()
            })
            .unwrap()
    };
    let adds = total(&vps.hostkit_fault("fail@9999", add).stderr);
    let removes = total(&vps.hostkit_fault("fail@9999", "worker remove shop mail").stderr);
    let mut points = 0;
    for n in 0..adds.max(removes) {
        for (line, limit) in [(add, adds), ("worker remove shop mail", removes)] {
            if n >= limit {
                continue;
            }
            if line != add {
                vps.hostkit(add).succeeds();
            }
            let ran = vps.hostkit_fault(&format!("kill@{n}"), line);
            assert!(matches!(ran.code, 0 | 137), "{line} at {n}: {ran}");
            points += usize::from(ran.code == 137);
            vps.hostkit("recover --quiet").succeeds();
            vps.hostkit("drift shop").succeeds();
            let there = !names(&vps.hostkit("worker list shop --json").data()).is_empty();
            let runs = vps.sh("systemctl is-active hostkit-shop-mail").stdout == "active\n";
            assert_eq!(there, runs, "{line} at {n}");
            if there {
                vps.hostkit("worker remove shop mail").succeeds();
            }
        }
    }
    println!("failure points walked: {points} (worker add and remove)");
    assert!(points > 10, "{points}");
    assert_eq!(serves(&vps), "one");
}

#[test]
fn limits_of_deploys_are_each_projects_own() {
    let vps = shop("");
    vps.sh("sed -i 's/^per_hour = 0/per_hour = 2/; s/^pause_after = 0/pause_after = 2/' /etc/hostkit/hostkit.toml").succeeds();
    let deploy = "deploy shop --source /root/one --no-watch --quiet";
    let shown = vps.hostkit("ratelimit shop --json").data();
    assert_eq!((&shown["limit"], &shown["from"]), (&2.into(), &"configuration".into()), "{shown}");
    assert_eq!(shown["within_the_last_hour"], 1, "{shown}");
    vps.hostkit(deploy).succeeds();
    vps.hostkit(deploy).fails_with(4);
    // Restarts and rollbacks between deploys do not hide them.
    vps.hostkit("service restart shop").succeeds();
    vps.hostkit("rollback shop --quiet").succeeds();
    let told = vps.hostkit(deploy).fails_with(4);
    assert!(told.contains("deployed 2 times within an hour"), "{told}");
    vps.hostkit("ratelimit shop --per-hour 3").succeeds();
    vps.hostkit(deploy).succeeds();
    vps.hostkit(deploy).fails_with(4);
    // An operator may insist, the project itself may not.
    let send = "tar -C /srv/one -cz . | hostkit deploy --archive - --no-watch";
    vps.sh("cp -r /root/one /srv/one").succeeds();
    assert_eq!(vps.sh_as("shop", &format!("{send} --override-ratelimit")).code, 5);
    assert_eq!(vps.sh_as("shop", send).code, 4);
    assert_ne!(vps.sh_as("shop", "hostkit ratelimit --off").code, 0);
    vps.hostkit(&format!("{deploy} --override-ratelimit")).succeeds();
    vps.hostkit("ratelimit shop --off").succeeds();
    vps.sh_as("shop", send).succeeds();
    vps.hostkit("ratelimit shop --reset").succeeds();
    assert_eq!(vps.hostkit("ratelimit shop --json").data()["from"], "configuration");
    vps.hostkit("ratelimit shop --per-hour 0").fails_with(2);
    vps.hostkit("ratelimit shop --off --reset").fails_with(2);
    vps.hostkit("ratelimit nothere").fails_with(3);
    // Failures in a row.
    vps.hostkit("ratelimit shop --off").succeeds();
    vps.hostkit("autopause shop --after 1").succeeds();
    version(&vps, "bad", "[build]\nsteps = [\"false\"]\n");
    vps.hostkit("deploy shop --source /root/bad").fails_with(1);
    vps.hostkit(deploy).fails_with(4);
    let shown = vps.hostkit("autopause shop --json").data();
    assert!(shown["paused"].as_str().unwrap().contains("the last 1 failed"), "{shown}");
    vps.hostkit("resume shop").succeeds();
    vps.hostkit("autopause shop --off").succeeds();
    for _ in 0..3 {
        vps.hostkit("deploy shop --source /root/bad").fails_with(1);
    }
    vps.hostkit(deploy).succeeds();
}

#[test]
fn who_does_not_wait_is_told_who_holds_it() {
    let vps = shop("");
    version(&vps, "slow", "[build]\nsteps = [\"sleep 8\"]\n");
    let mut held = vps
        .command(&["hostkit", "deploy", "shop", "--source", "/root/slow", "--no-watch", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    vps.wait_until("the build", |vps| vps.sh("pgrep -f '^sleep 8'").code == 0);
    for line in [
        "deploy shop --source /root/one",
        "service stop shop",
        "project restart shop",
        "rollback shop",
    ] {
        let start = Instant::now();
        let told = vps.hostkit(&format!("{line} --no-wait")).fails_with(7);
        assert!(told.contains("`hostkit deploy shop (pid "), "{line}: {told}");
        // Who waits does so for a minute.
        assert!(start.elapsed() < Duration::from_secs(30), "{line}");
    }
    // What changes nothing of it waits for nobody.
    vps.hostkit("exec shop --no-wait -- true").succeeds();
    vps.hostkit("service list shop --no-wait").succeeds();
    vps.hostkit("service stop shop --wait 1m --no-wait").fails_with(2);
    assert!(held.wait().unwrap().success());
}

#[test]
fn a_dry_run_of_a_deploy_tells_all_and_does_nothing() {
    let vps = shop("[process.queue]\ncommand = \"/bin/sleep 3600\"\n");
    let more = "[env.required]\nSECRET = \"signs cookies\"\n[build]\nsteps = [\"touch /home/shop/shared/built\"]\n\
                [process.mail]\ncommand = \"/bin/sleep 77\"\n[process.prepare]\ncommand = \"/bin/false\"\nwhen = \"release\"\n";
    version(&vps, "two", more);
    let before = vps.snapshot().without("registry").without("file /var/lib/hostkit/deploys");
    let told = vps.hostkit("deploy shop --source /root/two --dry-run --json").data();
    assert_eq!((&told["runtime"], &told["dry_run"]), (&"custom".into(), &true.into()), "{told}");
    assert_eq!(told["missing_variables"][0], "SECRET", "{told}");
    assert_eq!(told["before"][0], "/bin/false", "{told}");
    assert!(told["build"].to_string().contains("touch /home/shop/shared/built"), "{told}");
    let would = |name: &str| -> String {
        let all = told["processes"].as_array().unwrap();
        all.iter().find(|p| p["name"] == name).unwrap()["would"].as_str().unwrap().to_owned()
    };
    assert_eq!([would("web"), would("mail"), would("queue")], ["restarts", "starts", "ends"]);
    let text = vps.hostkit("deploy shop --source /root/two --dry-run").succeeds();
    assert!(text.contains("nothing is done yet"), "{text}");
    // By its own user too; and what a deploy would refuse is refused.
    let send = "tar -C /srv/two -cz . | hostkit deploy --archive - --dry-run";
    vps.sh("cp -r /root/two /srv/two").succeeds();
    vps.sh_as("shop", send).succeeds();
    vps.sh("rm -r /srv/two; echo hello | hostkit deploy shop --archive - --dry-run").fails_with(2);
    let after = vps.snapshot().without("registry").without("file /var/lib/hostkit/deploys");
    before.assert_same(&after, "after dry runs");
    assert_eq!(vps.sh("ls /var/lib/hostkit/deploys/shop | wc -l").stdout.trim(), "1");
    assert_eq!(vps.hostkit("deploys shop --json").data().as_array().unwrap().len(), 1);
    assert_eq!(serves(&vps), "one");
}
