//! Who may do what: operators, keys, and what sudo grants.

use std::process::Stdio;

use crate::{verbs::shop, vps::Vps};

#[test]
fn people_become_operators_and_are_none_any_more() {
    let vps = shop("");
    vps.sh(
        "set -e; for key in alice second; do ssh-keygen -q -t ed25519 -N '' -C $key@test -f /root/$key; done; \
         ssh-keyscan -t ed25519 127.0.0.1 > /root/known 2> /dev/null",
    )
    .succeeds();
    let ssh = |key: &str, user: &str, command: &str| {
        vps.sh(&format!(
            "ssh -n -i /root/{key} -o UserKnownHostsFile=/root/known -o BatchMode=yes -o LogLevel=ERROR {user}@127.0.0.1 {command}"
        ))
    };
    let setup = "operator setup alice --key /root/alice.pub";
    let told = vps.hostkit(&format!("{setup} --dry-run")).succeeds();
    assert!(told.contains("user alice"), "{told}");
    assert_ne!(vps.sh("id alice").code, 0);
    vps.hostkit(setup).succeeds();
    assert!(ssh("alice", "alice", "sudo hostkit events").succeeds().contains("operator setup"));
    assert_ne!(ssh("alice", "alice", "sudo -n id").code, 0);
    assert!(vps.hostkit(setup).succeeds().contains("already"));
    assert_eq!(vps.hostkit(&format!("{setup} --json")).data()["changed"], 0);
    // A key more, by standard input; what the person put there stays.
    vps.sh("echo '# mine' >> /home/alice/.ssh/authorized_keys; hostkit operator add-key alice - < /root/second.pub").succeeds();
    ssh("second", "alice", "true").succeeds();
    let meta = "stat -c '%U %a' /home/alice/.ssh /home/alice/.ssh/authorized_keys";
    assert_eq!(vps.sh(meta).stdout, "alice 700\nalice 600\n");
    let listed = vps.hostkit("operator list --json").data();
    assert_eq!(
        (&listed[0]["name"], listed[0]["keys"].as_array().unwrap().len()),
        (&"alice".into(), 2)
    );
    assert!(listed[0]["uid"].as_u64().unwrap() < 20_000, "{listed}");
    // An account that is there is adopted as it is.
    vps.sh("useradd -m -u 1500 -s /bin/bash -c 'Carol C' carol").succeeds();
    vps.hostkit("operator setup carol").succeeds();
    assert!(vps.sh("getent passwd carol").stdout.contains("Carol C"));
    assert_eq!(vps.sh_as("carol", "sudo -n hostkit status").code, 0);
    // Who is none, and can't be one.
    vps.sh("useradd -r -s /bin/bash robot; useradd -m -u 1600 -s /usr/sbin/nologin shut; useradd -m -u 20077 -s /bin/bash high").succeeds();
    for (line, code) in [
        ("operator setup shop", 4),
        ("operator setup root", 4),
        ("operator setup www-data", 4),
        ("operator setup robot", 4),
        ("operator setup high", 4),
        ("operator setup shut", 4),
        ("operator setup hostkit", 4),
        ("operator setup -- -x", 2),
        ("operator setup A", 2),
        ("operator setup dave --key /root/alice", 2),
        ("operator setup dave --key /etc/passwd", 2),
        ("operator add-key dave /root/alice.pub", 3),
        ("operator revoke dave", 3),
        ("operator revoke shop", 3),
    ] {
        vps.hostkit(line).fails_with(code);
    }
    assert_ne!(vps.sh("id dave").code, 0);
    assert_ne!(vps.sh_as("shop", "hostkit operator list").code, 0);
    // A home that leads elsewhere is not followed by root.
    vps.sh(
        "useradd -m -u 1700 -s /bin/bash eve; ln -s /root/.ssh /home/eve/.ssh; mkdir -p /root/.ssh",
    )
    .succeeds();
    assert_ne!(vps.hostkit("operator setup eve --key /root/second.pub").code, 0);
    assert!(!vps.exists("/root/.ssh/authorized_keys"));
    // Revoked: no right, no key of ours, and what was theirs is there.
    let mut session = vps
        .command(&["sh", "-c", "exec ssh -n -i /root/alice -o UserKnownHostsFile=/root/known -o BatchMode=yes alice@127.0.0.1 sleep 6001"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    vps.wait_until("a session", |vps| vps.sh("pgrep -u alice -f '^sleep 6001'").code == 0);
    vps.hostkit("operator revoke alice --end-sessions").succeeds();
    vps.wait_until("its end", |vps| vps.sh("pgrep -u alice -f '^sleep 6001'").code != 0);
    session.wait().unwrap();
    assert_ne!(ssh("alice", "alice", "true").code, 0);
    assert_ne!(vps.sh("runuser -u alice -- sudo -n hostkit status").code, 0);
    assert_eq!(vps.read("/home/alice/.ssh/authorized_keys"), "# mine\n");
    vps.hostkit("operator revoke alice").fails_with(3);
}

#[test]
fn what_sudo_grants_is_what_it_should() {
    let vps = shop("");
    let verify = |code: i32| {
        let ran = vps.hostkit("permissions verify shop");
        assert_eq!(ran.code, code, "{ran}");
        ran.stdout
    };
    assert!(verify(0).contains("and nothing else"));
    let shown = vps.hostkit("permissions show shop --json").data();
    assert!(shown["gate"].as_array().unwrap().contains(&"exec".into()), "{shown}");
    assert!(shown["sudo"].as_array().unwrap().contains(&"hostkit status shop".into()), "{shown}");
    vps.sh_as("shop", "hostkit permissions show").succeeds();
    assert_ne!(vps.sh_as("shop", "hostkit permissions verify").code, 0);
    for (what, make, told, back) in [
        (
            "more",
            "echo 'shop ALL=(ALL) NOPASSWD: /bin/cat' > /etc/sudoers.d/mine",
            "grants besides: (ALL) NOPASSWD: /bin/cat",
            "rm /etc/sudoers.d/mine",
        ),
        (
            "less",
            "sed -i '/status/d' /etc/sudoers.d/hostkit-shop",
            "does not grant: (root) NOPASSWD: /usr/bin/hostkit status shop",
            "hostkit repair shop",
        ),
        (
            "broken",
            "echo 'shop ALL=(' > /etc/sudoers.d/mine",
            "syntax error",
            "rm /etc/sudoers.d/mine",
        ),
        (
            "open",
            "chmod 644 /home/shop/.ssh/authorized_keys",
            "mode 0644 (should be 0640)",
            "hostkit repair shop",
        ),
        ("a group", "usermod -aG adm shop", "in the group adm too", "gpasswd -d shop adm"),
        (
            "a key",
            "echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS x' >> /home/shop/.ssh/authorized_keys",
            "authorized_keys",
            "hostkit repair shop",
        ),
    ] {
        vps.sh(make).succeeds();
        let said = verify(1);
        assert!(said.contains(told), "{what}: {said}");
        vps.sh(back).succeeds();
        verify(0);
    }
}

#[test]
fn keys_come_from_a_forge_that_shows_them() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    vps.sh(
        "set -e; mkdir /srv/forge; cd /srv/forge; ssh-keygen -q -t ed25519 -N '' -C x -f /root/alice; \
         cut -d' ' -f1,2 /root/alice.pub > alice.keys; echo 'ssh-dss AAAAB3NzaC1kc3MAAACBAL' >> alice.keys; touch bob.keys; \
         yes 'ssh-ed25519 AAAA' | head -c 400000 > endless.keys; \
         sed -i 's|^#github = .*|github = \"http://127.0.0.1:8700\"|' /etc/hostkit/hostkit.toml; \
         ssh-keyscan -t ed25519 127.0.0.1 > /root/known 2> /dev/null",
    )
    .succeeds();
    let refused = vps.hostkit("ssh add-key shop --github alice").fails_with(1);
    assert!(refused.contains("127.0.0.1:8700"), "{refused}");
    vps.sh("(cd /srv/forge; exec setsid python3 -m http.server --bind 127.0.0.1 8700 > /dev/null 2>&1 < /dev/null &)").succeeds();
    vps.wait_until("the forge answers", |vps| vps.sh("curl -sf http://127.0.0.1:8700/alice.keys || python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8700/alice.keys')\"").code == 0);
    for (user, code, why) in [
        ("nobody", 3, "no `nobody`"),
        ("bob", 3, "shows no key"),
        ("endless", 1, "longer than"),
        ("../../etc/x", 2, "letters, digits"),
        ("-x", 2, ""),
        ("a@evil", 2, "letters, digits"),
    ] {
        let line = format!("--github={user}");
        let told = vps.hostkit_args(&["ssh", "add-key", "shop", &line]).fails_with(code);
        assert!(told.contains(why), "{user}: {told}");
    }
    vps.hostkit("ssh add-key shop --github alice").succeeds();
    let listed = vps.hostkit("ssh list-keys shop").succeeds();
    assert!(listed.contains("alice@github"), "{listed}");
    let ssh = |user: &str, command: &str| {
        vps.sh(&format!(
            "ssh -n -i /root/alice -o UserKnownHostsFile=/root/known -o BatchMode=yes -o LogLevel=ERROR {user}@127.0.0.1 {command}"
        ))
    };
    assert_eq!(ssh("shop", "id -un").succeeds(), "shop\n");
    vps.hostkit("operator setup alice --github alice").succeeds();
    ssh("alice", "sudo hostkit status").succeeds();
}
