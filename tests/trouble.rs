//! Services that are down, disks that are full, and what others have broken.

use crate::vps::{Snapshot, Vps, listened};

fn unchanged(vps: &Vps, before: &Snapshot, when: &str) {
    before.assert_same(&vps.snapshot(), when);
}

#[test]
fn a_service_that_is_down_is_named_before_anything_changes() {
    let vps = Vps::ready();
    vps.hostkit("provision there").succeeds();
    for (stop, told) in [
        (
            "postgresql@15-main postgresql",
            ["PostgreSQL does not answer", "systemctl start postgresql"],
        ),
        ("redis-server", ["Redis does not answer", "systemctl start redis-server"]),
        ("nginx", ["nginx is not running", "systemctl start nginx"]),
    ] {
        vps.sh(&format!("systemctl stop {stop}")).succeeds();
        let before = vps.snapshot();
        for line in ["provision shop", "repair there", "provision shop --dry-run"] {
            let error = vps.hostkit(line).fails_with(8);
            assert!(told.iter().all(|t| error.contains(t)), "{line}: {error}");
            unchanged(&vps, &before, &format!("{stop}: {line}"));
        }
        let doctor = vps.hostkit("doctor");
        assert_ne!(doctor.code, 0);
        assert!(doctor.stdout.contains(told[1]), "{doctor}");
        vps.hostkit("doctor --fix").succeeds();
    }
    vps.hostkit("provision shop").succeeds();
}

#[test]
fn a_project_that_needs_no_database_is_made_while_postgres_is_down() {
    let vps = Vps::ready();
    vps.sh("systemctl stop postgresql@15-main postgresql").succeeds();
    vps.hostkit("project create shop").succeeds();
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
}

/// Stops a service the moment that hostkit has begun to change things.
fn provision_while_it_goes_down(vps: &Vps, stop: &str) -> i32 {
    // The home appears early and is hostkit's first visible change.
    let script = format!(
        "(for i in $(seq 100000); do [ -e /home/shop ] && break; done; {stop}) & hostkit provision shop 2>/var/cache/said; code=$?; wait; exit $code"
    );
    vps.sh(&script).code
}

#[test]
fn a_service_that_goes_down_midway_leaves_nothing_half_done() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    for (stop, start) in [
        (
            "pkill -KILL -x redis-server; systemctl stop redis-server",
            "systemctl start redis-server",
        ),
        ("pkill -KILL -x nginx; systemctl stop nginx", "systemctl start nginx"),
        (
            "pkill -KILL -x postgres; systemctl stop postgresql@15-main",
            "systemctl start postgresql@15-main",
        ),
    ] {
        let code = provision_while_it_goes_down(&vps, stop);
        vps.sh(start).succeeds();
        vps.wait_until("the services", |vps| {
            vps.sh("redis-cli ping; runuser -u postgres -- psql -c 'select 1'").code == 0
        });
        let said = vps.read("/var/cache/said");
        match code {
            // It was quicker than the fall.
            0 => vps.hostkit("project delete shop --yes --no-backup").succeeds(),
            1 | 8 => String::new(),
            9 => {
                assert!(said.contains("hostkit recover"), "{said}");
                vps.hostkit("recover").succeeds()
            }
            code => panic!("{stop}: {code}: {said}"),
        };
        unchanged(&vps, &before.without("process "), stop);
    }
    vps.hostkit("provision shop").succeeds();
    vps.hostkit("doctor").succeeds();
}

#[test]
fn a_site_of_somebody_elses_that_is_broken_is_told_and_left_alone() {
    let vps = Vps::ready();
    vps.hostkit("provision there").succeeds();
    vps.write(
        "/etc/nginx/sites-enabled/theirs",
        "server {\n    listen 80;\n    no_such_directive on;\n}\n",
    );
    let before = vps.snapshot();
    let error = vps.hostkit("provision shop").fails_with(8);
    assert!(
        error.contains(
            "it was broken before hostkit came, by `/etc/nginx/sites-enabled/theirs` line 3"
        ),
        "{error}"
    );
    assert!(error.contains("unknown directive \"no_such_directive\""), "{error}");
    unchanged(&vps, &before, "refused");
    // What was up stays up, and what does not need nginx goes on.
    assert_eq!(vps.get("there.apps.test", "/").unwrap().status, 503);
    vps.hostkit("status").succeeds();
    vps.hostkit("project delete there --yes").succeeds();
    assert!(vps.exists("/etc/nginx/sites-enabled/theirs"));
    let doctor = vps.hostkit("doctor");
    assert!(doctor.stdout.contains("/etc/nginx/sites-enabled/theirs"), "{doctor}");
    vps.sh("rm /etc/nginx/sites-enabled/theirs").succeeds();
    vps.hostkit("provision shop").succeeds();
}

#[test]
fn what_others_answer_for_is_not_taken_from_them() {
    let vps = Vps::ready();
    vps.write("/etc/nginx/sites-enabled/theirs", "server {\n    listen 80;\n    server_name www.theirs.test\n        shop.apps.test;\n    return 200 theirs;\n}\n");
    vps.sh("systemctl reload nginx; useradd somebody; groupadd somegroup; install -d /home/squat /etc/sudoers.d; touch /etc/sudoers.d/hostkit-rules; runuser -u postgres -- createdb taken_db").succeeds();
    vps.hostkit("provision first --domain mine.test").succeeds();
    let before = vps.snapshot();
    for (line, told) in [
        ("provision other --domain www.theirs.test", "`/etc/nginx/sites-enabled/theirs` names it"),
        ("provision shop", "`shop.apps.test` is taken"),
        ("provision other --domain mine.test", "it belongs to the project first"),
        ("provision other --domain MINE.test.", "it belongs to the project first"),
        ("provision other --domain first.apps.test", "it belongs to the project first"),
        ("provision somebody", "the user `somebody` exists"),
        ("provision somegroup", "the group `somegroup` exists"),
        ("provision squat", "directory /home/squat: something is there already"),
        ("provision rules", "file /etc/sudoers.d/hostkit-rules: something is there already"),
        ("provision taken", "database taken_db: something is there already"),
        ("provision first", "there is a project `first` already"),
        ("provision first-worker", "can't be a project beside `first`"),
    ] {
        let error = vps.hostkit(line).fails_with(4);
        assert!(error.contains(told), "{line}: {error}");
        unchanged(&vps, &before, line);
    }
    vps.hostkit("provision first-stage").succeeds();
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().body, "theirs");
}

#[test]
fn a_port_where_something_listens_is_passed_over() {
    let vps = Vps::ready();
    for port in [8001, 9003] {
        let squat = format!("python3 -m http.server --bind 127.0.0.1 {port} > /dev/null 2>&1");
        vps.sh(&format!("nohup {squat} & {}", listened(port))).succeeds();
    }
    assert_eq!(vps.hostkit("provision one --json").data()["port"], 8002);
    assert_eq!(vps.hostkit("provision two --json").data()["port"], 8004);
    // A database with somebody's keys is passed over too.
    vps.sh("redis-cli -s /run/redis/hostkit.sock --user hostkit-admin --pass $(cat /etc/hostkit/redis.secret) --no-auth-warning -n 3 set theirs 1").succeeds();
    assert_eq!(vps.hostkit("provision three --json").data()["redis_db"], 4);
}

#[test]
fn pools_that_run_out_name_the_key_to_raise() {
    let vps = Vps::ready();
    vps.hostkit("config set redis.databases 2").succeeds();
    vps.hostkit("init").succeeds();
    vps.hostkit("provision one").succeeds();
    let before = vps.snapshot();
    let error = vps.hostkit("provision two").fails_with(4);
    assert!(error.contains("hostkit config set redis.databases 4"), "{error}");
    unchanged(&vps, &before, "no database");
    vps.hostkit("project create two --no-redis").succeeds();
    vps.hostkit("config set ports.last 8002").succeeds();
    let error = vps.hostkit("project create three --no-redis").fails_with(4);
    assert!(error.contains("hostkit config set ports.last"), "{error}");
    vps.hostkit("config set redis.databases 4").succeeds();
    vps.hostkit("config set ports.last 8899").succeeds();
    vps.hostkit("init").succeeds();
    vps.hostkit("provision three").succeeds();
}

/// Puts a small file system over a directory with what was in it, and so much room in it.
fn shrink(vps: &Vps, dir: &str, pages: u32) {
    vps.sh(&format!(
        "set -e; mkdir -p /mnt; rm -rf /mnt/was; cp -a {dir} /mnt/was; mount -t tmpfs tmpfs {dir}; \
         chmod --reference=/mnt/was {dir}; cp -a /mnt/was/. {dir}/; \
         used=$(df --block-size=4096 --output=used {dir} | tail -n 1); mount -o remount,size=$(( (used + {pages}) * 4096 )) {dir}"
    ))
    .succeeds();
}

#[test]
fn a_full_disk_anywhere_is_a_clear_error_and_the_host_as_before() {
    let vps = Vps::ready();
    vps.hostkit("config set disk.reserve 0").succeeds();
    let mut refused = 0;
    for (dir, most) in [
        ("/home", 8),
        ("/var/lib/hostkit", 60),
        ("/etc/nginx", 8),
        ("/var/log/projects", 4),
        ("/etc/hostkit", 3),
    ] {
        let before = vps.snapshot();
        for pages in 0..most {
            let pages = if dir == "/var/lib/hostkit" { pages * 3 } else { pages };
            shrink(&vps, dir, pages);
            let inside = vps.snapshot();
            let ran = vps.hostkit("provision shop");
            if ran.code == 0 {
                let _ = vps.hostkit("project delete shop --yes --no-backup");
                vps.sh(&format!("umount {dir}")).succeeds();
                vps.hostkit("recover --quiet").succeeds();
                vps.sh("userdel -r shop 2>/dev/null; true").succeeds();
                break;
            }
            refused += 1;
            assert!(matches!(ran.code, 1 | 8), "{dir} with {pages} pages: {ran}");
            assert!(
                ran.stderr.contains("no space left on device") || ran.stderr.contains("full"),
                "{dir} with {pages} pages: {ran}"
            );
            assert!(ran.stderr.contains("df -h"), "{ran}");
            if dir != "/var/lib/hostkit" {
                unchanged(&vps, &inside, &format!("{dir} with {pages} pages"));
            }
            vps.sh(&format!("umount {dir}")).succeeds();
            vps.hostkit("recover --quiet").succeeds();
            unchanged(&vps, &before, &format!("after {dir} with {pages} pages"));
        }
    }
    assert!(refused >= 10, "{refused}");
}

#[test]
fn too_little_room_is_refused_before_anything_changes() {
    let vps = Vps::ready();
    vps.sh("mount -t tmpfs -o size=1m tmpfs /home").succeeds();
    let before = vps.snapshot();
    let error = vps.hostkit("provision shop").fails_with(8);
    assert!(
        error.contains("the file system of `/home` is full") && error.contains("disk.reserve"),
        "{error}"
    );
    unchanged(&vps, &before, "refused");
    vps.sh("umount /home; mount -t tmpfs -o nr_inodes=20 tmpfs /home").succeeds();
    vps.hostkit("provision shop").fails_with(8);
}

#[test]
fn a_redis_in_use_is_not_taken_over_unasked() {
    let vps = Vps::bare();
    vps.sh("redis-cli set theirs 1").succeeds();
    let before = vps.snapshot();
    let error = vps.hostkit("init").fails_with(8);
    assert!(
        error.contains("something else uses Redis") && error.contains("hostkit init --yes"),
        "{error}"
    );
    unchanged(&vps, &before, "refused");
    vps.hostkit("init --yes").succeeds();
    // Nothing of theirs is lost, and the undo gives it back to them.
    vps.hostkit("init --undo").succeeds();
    assert_eq!(vps.sh("redis-cli get theirs").succeeds(), "1\n");
    vps.sh("redis-cli flushall; echo 'requirepass secret' >> /etc/redis/redis.conf; systemctl restart redis-server").succeeds();
    let error = vps.hostkit("init").fails_with(8);
    assert!(error.contains("sets `requirepass`"), "{error}");
}

#[test]
fn a_default_site_of_the_owners_goes_on_answering() {
    let vps = Vps::bare();
    vps.sh("rm /etc/nginx/sites-enabled/default").succeeds();
    vps.write("/etc/nginx/sites-enabled/mine", "server {\n listen 80 default_server;\n listen [::]:80 default_server;\n return 200 mine;\n}\n");
    vps.sh("systemctl reload nginx").succeeds();
    let init = vps.hostkit("init --base-domain apps.test");
    assert!(init.stderr.contains("`/etc/nginx/sites-enabled/mine` keeps answering"), "{init}");
    init.succeeds();
    vps.hostkit("provision shop").succeeds();
    assert_eq!(vps.get("unknown.test", "/").unwrap().body, "mine");
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().status, 503);
    vps.hostkit("doctor").succeeds();
}

#[test]
fn a_server_that_lacks_something_is_told_what_to_install() {
    let vps = Vps::bare();
    vps.sh("mv /usr/sbin/nft /root/; mv /usr/bin/zstd /root/").succeeds();
    let error = vps.hostkit("init").fails_with(8);
    assert!(error.contains("apt-get install nftables zstd"), "{error}");
    vps.sh("mv /root/nft /usr/sbin/; mv /root/zstd /usr/bin/; sed -i s/=12/=11/ /etc/os-release; sed -i 's/VERSION_ID=\"12\"/VERSION_ID=\"11\"/' /usr/lib/os-release /etc/os-release").succeeds();
    let error = vps.hostkit("init").fails_with(8);
    assert!(error.contains("does not know this system"), "{error}");
}
