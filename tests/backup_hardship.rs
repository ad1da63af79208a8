//! Backups where the ground gives way: the plug is pulled, and the clock goes back.

use std::{process::Stdio, time::Duration};

use crate::{
    backup::{create, deploy, list, sums, with_data},
    vps::{Shop, Vps},
};

/// Makes one part of the data say which state it is of.
fn spoil(vps: &Vps, word: &str) {
    vps.sh_as("my-shop", &format!("set -e; . ~/.env; psql -q $DATABASE_URL -c \"INSERT INTO goods (name) VALUES ('{word}')\"; redis-cli --no-auth-warning -u $REDIS_URL set greeting {word} > /dev/null; echo {word} > ~/shared/uploads/note"))
        .succeeds();
}

fn look(shop: &Shop) -> (String, String) {
    (sums(&shop.vps, "my-shop"), shop.serves())
}

#[test]
fn power_pulled_during_a_restoration_leaves_the_old_or_the_new() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    let id = create(vps, "my-shop");
    let old = look(&shop);
    deploy(&shop, "my-shop", "two");
    spoil(vps, "spoilt");
    let new = look(&shop);
    let spoilt = create(vps, "my-shop");
    let line = |id: &str| format!("backup restore my-shop {id} --yes --no-backup --quiet");
    let total = vps.changes(&line(&id));
    vps.hostkit(&line(&spoilt)).succeeds();
    assert_eq!(look(&shop), new);

    let (mut olds, mut news) = (0, 0);
    // What its owner put into Redis a moment ago is on the disk, so that nothing but hostkit is to blame.
    let save = || {
        vps.sh("systemctl restart redis-server").succeeds();
        vps.wait_until("Redis", |_| shop.serves() == new.1);
    };
    let mut settle = |when: &str| {
        vps.crash();
        vps.boot();
        // No command of ours: the units at boot do it.
        vps.wait_until(when, |vps| {
            let is = vps.sh("systemctl show -P ActiveState hostkit-recover").stdout;
            is.trim() == "inactive" && (shop.serves() == old.1 || shop.serves() == new.1)
        });
        let is = look(&shop);
        assert!(is == old || is == new, "{when}: {is:?}\nneither {old:?}\nnor {new:?}");
        vps.hostkit("recover --quiet").succeeds();
        assert_eq!(look(&shop), is, "{when}: nothing is left to undo");
        vps.hostkit("drift my-shop").succeeds();
        if is == old {
            olds += 1;
            vps.hostkit(&line(&spoilt)).succeeds();
        } else {
            news += 1;
        }
        assert_eq!(look(&shop), new, "{when}");
    };
    for n in (total / 3..total).step_by((total / 6).max(1)) {
        save();
        let _ = vps.hostkit_fault(&format!("kill@{n}"), &line(&id));
        settle(&format!("power pulled at {n} of {total}"));
    }
    // And at no place in particular, while its programs run.
    for milliseconds in [700, 1500, 2300] {
        save();
        let words = ["hostkit", "backup", "restore", "my-shop", &id, "--yes", "--no-backup"];
        let mut command = vps.command(&words);
        let child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn();
        std::thread::sleep(Duration::from_millis(milliseconds));
        settle(&format!("power pulled after {milliseconds} ms"));
        let _ = child.unwrap().wait();
    }
    println!("power pulled: {olds} times the backup, {news} times what was there");
    // Nothing of it stands in the way of what comes next.
    create(vps, "my-shop");
    assert!(!vps.exists("/home/my-shop/.restore"));
    vps.hostkit("backup drill my-shop").succeeds();
    vps.hostkit("backup verify").succeeds();
    vps.hostkit("doctor").succeeds();
}

/// hostkit's clock, and that of what keeps files for it. The machine's own is left alone.
const CLOCK: &str = r#"set -e
apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libfaketime > /dev/null
mv /usr/bin/restic /usr/bin/restic.real
cat > /usr/bin/restic <<'E'
#!/usr/bin/bash
if [ -e /usr/share/clock ] && [[ " $* " == *" backup "* ]]; then set -- "$@" --time "$(cat /usr/share/clock)"; fi
exec /usr/bin/restic.real "$@"
E
chmod 755 /usr/bin/restic"#;

/// As long as it holds, hostkit runs with its clock back by so many days.
fn days_ago(vps: &Vps, days: u32, line: &str) -> String {
    vps.sh(&format!(
        "date -d '-{days} days' '+%Y-%m-%d %H:%M:%S' > /usr/share/clock; \
         LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME=-{days}d FAKETIME_DONT_FAKE_MONOTONIC=1 hostkit {line}; \
         code=$?; rm /usr/share/clock; exit $code"
    ))
    .succeeds()
    .trim()
    .to_owned()
}

#[test]
fn a_clock_that_goes_back_changes_no_order() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    vps.sh(CLOCK).succeeds();
    let first = create(vps, "my-shop");
    vps.hostkit("backup drill my-shop").succeeds();
    spoil(vps, "second");
    let held = sums(vps, "my-shop");
    // Later by everybody's count, and two days earlier by the clock's.
    let second = days_ago(vps, 2, "backup create my-shop --quiet");
    assert!(second < first, "{second} {first}");
    spoil(vps, "spoilt");

    // The newest is the one that was made last: shown first, tried, and brought back.
    let ids = |vps: &Vps| -> Vec<String> {
        list(vps, "my-shop").iter().map(|b| b["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(vps), [&*second, &*first]);
    assert_eq!(vps.hostkit("backup drill my-shop --json").data()["backup"], second.as_str());
    vps.hostkit("backup restore my-shop --yes --no-backup").succeeds();
    assert_eq!(sums(vps, "my-shop"), held);
    let evidence = vps.hostkit("backup evidence --json").data();
    assert_eq!(evidence["projects"][0]["newest"]["backup"], second.as_str());
    assert_eq!(evidence["projects"][0]["proven"]["backup"], second.as_str());

    // What is older by the clock ages nothing out; of a day the newest stays, and the newest proven.
    spoil(vps, "third");
    let third = days_ago(vps, 2, "backup create my-shop --quiet");
    days_ago(vps, 2, "backup rotate");
    assert_eq!(ids(vps), [&*third, &*second, &*first]);
    days_ago(vps, 2, "backup drill my-shop");
    days_ago(vps, 2, "backup rotate");
    assert_eq!(ids(vps), [&*third, &*first]);
    for line in ["doctor", "backup evidence", "backup list my-shop", "backup stats"] {
        days_ago(vps, 2, line);
    }
    // Nothing new is called as something else was, and what is incremental still is.
    let fourth = days_ago(vps, 2, "backup create my-shop --quiet");
    assert!(fourth != third && list(vps, "my-shop")[0]["id"] == fourth.as_str());
    let done = days_ago(vps, 1, "backup run-all --quiet");
    assert_eq!(done, "");
    vps.hostkit("backup run-all --quiet").succeeds();
    vps.hostkit("doctor").succeeds();
}
