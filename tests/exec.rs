//! Commands of a project's own: as it, beside it, confined like it, and none left behind.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{verbs::shop, vps::Vps};

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
    let vps = shop("[env]\nFROM_MANIFEST = \"yes\"\n");
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
        let (mut child, _input) = begin(&["timeout", "20", "sh", "-c", &line], Stdio::null());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{verb}");
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
    // Whoever is interrupted before the shell has put it in front is not: it says when it is there.
    vps.write(
        "/root/play.py",
        "import os, pty, select, struct, fcntl, sys, termios\n\
         pid, fd = pty.fork()\n\
         if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])\n\
         fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 41, 123, 0, 0))\n\
         keys = [(b'ready', b'echo first; stty size; tty; echo $TERM\\r'), (b'xterm', b'sh -c \"echo in$((40+2)); exec sleep 5001\"\\r'), (b'in42', b'\\x03'), (b'', b'echo after\\r'), (b'after\\r\\n', b'exit 5\\r')]\n\
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

#[test]
fn a_project_runs_so_many_commands_at_once_and_no_more() {
    let shop = shop("");
    let running =
        |vps: &Vps| -> usize { vps.sh("pgrep -c -f '^sleep 700'").stdout.trim().parse().unwrap() };
    let begin = |count: usize, mark: &str| -> Vec<Child> {
        let one = |_| {
            shop.command(&["hostkit", "exec", "shop", "--", "sleep", mark])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        (0..count).map(one).collect()
    };
    let refused = || {
        let told = shop.hostkit("exec shop -- true").fails_with(4);
        assert!(told.contains("8 commands of shop run at once already"), "{told}");
    };
    // All at the same moment.
    let mut all = begin(20, "7003");
    shop.wait_until("most are refused", |_| {
        all.iter_mut().filter_map(|child| child.try_wait().unwrap()).count() == 12
    });
    shop.wait_until("the rest run", |vps| running(vps) == 8);
    refused();
    // By the project itself, too; another project is another's.
    assert_eq!(shop.sh_as("shop", "hostkit exec -- true").code, 4);
    shop.sh("pkill -f '^sleep 7003'").succeeds();
    for child in &mut all {
        child.wait().unwrap();
    }
    shop.hostkit("exec shop -- true").succeeds();
    // What the killed have left counts for nothing.
    let mut all = begin(8, "7004");
    shop.wait_until("all run", |vps| running(vps) == 8);
    refused();
    shop.sh("pkill -9 -f '^hostkit exec shop'").succeeds();
    for child in &mut all {
        child.wait().unwrap();
    }
    shop.hostkit("exec shop -- true").succeeds();
    assert_eq!(running(&shop), 0);
}
