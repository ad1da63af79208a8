//! What a backup holds besides files and databases: a bucket, secrets, and a Redis of a project's own.

use crate::{
    backup::create,
    storage,
    vps::{Ran, Shop, Vps},
};

/// A project with a value and two objects; the rest of what it has is as asked for.
fn keys(vps: &Vps, line: &str) -> Ran {
    let socket = "-s /run/hostkit-shop-redis/redis.sock";
    vps.sh_as("shop", &format!("redis-cli {socket} {line}"))
}

fn secret(vps: &Vps, value: &str) {
    vps.run(&["hostkit", "secrets", "set", "shop", "API_TOKEN"], value.as_bytes()).succeeds();
}

#[test]
fn secrets_and_a_redis_of_its_own_come_back() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --no-db --redis dedicated --quiet").succeeds();
    secret(&vps, "the first value");
    keys(&vps, "set greeting hello").succeeds();
    let id = create(&vps, "shop");
    let proof = vps.hostkit(&format!("backup drill shop {id} --json")).data();
    let proven: Vec<_> =
        proof["checks"].as_array().unwrap().iter().map(|check| check["what"].to_string()).collect();
    assert_eq!(proven, ["\"redis\"", "\"files\"", "\"environment\"", "\"secrets\""]);
    // Sealed as everything in the repository is.
    let found = vps.sh("grep -rl 'the first value' /srv/backups /var/lib/hostkit /etc/hostkit");
    assert_eq!(found.stdout, "", "{found}");

    secret(&vps, "another value");
    keys(&vps, "flushall").succeeds();
    keys(&vps, "set junk 1").succeeds();
    vps.hostkit(&format!("backup restore shop {id} --yes")).succeeds();
    assert_eq!(keys(&vps, "get greeting").stdout.trim(), "hello");
    assert_eq!(keys(&vps, "exists junk").stdout.trim(), "0");
    assert_eq!(vps.hostkit("secrets show shop API_TOKEN").stdout.trim(), "the first value");
    vps.hostkit("drift shop").succeeds();

    // All of it makes another project, and the same one where it is gone.
    vps.hostkit(&format!("backup restore shop {id} --to-new copy --yes")).succeeds();
    assert_eq!(vps.hostkit("secrets show copy API_TOKEN").stdout.trim(), "the first value");
    let socket = "redis-cli -s /run/hostkit-copy-redis/redis.sock get greeting";
    assert_eq!(vps.sh_as("copy", socket).stdout.trim(), "hello");
    for name in ["shop", "copy"] {
        vps.hostkit(&format!("drift {name}")).succeeds();
    }
}

#[test]
fn a_bucket_comes_back() {
    let Some(server) = storage::server() else { return };
    let vps = &server.vps;
    vps.hostkit("provision shop --no-redis --quiet").succeeds();
    for (key, text) in [("a/one.txt", "first"), ("odd%20name", "second")] {
        server.client(&format!("write shop {key} {text}")).succeeds();
    }
    let id = create(vps, "shop");
    vps.hostkit(&format!("backup drill shop {id}")).succeeds();
    server.client("write shop a/one.txt spoilt").succeeds();
    server.client("remove shop odd%20name").succeeds();
    server.client("write shop later here").succeeds();
    vps.hostkit(&format!("backup restore shop {id} --files --yes")).succeeds();
    for (key, text) in [("a/one.txt", "first"), ("odd%20name", "second"), ("later", "here")] {
        assert!(server.client(&format!("read shop {key}")).stdout.contains(text), "{key}");
    }
    // The storage is down when its turn comes: what is back stays so, and what was there before, too.
    let sql = "CREATE TABLE later (n int)";
    vps.hostkit_args(&["db", "shell", "shop", "-c", sql]).succeeds();
    vps.sh("systemctl stop hostkit.garage").succeeds();
    let ran = vps.hostkit(&format!("backup restore shop {id} --yes --no-backup"));
    assert!(ran.code != 0 && ran.stderr.contains("back by now: database"), "{ran}");
    let newest = vps.hostkit("checkpoint list shop --json").data()[0].clone();
    assert!(newest["kind"] == "pre_restore" && newest["dump"].as_u64() > Some(0), "{newest}");
    let aside = "runuser -u postgres -- psql -Atc \"SELECT datname FROM pg_database WHERE datname LIKE 'shop%'\"";
    assert_eq!(vps.sh(aside).stdout, "shop_db\n");
    vps.sh("systemctl start hostkit.garage").succeeds();
    server.wait();
    vps.hostkit(&format!("backup restore shop {id} --yes --no-backup")).succeeds();

    vps.hostkit(&format!("backup restore shop {id} --to-new copy --yes")).succeeds();
    assert!(server.client("read copy a/one.txt").stdout.contains("first"));
    let env = vps.read("/home/copy/.env");
    assert!(env.contains("S3_BUCKET=hostkit-copy\n") && !env.contains("hostkit-shop"), "{env}");
    vps.hostkit("drift copy").succeeds();
}

/// What it read as it started.
const CERT: &str = "body += ' ' + open(os.environ['CREDENTIALS_DIRECTORY'] + '/CERT').read()";

#[test]
fn secrets_that_are_files_reach_who_reads_them_and_logins_go_on_taking_turns() {
    let shop = Shop::named("shop", "--no-redis").handling(CERT);
    let vps = &shop.vps;
    let cert = |value: &str| {
        vps.run(&["hostkit", "secrets", "set", "shop", "CERT"], value.as_bytes()).succeeds();
        shop.deploy("one");
        assert_eq!(shop.serves(), format!("one {value}"));
    };
    shop.version("one", "[secrets]\nfiles = [\"CERT\"]\n");
    cert("first");
    vps.hostkit("db rotate shop --quiet").succeeds();
    let id = create(vps, "shop");
    cert("second");

    vps.hostkit(&format!("backup restore shop {id} --env --yes --no-backup")).succeeds();
    assert_eq!(shop.serves(), "one first");
    vps.hostkit("drift shop").succeeds();
    // A release that does not come up again goes on with what it had, and somebody is told.
    cert("third");
    vps.sh("mv /usr/bin/python3 /usr/bin/python3.away").succeeds();
    let told = vps.hostkit(&format!("backup restore shop {id} --env --yes --no-backup"));
    vps.sh("mv /usr/bin/python3.away /usr/bin/python3").succeeds();
    assert!(told.code == 6 && told.stderr.contains("still runs with the secrets"), "{told}");
    assert_eq!(shop.serves(), "one third");

    // What a client makes in the name of the second login is the owner's to use.
    vps.hostkit(&format!("backup restore shop {id} --db --yes --no-backup")).succeeds();
    assert!(vps.read("/home/shop/.env").contains("://shop_user_2:"));
    let made = vps.sh_as("shop", ". ~/.env; psql -q $DATABASE_URL -c 'SET ROLE NONE; CREATE TABLE mine (a int)'; psql -qtA $DATABASE_URL -c 'SELECT count(*) FROM mine'");
    assert_eq!(made.succeeds(), "0\n");
}
