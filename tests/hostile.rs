//! What a project's own tree and its own user can make root do: nothing.

use std::process::Stdio;

use crate::vps::{BASE_DOMAIN, MANIFEST, Shop};

fn server() -> Shop {
    let evil = Shop::named("evil", "--no-redis");
    evil.hostkit("provision victim --no-redis --quiet").succeeds();
    for name in ["evil", "victim"] {
        evil.version(name, "");
        evil.hostkit(&format!("deploy {name} --source /root/{name} --no-watch")).succeeds();
    }
    evil
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
        vps.version("evil", what);
        let error = vps.deploy_fails("evil", 2);
        assert!(error.contains(evil) && error.contains("control character"), "{error}");
    }
    // What a unit of systemd's may hold besides is quoted: the value arrives as it was.
    let odd = "[env]\nX = \"two\\nlines\\t%n $HOME \\\"quoted\\\" \\\\ end\"\n";
    vps.version("evil", odd);
    vps.deploy("evil");
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
        let key = format!("[project]\nshared = [\"{shared}\"]");
        let manifest = MANIFEST.replace("[project]", &key);
        let steps = format!("[build]\nsteps = [\"{link}\"]\n");
        vps.write("/root/evil/hostkit.toml", &format!("{manifest}{steps}"));
        let error = vps.deploy_fails("evil", 1);
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
    vps.deploy("evil");
    vps.sh_as("evil", "chmod o+x shared; chmod o+rx shared/up; echo mine > shared/up/file; chmod o+r shared/up/file; ln -s /var/log/nginx/hostkit-victim.access.log shared/up/log; ln -s /etc/passwd shared/up/passwd; ln -s / shared/up/root").succeeds();
    vps.sh("chmod o+x /home/evil").succeeds();
    let get = |path: &str| {
        let answer = vps.get(&format!("evil.{BASE_DOMAIN}"), path).unwrap();
        (answer.status, answer.body)
    };
    assert_eq!(get("/").1, "home");
    assert_eq!(get("/up/file"), (200, "mine\n".into()));
    for path in ["/up/log", "/up/passwd", "/up/root/etc/passwd", "/up/root/etc/hostname"] {
        let (status, body) = get(path);
        assert!(matches!(status, 403 | 404) && !body.contains("root:"), "{path}: {status} {body}");
    }
    // A link that goes through the shared directory to elsewhere.
    vps.sh("ln -s up/root/etc /root/evil/e").succeeds();
    let error = vps.deploy_fails("evil", 1);
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
    assert!(said.contains("your rights have changed meanwhile"), "{said}");
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
    vps.sh(
        "set -e; ssh-keygen -q -t ed25519 -N '' -C ci@test -f /root/ci; hostkit ssh add-key evil /root/ci.pub --ci; \
         ssh-keyscan -t ed25519 127.0.0.1 > /root/known 2> /dev/null; cd /root/evil; git init -q -b main; git add -A; \
         git -c user.name=Ann -c user.email=ann@test commit -qm one; \
         GIT_SSH_COMMAND='ssh -i /root/ci -o UserKnownHostsFile=/root/known -o BatchMode=yes' git push -q evil@127.0.0.1:evil main",
    )
    .succeeds();
    let repository = vps.sh("find / -xdev -name '*.git' -path '*evil*' -not -path '/root/*'");
    assert_eq!(repository.succeeds(), "/home/evil/push/repo.git\n");
    // Neither a command nor a build sees it, puts something into it, or puts something in its place.
    let script = "find /home/evil -name '*.git' -o -name HEAD; ls /home/evil/push; touch /home/evil/push/x; \
                  mv /home/evil/push /home/evil/y; ln -s /home/evil/shared /home/evil/push; rmdir /home/evil/push";
    let command = format!("({script}) > /home/evil/shared/seen 2> /dev/null; echo tried");
    let tried = vps.hostkit_args(&["exec", "evil", "--", "/bin/sh", "-c", &command]).succeeds();
    assert_eq!(tried, "tried\n");
    assert_eq!(vps.read("/home/evil/shared/seen"), "");
    vps.version("built", &format!("[build]\nsteps = [\"{command} > built\"]\n"));
    vps.deploy("built");
    assert_eq!(vps.read("/home/evil/app/built"), "tried\n");
    assert_eq!(vps.read("/home/evil/shared/seen"), "");
    assert_eq!(vps.sh("ls -A /home/evil/push").stdout, "repo.git\n");
    // Parts of other commands are nothing for root, whoever comes as root.
    for part in ["unpack", "git answer x"] {
        vps.sh(&format!("cd /usr/local/sbin && hostkit {part} < /dev/null")).fails_with(5);
    }
}
