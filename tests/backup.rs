//! Backups: what is kept comes back as it was, and only what came back counts.

use serde_json::Value;

use crate::vps::{Ran, Shop, Vps};

/// What a visitor is shown of the database, of Redis, of the files and of the environment.
const PAGE: &str = r"
import subprocess
def said(*words): return subprocess.run(words, capture_output=True, text=True).stdout.strip()
body += ' ' + said('psql', '-qtA', os.environ['DATABASE_URL'], '-c', 'SELECT count(*) FROM goods')
body += ' ' + said('redis-cli', '--no-auth-warning', '-u', os.environ['REDIS_URL'], 'get', 'greeting')
body += ' ' + (open('uploads/note').read().strip() if os.path.exists('uploads/note') else '-') + ' ' + os.environ.get('MODE', '-')
";

const SHARED: &str = "[project]\nruntime = \"custom\"\nshared = [\"uploads\"]\n[process.web]\ncommand = \"/usr/bin/python3 server.py\"\n";

/// A project with data of every kind.
pub fn with_data(name: &'static str) -> Shop {
    let shop = Shop::named(name, "").handling(PAGE);
    deploy(&shop, name, "one");
    shop.vps
        .sh_as(name, "set -e; . ~/.env
            psql -q $DATABASE_URL -c 'CREATE TABLE goods (id serial PRIMARY KEY, name text UNIQUE, kind varchar(9) CHECK (kind IN ($$a$$, $$b$$))); CREATE VIEW cheap AS SELECT * FROM goods; CREATE TYPE mood AS ENUM ($$x$$, $$y$$); INSERT INTO goods (name, kind) SELECT md5(n::text), $$a$$ FROM generate_series(1, 3000) n'
            redis-cli --no-auth-warning -u $REDIS_URL set greeting hello > /dev/null
            redis-cli --no-auth-warning -u $REDIS_URL set soon gone ex 9999 > /dev/null
            redis-cli --no-auth-warning -u $REDIS_URL rpush list a b c > /dev/null
            mkdir -p ~/shared/uploads; echo kept > ~/shared/uploads/note; head -c 300000 /dev/urandom > ~/shared/blob")
        .succeeds();
    shop.vps.hostkit(&format!("env set {name} MODE=first --restart")).succeeds();
    shop
}

pub fn deploy(shop: &Shop, name: &str, version: &str) -> String {
    shop.app(version, "", PAGE, "");
    shop.vps.write(&format!("/root/{version}/hostkit.toml"), SHARED);
    let line = format!("deploy {name} --source /root/{version} --no-watch --no-checkpoint --quiet");
    shop.vps.hostkit(&line).succeeds().trim().to_owned()
}

/// All that the project holds, as sums.
pub fn sums(vps: &Vps, name: &str) -> String {
    let script = format!(
        "set -e; . /home/{name}/.env; psql -qtA $DATABASE_URL -c 'SELECT md5(string_agg(goods::text, $$,$$ ORDER BY id)) FROM goods'
         for key in greeting soon list; do redis-cli --no-auth-warning -u $REDIS_URL dump $key | md5sum; done
         redis-cli --no-auth-warning -u $REDIS_URL ttl soon | grep -q '[0-9][0-9][0-9][0-9]'
         cd /home/{name}/shared; find . -type f -print0 | sort -z | xargs -0 sha256sum; find . -type l -printf '%p %l\\n' | sort"
    );
    vps.sh(&script).succeeds()
}

/// Everything goes wrong at once.
fn ruin(shop: &Shop) {
    shop.vps
        .sh_as("my-shop", "set -e; . ~/.env
            psql -q $DATABASE_URL -c 'DELETE FROM goods WHERE id > 7; CREATE TABLE junk (n int)'
            redis-cli --no-auth-warning -u $REDIS_URL flushdb > /dev/null; redis-cli --no-auth-warning -u $REDIS_URL set junk 1 > /dev/null
            rm ~/shared/blob; echo spoilt > ~/shared/uploads/note; echo junk > ~/shared/junk")
        .succeeds();
    shop.vps.hostkit("env set my-shop MODE=second").succeeds();
}

pub fn create(vps: &Vps, line: &str) -> String {
    vps.hostkit(&format!("backup create {line} --quiet")).succeeds().trim().to_owned()
}

pub fn list(vps: &Vps, name: &str) -> Vec<Value> {
    vps.hostkit(&format!("backup list {name} --json")).data().as_array().unwrap().clone()
}

fn error(ran: Ran, code: i32) -> String {
    ran.fails_with(code)
}

#[test]
fn what_was_kept_comes_back_as_it_was() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    let before = sums(vps, "my-shop");
    assert_eq!(shop.serves(), "one 3000 hello kept first");
    let id = create(vps, "my-shop");

    // Nobody but root may look, and nothing of it lies about.
    for path in [
        "/srv/backups/hostkit/restic/config",
        "/etc/hostkit/backup.key",
        "/root/hostkit-recovery.txt",
        "/var/lib/hostkit/backups/my-shop/files.list",
    ] {
        let peek = vps.sh_as("my-shop", &format!("cat {path}"));
        assert!(peek.stderr.contains("Permission denied"), "{peek}");
    }
    let stray = vps.sh("find / -xdev -newer /etc/hostkit/backup.key -type f -perm /044 -not -path '/proc/*' -not -path '/home/*' -not -path '/var/log/*' -not -path '/run/*' -not -path '/var/lib/postgresql/*' -not -path '/var/lib/systemd/*' -not -path '/sys/*'");
    assert_eq!(stray.stdout, "");
    let found =
        vps.sh("grep -rla 'MODE=first\\|hostkit-recovery' /srv/backups /var/cache/hostkit-backup");
    assert_eq!(found.stdout, "", "it is encrypted");

    // A drill proves it, and leaves nothing.
    let proof = vps.hostkit("backup drill my-shop --json").data();
    assert_eq!(
        (proof["proven"].as_bool(), proof["backup"].as_str()),
        (Some(true), Some(&*id)),
        "{proof}"
    );
    let whats: Vec<&str> =
        proof["checks"].as_array().unwrap().iter().map(|c| c["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["database", "redis", "files", "environment"], "{proof}");
    assert!(proof.to_string().contains("1 table, 3000 rows"), "{proof}");
    assert!(!vps.exists("/home/my-shop/.drill"));
    assert_eq!(vps.sh("runuser -u postgres -- psql -qtAc \"SELECT datname FROM pg_database WHERE datname LIKE 'my_shop%'\"").stdout, "my_shop_db\n");
    assert_eq!(sums(vps, "my-shop"), before);
    let evidence = vps.hostkit("backup evidence --json").data();
    assert_eq!(evidence["projects"][0]["proven"]["backup"], id.as_str(), "{evidence}");
    assert_eq!(evidence["projects"][0]["proven"]["proof"]["proven"], true, "{evidence}");

    // Everything is spoilt, and a newer release is live.
    let two = deploy(&shop, "my-shop", "two");
    ruin(&shop);
    let spoilt = vps.hostkit("backup restore my-shop").fails_with(2);
    assert!(spoilt.contains("nobody is there to ask"), "{spoilt}");
    let back = vps.hostkit(&format!("backup restore my-shop {id} --yes --json")).data();
    assert_eq!(sums(vps, "my-shop"), before);
    assert_eq!(shop.serves(), "one 3000 hello kept first");
    assert_eq!(
        vps.sh(
            "runuser -u postgres -- psql -qtA my_shop_db -c \"SELECT to_regclass('junk') IS NULL\""
        )
        .stdout,
        "t\n"
    );
    assert!(
        !vps.exists("/home/my-shop/.restore")
            && !vps.exists("/var/lib/hostkit/backups/my-shop/restore.dump")
    );
    vps.hostkit("drift my-shop").succeeds();
    vps.hostkit("doctor").succeeds();

    // What was there when it went back was kept, and can come back by parts.
    let spoilt = back["before"].as_str().unwrap().to_owned();
    assert_eq!(list(vps, "my-shop")[0]["origin"], "pre_restore");
    vps.hostkit(&format!("backup restore my-shop {spoilt} --files --yes --no-backup")).succeeds();
    assert_eq!(shop.serves(), "two 3000 hello spoilt first");
    vps.hostkit(&format!("backup restore my-shop {spoilt} --db --yes --no-backup")).succeeds();
    assert_eq!(shop.serves(), "two 7  spoilt first");
    vps.hostkit(&format!("backup restore my-shop {spoilt} --env --yes --no-backup")).succeeds();
    vps.hostkit("project restart my-shop").succeeds();
    vps.wait_until("it is up", |_| shop.serves() == "two 7  spoilt second");
    assert!(vps.hostkit("releases my-shop --json").data().to_string().contains(&two));

    // Its release is gone from the disk, and comes back with it.
    vps.sh("rm -rf /home/my-shop/releases/2*").succeeds();
    vps.hostkit(&format!("backup restore my-shop {id} --yes --no-backup")).succeeds();
    assert_eq!(shop.serves(), "one 3000 hello kept first");
    assert_eq!(sums(vps, "my-shop"), before);
}

#[test]
fn a_copy_of_a_project_is_made_from_its_backup() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    // What only a superuser can make, and one has made for this project.
    vps.sh("runuser -u postgres -- psql -q my_shop_db -c 'CREATE SCHEMA fdw; CREATE EXTENSION file_fdw SCHEMA fdw'").succeeds();
    let id = create(vps, "my-shop");
    let before = sums(vps, "my-shop");
    vps.hostkit("project delete my-shop --yes --no-backup").succeeds();
    vps.hostkit(&format!("backup restore my-shop {id} --to-new other-shop")).succeeds();
    assert_eq!(sums(vps, "other-shop"), before.replace("my-shop", "other-shop"));
    vps.hostkit("drift other-shop").succeeds();
    let answer = vps.get("other-shop.apps.test", "/").unwrap();
    assert_eq!(answer.body, "one 3000 hello kept first");
    // Under its own name, as if it had never gone.
    vps.hostkit("backup restore my-shop").succeeds();
    assert_eq!(sums(vps, "my-shop"), before);
    assert_eq!(shop.serves(), "one 3000 hello kept first");
    vps.hostkit("doctor").succeeds();

    // Each sees its own: the id of one is none of the other's, and no verb is for a project's user.
    assert!(list(vps, "other-shop").is_empty());
    for verb in ["restore", "drill", "verify"] {
        let text = error(
            vps.hostkit(&format!(
                "backup {verb} other-shop {id}{}",
                if verb == "restore" { " --yes" } else { "" }
            )),
            3,
        );
        assert!(text.contains(&format!("no backup {id}")), "{verb}: {text}");
    }
    error(vps.hostkit(&format!("backup delete other-shop {id}")), 3);
    for line in [
        format!("restore my-shop {id} --yes"),
        "export my-shop --to /tmp/x".into(),
        format!("delete my-shop {id}"),
        "drill my-shop".into(),
        "run-all".into(),
        "evidence".into(),
        "stats".into(),
        "rotate".into(),
        "verify".into(),
        "setup-timer".into(),
    ] {
        let ran = vps.sh_as("my-shop", &format!("hostkit backup {line}"));
        assert_eq!(ran.code, 5, "{ran}");
    }
    let seen = vps.sh_as("my-shop", "hostkit backup list").succeeds();
    assert!(seen.contains(&id), "{seen}");
    assert_eq!(vps.sh_as("my-shop", "hostkit backup list other-shop").code, 5);

    // What cannot come up is taken away again.
    let count = vps.sh("ls /home").succeeds();
    vps.sh("mv /usr/bin/python3 /usr/bin/python3.away").succeeds();
    error(vps.hostkit(&format!("backup restore my-shop {id} --to-new third-shop")), 6);
    vps.sh("mv /usr/bin/python3.away /usr/bin/python3").succeeds();
    assert_eq!(vps.sh("ls /home").succeeds(), count);
    error(vps.hostkit("project info third-shop"), 3);
    error(vps.hostkit(&format!("backup restore my-shop {id} --to-new other-shop")), 4);
}

#[test]
fn what_is_kept_can_be_read_without_us() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    let id = create(vps, "my-shop");
    vps.hostkit("backup export my-shop --to /root/out").succeeds();
    assert_eq!(
        vps.sh("stat -c '%U %a' /root/out /root/out/* | sort -u").succeeds(),
        "root 600\nroot 700\n"
    );
    vps.hostkit("backup export my-shop --to /root/out").fails_with(4);
    vps.sh("set -e; cmp /root/out/environment.env /home/my-shop/.env; mkdir /root/back; tar -C /root/back -xf /root/out/files.tar; cmp /root/back/home/my-shop/shared/blob /home/my-shop/shared/blob; pg_restore --list /root/out/database.dump | grep -q goods").succeeds();

    // Nobody pays half a second of each command for a key that nobody guesses.
    let effort = vps.sh("jq '.N * .p' /srv/backups/hostkit/restic/keys/*").succeeds();
    assert!(effort.trim().parse::<u64>().unwrap() <= 3 << 15, "{effort}");

    // As the sheet says, with the key that it has, and by restic alone.
    let sheet = vps.read("/root/hostkit-recovery.txt");
    let key =
        sheet.lines().find_map(|l| l.strip_prefix("Recovery key:")).unwrap().trim().to_owned();
    let alone = format!(
        "set -e; export RESTIC_REPOSITORY=/srv/backups/hostkit/restic RESTIC_PASSWORD={key} HOME=/root; mv /usr/bin/hostkit /usr/bin/hostkit.away
         restic dump --tag project=my-shop,part=record,backup={id} latest /record.json | jq -r .project.name
         restic dump --tag project=my-shop,part=environment latest /environment.env | cmp - /home/my-shop/.env
         runuser -u postgres -- createdb again; restic dump --tag project=my-shop,part=database latest /database.dump | runuser -u postgres -- pg_restore --no-owner -d again
         runuser -u postgres -- psql -qtA again -c 'SELECT count(*) FROM goods'
         restic restore --tag project=my-shop,part=tree latest --target /root/somewhere > /dev/null; cmp /root/somewhere/home/my-shop/shared/blob /home/my-shop/shared/blob
         mv /usr/bin/hostkit.away /usr/bin/hostkit"
    );
    assert_eq!(vps.sh(&alone).succeeds(), "my-shop\n3000\n");
    // No secret was ever in a list of processes or in the journal.
    let told = vps.sh(&format!("journalctl --no-pager | grep -c {key}"));
    assert_eq!(told.stdout.trim(), "0");
}

#[test]
fn a_hostile_directory_is_kept_and_leaks_nothing() {
    let shop = Shop::open();
    let vps = &shop.vps;
    vps.sh("echo root-only-secret > /root/secret; chmod 600 /root/secret; mkdir -p /srv/other; echo of-another > /srv/other/file; chmod 755 /srv/other").succeeds();
    vps.sh_as("shop", "set -e; cd ~/shared
        ln -s /etc/shadow shadow; ln -s /root/secret root; ln -s /srv/other other; ln -s / all; ln -s . self; ln -s /proc/self/environ environ; ln -s /etc/hostkit key
        mkfifo pipe; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"
        printf x > \"$(printf 'new\\nline')\"; printf y > \"$(printf 'not\\377utf8')\"; printf z > ' sp ace '; ln -s \"$(printf 'no\\377text')\" odd; printf q > '*?[a]$HOME\\\\x0a'; printf d > -- -rf
        echo mine > file; ln file hard; truncate -s 64M sparse; echo hidden > none; chmod 000 none; mkdir shut; echo in > shut/in; chmod 500 shut
        mkdir -p many; cd many; for d in $(seq 100); do mkdir $d; done; python3 - <<'E'
import os
for d in range(1, 101):
    for n in range(1000): open(f'{d}/{n}', 'w').write(f'{d}.{n}')
E").succeeds();
    let sum = "cd /home/shop/shared; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum; find . -type l -printf '%p %l\\n' | LC_ALL=C sort; stat -c %a none shut; readlink odd | sha256sum";
    let before = vps.sh(sum).succeeds();
    // Somebody swaps a directory for a link again and again, while it is read.
    vps.sh("cat > /home/shop/shared/race.sh <<'E'\ncd ~/shared; mkdir -p a b; for i in $(seq 50); do echo fine > a/secret; echo fine > a/shadow; done; ln -sfn /root l1; ln -sfn /etc l2; while :; do mv a x; ln -s /root a; rm a; ln -s /etc a; rm a; mv x a; done\nE\nchown shop /home/shop/shared/race.sh; (runuser -l shop -c 'exec bash ~/shared/race.sh' > /dev/null 2>&1 &)").succeeds();
    for _ in 0..2 {
        create(vps, "shop --type files");
    }
    vps.sh("pkill -u shop bash; sleep 0.3; cd /home/shop/shared; rm -rf a b x l1 l2 race.sh")
        .succeeds();
    let read_back = "set -e; export RESTIC_REPOSITORY=/srv/backups/hostkit/restic HOME=/root; R='restic --password-file /etc/hostkit/backup.key'; for s in $($R snapshots --json --tag part=tree | jq -r '.[].id'); do $R dump --archive tar $s / ; done | grep -ac \"root-only-secret\\|$(grep ^root: /etc/shadow | cut -c1-40)\\|of-another\\|$(cat /etc/hostkit/backup.key)\"";
    assert_eq!(vps.sh(read_back).stdout.trim(), "0");

    let id = create(vps, "shop --type files");
    let proof = vps.hostkit("backup drill shop --json").data();
    assert!(proof.to_string().contains("files with the hashes that they had"), "{proof}");
    vps.sh("rm -rf /home/shop/shared/*; chmod 755 /home/shop/shared").succeeds();
    let start = std::time::Instant::now();
    vps.hostkit(&format!("backup restore shop {id} --yes --no-backup")).succeeds();
    println!("100000 files restored in {} s", start.elapsed().as_secs());
    let after = vps.sh(sum).succeeds();
    assert_eq!(after, before);
    assert!(!vps.exists("/home/shop/shared/pipe") && !vps.exists("/home/shop/shared/socket"));
    let owners =
        vps.sh("find /home/shop/shared ! -user shop | wc -l; cat /root/secret /srv/other/file");
    assert_eq!(owners.stdout, "0\nroot-only-secret\nof-another\n");

    // A file of holes that claims more than the disk has is told by its name, and hangs nothing.
    vps.sh_as("shop", "truncate -s 7T ~/shared/huge").succeeds();
    let told = vps.hostkit("backup create shop --type files").fails_with(1);
    assert!(told.contains("shared/huge") && told.contains("holes"), "{told}");
    assert_eq!(list(vps, "shop")[0]["state"], "failed");
}
