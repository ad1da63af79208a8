//! Backups when something is wrong: they fail loudly, spare the good ones, and damage is seen.

use std::time::{Duration, Instant};

use crate::{
    backup::{create, deploy, list, sums, with_data},
    vps::{Shop, Vps, until},
};

/// What the repository holds, by restic's own word.
fn snapshots(vps: &Vps) -> String {
    vps.sh("HOME=/root restic -r /srv/backups/hostkit/restic --password-file /etc/hostkit/backup.key snapshots --json | jq -r '.[].tags | join(\",\")' | grep -v @host | sort").succeeds()
}

fn packs(vps: &Vps) -> Vec<String> {
    let found = vps.sh("find /srv/backups/hostkit/restic/data -type f -printf '%s %p\\n' | sort -rn | cut -d' ' -f2");
    found.succeeds().lines().map(str::to_owned).collect()
}

#[test]
fn a_backup_that_fails_is_loud_and_spares_the_good_ones() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    let good = create(vps, "my-shop");
    vps.hostkit("backup drill my-shop").succeeds();
    let kept = snapshots(vps);

    // The dump fails, is killed in its middle, and never goes on.
    let fakes = [
        ("echo cannot >&2; exit 1", "cannot"),
        ("/usr/lib/postgresql/*/bin/pg_dump \"$@\" | head -c 3000; kill -9 $$", "signal"),
        ("/usr/lib/postgresql/*/bin/pg_dump \"$@\" | head -c 3000; exit 1", "status 1"),
    ];
    vps.sh("mv /usr/bin/pg_dump /usr/bin/pg_dump.real").succeeds();
    for (script, word) in fakes {
        vps.write("/usr/bin/pg_dump", &format!("#!/bin/bash\n{script}\n"));
        vps.sh("chmod 755 /usr/bin/pg_dump").succeeds();
        let told = vps.hostkit("backup create my-shop").fails_with(1);
        assert!(told.contains("the backup of my-shop failed") && told.contains(word), "{told}");
        assert_eq!(snapshots(vps), kept, "{script}");
        let newest = &list(vps, "my-shop")[0];
        assert_eq!(newest["state"], "failed", "{newest}");
        let told = vps.hostkit("backup run-all --quiet --no-drill").fails_with(1);
        assert!(told.contains("my-shop") && told.contains(word), "{told}");
        assert!(vps.hostkit("events my-shop").succeeds().contains("backup create"));
    }
    vps.sh("mv -f /usr/bin/pg_dump.real /usr/bin/pg_dump").succeeds();

    // However many fail, the good one stays and is the newest.
    vps.hostkit("backup rotate").succeeds();
    assert!(snapshots(vps).contains(&good));
    let told = vps.hostkit("backup drill my-shop --json").data();
    assert_eq!(told["backup"], good.as_str());

    // A table that nobody lets go, a role that may not log in, a database that is gone.
    let held = "SELECT 1 FROM pg_locks WHERE mode = \\$\\$AccessExclusiveLock\\$\\$ AND granted AND relation = \\$\\$goods\\$\\$::regclass";
    let held =
        until(&format!("runuser -u postgres -- psql -qtA my_shop_db -c \"{held}\" | grep -q 1"));
    vps.sh(&format!("(runuser -u postgres -- psql my_shop_db -c 'BEGIN; LOCK TABLE goods IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)' > /dev/null 2>&1 &); {held}")).succeeds();
    let start = Instant::now();
    vps.hostkit("backup create my-shop --type db").fails_with(1);
    assert!(start.elapsed() < Duration::from_secs(40));
    vps.sh("runuser -u postgres -- psql -qc \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()\" > /dev/null").succeeds();
    vps.sh("systemctl stop redis-server").succeeds();
    vps.hostkit("backup create my-shop").fails_with(8);
    vps.sh("systemctl start redis-server").succeeds();
    vps.sh("mv /home/my-shop/.env /root/env").succeeds();
    vps.hostkit("backup create my-shop").fails_with(1);
    vps.sh("mv /root/env /home/my-shop/.env").succeeds();
    assert_eq!(snapshots(vps), kept);
    create(vps, "my-shop");
}

#[test]
fn a_full_disk_fails_the_backup_and_not_the_repository() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    vps.sh("mkdir -p /srv/backups; mount -t tmpfs -o size=40M,mode=700 tmpfs /srv/backups")
        .succeeds();
    let good = create(vps, "my-shop");
    vps.sh_as("my-shop", "head -c 60M /dev/urandom > ~/shared/big").succeeds();
    let told = vps.hostkit("backup create my-shop").fails_with(1);
    assert!(told.contains("no room") || told.contains("no space"), "{told}");
    assert_eq!(list(vps, "my-shop")[0]["state"], "failed");
    // There is too little left even to begin.
    vps.sh("fallocate -l 30M /srv/backups/ballast || head -c 30M /dev/zero > /srv/backups/ballast")
        .stdout
        .clear();
    let told = vps.hostkit("backup create my-shop").fails_with(8);
    assert!(told.contains("is full") && told.contains("/srv/backups"), "{told}");
    vps.sh("rm /srv/backups/ballast /home/my-shop/shared/big").succeeds();
    vps.hostkit("backup rotate").succeeds();
    vps.hostkit("backup verify").succeeds();
    assert_eq!(vps.hostkit("backup drill my-shop --json").data()["backup"], good.as_str());
    create(vps, "my-shop");
}

#[test]
fn damage_is_seen_and_a_lost_key_is_told() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    let id = create(vps, "my-shop");
    vps.hostkit("backup verify").succeeds();
    vps.hostkit("backup verify my-shop").succeeds();
    vps.hostkit("backup drill my-shop").succeeds();
    let before = sums(vps, "my-shop");
    let page = shop.serves();

    let data = packs(vps);
    assert!(data.len() > 1, "{data:?}");
    // Every bit of one byte, whatever it was.
    let flip = "python3 -c \"f = open('PACK', 'r+b'); n = f.seek(0, 2) // 3; f.seek(n); b = f.read(1)[0]; f.seek(n); f.write(bytes([b ^ 255]))\"";
    let cut = "truncate -s $(( $(stat -c %s PACK) / 2 )) PACK";
    for (pack, damage) in
        [(&data[0], flip), (&data[1], flip), (&data[0], cut), (&data[1], "rm PACK")]
    {
        vps.sh(&format!(
            "set -e; cp -a {pack} /root/pack; chmod u+w {pack}; {}",
            damage.replace("PACK", pack)
        ))
        .succeeds();
        vps.sh("rm -rf /var/cache/hostkit-backup/*").succeeds();
        let whole = vps.hostkit("backup verify");
        assert_eq!(whole.code, 1, "{damage} of {pack}: {whole}");
        assert!(whole.stderr.contains("damaged"), "{damage}: {whole}");
        let drill = vps.hostkit("backup drill my-shop");
        assert_eq!(drill.code, 6, "{damage} of {pack}: {drill}");
        assert!(drill.stderr.contains("does not come back"), "{drill}");
        assert_eq!(list(vps, "my-shop")[0]["proven"], false);
        assert_ne!(vps.hostkit("doctor").code, 0, "a drill that failed is a finding");
        // And nothing damaged takes the place of what is there; what need not be read may come back.
        if damage == flip {
            let restore = vps.hostkit(&format!("backup restore my-shop {id} --yes --no-backup"));
            assert!(matches!(restore.code, 0 | 1), "{damage} of {pack}: {restore}");
        }
        vps.sh(&format!("mv -f /root/pack {pack}")).succeeds();
        assert_eq!(sums(vps, "my-shop"), before, "{damage} of {pack}");
    }
    assert_eq!(shop.serves(), page);
    // The end of a piece holds nothing that comes back, and is missed all the same.
    let pack = &data[0];
    vps.sh(&format!("cp -a {pack} /root/pack; chmod u+w {pack}; truncate -s -100 {pack}"))
        .succeeds();
    vps.hostkit("backup verify").fails_with(1);
    vps.sh(&format!("mv -f /root/pack {pack}; rm -rf /var/cache/hostkit-backup/*")).succeeds();
    vps.hostkit("backup drill my-shop").succeeds();

    vps.sh("mv /etc/hostkit/backup.key /root/key").succeeds();
    let told = vps.hostkit("backup create my-shop").fails_with(8);
    assert!(
        told.contains("the key of the backups on this server is gone")
            && told.contains("recovery key"),
        "{told}"
    );
    vps.sh("echo wrong > /etc/hostkit/backup.key; chmod 600 /etc/hostkit/backup.key").succeeds();
    let told = vps.hostkit("backup create my-shop").fails_with(1);
    assert!(told.contains("does not open"), "{told}");
    let told = vps.hostkit("backup drill my-shop").fails_with(1);
    assert!(told.contains("does not open"), "{told}");
    assert_eq!(
        list(vps, "my-shop").iter().find(|b| b["id"] == id.as_str()).unwrap()["proven"],
        true,
        "a key says nothing of a backup"
    );
    vps.sh("mv -f /root/key /etc/hostkit/backup.key").succeeds();
    vps.hostkit("backup drill my-shop").succeeds();
}

#[test]
fn who_died_is_no_obstacle_and_two_take_turns() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    create(vps, "my-shop");
    // A lock of restic's own whose holder is dead, and one of ours.
    let locked = until("ls /srv/backups/hostkit/restic/locks | grep -q .");
    vps.sh(&format!("HOME=/root restic -r /srv/backups/hostkit/restic --password-file /etc/hostkit/backup.key backup --stdin --stdin-filename x < <(sleep 100) > /root/said 2>&1 & {locked}; code=$?; kill -9 %1; cat /root/said; exit $code")).succeeds();
    create(vps, "my-shop");
    // Killed at each of its changes: the next one goes on, and what was begun is no backup.
    let mut n = 0;
    loop {
        let ran = vps.hostkit_fault(&format!("kill@{n}"), "backup create my-shop --quiet");
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        n += if n < 12 { 3 } else { 7 };
    }
    assert!(n > 9, "{n}");
    create(vps, "my-shop");
    let known = list(vps, "my-shop");
    assert!(known.iter().all(|b| b["state"] != "running"), "{known:?}");
    let complete: Vec<&str> = known
        .iter()
        .filter(|b| b["state"] == "complete")
        .map(|b| b["id"].as_str().unwrap())
        .collect();
    for line in snapshots(vps).lines().filter(|line| !line.is_empty()) {
        assert!(complete.iter().any(|id| line.contains(id)), "{line} is of no complete backup");
    }
    // Two at once: one after the other, or a clear word.
    let second = vps.sh("hostkit backup create my-shop --quiet & hostkit backup create my-shop --quiet; a=$?; wait $!; echo $a $?");
    assert!(second.stdout.ends_with("0 0\n"), "{second}");
    let held = until("! flock -n /run/hostkit/locks/.backups true");
    let refused = vps.sh(&format!("hostkit backup create my-shop --quiet & {held}; hostkit backup create my-shop --no-wait; a=$?; wait; exit $a"));
    assert_eq!(refused.code, 7, "{refused}");
    vps.hostkit("backup drill my-shop").succeeds();
}

#[test]
fn a_restoration_killed_anywhere_leaves_the_old_or_the_new() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    let id = create(vps, "my-shop");
    let old = (sums(vps, "my-shop"), shop.serves());
    deploy(&shop, "my-shop", "two");
    vps.sh_as("my-shop", "set -e; . ~/.env; psql -q $DATABASE_URL -c 'DELETE FROM goods WHERE id > 7'; redis-cli --no-auth-warning -u $REDIS_URL set greeting bye > /dev/null; echo spoilt > ~/shared/uploads/note").succeeds();
    let new = (sums(vps, "my-shop"), shop.serves());
    let spoilt = create(vps, "my-shop");
    let line = |id: &str| format!("backup restore my-shop {id} --yes --no-backup --quiet");
    let total = vps.changes(&line(&id));
    let look = || (sums(vps, "my-shop"), shop.serves());
    assert_eq!(look(), old);
    vps.hostkit(&line(&spoilt)).succeeds();
    assert_eq!(look(), new);
    let mut points = 0;
    for mode in ["kill", "fail", "kill-after"] {
        let stride = if mode == "kill" { 2 } else { 5 };
        for n in (0..total).step_by(stride) {
            let when = format!("{mode}@{n} of {total}");
            let ran = vps.hostkit_fault(&format!("{mode}@{n}"), &line(&id));
            points += 1;
            if mode.starts_with("kill") {
                assert_eq!(ran.code, 137, "{when}: {ran}");
                vps.hostkit("recover --quiet").succeeds();
            }
            vps.wait_until(&when, |_| {
                let is = look();
                is == old || is == new
            });
            vps.hostkit("repair my-shop --quiet").succeeds();
            let is = look();
            assert!(is == old || is == new, "{when}: {is:?}");
            if ran.code == 0 || is == old {
                vps.hostkit(&line(&spoilt)).succeeds();
            }
            assert_eq!(look(), new, "{when}");
        }
    }
    println!("failure points walked: {points} (backup restore)");
    vps.hostkit(&line(&id)).succeeds();
    assert_eq!(look(), old);
    vps.hostkit("doctor").succeeds();
    assert!(!vps.exists("/home/my-shop/.restore"));
}

#[test]
fn a_timer_makes_them_and_doctor_tells_what_is_stale() {
    let shop = Shop::named("my-shop", "");
    let vps = &shop.vps;
    vps.hostkit("backup setup-timer --time 4:30").fails_with(2);
    vps.hostkit("backup setup-timer --time 04:30").succeeds();
    let timers = vps.sh("systemctl list-timers hostkit-backup.timer --no-pager --no-legend; systemctl is-enabled hostkit-backup.timer").succeeds();
    assert!(timers.contains("04:3") && timers.contains("enabled"), "{timers}");
    vps.hostkit("doctor").succeeds();
    // As the timer does it, and silent when all is well.
    vps.sh("systemctl start hostkit-backup.service").succeeds();
    let said = vps.sh(
        "journalctl -u hostkit-backup.service -t hostkit -o cat --no-pager | grep -v ': done$'",
    );
    assert_eq!(said.stdout, "");
    let quiet = vps.hostkit("backup run-all --quiet");
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""), "{quiet}");
    let all = list(vps, "my-shop");
    // Of a day the newest stays, and the newest that was proven.
    let proven: Vec<bool> = all.iter().map(|b| b["proven"] == true).collect();
    assert_eq!(proven, [false, true], "{all:?}");
    vps.hostkit("doctor").succeeds();
    let evidence = vps.hostkit("backup evidence --json").data();
    assert_eq!(evidence["timer"], true);
    // The last good one is three days old.
    vps.sh("python3 - <<'E'
import sqlite3
db = sqlite3.connect('/var/lib/hostkit/registry.db')
db.execute(\"UPDATE backups SET made_at = '2020-01-01T00:00:00Z', proven_at = '2020-01-01T00:00:00Z'\")
db.commit()
E").succeeds();
    let stale = vps.hostkit("doctor");
    assert!(stale.code == 1 && stale.stdout.contains("my-shop: backup"), "{stale}");
    vps.hostkit("backup run-all --quiet").succeeds();
    vps.hostkit("doctor").succeeds();
    // Here all is well, and nothing came to the other place for days.
    vps.sh("mkdir /mnt/disk").succeeds();
    vps.hostkit("config set backup.offsite /mnt/disk/restic").succeeds();
    vps.hostkit("backup run-all --quiet").succeeds();
    vps.hostkit("doctor").succeeds();
    vps.sh("python3 - <<'E'
import sqlite3
db = sqlite3.connect('/var/lib/hostkit/registry.db')
db.execute(\"UPDATE backups SET made_at = '2020-01-01T00:00:00Z'\")
db.commit()
E")
        .succeeds();
    create(vps, "my-shop");
    // A disk that is not mounted is not begun anew.
    vps.sh("mv /mnt/disk/restic /mnt/away").succeeds();
    let told = vps.hostkit("backup create my-shop --offsite").fails_with(8);
    assert!(told.contains("is it mounted?") && !vps.exists("/mnt/disk/restic"), "{told}");
    vps.sh("mv /mnt/away /mnt/disk/restic").succeeds();
    let far = vps.hostkit("doctor");
    let why = "no copy elsewhere for two days: the newest is of";
    assert!(far.code == 1 && far.stdout.contains(why), "{far}");
    vps.hostkit("backup run-all --quiet").succeeds();
    vps.hostkit("doctor").succeeds();
    vps.hostkit("backup setup-timer --off").succeeds();
    assert!(!vps.exists("/etc/systemd/system/hostkit-backup.timer"));
    vps.hostkit("doctor").succeeds();
}
