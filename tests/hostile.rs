//! What a project's own tree and its own user can make root do: nothing.

use std::process::Stdio;

use crate::vps::{BASE_DOMAIN, Vps};

const SERVER: &str = "import http.server, os\nhttp.server.HTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";
const WEB: &str = "[process.web]\ncommand = \"/usr/bin/python3 server.py\"\n";

fn server() -> Vps {
    let vps = Vps::ready();
    let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
    vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
    for name in ["evil", "victim"] {
        vps.hostkit(&format!("provision {name} --no-redis --quiet")).succeeds();
        vps.write(&format!("/root/{name}/server.py"), SERVER);
        vps.write(
            &format!("/root/{name}/hostkit.toml"),
            &format!("[project]\nruntime = \"custom\"\n{WEB}"),
        );
    }
    vps.hostkit("deploy victim --source /root/victim --no-watch").succeeds();
    vps.hostkit("deploy evil --source /root/evil --no-watch").succeeds();
    vps
}

#[test]
fn a_manifest_writes_no_line_of_a_unit() {
    let vps = server();
    for (what, evil) in [
        ("[env]\nX = \"a\\rExecStartPre=+/usr/bin/touch /root/pwned\\r\"\n", "env.X"),
        ("[build]\nsteps = [\"true\\rExecStartPre=+/usr/bin/touch /root/pwned\"]\n", "build.steps"),
        (
            "[process.worker]\ncommand = \"/bin/sleep 1\\rExecStartPre=+/usr/bin/touch /root/pwned\"\n",
            "process.worker.command",
        ),
    ] {
        vps.write(
            "/root/evil/hostkit.toml",
            &format!("[project]\nruntime = \"custom\"\n{WEB}{what}"),
        );
        let error = vps.hostkit("deploy evil --source /root/evil --no-watch").fails_with(2);
        assert!(error.contains(evil) && error.contains("control character"), "{error}");
    }
    // What a unit of systemd's may hold besides is quoted: the value arrives as it was.
    let odd = "[env]\nX = \"two\\nlines\\t%n $HOME \\\"quoted\\\" \\\\ end\"\n";
    vps.write("/root/evil/hostkit.toml", &format!("[project]\nruntime = \"custom\"\n{WEB}{odd}"));
    vps.hostkit("deploy evil --source /root/evil --no-watch").succeeds();
    let seen = vps
        .hostkit_args(&[
            "exec",
            "evil",
            "--",
            "/usr/bin/python3",
            "-c",
            "import os; print(repr(os.environ['X']))",
        ])
        .succeeds();
    assert_eq!(seen.trim(), r#"'two\nlines\t%n $HOME "quoted" \\ end'"#);
    assert!(!vps.exists("/root/pwned"));
}

#[test]
fn a_shared_directory_leads_nowhere_else() {
    let vps = server();
    let before = vps.sh("ls /etc/systemd/system /etc/nginx | sort | sha256sum").succeeds();
    for (link, shared) in [
        ("ln -s /etc/systemd/system a", "a/hostkit-evil.service.d"),
        ("ln -s /etc a", "a/nginx"),
        ("mkdir b; ln -s ../../../../../../etc b/a", "b/a/nginx"),
        ("ln -s /home/victim/shared a", "a/x"),
        ("echo x > a", "a/x"),
    ] {
        vps.write(
            "/root/evil/hostkit.toml",
            &format!("[project]\nruntime = \"custom\"\nshared = [\"{shared}\"]\n[build]\nsteps = [\"{link}\"]\n{WEB}"),
        );
        let error = vps.hostkit("deploy evil --source /root/evil --no-watch").fails_with(1);
        assert!(error.contains("can't be shared"), "{link}: {error}");
    }
    assert_eq!(vps.sh("ls /etc/systemd/system /etc/nginx | sort | sha256sum").succeeds(), before);
    vps.hostkit("doctor").succeeds();
}

#[test]
fn a_shared_directory_shows_no_file_of_others() {
    let vps = server();
    vps.sh("install -m 644 -o victim /dev/null /home/victim/shared/secret; echo hunter2 > /home/victim/shared/secret").succeeds();
    vps.sh("rm -r /root/evil").succeeds();
    vps.write("/root/evil/index.html", "home");
    vps.write("/root/evil/hostkit.toml", "[project]\nruntime = \"static\"\nshared = [\"up\"]\n");
    vps.hostkit("deploy evil --source /root/evil --no-watch").succeeds();
    vps.sh_as("evil", "chmod o+x shared; chmod o+rx shared/up; echo mine > shared/up/file; chmod o+r shared/up/file; ln -s /var/log/nginx/hostkit-victim.access.log shared/up/log; ln -s /etc/passwd shared/up/passwd; ln -s / shared/up/root").succeeds();
    vps.sh("chmod o+x /home/evil").succeeds();
    let get = |path: &str| {
        let answer = vps.get(&format!("evil.{BASE_DOMAIN}"), path).unwrap();
        (answer.status, answer.body)
    };
    assert_eq!(get("/").1, "home");
    for path in ["/up/log", "/up/passwd", "/up/root/etc/passwd", "/up/root/etc/hostname"] {
        let (status, body) = get(path);
        assert!(matches!(status, 403 | 404) && !body.contains("root:"), "{path}: {status} {body}");
    }
    // A link that goes through the shared directory to elsewhere.
    vps.sh("ln -s up/root/etc /root/evil/e").succeeds();
    let error = vps.hostkit("deploy evil --source /root/evil --no-watch").fails_with(1);
    assert!(error.contains("leads out of the release"), "{error}");
}

#[test]
fn a_gate_that_is_held_open_outlives_nobody() {
    let vps = server();
    vps.hostkit("env set victim SECRET=hunter2").succeeds();
    vps.sh("mkfifo -m 666 /tmp/door").succeeds();
    // evil's user opens its gate and says nothing yet.
    let guest = vps
        .command(&["runuser", "-l", "evil", "-c", "exec sudo -n hostkit gate evil <> /tmp/door"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    vps.wait_until("the gate is open", |vps| vps.sh("pgrep -f 'hostkit gate evil'").code == 0);
    vps.hostkit("project delete evil --yes --no-backup").succeeds();
    vps.hostkit("provision evil --no-redis --quiet").succeeds();
    vps.hostkit("env set evil SECRET=hunter2").succeeds();
    vps.sh("echo '{\"argv\":[\"env\",\"get\",\"SECRET\"]}' > /tmp/door").succeeds();
    let out = guest.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(!said.contains("hunter2"), "{said}");
    // And an upload that never comes is in nobody's way.
    let upload = vps
        .command(&["runuser", "-l", "victim", "-c", "sleep 60 | hostkit deploy --archive -"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    vps.wait_until("it waits", |vps| vps.sh("pgrep -f 'hostkit gate victim'").code == 0);
    vps.sh("sleep 1").succeeds();
    vps.hostkit("env set victim A=1 --no-wait").succeeds();
    vps.hostkit("project stop victim --no-wait").succeeds();
    vps.hostkit("init --no-wait --quiet").succeeds();
    drop(upload);
}

#[test]
fn an_owner_of_a_database_keeps_nobody_from_removing_it() {
    let vps = server();
    let url = vps.hostkit("env get evil DATABASE_URL").succeeds();
    let sql = |sql: &str| vps.run(&["psql", "-qtA", "-d", url.trim(), "-c", sql], b"");
    sql("CREATE TABLE t (v int)").succeeds();
    sql("ALTER DATABASE evil_db IS_TEMPLATE true").succeeds();
    // A lock that is held keeps a checkpoint waiting for a while, and not for hours.
    let holder = vps
        .command(&[
            "psql",
            "-q",
            "-d",
            url.trim(),
            "-c",
            "BEGIN; LOCK TABLE t; SELECT pg_sleep(300)",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    vps.wait_until("it is locked", |vps| {
        vps.sh("runuser -u postgres -- psql -qtAc \"SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 't'::regclass\" evil_db | grep -qx 1").code == 0
    });
    let error = vps.hostkit("checkpoint create evil").fails_with(1);
    assert!(error.contains("could not take a checkpoint"), "{error}");
    vps.sh("runuser -u postgres -- psql -qc \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)' AND pid <> pg_backend_pid()\"").succeeds();
    drop(holder);
    let id = vps.hostkit("checkpoint create evil --quiet").succeeds();
    vps.hostkit(&format!("checkpoint restore evil {} --yes", id.trim())).succeeds();
    sql("ALTER DATABASE evil_db IS_TEMPLATE true").succeeds();
    vps.hostkit("recover").succeeds();
    vps.hostkit("project delete evil --yes").succeeds();
    vps.hostkit("doctor").succeeds();
}

#[test]
fn what_is_pushed_lies_where_no_unit_reaches_it() {
    let vps = server();
    let tried = vps.hostkit_args(&[
        "exec",
        "evil",
        "--",
        "/bin/sh",
        "-c",
        "ls /home/evil/push; mkdir /home/evil/push/x; mv /home/evil/push /home/evil/y; echo tried",
    ]);
    assert!(tried.stdout.contains("tried"), "{tried}");
    assert_eq!(tried.stdout.trim(), "tried", "{tried}");
    assert_eq!(vps.sh("ls -A /home/evil/push").stdout, "");
    // Parts of other commands are nothing for root, whoever comes as root.
    for part in ["unpack", "git answer x"] {
        vps.sh(&format!("cd /usr/local/sbin && hostkit {part} < /dev/null")).fails_with(5);
    }
    assert_ne!(vps.sh_as("evil", "sudo -n hostkit man --into /usr/local/sbin").code, 0);
}
