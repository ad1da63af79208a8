//! A project's database: made and given up at any time, looked into, carried away and brought back,
//! and its password changed under everybody's feet.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::vps::{BASE_DOMAIN, Load, Shop, Vps};

/// Logs in anew for each request, writes a row, and says who wrote it.
const ASKS: &str = r#"
import subprocess
sql = "INSERT INTO visits DEFAULT VALUES; SELECT current_user || ' ' || session_user"
asked = subprocess.run(["psql", "-qtA", "-d", os.environ["DATABASE_URL"], "-c", sql], capture_output=True, text=True)
status, body = (200, asked.stdout.strip()) if asked.returncode == 0 else (500, asked.stderr)
"#;

impl Vps {
    /// By the server's own superuser, one value.
    fn postgres(&self, database: &str, sql: &str) -> String {
        let words = ["runuser", "-u", "postgres", "--", "psql", "-qtA", "-v", "ON_ERROR_STOP=1"];
        let ran = self.run(&[&words[..], &["-d", database, "-c", sql]].concat(), b"");
        ran.succeeds().trim().to_owned()
    }

    /// Roles and databases that belong to `my-shop`.
    fn of_my_shop(&self) -> String {
        let sql = "SELECT string_agg(n, ' ' ORDER BY n) FROM (SELECT rolname AS n FROM pg_roles UNION SELECT datname FROM pg_database) x WHERE n LIKE 'my_shop%'";
        self.postgres("postgres", sql)
    }

    /// By the project's own shell of its database.
    fn shell(&self, sql: &str) -> String {
        let words = ["hostkit", "db", "shell", "my-shop", "-t", "-c", sql];
        self.run(&words, b"").succeeds().trim().to_owned()
    }
}

const WHOLE: &str = "my_shop_db my_shop_user";

#[test]
fn a_database_comes_and_goes_at_any_time() {
    let vps = Vps::ready();
    vps.hostkit("provision my-shop --no-db --no-redis --quiet").succeeds();
    vps.hostkit("provision bob --no-redis --quiet").succeeds();
    let bare = vps.snapshot();
    let error = vps.hostkit("db info my-shop").fails_with(3);
    assert!(error.contains("hostkit db create my-shop"), "{error}");
    vps.hostkit("db create unknown").fails_with(3);

    // What somebody else has made under its name is not taken over.
    vps.postgres("postgres", "CREATE ROLE my_shop_user");
    let error = vps.hostkit("db create my-shop").fails_with(4);
    assert!(error.contains("my_shop_user") && error.contains("does not touch it"), "{error}");
    vps.postgres("postgres", "DROP ROLE my_shop_user");
    vps.postgres("postgres", "CREATE DATABASE my_shop_db");
    vps.hostkit("db create my-shop").fails_with(4);
    vps.postgres("postgres", "DROP DATABASE my_shop_db");
    bare.assert_same(&vps.snapshot(), "refused");

    let made = vps.hostkit("db create my-shop --json").data();
    assert_eq!((&made["database"], &made["user"]), (&"my_shop_db".into(), &"my_shop_user".into()));
    vps.hostkit("db create my-shop").fails_with(4);
    vps.hostkit("drift my-shop").succeeds();
    vps.hostkit("doctor").succeeds();
    assert!(vps.read("/etc/systemd/system/hostkit-my-shop.service").contains("Postgres=yes"));
    vps.shell("CREATE TABLE goods (name text); INSERT INTO goods VALUES ('apple'), ('pear')");
    assert_eq!(vps.shell("SELECT current_user || ' ' || count(*) FROM goods"), "my_shop_user 2");

    // Nobody else gets in, however he asks.
    let url = vps.hostkit("env get bob DATABASE_URL").succeeds().replace("/bob_db", "/my_shop_db");
    let peek = vps.run(&["psql", "-d", url.trim(), "-c", "SELECT 1"], b"");
    assert!(peek.stderr.contains("permission denied for database"), "{peek}");

    let info = vps.hostkit("db info my-shop --json").data();
    assert_eq!(info["connections"]["limit"], 20, "{info}");
    assert_eq!((&info["owner"], &info["login"]), (&"my_shop_user".into(), &"my_shop_user".into()));
    assert_eq!(info["tables"][0]["name"], "goods", "{info}");
    vps.postgres("my_shop_db", "ANALYZE");
    let info = vps.hostkit("db info my-shop").succeeds();
    assert!(info.contains("public.goods") && info.contains("0 of 20"), "{info}");
    let list = vps.hostkit("db list --json").data();
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    assert!(list[1]["size"].as_u64().unwrap() > 1_000_000, "{list}");

    // It goes only when it is named, and its last state stays.
    for line in ["db delete my-shop", "db delete my-shop --confirm bob"] {
        vps.hostkit(line).fails_with(2);
    }
    assert_eq!(vps.of_my_shop(), WHOLE);
    let gone = vps.hostkit("db delete my-shop --confirm my-shop --json").data();
    assert_eq!(vps.of_my_shop(), "");
    vps.hostkit("env get my-shop DATABASE_URL").fails_with(3);
    bare.without("/var/lib/hostkit/checkpoints")
        .assert_same(&vps.snapshot().without("/var/lib/hostkit/checkpoints"), "made and given up");
    let id = gone["checkpoint"].as_str().unwrap();
    let refused = vps.hostkit(&format!("checkpoint restore my-shop {id} --yes")).fails_with(4);
    assert!(refused.contains("hostkit db create my-shop"), "{refused}");
    vps.hostkit("db create my-shop --quiet").succeeds();
    vps.hostkit(&format!("checkpoint restore my-shop {id} --yes")).succeeds();
    assert_eq!(vps.shell("SELECT string_agg(name, ' ') FROM goods"), "apple pear");
    vps.hostkit("project delete my-shop --yes --no-backup").succeeds();
    assert_eq!(vps.of_my_shop(), "");
}

#[test]
fn a_database_that_is_made_or_given_up_and_killed_anywhere_is_whole_or_gone() {
    let vps = Vps::ready();
    vps.hostkit("provision my-shop --no-db --no-redis --quiet").succeeds();
    let mut points = 0;
    for line in ["db create my-shop --quiet", "db delete my-shop --confirm my-shop --quiet"] {
        let makes = line.starts_with("db create");
        for n in (0..).step_by(2) {
            let when = format!("{line}, kill@{n}");
            let ran = vps.hostkit_fault(&format!("kill@{n}"), line);
            vps.hostkit("recover --quiet").succeeds();
            let has = vps.read("/home/my-shop/.env").contains("DATABASE_URL=");
            assert_eq!(vps.of_my_shop(), if has { WHOLE } else { "" }, "{when}");
            vps.hostkit("drift my-shop").succeeds();
            vps.hostkit("doctor").succeeds();
            if has {
                vps.shell("SELECT 1");
            }
            if has == makes {
                assert!(ran.code == 0 || ran.code == 137, "{ran}");
                if ran.code == 0 {
                    break;
                }
                // Back to where it began, for the next.
                let other =
                    if makes { "db delete my-shop --confirm my-shop" } else { "db create my-shop" };
                vps.hostkit(other).succeeds();
            }
            assert_eq!(ran.code, 137, "{ran}");
            points += 1;
        }
    }
    println!("failure points walked: {points} (db create and delete, killed)");
    assert!(points >= 12, "{points}");
}

#[test]
fn a_dump_goes_out_and_comes_back_in() {
    let vps = Vps::ready();
    vps.hostkit("provision my-shop --no-redis --quiet").succeeds();
    vps.shell("CREATE TABLE goods (name text); INSERT INTO goods VALUES ('apple')");
    let told = vps.hostkit("db backup my-shop --output /root/shop.dump --json").data();
    assert_eq!(told["file"], "/root/shop.dump");
    assert_eq!(vps.sh("stat -c '%a %U' /root/shop.dump").succeeds(), "600 root\n");
    vps.hostkit("db backup my-shop --output /root/shop.dump").fails_with(4);
    vps.sh("hostkit db backup my-shop > /root/piped.dump").succeeds();
    for file in ["/root/shop.dump", "/root/piped.dump"] {
        let listed = vps.sh(&format!("pg_restore --list {file}")).succeeds();
        assert!(listed.contains("TABLE DATA public goods"), "{listed}");
    }
    // A dump that breaks off says so, and leaves no file.
    vps.postgres("my_shop_db", "CREATE TABLE theirs (a int); INSERT INTO theirs VALUES (1)");
    vps.hostkit("db backup my-shop --output /root/broken.dump").fails_with(1);
    assert!(!vps.exists("/root/broken.dump"));
    vps.sh("hostkit db backup my-shop > /root/broken.dump").fails_with(1);
    vps.postgres("my_shop_db", "DROP TABLE theirs");

    vps.shell("INSERT INTO goods VALUES ('pear')");
    vps.hostkit("db restore my-shop /root/shop.dump").fails_with(2);
    // Whatever is no whole dump leaves the rows that are there.
    vps.sh("head -c 900 /root/shop.dump > /root/short.dump; echo 'DROP TABLE goods' > /root/x.sql; : > /root/empty").succeeds();
    for (file, code) in [("short.dump", 1), ("x.sql", 2), ("empty", 2), ("missing", 1)] {
        vps.hostkit(&format!("db restore my-shop /root/{file} --yes")).fails_with(code);
        assert_eq!(vps.shell("SELECT string_agg(name, ' ') FROM goods"), "apple pear", "{file}");
        assert_eq!(vps.of_my_shop(), WHOLE);
        let left = vps.sh("ls /var/lib/hostkit/checkpoints/*.incoming").stdout;
        assert_eq!(left, "", "{file}");
    }
    assert_eq!(vps.hostkit("checkpoint list my-shop --json").data().as_array().unwrap().len(), 0);
    let told = vps.hostkit("db restore my-shop /root/shop.dump --yes --json").data();
    assert_eq!(vps.shell("SELECT string_agg(name, ' ') FROM goods"), "apple");
    let before = told["before"].as_str().unwrap();
    vps.hostkit(&format!("checkpoint restore my-shop {before} --yes")).succeeds();
    assert_eq!(vps.shell("SELECT string_agg(name, ' ') FROM goods"), "apple pear");
    vps.sh("hostkit db restore my-shop - --yes < /root/piped.dump").succeeds();
    assert_eq!(vps.shell("SELECT string_agg(name, ' ') FROM goods"), "apple");
    vps.hostkit("drift my-shop").succeeds();

    // psql's own end is ours, and what it is told comes as it is.
    let shell = |words: &[&str], stdin: &[u8]| {
        vps.run(&[&["hostkit", "db", "shell", "my-shop"], words].concat(), stdin)
    };
    assert_eq!(shell(&["-t", "-c", "SELECT 'it''s $HOME'"], b"").succeeds(), "it's $HOME\n");
    assert_eq!(shell(&["-c", "SELECT nonsense"], b"").code, 1);
    assert_eq!(shell(&[], b"SELECT nonsense;\nDROP TABLE goods;\n").code, 3);
    assert_eq!(shell(&["-t"], b"SELECT count(*) FROM goods;\n").succeeds(), "1\n");
    shell(&["-c", "SELECT 1", "--json"], b"").fails_with(2);
    let seen =
        shell(&["-t", "-c", "\\! id -un; tr '\\0' ' ' < /proc/$PPID/cmdline"], b"").succeeds();
    let password = vps.hostkit("env get my-shop DATABASE_URL").succeeds();
    let password = password.split([':', '@']).nth(2).unwrap().to_owned();
    assert!(seen.starts_with("my-shop\n") && !seen.contains(&password), "{seen}");
}

#[test]
fn what_a_projects_user_asks_of_its_database_reaches_nobody_elses() {
    let vps = Vps::ready();
    vps.hostkit("provision my-shop --no-redis --quiet").succeeds();
    vps.hostkit("provision bob --no-redis --quiet").succeeds();
    let own = |line: &str| vps.sh_as("my-shop", line);
    own("hostkit db shell -c 'CREATE TABLE goods (name text)'").succeeds();
    own("hostkit db info").succeeds();
    own("hostkit db extensions").succeeds();
    own("hostkit db backup > /tmp/own.dump && pg_restore --list /tmp/own.dump > /dev/null")
        .succeeds();
    own("hostkit db enable-extension pgcrypto").succeeds();
    assert_eq!(vps.shell("SELECT length(crypt('a', gen_salt('bf')))"), "60");
    for line in [
        "db shell bob -c 'SELECT 1'",
        "db info bob",
        "db backup bob",
        "db rotate bob",
        "db enable-extension bob pgcrypto",
        "db backup --output /tmp/x.dump",
        "db list",
        "db create my-shop",
        "db delete my-shop --confirm my-shop",
        "db restore my-shop - --yes < /tmp/own.dump",
        "db restore my-shop /etc/shadow --yes",
        "redis flush my-shop --confirm my-shop",
        "redis info bob",
    ] {
        let ran = own(&format!("hostkit {line}"));
        assert!(matches!(ran.code, 3 | 5), "{line}: {ran}");
    }
    // Its shell is its own user's, in the sandbox of its processes.
    let seen = own(
        "hostkit db shell -t -c '\\! id -un; cat /etc/hostkit/redis.secret; ls /var/lib/hostkit'",
    );
    assert!(seen.stdout.contains("my-shop\n") && seen.stderr.contains("denied"), "{seen}");

    // An extension that PostgreSQL does not trust is for an operator to allow, and is made where
    // nothing of the project's is in its way.
    let error = own("hostkit db enable-extension file_fdw").fails_with(4);
    assert!(error.contains("postgres.extensions"), "{error}");
    own("hostkit db enable-extension no_such_thing").fails_with(3);
    vps.sh("sed -i 's/^#extensions.*/extensions = [\"file_fdw\", \"dblink\"]/' /etc/hostkit/hostkit.toml").succeeds();
    // The project sets what sessions in its database begin with, and plants what it can.
    own("hostkit db shell -c \"ALTER DATABASE my_shop_db SET role = 'my_shop_user'; ALTER DATABASE my_shop_db SET search_path = 'evil'; CREATE SCHEMA evil; CREATE SCHEMA file_fdw\"").succeeds();
    let error = own("hostkit db enable-extension file_fdw").fails_with(1);
    assert!(error.contains("already exists"), "{error}");
    own("hostkit db shell -c 'DROP SCHEMA file_fdw'").succeeds();
    let told = own("hostkit db enable-extension file_fdw").succeeds();
    assert!(told.contains("in the schema file_fdw"), "{told}");
    let whose = "SELECT r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE nspname = 'file_fdw'";
    assert_eq!(vps.postgres("my_shop_db", &format!("RESET role; {whose}")), "postgres");
    let planted = own("hostkit db shell -c 'CREATE TABLE file_fdw.x (a int)'").fails_with(1);
    assert!(planted.contains("permission denied"), "{planted}");
    own("hostkit db info").succeeds();
    vps.hostkit("drift my-shop").succeeds();
    // It is there again after a restoration, and no more of a way in than before.
    let made = own("hostkit checkpoint create --quiet").succeeds();
    vps.hostkit(&format!("checkpoint restore my-shop {} --yes", made.trim())).succeeds();
    assert_eq!(vps.postgres("my_shop_db", &format!("RESET role; {whose}")), "postgres");
}

#[test]
fn migrations_run_once_more() {
    let shop = Shop::named("my-shop", "--no-redis");
    let vps = &shop.vps;
    shop.version("none", "");
    shop.deploy("none");
    let error = vps.hostkit("db migrate my-shop").fails_with(3);
    assert!(error.contains("has no migrations"), "{error}");
    let migrate = "exec psql -qv ON_ERROR_STOP=1 -d \"$DATABASE_URL\" -c 'CREATE TABLE IF NOT EXISTS goods (name text)' -c \"INSERT INTO goods VALUES ('run')\"\n";
    shop.version(
        "one",
        "[process.migrate]\nwhen = \"release\"\ncommand = \"/bin/sh migrate.sh\"\n",
    );
    shop.tree("one", &[("migrate.sh", migrate)]);
    shop.deploy("one");
    assert_eq!(vps.shell("SELECT count(*) FROM goods"), "1");
    let dry = vps.hostkit("db migrate my-shop --dry-run").succeeds();
    assert!(dry.contains("would run: /bin/sh migrate.sh"), "{dry}");
    vps.sh_as("my-shop", "hostkit db migrate").succeeds();
    assert_eq!(vps.shell("SELECT count(*) FROM goods"), "2");
    let newest = vps.hostkit("checkpoint list my-shop --json").data()[0].clone();
    assert_eq!(newest["kind"], "pre_migration");
    // One that fails names the state before it.
    vps.shell("ALTER TABLE goods ADD CHECK (name <> 'run') NOT VALID");
    let error = vps.hostkit("db migrate my-shop").fails_with(1);
    let newest = vps.hostkit("checkpoint latest my-shop").succeeds();
    assert!(error.contains(&format!("checkpoint restore my-shop {}", newest.trim())), "{error}");
    assert_eq!(shop.serves(), "one");
}

/// A shop whose every request logs in to the database.
fn asking() -> Shop {
    let shop = Shop::named("my-shop", "--no-redis").handling(ASKS);
    shop.vps.shell("CREATE TABLE visits (id serial)");
    // The way in which a release learns its database's address otherwise.
    shop.version("one", "[services]\npostgres = { url_scheme = \"postgres\" }\n");
    shop.deploy("one");
    shop
}

fn password(vps: &Vps) -> String {
    vps.hostkit("env get my-shop DATABASE_URL").succeeds().trim().to_owned()
}

#[test]
fn a_password_changes_without_a_failed_request() {
    let shop = asking();
    let vps = &shop.vps;
    assert_eq!(shop.serves(), "my_shop_user my_shop_user");
    let first = password(vps);
    let load = Load::on(vps, &format!("my-shop.{BASE_DOMAIN}"), 4);
    let mut seen = BTreeSet::from([first.clone()]);
    for round in 0..4 {
        let last = password(vps);
        let told = vps.hostkit("db rotate my-shop --json").data();
        let (login, other) = match round % 2 {
            0 => ("my_shop_user_2", "my_shop_user"),
            _ => ("my_shop_user", "my_shop_user_2"),
        };
        assert_eq!((&told["login"], &told["ended"]), (&login.into(), &other.into()), "{told}");
        // Whoever it logs in as, all that there is belongs to the one owner.
        assert_eq!(shop.serves(), format!("my_shop_user {login}"));
        assert!(seen.insert(password(vps)), "the password is new");
        let old = vps.run(&["psql", "-d", &last, "-c", "SELECT 1"], b"");
        assert_ne!(old.code, 0, "the last one does for nothing any more: {old}");
        vps.hostkit("drift my-shop").succeeds();
        vps.hostkit("doctor").succeeds();
        vps.shell(
            "CREATE TABLE IF NOT EXISTS later (a int); ALTER TABLE visits ALTER id SET NOT NULL",
        );
    }
    load.end().assert_none_failed(100);
    assert_eq!(vps.of_my_shop(), WHOLE);

    // A client that resets its session makes things as its login: they are the owner's after the next change.
    vps.sh_as("my-shop", "hostkit db rotate").succeeds();
    vps.shell("SET ROLE NONE; CREATE TABLE reset (a int)");
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'reset'";
    assert_eq!(vps.postgres("my_shop_db", owner), "my_shop_user_2");
    assert_eq!(vps.shell("SELECT count(*) FROM reset"), "0");
    // All that works with a login works with the second one.
    let id = vps.hostkit("checkpoint create my-shop --quiet").succeeds();
    vps.hostkit(&format!("checkpoint restore my-shop {} --yes", id.trim())).succeeds();
    assert_eq!(shop.serves(), "my_shop_user my_shop_user_2");
    vps.hostkit("db backup my-shop --output /root/x.dump").succeeds();
    vps.hostkit("db restore my-shop /root/x.dump --yes").succeeds();
    shop.version("two", "");
    shop.deploy("two");
    vps.hostkit("rollback my-shop --full --yes").succeeds();
    assert_eq!(shop.serves(), "my_shop_user my_shop_user_2");
    vps.postgres("my_shop_db", "ALTER TABLE visits OWNER TO my_shop_user_2");
    vps.hostkit("db rotate my-shop").succeeds();
    let others = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'my_shop_user'";
    assert_eq!(vps.postgres("my_shop_db", others), "0");

    // What drifts is seen and mended, with either login.
    for role in ["my_shop_user_2", "my_shop_user"] {
        vps.hostkit("db rotate my-shop --quiet").succeeds();
        vps.postgres(
            "postgres",
            &format!("ALTER ROLE {role} RESET role; ALTER ROLE {role} PASSWORD NULL CREATEDB"),
        );
        vps.hostkit("drift my-shop").fails_with(1);
        let error = vps.hostkit("db rotate my-shop").fails_with(4);
        assert!(error.contains("hostkit repair my-shop"), "{error}");
        vps.hostkit("repair my-shop --quiet").succeeds();
        vps.hostkit("drift my-shop").succeeds();
        assert_eq!(shop.serves(), format!("my_shop_user {role}"));
    }
    // Where nothing runs there is nothing to restart.
    vps.hostkit("project stop my-shop").succeeds();
    let told = vps.hostkit("db rotate my-shop --json").data();
    assert_eq!(told["restarted"], false);
    vps.hostkit("project start my-shop").succeeds();
    vps.wait_until("it logs in", |_| shop.serves() == "my_shop_user my_shop_user_2");
    vps.hostkit("project delete my-shop --yes --no-backup").succeeds();
    assert_eq!(vps.of_my_shop(), "");
}

#[test]
fn a_change_of_password_that_fails_is_undone_without_a_failed_request() {
    let shop = asking();
    let vps = &shop.vps;
    let before = password(vps);
    // With the other login its main process does not come up, when the standby has.
    let release = vps.hostkit("project info my-shop --json").data()["release"].clone();
    let server = format!("/home/my-shop/releases/{}/server.py", release.as_str().unwrap());
    let breaks = "import os\nif '_2:' in os.environ['DATABASE_URL'] and os.environ['PORT'] == '8001': os._exit(3)\n";
    vps.write("/root/breaks.py", breaks);
    vps.sh(&format!("cp -a {server} /root/kept.py; cat /root/breaks.py /root/kept.py > {server}"))
        .succeeds();
    let load = Load::on(vps, &format!("my-shop.{BASE_DOMAIN}"), 4);
    let error = vps.hostkit("db rotate my-shop").fails_with(6);
    assert!(error.contains("still runs with the password that it had"), "{error}");
    load.end().assert_none_failed(10);
    assert_eq!(password(vps), before);
    assert_eq!(vps.of_my_shop(), WHOLE);
    vps.sh(&format!("cp -a /root/kept.py {server}")).succeeds();
    vps.hostkit("drift my-shop").succeeds();

    // Killed anywhere: one password or the other, and always one that works.
    let mut points = 0;
    for n in 0.. {
        let was = password(vps);
        let ran = vps.hostkit_fault(&format!("kill@{n}"), "db rotate my-shop --quiet");
        let when = format!("kill@{n}");
        if n % 3 == 0 {
            // The next command of any kind ends it; it answers in between, too.
            let start = Instant::now();
            while !shop.serves().starts_with("my_shop_user ") {
                assert!(start.elapsed() < Duration::from_secs(10), "{when}: {}", shop.serves());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        vps.hostkit("recover --quiet").succeeds();
        let now = password(vps);
        let login = if now.contains("my_shop_user_2") { "my_shop_user_2" } else { "my_shop_user" };
        vps.wait_until(&when, |_| shop.serves() == format!("my_shop_user {login}"));
        let roles =
            if login == "my_shop_user" { WHOLE } else { "my_shop_db my_shop_user my_shop_user_2" };
        assert_eq!(vps.of_my_shop(), roles, "{when}");
        vps.hostkit("drift my-shop").succeeds();
        vps.hostkit("doctor").succeeds();
        if ran.code == 0 {
            assert_ne!(was, now, "{when}");
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        points += 1;
    }
    println!("failure points walked: {points} (db rotate, killed)");
    assert!(points >= 12, "{points}");
}
