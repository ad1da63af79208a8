//! Secrets that lie sealed: who gets them, who doesn't, and what becomes of them when a release,
//! the key or the registry goes another way.

use crate::vps::{BASE_DOMAIN, Load, Ran, Shop, Vps, until};

/// Answers with what it was given: TOKEN, the file CERT, and whether CERT is a variable.
const HANDLE: &str = "path = os.environ.get('CREDENTIALS_DIRECTORY', '/none') + '/CERT'\n\
    cert = open(path).read() if os.path.exists(path) else 'none'\n\
    body += ' ' + os.environ.get('TOKEN', 'none') + ' ' + cert + ' ' + os.environ.get('CERT', 'unset')";

const KEY: &str = "/etc/hostkit/master.key";

fn open() -> Shop {
    Shop::open().handling(HANDLE)
}

fn set(vps: &Vps, key: &str, value: &str) {
    set_and(vps, key, value, &[]).succeeds();
}

fn set_and(vps: &Vps, key: &str, value: &str, more: &[&str]) -> Ran {
    let words = [&["hostkit", "secrets", "set", "shop", key], more].concat();
    vps.run(&words, format!("{value}\n").as_bytes())
}

fn show(vps: &Vps, key: &str) -> String {
    vps.hostkit(&format!("secrets show shop {key}")).succeeds().trim_end().to_owned()
}

fn state(vps: &Vps, key: &str) -> String {
    let all = vps.hostkit("secrets list shop --json").data();
    let one = all.as_array().unwrap().iter().find(|one| one["name"] == key);
    one.map_or("absent".into(), |one| one["state"].as_str().unwrap().to_owned())
}

/// Runs a few lines on the registry's own file.
fn sql(vps: &Vps, sql: &str) -> String {
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect('/var/lib/hostkit/registry.db')\n\
        print(db.execute(sys.argv[1]).fetchall()); db.commit()";
    vps.run(&["python3", "-c", script, sql], b"").succeeds()
}

/// Files of the server that hold a text, but for what other servers' kernels show.
fn holding(vps: &Vps, text: &str) -> String {
    let found = vps.sh(&format!(
        "grep -rlF -- '{text}' /etc /var /run /root /srv /tmp /usr/local /opt /dev/shm /home 2> /dev/null | sort; \
         journalctl --no-pager -o export | grep -acF -- '{text}'"
    ));
    found.stdout
}

const BOTH: &str = "[secrets]\nfiles = [\"CERT\"]\n\
    [build]\nsteps = [\"printenv TOKEN | sha256sum > built\", \"cat $CREDENTIALS_DIRECTORY/CERT | sha256sum >> built\"]\n\
    [process.migrate]\nwhen = \"release\"\ncommand = \"/bin/sh -c 'printenv TOKEN | sha256sum > ~/shared/migrated'\"\n\
    [process.tidy]\nschedule = \"yearly\"\ncommand = \"/bin/sh -c 'cat $CREDENTIALS_DIRECTORY/CERT | sha256sum'\"\n";

#[test]
fn a_secret_is_where_its_processes_read_it_and_nowhere_else() {
    let shop = open();
    shop.hostkit("provision wiki --no-db --no-redis --quiet").succeeds();
    shop.release("wiki", &[("server.py", "")]);
    shop.version("one", BOTH);
    let refused = shop.deploy_fails("one", 2);
    assert!(refused.contains("hostkit secrets set shop CERT"), "{refused}");
    let (token, cert) =
        ("tok-6f1ed002ab5595859014ebf0951522d9", "cert=9b74c9897bac770ffc029102a200c5de");
    // Every command line while they are set, and while they are deployed.
    let watch = "nohup bash -c 'while :; do cat /proc/[0-9]*/cmdline; done' >> /root/cmdlines 2> /dev/null < /dev/null & echo $! > /root/watcher";
    shop.sh(watch).succeeds();
    set(&shop, "TOKEN", token);
    set(&shop, "CERT", cert);
    shop.sh("kill $(cat /root/watcher)").succeeds();
    assert_eq!(state(&shop, "TOKEN"), "waiting");
    assert_eq!(holding(&shop, token), "0\n", "sealed, and nowhere else");
    shop.sh(watch).succeeds();
    let deployed = shop.hostkit("deploy shop --source /root/one --no-watch --json");
    shop.sh("kill $(cat /root/watcher)").succeeds();
    assert!(!deployed.to_string().contains(token), "{deployed}");
    deployed.succeeds();
    assert_eq!(shop.serves(), format!("one {token} {cert} unset"));
    let digest = |text: &str| shop.sh(&format!("printf '%s' '{text}' | sha256sum")).succeeds();
    let of_line = shop.sh(&format!("echo '{token}' | sha256sum")).succeeds();
    assert_eq!(shop.read("/home/shop/app/built"), format!("{of_line}{}", digest(cert)));
    assert_eq!(shop.read("/home/shop/shared/migrated"), of_line);
    assert!(shop.hostkit("cron run shop tidy").succeeds().contains(&digest(cert)));
    let inside =
        shop.sh_as("shop", "hostkit exec -- sh -c 'echo $TOKEN; cat $CREDENTIALS_DIRECTORY/CERT'");
    assert_eq!(inside.succeeds(), format!("{token}\n{cert}"));

    // The one in `.env`, the other in a file of root's and in what systemd made of it.
    assert_eq!(holding(&shop, token), "/home/shop/.env\n0\n");
    let source = "/var/lib/hostkit/deploys/shop/credentials/CERT";
    let given = "/run/credentials/hostkit-shop.service/CERT";
    let expected = shop.sh(&format!("ls {given} 2> /dev/null")).stdout;
    assert_eq!(holding(&shop, cert), format!("{expected}{source}\n0\n"));
    assert_eq!(shop.sh(&format!("stat -c '%a %U' {source}")).succeeds(), "600 root\n");
    assert!(shop.sh("wc -c < /root/cmdlines").succeeds().trim().parse::<u64>().unwrap() > 10_000);
    assert!(!shop.exists("/run/hostkit/secrets/shop"));

    // Neither another project nor the web server gets at any of it, nor the project itself at the
    // sealed ones.
    let pid = shop.sh("systemctl show -P MainPID hostkit-shop").succeeds();
    let places = format!(
        "/home/shop/.env {source} {given} /proc/{}/environ {KEY} /var/lib/hostkit/registry.db",
        pid.trim()
    );
    for user in ["wiki", "www-data"] {
        let peek =
            shop.sh(&format!("cd /; runuser -u {user} -- cat {places} /run/credentials/*/*"));
        assert!(peek.code != 0 && peek.stdout.is_empty(), "{user}: {peek}");
    }
    let peek = shop.hostkit(&format!("exec wiki -- cat {places}"));
    assert!(peek.code != 0 && peek.stdout.is_empty(), "{peek}");
    let peek = shop.sh_as("shop", &format!("cat {source} {KEY} /var/lib/hostkit/registry.db"));
    assert!(peek.code != 0 && peek.stdout.is_empty(), "{peek}");

    // Nothing that hostkit prints has a value, and what it compares it shows by no value.
    for line in [
        "secrets list shop",
        "secrets verify shop",
        "secrets audit shop",
        "env list shop",
        "env history shop",
        "project info shop",
        "events shop",
        "deploys shop",
        "releases shop",
        "drift shop",
        "plan shop",
        "doctor",
    ] {
        for line in [line.to_owned(), format!("{line} --json")] {
            let told = shop.hostkit(&line).to_string();
            assert!(!told.contains(token) && !told.contains(cert), "{told}");
        }
    }
    shop.hostkit("secrets show shop TOKEN --json").fails_with(2);
    assert_eq!(show(&shop, "TOKEN"), token);
    // Changed by hand, it is drift, and put right.
    shop.hostkit("drift shop").succeeds();
    shop.sh(&format!("sed -i s/tok-/tik-/ /home/shop/.env; echo x > {source}")).succeeds();
    let told = shop.hostkit("drift shop");
    assert!(told.stdout.contains("CERT") && told.stdout.contains(".env"), "{told}");
    assert!(!told.to_string().contains(&token[4..]) && !told.to_string().contains(cert), "{told}");
    shop.hostkit("repair shop --quiet").succeeds();
    assert_eq!(shop.read(source), cert);
    // From a file to a variable, and back by a rollback alone.
    shop.version("two", "");
    shop.deploy("two");
    assert_eq!(shop.serves(), format!("two {token} none {cert}"));
    assert!(!shop.exists(source));
    shop.hostkit("rollback shop --quiet").succeeds();
    assert_eq!(shop.serves(), format!("one {token} {cert} unset"));
    shop.hostkit("drift shop").succeeds();
    let read: Vec<String> = shop
        .hostkit("secrets audit shop --secret CERT --json")
        .data()
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["what"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(read, ["set", "deploy", "deploy", "rollback"]);
    // With the project all of it goes.
    shop.hostkit("project delete shop --yes --no-backup").succeeds();
    assert_eq!(holding(&shop, cert), "0\n");
    assert!(sql(&shop, "SELECT count(*) FROM secret_values").contains("(0,)"));
}

#[test]
fn a_registry_that_was_tampered_with_gives_nothing_away() {
    let shop = open();
    shop.hostkit("provision wiki --no-db --no-redis --quiet").succeeds();
    // Two that need the key at once make one.
    let line = |name: &str| format!("echo value-of-{name} | hostkit secrets set {name} TOKEN");
    shop.sh(&format!("({}) & ({}) & wait", line("shop"), line("wiki"))).succeeds();
    let wiki = shop.hostkit("secrets show wiki TOKEN").succeeds();
    assert_eq!(
        (show(&shop, "TOKEN").as_str(), wiki.as_str()),
        ("value-of-shop", "value-of-wiki\n")
    );
    set(&shop, "OTHER", "another-value");
    sql(&shop, "CREATE TABLE kept AS SELECT * FROM secret_values");
    let back = "UPDATE secret_values SET (nonce, text) = (SELECT nonce, text FROM kept k WHERE \
                k.project = secret_values.project AND k.name = secret_values.name)";
    let take = |from: &str| {
        format!(
            "UPDATE secret_values SET (nonce, text) = (SELECT nonce, text FROM kept WHERE {from}) \
             WHERE project = 'shop' AND name = 'TOKEN'"
        )
    };
    for change in [
        take("project = 'wiki'"),
        take("project = 'shop' AND name = 'OTHER'"),
        "UPDATE secret_values SET text = CAST(substr(text, 1, 40) || x'00' || substr(text, 42) AS BLOB) WHERE project = 'shop' AND name = 'TOKEN'".into(),
        "UPDATE secret_values SET text = substr(text, 1, 60) WHERE project = 'shop' AND name = 'TOKEN'".into(),
    ] {
        sql(&shop, &change);
        let ran = shop.hostkit("secrets show shop TOKEN");
        assert!(!ran.to_string().contains("value-of"), "{ran}");
        let said = ran.fails_with(1);
        assert!(said.contains("is not what was sealed for this place"), "{said}");
        let told = shop.hostkit("secrets verify shop");
        assert_eq!(told.code, 2, "{told}");
        assert!(told.stdout.contains("TOKEN: ") && !told.stdout.contains("OTHER: "), "{told}");
        shop.version("one", "");
        shop.deploy_fails("one", 1);
        sql(&shop, back);
        assert_eq!(show(&shop, "TOKEN"), "value-of-shop");
    }
    // A version under another number is none either.
    set(&shop, "TOKEN", "second-value");
    sql(
        &shop,
        "UPDATE secret_values SET (nonce, text) = (SELECT nonce, text FROM kept WHERE project = 'shop' AND name = 'TOKEN') WHERE project = 'shop' AND name = 'TOKEN' AND version = 2",
    );
    shop.hostkit("secrets show shop TOKEN").fails_with(1);
    // Whoever has the registry and not the key has names.
    let file = shop.sh("cat /var/lib/hostkit/registry.db* | strings -n 4").stdout;
    assert!(file.contains("TOKEN") || shop.sh("which strings").code != 0);
    assert!(!file.contains("value-of") && !file.contains("another-value"));
}

#[test]
fn a_full_rollback_takes_secrets_back_and_what_fails_changes_none() {
    let shop = open();
    set(&shop, "TOKEN", "first");
    set(&shop, "CERT", "alpha");
    let files = "[secrets]\nfiles = [\"CERT\"]\n";
    shop.version("one", files);
    let one = shop.deploy("one");
    // Rotated twice while it is live, the second time without a failed request.
    set(&shop, "TOKEN", "second");
    assert_eq!(shop.serves(), "one first alpha unset", "not before it is said");
    shop.hostkit("service restart shop").succeeds();
    assert_eq!(shop.serves(), "one second alpha unset");
    let load = Load::on(&shop, &format!("shop.{BASE_DOMAIN}"), 4);
    set_and(&shop, "CERT", "beta", &["--restart"]).succeeds();
    load.end().assert_none_failed(50);
    assert_eq!(shop.serves(), "one second beta unset");
    assert_eq!(state(&shop, "CERT"), "live");

    // What does not come up with a secret keeps the one that it had.
    shop.app(
        "two",
        "assert os.environ['TOKEN'] != 'broken'",
        HANDLE,
        "[secrets]\nfiles = [\"CERT\"]\n[deploy]\ntimeout = \"10s\"\n",
    );
    set(&shop, "TOKEN", "third");
    set(&shop, "NEW", "new-value");
    let two = shop.deploy("two");
    assert_eq!(shop.serves(), "two third beta unset");
    let env = shop.read("/home/shop/.env");
    let said = set_and(&shop, "TOKEN", "broken", &["--restart"]).fails_with(6);
    assert!(said.contains("still runs with the secrets that it had"), "{said}");
    assert_eq!(shop.read("/home/shop/.env"), env);
    assert_eq!(shop.serves(), "two third beta unset");
    assert_eq!((show(&shop, "TOKEN"), state(&shop, "TOKEN")), ("third".into(), "live".into()));
    // A deploy whose release falls over later takes the secrets back with the release.
    shop.app(
        "three",
        "import threading, os; threading.Timer(2, lambda: os._exit(1)).start()",
        HANDLE,
        "",
    );
    set(&shop, "TOKEN", "fourth");
    set(&shop, "CERT", "gamma");
    shop.hostkit("deploy shop --source /root/three --watch 10s").fails_with(6);
    shop.wait_until("the old one answers", |_| shop.serves() == "two third beta unset");
    assert_eq!(state(&shop, "TOKEN"), "waiting");
    assert_eq!(shop.read("/home/shop/.env"), env);
    shop.hostkit("drift shop").succeeds();

    // All of it back to what the first release had at its end.
    shop.hostkit("rollback shop --full --yes").succeeds();
    assert_eq!(shop.serves(), "one second beta unset");
    assert_eq!((show(&shop, "TOKEN"), show(&shop, "CERT")), ("second".into(), "beta".into()));
    assert!(!shop.read("/home/shop/.env").contains("NEW="));
    assert_eq!(state(&shop, "NEW"), "waiting");
    shop.hostkit("drift shop").succeeds();
    let info = shop.hostkit("project info shop --json").data();
    assert_eq!(info["release"], one.as_str());
    // A former version by hand; and the second release again, alone, keeps what is there.
    shop.hostkit("secrets set shop TOKEN --version 3 --restart").succeeds();
    assert_eq!(shop.serves(), "one third beta unset");
    shop.hostkit(&format!("rollback shop --to {two} --quiet")).succeeds();
    assert_eq!(shop.serves(), "two third beta unset");
    // Deleted, it goes with the next switch; the release that had it can bring it back.
    shop.hostkit("secrets delete shop NEW TOKEN").succeeds();
    assert_eq!(shop.serves(), "two third beta unset");
    shop.version("four", files);
    shop.deploy("four");
    assert_eq!(shop.serves(), "four none beta unset");
    shop.hostkit("rollback shop --full --yes").succeeds();
    assert_eq!(shop.serves(), "two third beta unset");
    // Cleared, nothing can.
    shop.hostkit("secrets clear shop").fails_with(2);
    shop.hostkit("secrets clear shop --confirm shop").succeeds();
    assert!(sql(&shop, "SELECT count(*) FROM secret_values").contains("(0,)"));
    shop.version("five", "");
    shop.deploy("five");
    assert_eq!(shop.serves(), "five none none unset");
    // A release that can't start without one comes back as soon as there is one, whichever.
    let said = shop.hostkit("rollback shop").fails_with(2);
    assert!(said.contains("hostkit secrets set shop CERT"), "{said}");
    set(&shop, "CERT", "delta");
    shop.hostkit("rollback shop --quiet").succeeds();
    assert_eq!(shop.serves(), "four none delta unset");
}

#[test]
fn the_key_is_made_once_kept_changed_and_missed() {
    let shop = open();
    set(&shop, "TOKEN", "first");
    let key = shop.read(KEY);
    assert_eq!(shop.sh(&format!("stat -c '%a %U:%G' {KEY}")).succeeds(), "600 root:root\n");
    shop.hostkit("secrets init").succeeds();
    assert_eq!(shop.read(KEY), key);
    shop.version("one", "");
    shop.deploy("one");
    let two_keys = |vps: &Vps| vps.exists(&format!("{KEY}.next"));

    // A change of keys, killed at each of its changes: either key opens all.
    set(&shop, "OTHER", "value");
    let mut points = 0;
    for n in 0.. {
        let ran = shop.hostkit_fault(&format!("kill@{n}"), "secrets rotate-key --quiet");
        assert_eq!((show(&shop, "TOKEN"), show(&shop, "OTHER")), ("first".into(), "value".into()));
        set(&shop, "OTHER", "value");
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        if n % 2 == 0 {
            shop.crash();
            shop.boot();
        }
        // Boot goes on with it, or `recover`, or the same command.
        shop.hostkit(if n == 1 { "recover" } else { "secrets rotate-key" }).succeeds();
        assert!(!two_keys(&shop));
        assert_eq!(show(&shop, "TOKEN"), "first");
        points += 1;
    }
    println!("failure points walked: {points} (change of keys, killed)");
    assert!(points >= 3 && !two_keys(&shop), "{points}");
    let changed = shop.read(KEY);
    assert_ne!(key, changed);
    shop.hostkit("doctor").succeeds();

    // Another's key, one that others may read, one that is cut off, and none.
    shop.sh(&format!("cp -a {KEY} /root/key")).succeeds();
    for (damage, code) in [
        (format!("chmod 640 {KEY}"), "key_exposed"),
        (format!("truncate -s 250 {KEY}"), "key_damaged"),
        (format!("rm {KEY}"), "key_lost"),
    ] {
        shop.sh(&damage).succeeds();
        for line in ["secrets verify shop", "deploy shop --source /root/one --no-watch"] {
            let ran = shop.hostkit(&format!("{line} --json"));
            let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(told["error"]["code"], code, "{told}");
            assert_eq!(ran.code, 8);
        }
        set_and(&shop, "TOKEN", "new", &[]).fails_with(8);
        let told = shop.hostkit("doctor");
        assert!(told.stdout.contains("secrets") && told.code == 1, "{told}");
        // What runs goes on, and can be restarted.
        assert_eq!(shop.serves(), "one first none unset");
        shop.sh(&format!("cp -a /root/key {KEY}")).succeeds();
        assert_eq!(show(&shop, "TOKEN"), "first");
    }
    shop.write(KEY, &key);
    let said = shop.hostkit("secrets show shop TOKEN").fails_with(8);
    assert!(said.contains("it was sealed under the master key"), "{said}");
    shop.hostkit("service restart shop").fails_with(8);
    // Lost for good: begun anew, and `.env` still has what processes had.
    shop.sh(&format!("rm {KEY}")).succeeds();
    let said = shop.hostkit("secrets list shop");
    assert!(said.stdout.contains("TOKEN"), "{said}");
    shop.hostkit("secrets init").fails_with(8);
    shop.hostkit("secrets init --new-key").fails_with(2);
    let told = shop.hostkit("secrets init --new-key --yes --json").data();
    assert!(told["forgotten"].as_u64().unwrap() >= 2, "{told}");
    assert_eq!(state(&shop, "TOKEN"), "unset");
    shop.hostkit("service restart shop").succeeds();
    assert_eq!(shop.serves(), "one first none unset", "`.env` was not touched");
    shop.hostkit("secrets import shop /home/shop/.env --known").succeeds();
    assert_eq!(show(&shop, "TOKEN"), "first");
    shop.deploy("one");
    assert_eq!(
        (shop.serves(), state(&shop, "TOKEN")),
        ("one first none unset".into(), "live".into())
    );
    shop.hostkit("drift shop").succeeds();
    shop.hostkit("doctor").succeeds();
}

#[test]
fn what_is_required_stops_a_deploy_and_who_may_do_what() {
    let shop = open();
    shop.hostkit("provision wiki --no-db --no-redis --quiet").succeeds();
    let built = || shop.sh("find /home/shop /var/lib/hostkit -name built").stdout;
    shop.version(
        "one",
        "[env.required]\nTOKEN = \"of the door\"\n[build]\nsteps = [\"echo > built\"]\n",
    );
    let define = |line: &str| shop.hostkit_args(&line.split('|').collect::<Vec<_>>());
    define("secrets|define|shop|MAIL|--kind|email|--required|--about|who is told").succeeds();
    define("secrets|define|shop|TOKEN").succeeds();
    define("secrets|define|shop|PORT").fails_with(2);
    define("secrets|define|shop|LD_PRELOAD").fails_with(2);
    define("secrets|define|shop|MAIL|--kind|emial").fails_with(2);
    assert_eq!(state(&shop, "MAIL"), "missing");
    let told = shop.hostkit("secrets verify shop");
    assert!(told.stdout.contains("MAIL: it is required, and not set"), "{told}");
    assert_eq!(told.code, 2);
    let said = shop.deploy_fails("one", 2);
    assert!(said.contains("MAIL (email): who is told"), "{said}");
    assert!(said.contains("hostkit secrets set shop MAIL"), "{said}");
    // Never by the command line, and never what it is not.
    for line in ["MAIL=root@example.com", "MAIL root@example.com"] {
        let ran = shop.hostkit(&format!("secrets set shop {line}"));
        assert_eq!(ran.code, 2, "{ran}");
        assert!(
            line.starts_with("MAIL ")
                || !ran.to_string().replace(&format!("shop {line}"), "").contains("root@"),
            "{ran}"
        );
    }
    for value in ["nobody", "", "a\0b"] {
        let ran = set_and(&shop, "MAIL", value, &[]);
        assert!(value.is_empty() || !ran.stderr.contains("nobody"), "{ran}");
        ran.fails_with(2);
    }
    set_and(&shop, "MAIL", &"x".repeat(33_000), &[]).fails_with(2);
    set(&shop, "MAIL", "root@example.com");
    // What hostkit.toml requires counts as set when it lies sealed.
    let dry = shop.hostkit("deploy shop --source /root/one --dry-run --json").data();
    assert_eq!(dry["missing_variables"], serde_json::json!(["TOKEN"]));
    let said = shop.deploy_fails("one", 2);
    assert!(
        said.contains("hostkit secrets set shop TOKEN") && said.contains("nothing was built"),
        "{said}"
    );
    assert_eq!(built(), "");
    shop.hostkit("secrets set shop TOKEN --generate").succeeds();
    assert_eq!(show(&shop, "TOKEN").len(), 64);
    let dry = shop.hostkit("deploy shop --source /root/one --dry-run --json").data();
    assert_eq!(dry["missing_variables"], serde_json::json!([]));
    shop.deploy("one");
    assert_eq!(shop.serves(), format!("one {} none unset", show(&shop, "TOKEN")));
    // One that is set and of another kind now stops those who ask for it.
    let told = define("secrets|define|shop|MAIL|--kind|url|--json").data();
    assert_eq!(told["why"], "it is no address like `https://host/path`", "{told}");
    shop.deploy("one");
    let line = "deploy shop --source /root/one --no-watch --with-secrets";
    let said = shop.hostkit(line).fails_with(2);
    assert!(said.contains("MAIL: it is no address"), "{said}");
    set(&shop, "MAIL", "https://example.com");
    shop.hostkit(line).succeeds();
    shop.hostkit("secrets undefine shop MAIL").succeeds();
    shop.hostkit("secrets undefine shop MAIL").fails_with(3);

    // `env` leaves sealed ones alone.
    let said = shop.hostkit("env set shop TOKEN=x").fails_with(4);
    assert!(said.contains("hostkit secrets set shop TOKEN"), "{said}");
    shop.hostkit("env unset shop TOKEN").fails_with(4);
    let token = show(&shop, "TOKEN");
    shop.run(&["hostkit", "env", "sync", "shop", "-"], b"TOKEN=x\nA=b\n").succeeds();
    assert!(shop.read("/home/shop/.env").contains(&format!("TOKEN={token}\n")));

    let former = shop.hostkit("env history shop --json").data()[0]["id"].clone();
    set(&shop, "TOKEN", "newer-than-that");
    shop.hostkit("service restart shop").succeeds();
    shop.hostkit(&format!("env restore shop {} --restart", former.as_str().unwrap())).succeeds();
    assert_eq!(shop.serves(), "one newer-than-that none unset");
    assert!(!shop.read("/home/shop/.env").contains("A=b\n"));

    // More than an environment holds stops a deploy before it builds.
    for n in 0..5 {
        set(&shop, &format!("LONG_{n}"), &"x".repeat(30_000));
    }
    shop.sh("rm -f /home/shop/releases/*/built").succeeds();
    let said = shop.deploy_fails("one", 2);
    assert!(said.contains("[secrets] files") && built().is_empty(), "{said}");
    shop.hostkit("secrets delete shop LONG_0 LONG_1 LONG_2 LONG_3 LONG_4").succeeds();

    shop.sh("seq -f 'N_%g=1' 251 > /root/many").succeeds();
    shop.hostkit("secrets import shop /root/many").fails_with(4);
    assert_eq!(state(&shop, "N_1"), "absent");

    // Through the gate: what `.env` lets the project's user do anyway, and no value.
    let told = shop.sh_as("shop", "hostkit secrets list --json").data();
    assert_eq!(told[1]["name"], "TOKEN", "{told}");
    shop.sh_as("shop", "hostkit secrets verify").succeeds();
    shop.sh_as("shop", "echo by-the-gate | hostkit secrets set TOKEN --restart").succeeds();
    assert_eq!(shop.serves(), "one by-the-gate none unset");
    shop.sh_as("shop", "printf 'A_KEY=1\\nPORT=80\\n' | hostkit secrets import -").succeeds();
    assert_eq!(show(&shop, "A_KEY"), "1");
    for line in [
        "secrets show TOKEN",
        "secrets show shop TOKEN",
        "secrets list wiki",
        "secrets verify wiki",
        "secrets import /etc/shadow",
        "secrets import shop /root/x",
        "secrets define NEW",
        "secrets undefine TOKEN",
        "secrets delete TOKEN",
        "secrets clear --confirm shop",
        "secrets audit",
        "secrets init",
        "secrets init --new-key --yes",
        "secrets rotate-key",
    ] {
        let ran = shop.sh_as("shop", &format!("hostkit {line} < /dev/null"));
        assert_eq!(ran.code, 5, "{line}: {ran}");
    }
    shop.sh_as("shop", "echo x | hostkit secrets set wiki TOKEN").fails_with(5);
    let ran = shop.sh_as("shop", "printf 'KEY=\"a\\nMIIEsecretline\\n' | hostkit secrets import -");
    assert!(
        !ran.to_string().contains("MIIEsecretline")
            || ran.to_string().matches("MIIEsecretline").count() == 1,
        "{ran}"
    );
    ran.fails_with(2);
    let audit = shop.hostkit("secrets audit shop --secret TOKEN --json").data();
    let last = audit.as_array().unwrap().last().unwrap();
    assert_eq!((&last["actor"], &last["what"]), (&"shop".into(), &"secrets set".into()), "{audit}");
    assert!(last["release"].is_string() && last["version"].is_number(), "{last}");
    // Typed at a terminal it is not seen; `script` gives it one.
    let asked = until("grep -q \"TOKEN: \" /root/typed");
    let typed = shop.sh(&format!("({asked}; sleep 0.5; printf 'tx\\177yped-in\\n'; sleep 1) | script -qefc 'hostkit secrets set shop TOKEN' /root/typed")).succeeds();
    assert!(typed.contains("TOKEN: ") && !typed.contains("yped-in"), "{typed}");
    assert_eq!(show(&shop, "TOKEN"), "typed-in");
}

#[test]
fn a_deploy_killed_anywhere_leaves_the_secrets_of_the_release_that_is_live() {
    let shop = open();
    shop.sh("sed -i 's/^#keep.*/keep = 99/' /etc/hostkit/hostkit.toml").succeeds();
    let files = "[secrets]\nfiles = [\"CERT\"]\n";
    set(&shop, "TOKEN", "first");
    set(&shop, "CERT", "alpha");
    shop.version("one", files);
    shop.version("two", files);
    let one = shop.deploy("one");
    set(&shop, "TOKEN", "second");
    set(&shop, "CERT", "beta");
    let line = "deploy shop --source /root/two --no-watch --no-checkpoint --quiet";
    let (old, new) = ("one first alpha unset", "two second beta unset");
    let (mut points, mut came) = (0, 0);
    for n in (0..).step_by(3) {
        let when = format!("kill@{n}");
        let ran = shop.hostkit_fault(&when, line);
        shop.hostkit("recover --quiet").succeeds();
        let is_new = shop.hostkit("project info shop --json").data()["release"] != one.as_str();
        let wanted = if is_new { new } else { old };
        shop.wait_until(&format!("what is recorded after {when}"), |_| shop.serves() == wanted);
        let is = if is_new { "live" } else { "waiting" };
        assert_eq!((state(&shop, "TOKEN"), state(&shop, "CERT")), (is.into(), is.into()), "{when}");
        shop.hostkit("drift shop").succeeds();
        if is_new {
            came += 1;
            // Back, as if nothing had happened.
            for (key, version) in [("TOKEN", 1), ("CERT", 1)] {
                shop.hostkit(&format!("secrets set shop {key} --version {version}")).succeeds();
            }
            shop.hostkit("service restart shop").succeeds();
            shop.hostkit(&format!("rollback shop --to {one} --quiet")).succeeds();
            assert_eq!(shop.serves(), old, "{when}");
            for (key, version) in [("TOKEN", 2), ("CERT", 2)] {
                shop.hostkit(&format!("secrets set shop {key} --version {version}")).succeeds();
            }
        }
        // Whoever touches the project next takes away what the build had been given.
        shop.hostkit("checkpoint cleanup shop").succeeds();
        assert!(!shop.exists("/run/hostkit/secrets/shop"), "{when}");
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        points += 1;
    }
    println!("failure points walked: {points} (deploy with secrets, killed)");
    assert!(points >= 15 && came >= 1, "{points} {came}");
}
