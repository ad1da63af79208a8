//! `hostkit project delete`: nothing is left, and nothing is lost.

use crate::vps::Vps;

/// Everything a project's user can leave behind, and keep running.
const SETTLE: &str = "set -e
    echo '* * * * * touch /tmp/cron-ran' | crontab -
    echo 'sleep 600' | at now + 1 hour 2>/dev/null
    touch /tmp/mine /var/tmp/mine /dev/shm/mine; mkdir -p /tmp/deep/er; touch /tmp/deep/er/x; chmod 000 /tmp/deep/er
    python3 -c 'import ctypes; assert ctypes.CDLL(None).shmget(4242, 4096, 0o1600) >= 0; assert ctypes.CDLL(None).semget(4243, 1, 0o1600) >= 0; assert ctypes.CDLL(None).msgget(4244, 0o1600) >= 0'
    nohup setsid sleep 600 > /dev/null 2>&1 &
    nohup setsid bash -c 'trap \"\" TERM HUP INT; while :; do sleep 0.01 & wait; done' > /dev/null 2>&1 &
    nohup setsid python3 -m http.server --bind 127.0.0.1 8001 > /dev/null 2>&1 &
    echo hello > ~/shared/upload; mkfifo ~/shared/pipe; ln -s /etc/shadow ~/shared/link
    . ~/.env; psql $DATABASE_URL -qc 'create table t (n int); insert into t select generate_series(1, 1000)'
    redis-cli -u $REDIS_URL set k v > /dev/null";

#[test]
fn nothing_is_left_of_a_project_that_had_settled_in() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    vps.hostkit("provision shop --domain shop.test").succeeds();
    vps.sh("loginctl enable-linger shop || mkdir -p /var/lib/systemd/linger && touch /var/lib/systemd/linger/shop; echo mail > /var/mail/shop; chown shop /var/mail/shop").succeeds();
    vps.sh_as("shop", SETTLE).succeeds();
    vps.sh("echo x >> /var/log/projects/shop/app.log; gzip -k /var/log/projects/shop/app.log; cp /var/log/nginx/hostkit-shop.access.log /var/log/nginx/hostkit-shop.access.log.1").succeeds();
    let uid = vps.sh("id -u shop").succeeds().trim().to_owned();
    assert!(
        vps.sh(&format!("pgrep -U {uid} | wc -l")).succeeds().trim().parse::<u32>().unwrap() >= 3
    );

    vps.hostkit("project delete shop --yes --no-backup").succeeds();

    before.assert_same(&vps.snapshot(), "provision, life and delete");
    assert_eq!(
        vps.sh(&format!("find / -xdev \\( -uid {uid} -o -gid {uid} \\) 2>/dev/null | head"))
            .succeeds(),
        ""
    );
    assert_eq!(vps.sh(&format!("pgrep -U {uid}")).stdout, "");
    for table in ["msg", "sem", "shm"] {
        assert!(
            !vps.read(&format!("/proc/sysvipc/{table}")).contains(&format!(" {uid} ")),
            "{table}"
        );
    }
    assert!(
        !vps.exists("/var/spool/cron/crontabs/shop") && !vps.exists("/var/lib/systemd/linger/shop")
    );
    assert_eq!(
        vps.sh("ls /var/spool/cron/atjobs | grep -v '^\\.SEQ' | wc -l").succeeds().trim(),
        "0"
    );
    assert!(vps.get("shop.test", "/").is_none());
    vps.hostkit("doctor").succeeds();

    // The name is free again, and the number is not.
    vps.hostkit("provision shop").succeeds();
    assert_ne!(vps.sh("id -u shop").succeeds().trim(), uid);
    let keys = vps
        .sh_as("shop", ". ~/.env; redis-cli -u $REDIS_URL dbsize; psql $DATABASE_URL -Atc '\\dt'");
    assert!(keys.succeeds().starts_with("0\n"));
}

#[test]
fn the_last_backup_brings_back_every_file_and_row() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    vps.sh_as("shop", SETTLE).succeeds();
    let env = vps.read("/home/shop/.env");
    let deleted = vps.hostkit("project delete shop --yes --json").data();
    let backup = deleted["backup"].as_str().unwrap();
    assert_eq!(
        vps.sh(&format!("stat -c '%U %a' {backup} {backup}/*")).succeeds(),
        "root 700\nroot 600\nroot 600\nroot 600\nroot 600\n"
    );
    assert_eq!(vps.read(&format!("{backup}/env")), env);
    let restored = vps.sh(&format!(
        "set -e; mkdir /root/back; tar -C /root/back --zstd -xf {backup}/home.tar.zst; cat /root/back/shared/upload; readlink /root/back/shared/link; \
         test -p /root/back/shared/pipe; cmp /root/back/.env {backup}/env; \
         runuser -u postgres -- createdb scratch; runuser -u postgres -- pg_restore --no-owner --exit-on-error -d scratch < {backup}/database.dump; \
         runuser -u postgres -- psql -Atc 'select count(*), sum(n) from t' scratch"
    ));
    assert_eq!(restored.succeeds(), "hello\n/etc/shadow\n1000|500500\n");
    let row: serde_json::Value =
        serde_json::from_str(&vps.read(&format!("{backup}/project.json"))).unwrap();
    assert_eq!(row["name"], "shop");
}

#[test]
fn a_backup_that_fails_stops_the_deletion_and_the_project_runs_on() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --runtime custom --start-cmd /home/shop/app/serve").succeeds();
    vps.release("shop", &[("serve", "#!/bin/sh\nexec sleep 1000\n")]);
    vps.sh("chmod 750 /home/shop/releases/*/serve").succeeds();
    vps.hostkit("project start shop").succeeds();
    let whole = vps.snapshot();
    vps.sh("mv /usr/bin/pg_dump /usr/bin/pg_dump.away; printf '#!/bin/sh\\necho cannot >&2; exit 1\\n' > /usr/bin/pg_dump; chmod 755 /usr/bin/pg_dump").succeeds();
    let error = vps.hostkit("project delete shop --yes").fails_with(1);
    assert!(
        error.contains("could not back shop up, so it was not deleted") && error.contains("cannot"),
        "{error}"
    );
    vps.sh("mv -f /usr/bin/pg_dump.away /usr/bin/pg_dump").succeeds();
    whole.assert_same(&vps.snapshot(), "a failed backup");
    assert_eq!(vps.sh("systemctl is-active hostkit-shop").stdout, "active\n");
    assert_eq!(vps.sh("ls -A /srv/backups/hostkit").succeeds(), "");
    vps.hostkit("project delete shop --yes").succeeds();
}

#[test]
fn deleting_asks_for_the_name() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    let refused = vps.hostkit("project delete shop").fails_with(2);
    assert!(refused.contains("shop was not deleted") && refused.contains("--yes"), "{refused}");
    vps.hostkit("project delete shop --confirm shopp").fails_with(2);
    let typed = "import pty, os, sys, time
answer = sys.argv[1]
pid, fd = pty.fork()
if pid == 0:
    os.execvp('hostkit', ['hostkit', 'project', 'delete', 'shop'])
out = b''
asked = False
try:
    while True:
        part = os.read(fd, 4096)
        if not part: break
        out += part
        if b'Type its name' in out and not asked:
            asked = True
            os.write(fd, answer.encode() + b'\\n')
except OSError: pass
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))";
    vps.write("/root/typed.py", typed);
    vps.sh("python3 /root/typed.py shpo").fails_with(2);
    assert_eq!(vps.hostkit("project list --json").data().as_array().unwrap().len(), 1);
    let before = vps.snapshot();
    let shown = vps.hostkit("project delete shop --dry-run").succeeds();
    assert!(shown.contains("- user shop") && shown.contains("after a last backup"), "{shown}");
    before.assert_same(&vps.snapshot(), "dry run");
    vps.sh("python3 /root/typed.py shop").succeeds();
    assert_eq!(vps.hostkit("project list --json").data().as_array().unwrap().len(), 0);
    vps.hostkit("project delete shop --yes").fails_with(3);
}

#[test]
fn a_mount_inside_a_home_is_told_and_not_emptied() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    vps.sh("mkdir -p /home/shop/shared/disk; mount -t tmpfs tmpfs /home/shop/shared/disk; touch /home/shop/shared/disk/precious").succeeds();
    let error = vps.hostkit("project delete shop --yes --no-backup").fails_with(1);
    assert!(
        error.contains("another file system is mounted at `/home/shop/shared/disk`"),
        "{error}"
    );
    assert!(vps.exists("/home/shop/shared/disk/precious"));
    // Access ended first, whatever happened later.
    assert!(!vps.exists("/etc/sudoers.d/hostkit-shop"));
    vps.sh("umount /home/shop/shared/disk").succeeds();
    vps.hostkit("project delete shop --yes").succeeds();
    assert!(!vps.exists("/home/shop"));
    vps.hostkit("doctor").succeeds();
}
