//! Bad input, hostile callers, closed terminals, signals.

use std::{io::Read, process::Stdio, time::Duration};

use crate::vps::Vps;

#[test]
fn names_are_refused_with_the_rule_and_a_name_that_would_do() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    for (name, rule, hint) in [
        ("My_App", "3 to 32 of a-z, 0-9 and -", "hostkit provision my-app"),
        ("1app", "starts with a letter", "hostkit provision app"),
        ("app-", "ends with a letter or a digit", "hostkit provision app"),
        ("my--app", "no two hyphens in a row", "hostkit provision my-app"),
        ("ab", "this one has 2", "hostkit provision ab-app"),
        ("root", "uses that name", "hostkit provision root-app"),
        ("www-data", "uses that name", "hostkit provision www-data-app"),
        ("hostkit", "uses that name", "hostkit provision my-hostkit"),
        ("default", "uses that name", "hostkit provision default-app"),
        ("wall", "uses that name", "hostkit provision wall-app"),
        ("xn-abc", "start with `xn-`", "hostkit provision my-xn-abc"),
        ("../etc", "this one has `.`", "hostkit provision etc"),
        ("a;reboot", "this one has `;`", "hostkit provision a-reboot"),
        ("a\nb", "this one has `\\n`", "hostkit provision a-b"),
        ("$(id)", "this one has `$`", "hostkit provision id-app"),
        ("ünïcode", "this one has `ü`", "hostkit provision n-code"),
        ("", "it is empty", "choose a name"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "this one has 33", "hostkit provision aaa"),
    ] {
        let error = vps.hostkit_args(&["provision", name]).fails_with(2);
        assert!(error.contains(rule) && error.contains(hint), "{name}: {error}");
    }
    for line in [
        "provision shop --domain not_a_domain",
        "provision shop --domain *.example.com",
        "provision shop --domain a;b.example.com",
        "provision shop --ssh-key /etc/shadow",
        "provision shop --ssh-key /no/such/file",
        "provision shop --runtime cobol",
        "provision shop --runtime custom",
        "provision shop --start-cmd relative",
        "provision shop --python --node",
        "provision shop --no-db --with-db",
        "provision shop --no-such-option",
        "provision",
        "provision shop extra",
        "init --base-domain nonsense!",
        "events --last many",
        "project info shop --wait soon",
    ] {
        let error = vps.hostkit(line).fails_with(2);
        assert!(!error.is_empty(), "{line}");
    }
    before.assert_same(&vps.snapshot(), "bad input");
}

#[test]
fn unknown_words_get_a_suggestion() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    for (line, code, hint) in [
        ("provison shop", 2, "'provision'"),
        ("project lst", 2, "'list'"),
        ("status --jsn", 2, "'--json'"),
        ("status shp", 3, "did you mean `shop`?"),
        ("project info nobody-of-that-name", 3, "hostkit project list"),
        ("config get port", 3, "hostkit config"),
        ("config get base_domian", 3, "did you mean `base_domain`?"),
    ] {
        let error = vps.hostkit(line).fails_with(code);
        assert!(error.contains(hint), "{line}: {error}");
    }
}

#[test]
fn json_is_one_document_on_every_path() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    for line in [
        "project list",
        "status",
        "drift",
        "doctor",
        "events",
        "config",
        "plan new-one",
        "recover",
        "capabilities",
        "project info shop",
        "repair shop",
        "init --dry-run",
    ] {
        let ran = vps.hostkit(&format!("{line} --json"));
        let document: serde_json::Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {ran}"));
        assert_eq!(document["ok"], true, "{line}");
        assert!(
            document["command"].is_string() && !document["data"].is_null(),
            "{line}: {document}"
        );
    }
    for (line, code) in [
        ("provision My_App", "bad_name"),
        ("provision shop", "project_exists"),
        ("status not-there", "no_project"),
        ("nonsense", "usage"),
        ("project start shop", "no_release"),
        ("provision x --no-such", "usage"),
    ] {
        let ran = vps.hostkit(&format!("{line} --json"));
        let document: serde_json::Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {ran}"));
        assert_eq!(document["ok"], false, "{line}");
        assert_eq!(document["error"]["code"], code, "{line}: {document}");
        assert!(document["error"]["message"].is_string() && ran.code != 0, "{line}");
    }
}

#[test]
fn who_is_not_root_is_told_to_use_sudo() {
    let vps = Vps::ready();
    vps.sh("useradd -m bob; useradd -m -G sudo carol; useradd -m -G hostkit dave; echo 'bob ALL=(root) NOPASSWD: /usr/bin/hostkit' > /etc/sudoers.d/bob; echo '%sudo ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/all").succeeds();
    for line in ["project list", "provision shop", "doctor", "init"] {
        let error = vps.sh_as("bob", &format!("hostkit {line}")).fails_with(5);
        assert!(error.contains("sudo hostkit"), "{line}: {error}");
    }
    for line in ["--help", "--version", "provision --help", "completions bash", "capabilities"] {
        vps.sh_as("bob", &format!("hostkit {line}")).succeeds();
    }
    // Whom sudo lets in is not thereby an operator; whom it lets become root is.
    let error = vps.sh_as("bob", "sudo -n hostkit project list").fails_with(5);
    assert!(error.contains("neither root nor an operator"), "{error}");
    vps.sh_as("carol", "sudo -n hostkit project list").succeeds();
    vps.sh_as("dave", "sudo -n /usr/bin/hostkit project list").succeeds();
    // A root shell that sudo opened is root, whoever opened it.
    vps.sh_as("carol", "sudo -n bash -c 'hostkit project list; :'").succeeds();
    vps.sh_as("dave", "sudo -n env HOSTKIT_FAULT=kill@0 hostkit project list").fails_with(1);
    let fault = vps.sh_as(
        "carol",
        "HOSTKIT_FAULT=kill@0 sudo -n --preserve-env=HOSTKIT_FAULT hostkit project create shop",
    );
    fault.succeeds();
}

#[test]
fn what_the_caller_left_behind_changes_nothing() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    for caller in [
        "umask 0777",
        "umask 0000",
        "cd /tmp && mkdir -p gone && cd gone && rmdir ../gone",
        "ulimit -c unlimited -n 400",
        "export PATH=/nonexistent LANG=tr_TR LC_ALL=xx TZ=Nowhere/None TERM=nonsense HOME=/nonexistent PGHOST=/evil PGPASSWORD=x DBUS_SYSTEM_BUS_ADDRESS=unix:path=/evil",
        "exec 0<&- 1>&- 2>&-",
        "exec 3</etc/shadow 4>/dev/null 99<&3",
        "trap '' INT TERM HUP PIPE CHLD",
    ] {
        let ran = vps.sh(&format!("{caller}\n/usr/bin/hostkit provision shop --domain shop.test"));
        assert_eq!(ran.code, 0, "{caller}: {ran}");
        vps.hostkit("drift shop").succeeds();
        vps.hostkit("doctor").succeeds();
        vps.hostkit("project delete shop --yes --no-backup").succeeds();
        before.assert_same(&vps.snapshot(), caller);
    }
    // Limits that it may not lift are refused, never obeyed half-way.
    let limited = vps.sh("ulimit -f 1; hostkit provision shop");
    assert!(matches!(limited.code, 0 | 8), "{limited}");
    if limited.code == 0 {
        vps.hostkit("drift shop").succeeds();
        vps.hostkit("project delete shop --yes --no-backup").succeeds();
    }
    before.assert_same(&vps.snapshot(), "limits");
}

#[test]
fn a_terminal_that_closes_midway_or_never_reads_stops_nothing() {
    let vps = Vps::ready();
    for script in [
        "hostkit provision shop | true",
        "hostkit provision shop 2>&1 | head -c 1 > /dev/null",
        "hostkit provision shop > /dev/full 2>&1",
        "hostkit provision shop --json | head -c 1 > /dev/null",
    ] {
        let _ = vps.sh(&format!("set -o pipefail; {script}"));
        vps.hostkit("drift shop").succeeds();
        vps.hostkit("project delete shop --yes --no-backup").succeeds();
    }
    // Nobody reads: the work is done and the locks are free while the text waits.
    let mut child = vps
        .command(&["sh", "-c", "sleep 1; exec hostkit plan shop --json; :"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut provision = vps
        .command(&["hostkit", "provision", "shop", "-v"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    vps.hostkit("repair shop --wait 0").succeeds();
    vps.hostkit("drift shop").succeeds();
    let mut text = String::new();
    provision.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("Ready in"), "{text}");
    let _ = (provision.wait(), child.kill(), child.wait());
}

#[test]
fn a_signal_ends_the_step_undoes_and_says_so_in_the_exit_code() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let mut interrupted = 0;
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        for i in 0..12 {
            let ran = vps.sh(&format!(
                "hostkit provision shop > /var/cache/out 2>&1 & pid=$!; sleep 0.{:03}; kill -{signal} $pid; wait $pid",
                i * 17
            ));
            if ran.code == 0 {
                vps.hostkit("project delete shop --yes --no-backup").succeeds();
            } else {
                assert_eq!(ran.code, code, "{signal} {i}: {ran}: {}", vps.read("/var/cache/out"));
                interrupted += 1;
            }
            before.assert_same(&vps.snapshot(), &format!("SIG{signal} {i}"));
        }
    }
    assert!(interrupted > 10, "{interrupted}");
    // Ctrl-C in a terminal goes to all that run there, and useradd is not left half-done by it.
    for i in 0..6 {
        let ran = vps.sh(&format!("setsid --wait sh -c 'hostkit provision shop > /var/cache/out 2>&1 & sleep 0.{:03}; kill -INT -- -$$; wait'", 10 + i * 13));
        let _ = ran;
        vps.wait_until("its end", |vps| vps.sh("pgrep -x hostkit").code != 0);
        if vps.hostkit("project info shop").code == 0 {
            vps.hostkit("project delete shop --yes --no-backup").succeeds();
        }
        before.assert_same(&vps.snapshot(), &format!("Ctrl-C {i}"));
    }
}

#[test]
fn a_broken_configuration_is_told_with_its_line() {
    let vps = Vps::ready();
    let good = vps.read("/etc/hostkit/hostkit.toml");
    for (text, told) in [
        ("[ports]\nfrist = 8001\n", "did you mean `ports.first`?"),
        ("base_domain = 7\n", "line 1"),
        ("[limits]\nmemory = \"lots\"\n", "line 2"),
        ("[ports\n", "line 1"),
    ] {
        vps.write("/etc/hostkit/hostkit.toml", text);
        let error = vps.hostkit("project list").fails_with(2);
        assert!(
            error.contains("/etc/hostkit/hostkit.toml") && error.contains(told),
            "{text}: {error}"
        );
    }
    vps.sh("chmod 000 /etc/hostkit/hostkit.toml; rm /etc/hostkit/hostkit.toml; ln -s /etc/shadow /etc/hostkit/hostkit.toml").succeeds();
    let error = vps.hostkit("project list").fails_with(1);
    assert!(error.contains("it is a symbolic link") && !error.contains("root:"), "{error}");
    vps.sh("rm /etc/hostkit/hostkit.toml").succeeds();
    vps.write("/etc/hostkit/hostkit.toml", &good);
    vps.hostkit("project list").succeeds();
}

#[test]
fn a_template_of_the_owners_shadows_ours_and_a_bad_one_breaks_nothing() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    vps.write("/etc/hostkit/templates/nginx/page.html", "<h1>soon: {{ name }}</h1>");
    vps.hostkit("repair shop").succeeds();
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().body, "<h1>soon: shop</h1>");
    let before = vps.snapshot();
    for (name, text, told) in [
        ("nginx/site.conf", "server { no_such_directive; }\n", "unknown directive"),
        ("nginx/site.conf", "{{ nothing_of_that_name }}\n", "nothing_of_that_name"),
        ("nginx/site.conf", "{% if %}\n", "could not render"),
        ("sudoers/project", "this is no rule\n", "sudo would not take the rules"),
    ] {
        vps.write(&format!("/etc/hostkit/templates/{name}"), text);
        let error = vps.hostkit("repair shop").fails_with(1);
        assert!(
            error.contains(told) && error.contains("/etc/hostkit/templates/"),
            "{name}: {error}"
        );
        vps.hostkit("provision other").fails_with(1);
        vps.sh(&format!("rm /etc/hostkit/templates/{name}; rmdir /etc/hostkit/templates/sudoers 2>/dev/null; true")).succeeds();
        before.assert_same(&vps.snapshot(), name);
    }
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().status, 503);
}

#[test]
fn no_secret_is_in_an_argument_a_log_or_a_readable_file() {
    let vps = Vps::ready();
    // Every argument of every process, as fast as they can be read.
    vps.write(
        "/root/watch.py",
        "import os, time
seen = set()
end = time.time() + 6
while time.time() < end:
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try: seen.add(open(f'/proc/{pid}/cmdline', 'rb').read())
        except OSError: pass
open('/root/seen', 'wb').write(b'\\n'.join(seen))",
    );
    vps.sh("python3 /root/watch.py & sleep 0.3; hostkit provision shop -v > /root/out 2>&1; hostkit drift shop >> /root/out; echo nonsense >> /home/shop/.env; hostkit repair shop >> /root/out 2>&1; sed -i /nonsense/d /home/shop/.env; chmod o+r /home/shop/.env; hostkit repair shop -v >> /root/out 2>&1; hostkit plan shop --json >> /root/out; hostkit project delete shop --yes -v >> /root/out 2>&1; hostkit events --json >> /root/out; wait").succeeds();
    let env = vps.sh("cat /srv/backups/hostkit/shop/*/env").succeeds();
    let secrets: Vec<&str> = env
        .lines()
        .filter_map(|line| {
            line.split_once("://")?.1.split_once('@')?.0.split_once(':').map(|(_, s)| s)
        })
        .collect();
    assert!(secrets.len() >= 2, "{env}");
    for secret in secrets {
        for place in ["/root/seen", "/root/out"] {
            assert_eq!(vps.sh(&format!("grep -c {secret} {place}")).stdout.trim(), "0", "{place}");
        }
        assert_eq!(vps.sh(&format!("journalctl | grep -c {secret}")).stdout.trim(), "0");
        assert_eq!(
            vps.sh(&format!("grep -rl {secret} /var/lib/hostkit /var/log /etc 2>/dev/null")).stdout,
            ""
        );
        assert_eq!(vps.sh(&format!("find / -xdev -type f -perm -004 -newer /root/watch.py -not -path '/proc/*' -exec grep -l {secret} {{}} + 2>/dev/null")).stdout, "");
    }
}
