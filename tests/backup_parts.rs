//! What a backup holds besides files and databases: a bucket, secrets, and a Redis of a project's own.

use crate::{
    backup::create,
    storage,
    vps::{Ran, Vps},
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
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
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
    vps.hostkit(&format!("backup restore shop {id} --to-new copy --yes")).succeeds();
    assert!(server.client("read copy a/one.txt").stdout.contains("first"));
    let env = vps.read("/home/copy/.env");
    assert!(env.contains("S3_BUCKET=hostkit-copy\n") && !env.contains("hostkit-shop"), "{env}");
    vps.hostkit("drift copy").succeeds();
}
