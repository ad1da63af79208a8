//! The registry lost, damaged, or at odds with the host.

use crate::vps::Vps;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS me@laptop";

fn three_projects() -> Vps {
    let vps = Vps::ready();
    vps.hostkit("provision gone").succeeds();
    vps.hostkit_args(&[
        "provision",
        "shop",
        "--domain",
        "b.shop.test",
        "--domain",
        "a.shop.test",
        "--ssh-key",
        KEY,
    ])
    .succeeds();
    vps.hostkit("project create plain --static --no-redis").succeeds();
    vps.hostkit_args(&[
        "project",
        "create",
        "own",
        "--runtime",
        "custom",
        "--start-cmd",
        "/home/own/app/x --rate '50% off' \"$HOME\"",
        "--with-db",
    ])
    .succeeds();
    vps.hostkit("project delete gone --yes --no-backup").succeeds();
    vps
}

fn told(vps: &Vps) -> Vec<serde_json::Value> {
    let mut all = vec![vps.hostkit("project list --json").data()];
    for name in ["shop", "plain", "own"] {
        let mut info = vps.hostkit(&format!("project info {name} --json")).data();
        info["unit"].take();
        all.push(info);
    }
    all
}

#[test]
fn a_lost_or_damaged_registry_is_told_and_built_anew_from_the_host() {
    let vps = three_projects();
    let (known, before) = (told(&vps), vps.snapshot());
    for (how, sabotage) in [
        ("lost", "rm -rf /var/lib/hostkit/registry.db*"),
        ("directory lost", "rm -rf /var/lib/hostkit"),
        ("emptied", "rm -f /var/lib/hostkit/registry.db-*; : > /var/lib/hostkit/registry.db"),
        (
            "cut off",
            "rm -f /var/lib/hostkit/registry.db-*; truncate -s 6000 /var/lib/hostkit/registry.db",
        ),
        (
            "overwritten",
            "rm -f /var/lib/hostkit/registry.db-*; dd if=/dev/urandom of=/var/lib/hostkit/registry.db bs=4096 count=3 conv=notrunc status=none",
        ),
        (
            "replaced",
            "rm -f /var/lib/hostkit/registry.db*; python3 -c \"import sqlite3; sqlite3.connect('/var/lib/hostkit/registry.db').execute('create table x (y)')\"",
        ),
    ] {
        vps.sh(sabotage).succeeds();
        let doctor = vps.hostkit("doctor");
        assert_eq!(doctor.code, 1, "{how}: {doctor}");
        assert!(doctor.stdout.contains("hostkit recover --from-host"), "{how}: {doctor}");
        for line in ["provision another", "project list", "repair shop"] {
            let refused = vps.hostkit(line).fails_with(8);
            assert!(refused.contains("recover --from-host"), "{how}: {refused}");
        }
        let shown = vps.hostkit("recover --from-host --dry-run").succeeds();
        assert!(shown.contains("3 projects would be recorded"), "{how}: {shown}");
        vps.hostkit("recover --from-host").succeeds();
        assert_eq!(told(&vps), known, "{how}");
        before.assert_same(&vps.snapshot(), how);
        vps.hostkit("doctor").succeeds();
    }
    // Checkpoints are found again, and the next one does not take them for what was left half-way.
    let dump = vps.hostkit("checkpoint create shop --quiet").succeeds();
    vps.hostkit("env set shop A=1").succeeds();
    vps.sh("rm -f /var/lib/hostkit/registry.db*").succeeds();
    vps.hostkit("recover --from-host").succeeds();
    vps.hostkit("checkpoint create shop").succeeds();
    let found = vps.hostkit(&format!("checkpoint info shop {} --json", dump.trim())).data();
    assert!(found["dump"].as_u64().unwrap() > 500, "{found}");
    assert_eq!(vps.hostkit("env history shop --json").data().as_array().unwrap().len(), 3);
    vps.hostkit(&format!("checkpoint restore shop {} --env --yes", dump.trim())).succeeds();
    vps.hostkit("env get shop A").fails_with(3);
    // A number that was used before the loss is not used again after it.
    let used = vps.sh("getent passwd shop plain own | cut -d: -f3 | sort | tail -1").succeeds();
    vps.hostkit("provision fresh").succeeds();
    let uid: u32 = vps.sh("id -u fresh").succeeds().trim().parse().unwrap();
    assert!(uid >= 20_100, "{uid} after {used}");
    let sound = vps.hostkit("recover --from-host").fails_with(4);
    assert!(sound.contains("the registry is sound"), "{sound}");
}

#[test]
fn what_no_project_owns_is_told() {
    let vps = three_projects();
    vps.sh("cp /etc/sudoers.d/hostkit-shop /etc/sudoers.d/hostkit-ghost; touch /etc/systemd/system/hostkit-ghost.service; \
            runuser -u postgres -- psql -qc 'create role ghost_user' -c \"comment on role ghost_user is 'hostkit project ghost'\"; \
            redis-cli -s /run/redis/hostkit.sock --user hostkit-admin --pass $(cat /etc/hostkit/redis.secret) --no-auth-warning acl setuser ghost").succeeds();
    let doctor = vps.hostkit("doctor --json");
    assert_eq!(doctor.code, 1);
    for stray in [
        "/etc/sudoers.d/hostkit-ghost",
        "hostkit-ghost.service",
        "role ghost_user",
        "redis user ghost",
    ] {
        assert!(doctor.stdout.contains(stray), "{stray}: {doctor}");
    }
    vps.sh("rm /etc/sudoers.d/hostkit-ghost; echo nonsense > /etc/systemd/system/hostkit-ghost.service; rm -rf /var/lib/hostkit/registry.db*").succeeds();
    let noted = vps.hostkit("recover --from-host");
    assert!(noted.stderr.contains("not understood: hostkit-ghost.service"), "{noted}");
    noted.succeeds();
}

#[test]
fn a_registry_of_a_newer_hostkit_is_left_alone() {
    let vps = three_projects();
    vps.sh("python3 -c \"import sqlite3; sqlite3.connect('/var/lib/hostkit/registry.db').execute('pragma user_version = 999')\"").succeeds();
    let error = vps.hostkit("project list").fails_with(8);
    assert!(error.contains("install a hostkit at least as new"), "{error}");
}

#[test]
fn a_hundred_killed_writers_leave_a_sound_registry() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    vps.sh("for i in $(seq 100); do hostkit project regenerate-sudoers shop > /dev/null 2>&1 & pid=$!; sleep 0.00$((i % 10))$((i % 7)); kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null; done; true").succeeds();
    vps.hostkit("recover --quiet").succeeds();
    vps.hostkit("doctor").succeeds();
    vps.hostkit("drift shop").succeeds();
}
