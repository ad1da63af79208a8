//! Checkpoints and full rollbacks: the data goes back with the release, and no row is ever lost.

use crate::vps::{Shop, Vps};

const MIGRATE: &str = "[process.migrate]\nwhen = \"release\"\ncommand = \"/bin/sh migrate.sh\"\n";

/// The first release makes a table, the second one changes it.
const FIRST: &str = "CREATE EXTENSION IF NOT EXISTS pgcrypto; CREATE TABLE IF NOT EXISTS goods (id serial PRIMARY KEY, name text); \
                     COMMENT ON TABLE goods IS 'what is sold'";
const SECOND: &str = "ALTER TABLE goods RENAME COLUMN name TO title";

impl Shop {
    /// Two releases, each with a row that was written while it was live.
    fn with_rows() -> (Self, String, String) {
        let shop = Self::named("my-shop", "--no-redis")
            .handling("body += ' ' + os.environ.get('MODE', 'none')");
        shop.migrating("one", FIRST);
        shop.migrating("two", SECOND);
        shop.vps.hostkit("env set my-shop MODE=first").succeeds();
        let one = shop.deploy("one");
        // What only a superuser can make, and one has made for this project.
        shop.vps.sh("runuser -u postgres -- psql my_shop_db -c 'CREATE SCHEMA fdw; CREATE EXTENSION file_fdw SCHEMA fdw'").succeeds();
        shop.sql("INSERT INTO goods (name) VALUES ('apple')");
        let two = shop.deploy("two");
        shop.vps.hostkit("env set my-shop MODE=second --restart").succeeds();
        shop.sql("INSERT INTO goods (title) VALUES ('pear')");
        assert_eq!(shop.serves(), "two second");
        (shop, one, two)
    }

    fn migrating(&self, name: &str, sql: &str) {
        let migrate = format!("exec psql -v ON_ERROR_STOP=1 -d \"$DATABASE_URL\" -c \"{sql}\"\n");
        self.version(name, MIGRATE);
        self.tree(name, &[("migrate.sh", &migrate)]);
    }

    /// As the project's own role, which owns all that is there.
    fn sql(&self, sql: &str) -> String {
        let url = self.vps.hostkit("env get my-shop DATABASE_URL").succeeds();
        self.vps
            .run(&["psql", "-qtA", "-v", "ON_ERROR_STOP=1", "-d", url.trim(), "-c", sql], b"")
            .succeeds()
    }

    fn rows(&self) -> String {
        self.sql("SELECT string_agg(to_jsonb(goods)::text, ' ' ORDER BY id) FROM goods")
            .trim()
            .to_owned()
    }

    fn databases(&self) -> String {
        let sql = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'my_shop%'";
        self.vps
            .sh(&format!("sudo -u postgres psql -qtA -c \"{sql}\""))
            .succeeds()
            .trim()
            .to_owned()
    }

    fn checkpoints(&self) -> Vec<serde_json::Value> {
        let all = self.vps.hostkit("checkpoint list my-shop --json").data();
        all.as_array().unwrap().clone()
    }
}

const OLD: &str = r#"{"id": 1, "name": "apple"}"#;
const NEW: &str = r#"{"id": 1, "title": "apple"} {"id": 2, "title": "pear"}"#;

#[test]
fn a_full_rollback_takes_the_data_back_and_loses_no_row() {
    let (shop, one, two) = Shop::with_rows();
    assert_eq!(shop.rows(), NEW);
    let dry = shop.vps.hostkit("rollback my-shop --full --dry-run").succeeds();
    assert!(dry.contains(&one) && dry.contains("its data would go back to"), "{dry}");
    // Somebody is connected, and does not let go by himself.
    shop.vps
        .sh("(runuser -u postgres -- psql my_shop_db -c 'SELECT pg_sleep(60)' >/dev/null 2>&1 &)")
        .succeeds();
    shop.vps.wait_until("somebody is there", |vps| {
        vps.sh("runuser -u postgres -- psql -qtAc \"SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'\" | grep -c 1").code == 0
    });
    let told = shop.vps.hostkit("rollback my-shop --full --yes --json").data();
    assert_eq!(told["release"], one.as_str(), "{told}");
    assert_eq!(told["checkpoint"]["release"], one.as_str(), "{told}");
    assert_eq!(shop.serves(), "one first");
    assert_eq!(shop.rows(), OLD);
    assert_eq!(shop.databases(), "my_shop_db");
    // The project's role owns what came back, and can go on writing and changing it.
    shop.sql("INSERT INTO goods (name) VALUES ('plum'); ALTER TABLE goods ADD COLUMN price int");
    let comment = shop.sql("SELECT obj_description('goods'::regclass)");
    assert_eq!(comment.trim(), "what is sold");
    let extensions = shop.sql("SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension");
    assert_eq!(extensions.trim(), "file_fdw pgcrypto plpgsql");
    assert_eq!(shop.sql("SELECT length(crypt('a', gen_salt('bf')))").trim(), "60");
    shop.vps.hostkit("drift my-shop").succeeds();
    shop.vps.hostkit("doctor").succeeds();

    // What was there when it went back is a checkpoint with its last row, and can come back.
    let before = shop.checkpoints()[0].clone();
    assert_eq!(before["kind"], "pre_restore");
    assert_eq!(before["release"], two.as_str());
    let id = before["id"].as_str().unwrap();
    shop.vps.hostkit(&format!("rollback my-shop --to {two}")).succeeds();
    shop.vps.hostkit(&format!("checkpoint restore my-shop {id} --env --yes")).succeeds();
    shop.vps.hostkit("project restart my-shop").succeeds();
    shop.vps.wait_until("it is up again", |_| shop.serves() == "two second");
    assert_eq!(shop.rows(), NEW);

    // A third release: back in full twice, each time to what the successor found.
    shop.migrating("three", "DROP TABLE goods");
    shop.deploy("three");
    shop.vps.hostkit("rollback my-shop --full --yes").succeeds();
    assert_eq!(shop.rows(), NEW);
    assert_eq!(shop.serves(), "two second");
    shop.vps.hostkit("rollback my-shop --full --yes").succeeds();
    assert_eq!(shop.rows(), OLD);
    assert_eq!(shop.serves(), "one first");
    shop.vps.hostkit("project delete my-shop --yes --no-backup").succeeds();
    assert_eq!(shop.databases(), "");
    assert!(!shop.vps.exists("/var/lib/hostkit/checkpoints/my-shop"));
}

#[test]
fn a_full_rollback_that_fails_leaves_all_as_it_was() {
    let (shop, one, two) = Shop::with_rows();
    let refused = shop.vps.hostkit("rollback my-shop --full").fails_with(2);
    assert!(
        refused.contains("nobody is there to ask") && refused.contains("--full --yes"),
        "{refused}"
    );
    let env = shop.vps.read("/home/my-shop/.env");
    let before = shop.checkpoints();
    let as_it_was = |when: &str| {
        assert_eq!(shop.serves(), "two second", "{when}");
        assert_eq!(shop.rows(), NEW, "{when}");
        assert_eq!(shop.databases(), "my_shop_db", "{when}");
        assert_eq!(shop.vps.read("/home/my-shop/.env"), env, "{when}");
        assert_eq!(shop.checkpoints(), before, "{when}");
        shop.vps.hostkit("drift my-shop").succeeds();
    };

    // The release does not come up any more.
    let server = format!("/home/my-shop/releases/{one}/server.py");
    shop.vps.sh(&format!("mv {server} /root/kept.py")).succeeds();
    let error = shop.vps.hostkit("rollback my-shop --full --yes").fails_with(6);
    assert!(error.contains(&format!("still serves {two}")), "{error}");
    as_it_was("the release is broken");
    shop.vps.sh(&format!("mv /root/kept.py {server}")).succeeds();

    // The dump is damaged: in its middle, at its end, and altogether.
    let dump =
        format!("/var/lib/hostkit/checkpoints/my-shop/{}.dump", before[0]["id"].as_str().unwrap());
    for damage in [
        "dd if=/dev/zero of=DUMP bs=1 seek=1500 count=400 conv=notrunc",
        "truncate -s -600 DUMP",
        "echo nonsense > DUMP",
        "rm DUMP",
    ] {
        shop.vps
            .sh(&format!("cp -a {dump} /root/dump; {}", damage.replace("DUMP", &dump)))
            .succeeds();
        let ran = shop.vps.hostkit("rollback my-shop --full --yes");
        assert!(matches!(ran.code, 1 | 3), "{damage}: {ran}");
        shop.vps.sh(&format!("mv /root/dump {dump}")).succeeds();
        as_it_was(damage);
    }

    // A dump that asks for what only a superuser may make.
    shop.vps.sh(&format!(
        "cp -a {dump} /root/dump; cd /tmp; runuser -u postgres -- sh -c 'createdb forged; psql -q forged -c \"CREATE EXTENSION dblink\"; pg_dump -Fc forged' > {dump}; runuser -u postgres -- dropdb forged"
    ))
    .succeeds();
    let error = shop.vps.hostkit("rollback my-shop --full --yes").fails_with(1);
    assert!(error.contains("dblink") && error.contains("only a superuser"), "{error}");
    shop.vps.sh(&format!("mv /root/dump {dump}")).succeeds();
    as_it_was("a forged dump");

    // Nobody but root may look into what is kept.
    let peek = shop.vps.sh_as("my-shop", &format!("cat {dump}"));
    assert!(peek.stderr.contains("Permission denied"), "{peek}");
    shop.vps.hostkit("rollback my-shop --full --yes").succeeds();
    assert_eq!(shop.rows(), OLD);
}

#[test]
fn a_full_rollback_killed_anywhere_is_done_or_undone() {
    let (shop, _, two) = Shop::with_rows();
    let line = "rollback my-shop --full --yes --quiet";
    let mut points = 0;
    let mut finished = false;
    for n in 0.. {
        let when = format!("kill@{n}");
        let ran = shop.vps.hostkit_fault(&when, line);
        finished = ran.code == 0;
        shop.vps.hostkit("recover --quiet").succeeds();
        assert_eq!(shop.databases(), "my_shop_db", "{when}");
        shop.vps.wait_until(&format!("one whole state after {when}"), |_| {
            matches!(
                (shop.serves().as_str(), shop.rows().as_str()),
                ("one first", OLD) | ("two second", NEW)
            )
        });
        shop.vps.hostkit("drift my-shop").succeeds();
        shop.vps.hostkit("doctor").succeeds();
        if shop.serves() == "one first" {
            // What was replaced is there, with all its rows.
            let latest = shop.vps.hostkit("checkpoint latest my-shop").succeeds();
            shop.vps.hostkit(&format!("rollback my-shop --to {two} --quiet")).succeeds();
            let back = format!("checkpoint restore my-shop {} --env --yes", latest.trim());
            shop.vps.hostkit(&back).succeeds();
            shop.vps.hostkit("project restart my-shop").succeeds();
            shop.vps.wait_until("it is as before", |_| {
                shop.serves() == "two second" && shop.rows() == NEW
            });
        }
        if finished {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        points += 1;
    }
    println!("failure points walked: {points} (full rollback, killed)");
    assert!(finished && points >= 20, "{points}");
}

#[test]
fn a_deploy_with_a_migration_killed_anywhere_keeps_what_it_should() {
    let (shop, _, two) = Shop::with_rows();
    shop.vps.sh("sed -i 's/^#keep.*/keep = 99/' /etc/hostkit/hostkit.toml").succeeds();
    shop.migrating("three", "ALTER TABLE goods ADD COLUMN IF NOT EXISTS price int");
    let line = "deploy my-shop --source /root/three --no-watch --quiet";
    let mut points = 0;
    for n in (0..).step_by(3) {
        let when = format!("kill@{n}");
        let ran = shop.vps.hostkit_fault(&when, line);
        shop.vps.hostkit("recover --quiet").succeeds();
        let live = shop.vps.hostkit("project info my-shop --json").data();
        let wanted = if live["release"] == two.as_str() { "two second" } else { "three second" };
        shop.vps.wait_until(&format!("what is recorded after {when}"), |_| shop.serves() == wanted);
        assert!(shop.rows().contains("pear"), "{when}");
        assert_eq!(shop.databases(), "my_shop_db", "{when}");
        shop.vps.hostkit("drift my-shop").succeeds();
        // Each checkpoint that is listed is whole, and the next one sweeps away what is not.
        let made = shop.vps.hostkit("checkpoint create my-shop --quiet").succeeds();
        shop.vps
            .sh("for dump in /var/lib/hostkit/checkpoints/my-shop/*.dump; do pg_restore --list $dump > /dev/null || exit 1; done")
            .succeeds();
        let files = "ls /var/lib/hostkit/checkpoints/my-shop | grep -c '\\.dump$'; ls /var/lib/hostkit/checkpoints/my-shop | grep part";
        let files = shop.vps.sh(files).stdout;
        assert_eq!(files.trim(), shop.checkpoints().len().to_string(), "{when}");
        shop.vps.hostkit(&format!("checkpoint delete my-shop {}", made.trim())).succeeds();
        if wanted == "three second" {
            shop.vps.hostkit(&format!("rollback my-shop --to {two} --quiet")).succeeds();
        }
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        points += 1;
    }
    println!("failure points walked: {points} (deploy with a migration, killed)");
    assert!(points >= 15, "{points}");
}

#[test]
fn checkpoints_are_taken_listed_and_pruned() {
    let (shop, one, two) = Shop::with_rows();
    let manual = shop
        .vps
        .hostkit_args(&["checkpoint", "create", "my-shop", "--note", "before the sale", "--json"])
        .data();
    let id = manual["id"].as_str().unwrap();
    assert!(manual["dump"].as_u64().unwrap() > 500, "{manual}");
    let info = shop.vps.hostkit(&format!("checkpoint info my-shop {id}")).succeeds();
    assert!(info.contains("before the sale") && info.contains("manual"), "{info}");
    assert_eq!(shop.vps.hostkit("checkpoint latest my-shop").succeeds().trim(), id);
    // A dump is one that PostgreSQL's own tools read.
    let path = shop.vps.hostkit(&format!("checkpoint info my-shop {id} --json")).data();
    let path = path["dump_path"].as_str().unwrap();
    let listed = shop.vps.sh(&format!("pg_restore --list {path}")).succeeds();
    assert!(listed.contains("TABLE DATA public goods"), "{listed}");
    assert_eq!(shop.vps.sh(&format!("stat -c '%a %U' {path}")).succeeds().trim(), "600 root");

    let kinds = |all: &[serde_json::Value]| -> Vec<String> {
        all.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&shop.checkpoints()), ["manual", "pre_migration"]);
    assert_eq!(shop.checkpoints()[1]["release"], one.as_str());
    // A release that has no migration, and one that is told to take none.
    shop.version("three", "");
    shop.deploy("three");
    assert_eq!(shop.checkpoints()[0]["kind"], "pre_deploy");
    assert_eq!(shop.checkpoints()[0]["release"], two.as_str());
    let count = shop.checkpoints().len();
    shop.vps.hostkit("deploy my-shop --source /root/three --no-watch --no-checkpoint").succeeds();
    assert_eq!(shop.checkpoints().len(), count);

    // Of each release's end the newest stays; what a person took stays in any case.
    for _ in 0..3 {
        shop.vps.hostkit("rollback my-shop --quiet").succeeds();
        shop.deploy("three");
    }
    let all = shop.checkpoints();
    let mut ends: Vec<&str> = all
        .iter()
        .filter(|one| one["kind"] != "manual")
        .map(|one| one["release"].as_str().unwrap())
        .collect();
    let found = ends.len();
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends.len(), found, "{all:?}");
    assert!(all.iter().any(|one| one["id"] == id));
    let files = shop.vps.sh("ls /var/lib/hostkit/checkpoints/my-shop/*.dump | wc -l").succeeds();
    assert_eq!(files.trim(), all.len().to_string());
    shop.vps.hostkit(&format!("checkpoint delete my-shop {id}")).succeeds();
    shop.vps.hostkit(&format!("checkpoint info my-shop {id}")).fails_with(3);

    // The project's own user may take and list them, and not put one back.
    let own = shop.vps.sh_as("my-shop", "hostkit checkpoint create --quiet").succeeds();
    shop.vps
        .sh_as("my-shop", &format!("hostkit checkpoint restore {} --yes", own.trim()))
        .fails_with(5);

    // Without room nothing is begun; and a dump that fails fails the deploy.
    shop.vps.sh("mount -t tmpfs -o size=20m tmpfs /var/lib/hostkit/checkpoints").succeeds();
    let error = shop.vps.hostkit("deploy my-shop --source /root/three --no-watch").fails_with(8);
    assert!(error.contains("too little room") && error.contains("--no-checkpoint"), "{error}");
    shop.vps.sh("umount /var/lib/hostkit/checkpoints").succeeds();
    shop.vps
        .sh("runuser -u postgres -- psql -c 'ALTER ROLE my_shop_user CONNECTION LIMIT 0'")
        .succeeds();
    let error = shop.vps.hostkit("deploy my-shop --source /root/three --no-watch").fails_with(1);
    assert!(error.contains("too many connections") && error.contains("still serves"), "{error}");
    shop.vps.hostkit("repair my-shop --quiet").succeeds();
    assert_eq!(shop.serves(), "three second");
}

#[test]
fn checkpoints_that_are_over_go_by_themselves() {
    let vps = Vps::ready();
    vps.hostkit("provision my-shop --no-redis --quiet").succeeds();
    let take =
        |how: &str| vps.hostkit(&format!("checkpoint create my-shop --quiet {how}")).succeeds();
    let manual = take("");
    for _ in 0..9 {
        take("--auto");
    }
    let listed = |kind: &str| -> Vec<String> {
        let all = vps.hostkit(&format!("checkpoint list my-shop --json --type {kind}")).data();
        let id = |one: &serde_json::Value| one["id"].as_str().unwrap().to_owned();
        all.as_array().unwrap().iter().map(id).collect()
    };
    let autos = listed("auto");
    assert_eq!(autos.len(), 7, "{autos:?}");
    // Eight days later the newest is there still, and what a person took.
    let age = "import sqlite3; db = sqlite3.connect('/var/lib/hostkit/registry.db'); \
               db.execute(\"update checkpoints set made_at = strftime('%Y-%m-%dT%H:%M:%SZ', made_at, '-8 days')\"); db.commit()";
    vps.run(&["python3", "-c", age], b"").succeeds();
    let second = take("");
    assert_eq!(listed("auto"), autos[..1]);
    assert_eq!(listed("manual"), [second.trim(), manual.trim()]);
    let files = vps.sh("ls /var/lib/hostkit/checkpoints/my-shop/*.dump | wc -l").succeeds();
    assert_eq!(files.trim(), "3");
    vps.hostkit("checkpoint list my-shop --type sometimes").fails_with(2);
}

#[test]
fn the_environment_has_a_history() {
    let vps = Vps::ready();
    vps.hostkit("provision my-shop --no-db --no-redis --quiet").succeeds();
    vps.hostkit("env set my-shop A=1 B=2").succeeds();
    vps.hostkit("env set my-shop A=3").succeeds();
    vps.hostkit("env unset my-shop B").succeeds();
    // What changes nothing is no state of its own.
    vps.hostkit("env set my-shop A=3").succeeds();
    let history = vps.hostkit("env history my-shop --json").data();
    let before: Vec<&str> =
        history.as_array().unwrap().iter().map(|one| one["before"].as_str().unwrap()).collect();
    assert_eq!(before, ["env unset: B", "env set: A", "env set: A, B"]);
    let text = vps.hostkit("env history my-shop").succeeds();
    assert!(!text.contains("A=1"), "{text}");
    let id = history[1]["id"].as_str().unwrap();
    vps.hostkit(&format!("env restore my-shop {id}")).succeeds();
    assert_eq!(vps.hostkit("env get my-shop A").succeeds(), "1\n");
    assert_eq!(vps.hostkit("env get my-shop B").succeeds(), "2\n");
    assert_eq!(vps.hostkit("env get my-shop PORT").succeeds(), "8001\n");
    vps.hostkit("env restore my-shop 20200101-000000").fails_with(3);

    // A file is all that there is, but for what hostkit sets.
    vps.write("/root/env", "B=5\nC=6\nPORT=1\n");
    vps.hostkit("env sync my-shop /root/env --dry-run").succeeds();
    assert_eq!(vps.hostkit("env get my-shop A").succeeds(), "1\n");
    vps.hostkit("env sync my-shop /root/env").succeeds();
    vps.hostkit("env get my-shop A").fails_with(3);
    assert_eq!(vps.hostkit("env get my-shop C").succeeds(), "6\n");
    assert_eq!(vps.hostkit("env get my-shop PORT").succeeds(), "8001\n");
    vps.hostkit("drift my-shop").succeeds();
    // A change that fails leaves no state behind.
    let count =
        |vps: &Vps| vps.hostkit("env history my-shop --json").data().as_array().unwrap().len();
    let states = count(&vps);
    vps.hostkit_fault("fail@4", "env set my-shop D=7").fails_with(1);
    vps.hostkit("env get my-shop D").fails_with(3);
    assert_eq!(count(&vps), states);
}

#[test]
fn a_server_that_restarts_in_the_middle_is_waited_for() {
    let (shop, _, _) = Shop::with_rows();
    let pause = "CREATE OR REPLACE FUNCTION slow() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1 FROM pg_sleep(4)'; \
                 CREATE TABLE waits (v int DEFAULT 1 CHECK (v = slow())); INSERT INTO waits VALUES (1)";
    shop.sql(pause);
    let id = shop.vps.hostkit("checkpoint create my-shop --quiet").succeeds();
    // The dump's own check makes the restoration slow, and the server goes away meanwhile.
    let line = format!("hostkit checkpoint restore my-shop {} --yes", id.trim());
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let restore = shop
        .vps
        .command(&words)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The first one only lists what is in the dump.
    shop.vps.wait_until("it is at it", |vps| vps.sh("pgrep -f '[s]ingle-transaction'").code == 0);
    shop.vps.sh("systemctl restart postgresql@15-main").succeeds();
    let out = restore.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    // It is undone, with no help.
    assert_eq!(shop.databases(), "my_shop_db");
    assert_eq!(shop.rows(), NEW);
    shop.vps.hostkit("doctor").succeeds();
}
