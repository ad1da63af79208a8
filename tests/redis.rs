//! What a project keeps in Redis: in its number of the server's, or in an instance of its own.

use crate::vps::Vps;

impl Vps {
    /// By the address that the project's processes get, as its user.
    fn redis(&self, project: &str, words: &str) -> String {
        let url = self.hostkit(&format!("env get {project} REDIS_URL")).succeeds();
        let way = match url.trim().strip_prefix("unix://") {
            Some(socket) => format!("-s {socket}"),
            None => format!("-u {}", url.trim()),
        };
        let ran = self.sh_as(project, &format!("redis-cli --no-auth-warning {way} {words} 2>&1"));
        ran.stdout.trim().to_owned()
    }
}

#[test]
fn keys_are_shown_without_their_values_and_flushed_without_the_neighbours() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --no-db --quiet").succeeds();
    vps.hostkit("provision bob --no-db --quiet").succeeds();
    for project in ["shop", "bob"] {
        assert_eq!(vps.redis(project, "SET session:1 s3cr3t EX 1000"), "OK");
        assert_eq!(vps.redis(project, "RPUSH queue a b"), "2");
    }
    assert_eq!(vps.redis("shop", "SET $(printf 'odd\\033[2Jname') x"), "OK");
    let info = vps.hostkit("redis info shop --json").data();
    assert_eq!(
        (&info["keys"], &info["expiring"], &info["database"]),
        (&3.into(), &1.into(), &1.into())
    );
    assert_eq!(info["dedicated"], false);
    let keys = vps.sh_as("shop", "hostkit redis keys --pattern 'session:*'").succeeds();
    assert!(keys.contains("session:1") && keys.contains("string"), "{keys}");
    assert!(!keys.contains("s3cr3t") && !keys.contains("queue"), "{keys}");
    let all = vps.hostkit("redis keys shop").succeeds();
    assert!(!all.contains('\u{1b}') && all.contains("odd"), "{all}");
    let some = vps.hostkit("redis keys shop --limit 1 --json").data();
    assert_eq!((some["keys"].as_array().unwrap().len(), &some["more"]), (1, &true.into()));
    vps.sh_as("shop", "hostkit redis info bob").fails_with(5);
    vps.sh_as("shop", "hostkit redis keys bob").fails_with(5);

    for line in ["redis flush shop", "redis flush shop --confirm bob"] {
        let error = vps.hostkit(line).fails_with(2);
        assert!(error.contains("3 keys would be lost"), "{error}");
    }
    vps.sh_as("shop", "hostkit redis flush --confirm shop").fails_with(5);
    let told = vps.hostkit("redis flush shop --confirm shop --json").data();
    assert_eq!(told["deleted"], 3);
    assert_eq!(vps.redis("shop", "DBSIZE"), "0");
    assert_eq!(vps.redis("bob", "DBSIZE"), "2");
    vps.hostkit("provision none --no-db --no-redis --quiet").fails_with(2);
    vps.hostkit("provision bare --no-db --no-redis --quiet").succeeds();
    vps.hostkit("redis info bare").fails_with(3);
}

#[test]
fn an_instance_of_its_own_is_a_projects_alone() {
    let vps = Vps::ready();
    vps.hostkit("provision bob --no-db --quiet").succeeds();
    let before = vps.snapshot();
    vps.hostkit("provision shop --no-db --redis dedicated --no-redis").fails_with(2);
    let made = vps.hostkit("provision shop --no-db --redis dedicated --json").data();
    assert_eq!(made["own_redis"], true, "{made}");
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("doctor").succeeds();
    // Its numbers are its own, too, and nobody hears it on a port.
    assert_eq!(vps.redis("shop", "SET a 1"), "OK");
    assert_eq!(vps.redis("shop", "-n 7 SET b 2"), "OK");
    let env = vps.read("/home/shop/.env");
    assert!(
        env.contains("CELERY_BROKER_URL=redis+socket:///run/hostkit-shop-redis/redis.sock"),
        "{env}"
    );
    let info = vps.hostkit("redis info shop --json").data();
    assert_eq!(
        (&info["dedicated"], &info["limit"]),
        (&true.into(), &(128_u64 << 20).into()),
        "{info}"
    );
    let keys = vps.sh_as("shop", "hostkit redis keys --json").data();
    assert_eq!(keys["keys"][0]["name"], "a");

    // Its processes reach it out of their sandbox.
    vps.release("shop", &[("index.html", "")]);
    let asked = ["redis-cli", "-s", "/run/hostkit-shop-redis/redis.sock", "GET", "a"];
    let asked = vps.run(&[&["hostkit", "exec", "shop", "--"], &asked[..]].concat(), b"");
    assert_eq!(asked.succeeds(), "1\n");

    // No neighbour gets to it, and it gets to nobody.
    let peek = vps.sh_as("bob", "redis-cli -s /run/hostkit-shop-redis/redis.sock PING 2>&1; ls /run/hostkit-shop-redis /var/lib/hostkit-shop-redis 2>&1");
    assert_eq!(peek.stdout.matches("Permission denied").count(), 3, "{peek}");
    for words in [
        "CONFIG SET dir /etc",
        "CONFIG SET dir /home/shop",
        "MODULE LOAD /tmp/x.so",
        "DEBUG SLEEP 1",
        "CONFIG SET dbfilename x",
    ] {
        let said = vps.redis("shop", words);
        assert!(said.contains("ERR") || said.contains("not allowed"), "{words}: {said}");
    }
    // Whom it runs as can put a link there, which root does not follow.
    vps.sh_as("shop", "mv /run/hostkit-shop-redis/redis.sock /run/hostkit-shop-redis/x; ln -s /run/redis/hostkit.sock /run/hostkit-shop-redis/redis.sock").succeeds();
    vps.hostkit("redis info shop").fails_with(8);
    vps.hostkit("redis flush shop --confirm shop").fails_with(8);
    assert_eq!(vps.redis("bob", "DBSIZE"), "0");
    vps.sh("systemctl restart hostkit-shop-redis").succeeds();
    assert_eq!(vps.redis("shop", "GET a"), "1", "what was written is there after a restart");

    // It is full when its own memory is, and drifts like anything else.
    let fill = "EVAL \"for i=1,200000 do redis.call('SET', 'k'..i, string.rep('x', 1000)) end\" 0";
    vps.redis("shop", fill);
    let said = vps.redis("shop", "SET more x");
    assert!(said.contains("OOM"), "{said}");
    vps.hostkit("redis flush shop --confirm shop").succeeds();
    vps.sh("systemctl stop hostkit-shop-redis; sed -i s/everysec/no/ /etc/systemd/system/hostkit-shop-redis.service").succeeds();
    vps.hostkit("drift shop").fails_with(1);
    let error = vps.hostkit("redis info shop").fails_with(8);
    assert!(error.contains("systemctl start hostkit-shop-redis"), "{error}");
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("drift shop").succeeds();
    assert_eq!(vps.redis("shop", "PING"), "PONG");

    // A lost registry knows of it, and another project can't take its unit.
    vps.hostkit("provision shop-redis --no-db --no-redis").fails_with(4);
    vps.sh("rm /var/lib/hostkit/registry.db*").succeeds();
    vps.hostkit("recover --from-host").succeeds();
    assert_eq!(vps.hostkit("project info shop --json").data()["own_redis"], true);
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert!(!vps.exists("/var/lib/hostkit-shop-redis") && !vps.exists("/run/hostkit-shop-redis"));
    let without = "unit hostkit-bob";
    before.without(without).assert_same(&vps.snapshot().without(without), "made and deleted");
}

#[test]
fn an_instance_of_its_own_is_whole_or_not_there() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let mut points = 0;
    for n in (0..).step_by(3) {
        let when = format!("kill@{n}");
        let ran = vps.hostkit_fault(&when, "provision shop --no-db --redis dedicated --quiet");
        vps.hostkit("recover --quiet").succeeds();
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        before.assert_same(&vps.snapshot(), &when);
        points += 1;
    }
    println!("failure points walked: {points} (a Redis of its own, killed)");
    assert!(points >= 8, "{points}");
    assert_eq!(vps.redis("shop", "PING"), "PONG");
}
