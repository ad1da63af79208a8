//! Failed or killed at every single change that a command makes: the host is as before, or the
//! next command makes it so.
//!
//! The last test adds up what the others walked.

use crate::vps::{Snapshot, Vps};

const PROVISION: &str = "provision shop --domain shop.test --quiet";
const DELETE: &str = "project delete shop --yes --quiet";

/// Each way to end a command at one of its changes.
const MODES: [&str; 5] = ["fail", "fail-after", "full", "kill", "kill-after"];

fn tell(what: &str, points: usize) {
    println!("failure points walked: {points} ({what})");
}

/// The server as it is when the project is there and whole.
fn is_whole(vps: &Vps) -> bool {
    if vps.hostkit("project info shop").code != 0 {
        return false;
    }
    let drift = vps.hostkit("drift shop");
    assert_eq!(drift.code, 0, "{drift}");
    true
}

fn remove(vps: &Vps) {
    vps.hostkit("project delete shop --yes --no-backup --quiet").succeeds();
}

fn check_failed(vps: &Vps, before: &Snapshot, when: &str) {
    before.assert_same(&vps.snapshot(), when);
    vps.hostkit("recover --quiet").succeeds();
}

/// Every failure of a command that must leave no trace. What fails after the end is no failure.
fn walk_failures(
    vps: &Vps,
    before: &Snapshot,
    line: &str,
    total: usize,
    tidy: impl Fn(&Vps),
) -> usize {
    let mut points = 0;
    for mode in ["fail", "fail-after", "full"] {
        for n in 0..total {
            let when = format!("{line}: {mode}@{n}");
            let ran = vps.hostkit_fault(&format!("{mode}@{n}"), line);
            points += 1;
            if ran.code == 0 {
                assert!(n + 4 >= total, "{when} went unnoticed: {ran}");
                tidy(vps);
                continue;
            }
            assert_eq!(ran.code, 1, "{when}: {ran}");
            assert!(
                ran.stderr.contains("error: ") && ran.stderr.contains("cause: "),
                "{when}: {ran}"
            );
            check_failed(vps, before, &when);
        }
    }
    points
}

#[test]
fn provision_failing_anywhere_leaves_the_host_as_it_was() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let total = vps.changes(PROVISION);
    remove(&vps);
    before.assert_same(&vps.snapshot(), "provision and delete");
    let points = walk_failures(&vps, &before, PROVISION, total, remove);
    tell("provision, failed", points);
}

#[test]
fn provision_killed_anywhere_is_undone_by_the_next_command_and_then_succeeds() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let total = vps.changes(PROVISION);
    remove(&vps);
    let mut points = 0;
    for mode in ["kill", "kill-after"] {
        for n in 0..total {
            let when = format!("{mode}@{n}");
            vps.hostkit_fault(&when, PROVISION).fails_with(137);
            points += 1;
            if n % 2 == 0 {
                // The recovery alone puts everything back …
                vps.hostkit("recover --quiet").succeeds();
                if !is_whole(&vps) {
                    before.assert_same(&vps.snapshot(), &when);
                    continue;
                }
            } else {
                // … and so does the same command, which then goes on.
                let again = vps.hostkit(PROVISION);
                assert!(matches!(again.code, 0 | 4), "{when}: {again}");
            }
            assert!(is_whole(&vps), "{when}");
            remove(&vps);
            before.assert_same(&vps.snapshot(), &when);
        }
    }
    tell("provision, killed", points);
}

#[test]
fn provision_killed_while_it_undoes_is_undone_all_the_same() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let total = vps.changes(PROVISION);
    remove(&vps);
    let mut points = 0;
    for first in [total / 2, total - 6] {
        for second in first + 1.. {
            let fault = format!("fail-after@{first},kill@{second}");
            let ran = vps.hostkit_fault(&fault, PROVISION);
            if ran.code != 137 {
                assert_eq!(ran.code, 1, "{fault}: {ran}");
                break;
            }
            points += 1;
            vps.hostkit("recover --quiet").succeeds();
            before.assert_same(&vps.snapshot(), &fault);
        }
    }
    // The recovery itself may be killed, again and again, and gets further each time.
    vps.hostkit_fault(&format!("kill@{}", total - 6), PROVISION).fails_with(137);
    for n in 0.. {
        let ran = vps.hostkit_fault(&format!("kill@{n}"), "recover");
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        points += 1;
    }
    before.assert_same(&vps.snapshot(), "recovery killed everywhere");
    tell("undo and recovery, killed", points);
}

#[test]
fn project_create_failing_or_killed_anywhere_leaves_no_trace() {
    let line = "project create shop --static --no-redis --quiet";
    let vps = Vps::ready();
    let before = vps.snapshot();
    let total = vps.changes(line);
    remove(&vps);
    let mut points = walk_failures(&vps, &before, line, total, remove);
    for n in 0..total {
        vps.hostkit_fault(&format!("kill@{n}"), line).fails_with(137);
        points += 1;
        vps.hostkit("recover --quiet").succeeds();
        if vps.hostkit("project info shop").code == 0 {
            remove(&vps);
        }
        before.assert_same(&vps.snapshot(), &format!("kill@{n}"));
    }
    tell("create", points);
}

#[test]
fn delete_failing_or_killed_anywhere_is_completed_by_the_next_run() {
    let vps = Vps::ready();
    let pristine = vps.snapshot();
    vps.hostkit(PROVISION).succeeds();
    let total = vps.changes(DELETE);
    vps.sh("rm -rf /srv/backups/hostkit/*").succeeds();
    pristine.assert_same(&vps.snapshot(), "delete");
    let mut points = 0;
    for mode in MODES {
        for n in 0..total {
            let when = format!("{mode}@{n}");
            vps.hostkit(PROVISION).succeeds();
            let ran = vps.hostkit_fault(&when, DELETE);
            points += 1;
            assert!(matches!(ran.code, 0 | 1 | 137), "{when}: {ran}");
            let is_there = vps.hostkit("project info shop").code == 0;
            if is_there && n % 3 == 0 && ran.code != 0 {
                let deleting =
                    vps.hostkit("project list --json").stdout.contains("\"state\":\"deleting\"");
                let again = vps.hostkit("recover --quiet");
                assert_eq!(again.code, 0, "{when}: {again}");
                assert!(deleting || is_whole(&vps), "{when}: neither whole nor going");
            }
            if vps.hostkit("project info shop").code == 0 {
                vps.hostkit(DELETE).succeeds();
            }
            vps.hostkit("recover --quiet").succeeds();
            vps.sh("rm -rf /srv/backups/hostkit/* /srv/backups/hostkit/.[!.]*").succeeds();
            pristine.assert_same(&vps.snapshot(), &when);
        }
    }
    tell("delete", points);
}

/// Much that can be wrong with a project at once.
const SABOTAGE: &str = "set -e
    cd /home/shop; sed -i 's/^PORT=.*/PORT=1/' .env; chown shop .env; chmod 777 shared; ln -sfn /etc app; rm -rf .cache
    echo broken > /etc/nginx/sites-available/hostkit-shop; rm /etc/nginx/sites-enabled/hostkit-shop
    sed -i 's/MemoryMax=.*/MemoryMax=4G/' /etc/systemd/system/hostkit-shop.service
    sed -i '/# shop$/d' /etc/nginx/conf.d/hostkit-map.conf
    echo 'shop ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/hostkit-shop; chmod 644 /etc/sudoers.d/hostkit-shop
    usermod -s /bin/sh shop
    runuser -u postgres -- psql -q -c 'ALTER ROLE shop_user CREATEDB' -c 'GRANT CONNECT ON DATABASE shop_db TO PUBLIC'
    nft delete element inet hostkit owners '{ 20000 . 8001 }'
    redis-cli -s /run/redis/hostkit.sock --user hostkit-admin --pass $(cat /etc/hostkit/redis.secret) --no-auth-warning ACL SETUSER shop +@all > /dev/null
    redis-cli -s /run/redis/hostkit.sock --user hostkit-admin --pass $(cat /etc/hostkit/redis.secret) --no-auth-warning ACL SAVE > /dev/null";

#[test]
fn repair_failing_or_killed_anywhere_leaves_what_it_found() {
    let vps = Vps::ready();
    // An undo leaves the wall closed, which is no state that sabotage had left.
    let look = || vps.snapshot().without("wall ");
    vps.hostkit(PROVISION).succeeds();
    vps.sh(&SABOTAGE.replace("20000", &uid(&vps))).succeeds();
    let broken = look();
    let total = vps.changes("repair shop");
    assert!(is_whole(&vps));
    let whole = look();
    let sabotage = SABOTAGE.replace("20000", &uid(&vps));
    let mut points = 0;
    for mode in MODES {
        for n in 0..total {
            let when = format!("{mode}@{n}");
            vps.sh(&sabotage).succeeds();
            let ran = vps.hostkit_fault(&when, "repair shop");
            points += 1;
            if ran.code == 137 {
                vps.hostkit("recover --quiet").succeeds();
            }
            let now = look();
            if now != whole || ran.code == 1 {
                broken.assert_same(&now, &when);
            }
            vps.hostkit("repair shop").succeeds();
            whole.assert_same(&look(), &format!("repaired after {when}"));
        }
    }
    tell("repair", points);
}

fn uid(vps: &Vps) -> String {
    vps.sh("id -u shop").succeeds().trim().to_owned()
}

#[test]
fn init_failing_anywhere_leaves_the_host_as_it_was() {
    let vps = Vps::bare();
    let before = vps.snapshot();
    let total = vps.changes("init --quiet");
    vps.hostkit("init --undo --quiet").succeeds();
    before.assert_same(&vps.snapshot(), "init and its undo");
    let undo = |vps: &Vps| drop(vps.hostkit("init --undo --quiet").succeeds());
    let mut points = 0;
    for mode in ["fail", "fail-after", "full"] {
        for n in 0..total {
            let when = format!("init: {mode}@{n}");
            let ran = vps.hostkit_fault(&format!("{mode}@{n}"), "init --quiet");
            points += 1;
            if ran.code == 0 {
                assert!(n + 4 >= total, "{when} went unnoticed: {ran}");
                undo(&vps);
            } else {
                let journal = || vps.sh("journalctl -n 40 --no-pager").stdout;
                assert_eq!(ran.code, 1, "{when}: {ran}\n{}", journal());
            }
            before.assert_same(&vps.snapshot(), &when);
        }
    }
    tell("init, failed", points);
}

#[test]
fn init_killed_anywhere_succeeds_the_next_time() {
    let vps = Vps::bare();
    let before = vps.snapshot();
    let total = vps.changes("init --quiet");
    vps.hostkit("init --undo --quiet").succeeds();
    let mut points = 0;
    for mode in ["kill", "kill-after"] {
        for n in 0..total {
            let when = format!("{mode}@{n}");
            vps.hostkit_fault(&when, "init --quiet").fails_with(137);
            points += 1;
            vps.hostkit("init --quiet").succeeds();
            vps.hostkit("doctor").succeeds();
            vps.hostkit("init --undo --quiet").succeeds();
            before.assert_same(&vps.snapshot(), &when);
        }
    }
    tell("init, killed", points);
}

#[test]
fn power_pulled_in_the_middle_is_undone_at_boot() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let total = vps.changes(PROVISION);
    remove(&vps);
    let step = total / 5;
    let mut points = 0;
    for n in (2..total - 4).step_by(step) {
        vps.hostkit_fault(&format!("kill@{n}"), PROVISION).fails_with(137);
        vps.crash();
        vps.boot();
        points += 1;
        // No command of ours: the unit at boot has done it.
        vps.wait_until("the recovery at boot", |vps| {
            vps.sh("systemctl show -P ActiveState hostkit-recover").stdout.trim() == "inactive"
        });
        before.assert_same(&vps.snapshot(), &format!("power pulled at {n}"));
    }
    vps.hostkit(PROVISION).succeeds();
    vps.hostkit_fault("kill@12", "project delete shop --yes --no-backup").fails_with(137);
    vps.crash();
    vps.boot();
    vps.hostkit("recover").succeeds();
    before.assert_same(&vps.snapshot(), "power pulled during delete");
    tell("power pulled", points + 1);
}
