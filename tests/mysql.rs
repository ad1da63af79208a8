//! MariaDB for projects: made and given up at any time, closed to neighbours, carried away and
//! brought back, backed up with proof, and its password changed under everybody's feet.

use std::time::Instant;

use crate::{
    backup_elsewhere::vault,
    php,
    vps::{BASE_DOMAIN, Load, Snapshot, Vps, listened},
};

/// A server with MariaDB, set up by hostkit itself, and PHP.
fn server() -> Vps {
    Vps::with("mysql", |vps| {
        vps.sh(&format!("{} php-mysql", php::INSTALL)).succeeds();
        let start = Instant::now();
        vps.hostkit("init --with-mysql").succeeds();
        println!("init --with-mysql, with the package: {:?}", start.elapsed());
    })
}

impl Vps {
    /// By the server's own root.
    fn mariadb(&self, sql: &str) -> String {
        self.run(&["mariadb", "-N", "-B", "-e", sql], b"").succeeds().trim().to_owned()
    }

    /// Databases and accounts of MariaDB that belong to `my-shop`.
    fn in_mysql(&self) -> String {
        self.mariadb(
            "SELECT GROUP_CONCAT(n ORDER BY n SEPARATOR ' ') FROM (SELECT User AS n FROM mysql.global_priv \
             UNION SELECT SCHEMA_NAME FROM information_schema.SCHEMATA) x WHERE n LIKE 'my_shop%'",
        )
    }

    /// By the project's own shell of its database.
    fn mysql(&self, sql: &str) -> String {
        let words = ["hostkit", "db", "shell", "my-shop", "--mysql", "-t", "-c", sql];
        self.run(&words, b"").succeeds().trim().to_owned()
    }

    /// As a project's user, by what its `.env` says; what came of it, errors too.
    fn comes(&self, project: &str, how: &str, sql: &str) -> String {
        let line = format!(
            "set -a; . /home/{project}/.env; MYSQL_PWD=$MYSQL_PASSWORD timeout 20 mariadb --no-defaults -N -B \
             -u $MYSQL_USER {how} -e \"{sql}\" 2>&1"
        );
        self.sh_as(project, &line).stdout.trim().to_owned()
    }
}

/// All but what the servers of databases write by themselves.
fn around(vps: &Vps) -> Snapshot {
    vps.snapshot().without("file /var/lib/mysql").without("file /var/lib/hostkit/checkpoints")
}

const WHOLE: &str = "my_shop_db my_shop_user";

/// Tables that depend on each other, and one of each kind that is no table.
const GOODS: &str = "CREATE TABLE goods (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40)); \
    CREATE TABLE parts (id INT PRIMARY KEY, good INT, FOREIGN KEY (good) REFERENCES goods (id)); \
    INSERT INTO goods (name) VALUES ('it''s (an) apple;'), ('pear'); INSERT INTO parts VALUES (1, 1); \
    CREATE TABLE bytes (b BLOB); INSERT INTO bytes VALUES (X'00ff0a27'); \
    CREATE VIEW names AS SELECT name FROM goods; \
    CREATE TRIGGER up BEFORE INSERT ON goods FOR EACH ROW SET NEW.name = UPPER(NEW.name); \
    CREATE FUNCTION two() RETURNS INT DETERMINISTIC RETURN 2; \
    CREATE PROCEDURE add_one() INSERT INTO goods (name) VALUES ('plum'); \
    CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DO CALL add_one()";

const STATE: &str = "SELECT GROUP_CONCAT(name ORDER BY name SEPARATOR ' '), two() FROM names; \
    SELECT good FROM parts; SELECT HEX(b) FROM bytes; \
    SELECT TRIGGER_NAME, ACTION_STATEMENT, DEFINER FROM information_schema.TRIGGERS; \
    SELECT EVENT_NAME, EVENT_DEFINITION, DEFINER, INTERVAL_VALUE FROM information_schema.EVENTS";

#[test]
fn a_database_comes_and_goes_at_any_time() {
    let vps = server();
    // A right that everybody has reaches databases of projects whose names begin like it.
    vps.mariadb(
        "INSERT INTO mysql.db (Host, Db, User, Select_priv) VALUES ('%', 'test\\_%', '', 'Y'); FLUSH PRIVILEGES",
    );
    vps.hostkit("init --with-mysql --quiet").succeeds();
    assert_eq!(vps.mariadb("SELECT COUNT(*) FROM mysql.db WHERE User = ''"), "0");
    vps.hostkit("provision my-shop --no-db --no-redis --quiet").succeeds();
    let bare = around(&vps);
    let error = vps.hostkit("db info my-shop --mysql").fails_with(3);
    assert!(error.contains("hostkit db create --mysql my-shop"), "{error}");

    // What somebody else has made under its name is not taken over.
    vps.mariadb("CREATE USER my_shop_user@localhost");
    let error = vps.hostkit("db create my-shop --mysql").fails_with(4);
    assert!(error.contains("my_shop_user") && error.contains("does not touch it"), "{error}");
    vps.mariadb("DROP USER my_shop_user@localhost; CREATE DATABASE my_shop_db");
    vps.hostkit("db create my-shop --mysql").fails_with(4);
    vps.mariadb("DROP DATABASE my_shop_db; CREATE USER my_shop_db_next_in");
    let error = vps.hostkit("db create my-shop --mysql").fails_with(4);
    assert!(error.contains("my_shop_db_next_in"), "{error}");
    vps.mariadb("DROP USER my_shop_db_next_in");
    bare.assert_same(&around(&vps), "refused");

    // The server's log of all that it is asked sees no password, and no process shows one.
    vps.mariadb("SET GLOBAL general_log_file = '/var/lib/mysql/all.log', GLOBAL general_log = ON");
    let made = vps.hostkit("db create my-shop --mysql --json").data();
    assert_eq!((&made["database"], &made["user"]), (&"my_shop_db".into(), &"my_shop_user".into()));
    let password = vps.hostkit("env get my-shop MYSQL_PASSWORD").succeeds().trim().to_owned();
    assert!(password.len() >= 32, "{password}");
    let found = vps.sh(&format!(
        "grep -rlsF {password} /etc /var/lib/hostkit /var/lib/mysql /var/log /home /run/hostkit"
    ));
    assert_eq!(found.stdout, "/home/my-shop/.env\n");
    vps.mariadb("SET GLOBAL general_log = OFF");
    vps.hostkit("db create my-shop --mysql").fails_with(4);
    vps.hostkit("drift my-shop").succeeds();
    vps.hostkit("doctor").succeeds();
    let unit = vps.read("/etc/systemd/system/hostkit-my-shop.service");
    assert!(unit.contains("Mysql=yes") && unit.contains("After=mariadb.service"), "{unit}");
    let url = vps.hostkit("env get my-shop DATABASE_URL").succeeds();
    assert!(url.starts_with("mysql://my_shop_user:"), "{url}");
    vps.hostkit("env set my-shop MYSQL_HOST=elsewhere").fails_with(2);
    vps.mysql(GOODS);
    let info = vps.hostkit("db info my-shop --json").data();
    assert_eq!((&info["engine"], &info["connections"]["limit"]), (&"mariadb".into(), &20.into()));
    assert_eq!(info["tables"].as_array().unwrap().len(), 3, "{info}");

    // With the other one beside it each has its own address.
    vps.hostkit("db create my-shop --quiet").succeeds();
    let env = vps.read("/home/my-shop/.env");
    assert!(env.contains("DATABASE_URL=postgresql://") && env.contains("MYSQL_URL=mysql://"));
    assert_eq!(vps.hostkit("db list --json").data().as_array().unwrap().len(), 2);
    vps.hostkit("drift my-shop").succeeds();
    vps.hostkit("db delete my-shop --confirm my-shop --quiet").succeeds();
    assert_eq!(vps.in_mysql(), WHOLE);
    assert!(vps.read("/home/my-shop/.env").contains("DATABASE_URL=mysql://"));

    what_is_bent_is_seen_and_mended(&vps);

    let state = vps.mysql(STATE);
    let gone = vps.hostkit("db delete my-shop --confirm my-shop --json").data();
    assert_eq!(vps.in_mysql(), "NULL");
    assert!(!vps.read("/home/my-shop/.env").contains("MYSQL_"));
    let id = gone["checkpoint"].as_str().unwrap();
    let refused = vps.hostkit(&format!("checkpoint restore my-shop {id} --yes")).fails_with(4);
    assert!(refused.contains("hostkit db create my-shop --mysql"), "{refused}");
    bare.assert_same(&around(&vps), "given up");
    vps.hostkit("db create my-shop --mysql --quiet").succeeds();
    vps.hostkit(&format!("checkpoint restore my-shop {id} --yes")).succeeds();
    assert_eq!(vps.mysql(STATE), state);
    // A registry that was lost knows of it again.
    vps.sh("rm /var/lib/hostkit/registry.db*").succeeds();
    vps.hostkit("recover --from-host").succeeds();
    vps.hostkit("drift my-shop").succeeds();
    assert_eq!(vps.hostkit("db info my-shop --json").data()["engine"], "mariadb");
    vps.hostkit("project delete my-shop --yes --no-backup").succeeds();
    assert_eq!(vps.in_mysql(), "NULL");
}

fn what_is_bent_is_seen_and_mended(vps: &Vps) {
    for (bent, told) in [
        ("GRANT FILE ON *.* TO my_shop_user@'%'", "FILE"),
        ("GRANT SELECT ON mysql.* TO my_shop_user@'%'", "SELECT"),
        ("REVOKE ALL ON `my\\_shop\\_db`.* FROM my_shop_user@'%'", "may not use"),
        ("SET PASSWORD FOR my_shop_user@'%' = PASSWORD('other')", "password"),
        ("ALTER USER my_shop_user@'%' WITH MAX_USER_CONNECTIONS 0", "connections"),
        ("ALTER USER my_shop_user@'%' ACCOUNT LOCK", "locked"),
        ("DROP USER my_shop_user@'%'", "+ MariaDB account"),
    ] {
        vps.mariadb(bent);
        let seen = vps.hostkit("drift my-shop");
        assert!(seen.code != 0 && seen.stdout.contains(told), "{bent}: {seen}");
        vps.hostkit("repair my-shop").succeeds();
        vps.hostkit("drift my-shop").succeeds();
        assert_eq!(vps.mysql("SELECT COUNT(*) FROM goods"), "2", "{bent}");
        assert_eq!(vps.in_mysql(), WHOLE, "{bent}");
    }
}

#[test]
fn a_neighbour_gets_nowhere() {
    let vps = server();
    // Where rights are given `_` stands for any sign: the one's right must not be the other's.
    for name in ["my-shop", "myxshop"] {
        vps.hostkit(&format!("provision {name} --no-db --with-mysql --no-redis --quiet"))
            .succeeds();
    }
    vps.mysql("CREATE TABLE goods (name TEXT); INSERT INTO goods VALUES ('secret')");
    for (from, to) in [("myxshop", "my_shop_db"), ("my-shop", "myxshop_db")] {
        for how in ["--protocol=socket", "--protocol=tcp -h 127.0.0.1"] {
            assert_eq!(vps.comes(from, how, "SELECT 1"), "1", "its own way in");
            let peek = vps.comes(from, &format!("{how} {to}"), "SELECT 1");
            assert!(peek.contains("Access denied"), "{from} {how}: {peek}");
        }
        let seen = vps.comes(from, "", "SHOW DATABASES");
        assert!(!seen.contains(to) && !seen.contains("mysql"), "{seen}");
    }
    vps.write("/home/myxshop/shared/mine", "mine\n");
    for sql in [
        "SELECT * FROM my_shop_db.goods",
        "SELECT * FROM mysql.global_priv",
        "SELECT * FROM mysql.user",
        "CREATE DATABASE my_shop_db_next",
        "CREATE DATABASE other",
        "CREATE USER evil",
        "GRANT ALL ON myxshop_db.* TO my_shop_user",
        "SET GLOBAL general_log = ON",
        "SELECT 1 INTO OUTFILE '/tmp/evil'",
        "CREATE DEFINER=root@localhost VIEW myxshop_db.v AS SELECT * FROM mysql.user",
        "CREATE DEFINER=my_shop_user VIEW myxshop_db.v AS SELECT * FROM my_shop_db.goods",
        "USE myxshop_db; CREATE TABLE t (x TEXT); LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t",
        "USE myxshop_db; LOAD DATA INFILE '/home/myxshop/shared/mine' INTO TABLE t",
        "RENAME TABLE my_shop_db.goods TO myxshop_db.goods",
        "INSTALL SONAME 'auth_ed25519'",
        "SHUTDOWN",
    ] {
        let said = vps.comes("myxshop", "", sql);
        assert!(said.contains("ERROR"), "{sql}: {said}");
    }
    assert_eq!(vps.comes("myxshop", "", "SELECT LOAD_FILE('/etc/passwd')"), "NULL");
    let asks = "hostkit db shell my-shop -t -c 'SELECT SLEEP(5)' & sleep 3";
    let kills = "runuser -l myxshop -c '. ~/.env; MYSQL_PWD=$MYSQL_PASSWORD mariadb --no-defaults -u $MYSQL_USER -e \"KILL USER my_shop_user\"'";
    let slept = vps.sh(&format!("{asks}; {kills}; echo $?; wait"));
    // It sees nobody whom it could end, and so there is nothing to refuse.
    assert_eq!(slept.stdout, "0\n0\n", "{slept}");
    let processes = vps.comes("myxshop", "", "SHOW PROCESSLIST");
    assert_eq!(processes.lines().count(), 1, "{processes}");
    // No name at all, and root's, open nothing.
    for line in
        ["mariadb --no-defaults", "mariadb --no-defaults -u root", "mariadb -u my_shop_user"]
    {
        let said = vps.sh_as("myxshop", &format!("{line} -e 'SELECT 1' 2>&1")).stdout;
        assert!(said.contains("Access denied"), "{line}: {said}");
    }
    let outside = vps.sh(&format!("curl -s -m 3 telnet://{}:3306 </dev/null", vps.address()));
    assert_ne!(outside.code, 0, "it listens on loopback alone");

    // One can't take all connections, and not those of the others.
    let many = "set -a; . /home/myxshop/.env; export MYSQL_PWD=$MYSQL_PASSWORD; for i in $(seq 30); do \
                mariadb --no-defaults -u $MYSQL_USER -e 'SELECT SLEEP(4)' >/dev/null 2>>/home/myxshop/shared/said & done; wait";
    let _ = vps.sh_as("myxshop", many);
    let said = vps.read("/home/myxshop/shared/said");
    assert_eq!(said.matches("max_user_connections").count(), 10, "{said}");
    assert_eq!(vps.mysql("SELECT name FROM goods"), "secret");

    // Nobody can stand in for it.
    vps.sh("systemctl stop mariadb").succeeds();
    let squat = format!(
        "runuser -u my-shop -- timeout 6 python3 -m http.server 3306 --bind 127.0.0.1 >/dev/null 2>&1 & {}; \
         runuser -u myxshop -- curl -s -m 2 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:3306/; wait",
        listened(3306)
    );
    assert_eq!(vps.sh(&squat).stdout, "000", "another user answers in its place");
    let error = vps.hostkit("provision other --no-db --no-redis --with-mysql").fails_with(8);
    assert!(error.contains("systemctl start mariadb"), "{error}");
    vps.hostkit("doctor --fix").succeeds();
    vps.hostkit("doctor").succeeds();
}

#[test]
fn a_dump_comes_back_whole_or_not_at_all() {
    let vps = server();
    vps.hostkit("provision my-shop --no-db --with-mysql --no-redis --quiet").succeeds();
    vps.mysql(GOODS);
    vps.sh("hostkit db backup my-shop > /root/first.sql.gz").succeeds();
    vps.hostkit("db backup my-shop --output /root/second.sql.gz").succeeds();
    assert_eq!(vps.sh("stat -c %a /root/second.sql.gz").stdout, "600\n");
    let first = vps.mysql(STATE);
    let change = "INSERT INTO goods (name) VALUES ('late'); DROP TABLE parts; CREATE TABLE parts (good INT); \
                  INSERT INTO parts VALUES (7); DROP TRIGGER up; CREATE TABLE extra (id INT); CREATE VIEW more AS SELECT * FROM extra";
    vps.mysql(change);
    let second = vps.mysql(STATE);
    vps.sh("hostkit db backup my-shop > /root/later.sql.gz").succeeds();

    // What is no whole dump, or does more than the project may, changes nothing.
    vps.sh("cd /root; zcat first.sql.gz | head -c 1500 > cut.sql; head -c 900 first.sql.gz > cut.sql.gz; \
            (zcat first.sql.gz; echo 'CREATE USER evil;') > evil.sql; \
            (echo '\\! touch /tmp/evil'; zcat first.sql.gz) > shell.sql; \
            (echo 'system touch /tmp/evil'; zcat first.sql.gz) > system.sql; \
            (echo 'DROP TABLE mysql.user;'; zcat first.sql.gz) > drop.sql")
        .succeeds();
    for file in ["cut.sql", "cut.sql.gz", "evil.sql", "shell.sql", "system.sql", "drop.sql"] {
        let ran = vps.hostkit(&format!("db restore my-shop /root/{file} --yes"));
        assert_eq!(ran.code, 1, "{file}: {ran}");
        assert_eq!(vps.mysql(STATE), second, "{file}");
        assert_eq!(vps.in_mysql(), WHOLE, "{file}");
    }
    assert_ne!(vps.sh("ls /tmp/evil").code, 0);

    a_dump_that_names_its_database_is_refused(&vps, &second);
    let start = Instant::now();
    let back = vps.hostkit("db restore my-shop /root/first.sql.gz --yes --json").data();
    println!("db restore: {:?}", start.elapsed());
    assert_eq!(vps.mysql(STATE), first);
    assert_eq!(vps.mysql("SHOW TABLES"), "bytes\ngoods\nnames\nparts");
    vps.mysql("CALL add_one()");
    assert_eq!(vps.mysql("SELECT name FROM goods ORDER BY id DESC LIMIT 1"), "PLUM");
    let before = back["before"].as_str().unwrap();
    vps.hostkit(&format!("checkpoint restore my-shop {before} --yes")).succeeds();
    assert_eq!(vps.mysql(STATE), second);
    assert_eq!(vps.mysql("SELECT COUNT(*) FROM more"), "0");

    // Views and triggers that work in somebody else's name work in the project's here.
    vps.sh("cd /root; zcat first.sql.gz | sed 's/`my_shop_user`@`%`/`root`@`localhost`/' > foreign.sql; \
            grep -c 'root.@' foreign.sql")
        .succeeds();
    vps.hostkit("db restore my-shop /root/foreign.sql --yes").succeeds();
    assert_eq!(vps.mysql(STATE), first);
    vps.hostkit("drift my-shop").succeeds();

    killed_anywhere(&vps, &first, &second);
}

/// It would be written to what is live.
fn a_dump_that_names_its_database_is_refused(vps: &Vps, state: &str) {
    vps.sh("cd /root; mariadb-dump --databases my_shop_db > named.sql; \
            mariadb-dump --databases --add-drop-database my_shop_db > dropped.sql; \
            (echo 'USE my_shop_db;'; zcat first.sql.gz) > used.sql; \
            (echo 'DELETE FROM my_shop_db.goods;'; zcat first.sql.gz) > written.sql")
        .succeeds();
    for file in ["named.sql", "dropped.sql", "used.sql", "written.sql"] {
        let error = vps.hostkit(&format!("db restore my-shop /root/{file} --yes")).fails_with(1);
        assert!(error.contains("names a database of its own"), "{file}: {error}");
        assert!(error.contains("without `--databases`"), "{file}: {error}");
        assert_eq!(vps.mysql(STATE), state, "{file}");
        assert_eq!(vps.in_mysql(), WHOLE, "{file}");
    }
    // Nothing that works by itself is lost where the server runs it meanwhile.
    vps.mariadb("SET GLOBAL event_scheduler = ON");
    let error = vps.hostkit("db restore my-shop /root/first.sql.gz --yes").fails_with(4);
    assert!(error.contains("event_scheduler = OFF"), "{error}");
    assert_eq!(vps.mysql(STATE), state);
    vps.mariadb("SET GLOBAL event_scheduler = OFF");
}

/// Stopped at each change, it is the one or the other, whole, and lets its project in.
fn killed_anywhere(vps: &Vps, first: &str, second: &str) {
    let mut points = 0;
    for (mode, stride) in [("kill", 7), ("fail", 13)] {
        for n in (0..).step_by(stride) {
            if vps.mysql(STATE) != second {
                vps.hostkit("db restore my-shop /root/later.sql.gz --yes --quiet").succeeds();
            }
            let when = format!("{mode}@{n}");
            let ran =
                vps.hostkit_fault(&when, "db restore my-shop /root/first.sql.gz --yes --quiet");
            vps.hostkit("recover --quiet").succeeds();
            let now = vps.mysql(STATE);
            assert!(now == first || now == second && ran.code != 0, "{when}: {now} {ran}");
            assert_eq!(vps.in_mysql(), WHOLE, "{when}");
            let more = vps.mysql("SHOW TABLES LIKE 'hostkit%'");
            assert_eq!(more, "", "{when}");
            vps.hostkit("drift my-shop").succeeds();
            points += 1;
            if ran.code == 0 {
                break;
            }
        }
    }
    vps.hostkit("doctor").succeeds();
    println!("failure points walked: {points} (db restore in MariaDB)");
    assert!(points >= 6, "{points}");
}

#[test]
fn made_or_given_up_and_killed_anywhere_it_is_whole_or_gone() {
    let vps = server();
    vps.hostkit("provision my-shop --no-db --no-redis --quiet").succeeds();
    let mut points = 0;
    for line in ["db create my-shop --mysql --quiet", "db delete my-shop --confirm my-shop --quiet"]
    {
        let makes = line.starts_with("db create");
        for n in (0..).step_by(5) {
            let when = format!("{line}, kill@{n}");
            let ran = vps.hostkit_fault(&format!("kill@{n}"), line);
            vps.hostkit("recover --quiet").succeeds();
            let has = vps.read("/home/my-shop/.env").contains("MYSQL_URL=");
            assert_eq!(vps.in_mysql(), if has { WHOLE } else { "NULL" }, "{when}");
            vps.hostkit("drift my-shop").succeeds();
            if has {
                vps.mysql("SELECT 1");
            }
            points += 1;
            if has == makes {
                assert!(ran.code == 0 || ran.code == 137, "{ran}");
                if ran.code == 0 {
                    break;
                }
                let other = if makes {
                    "db delete my-shop --confirm my-shop"
                } else {
                    "db create my-shop --mysql"
                };
                vps.hostkit(other).succeeds();
            }
            assert_eq!(ran.code, 137, "{ran}");
        }
    }
    vps.hostkit("doctor").succeeds();
    println!("failure points walked: {points} (db create and delete in MariaDB, killed)");
    assert!(points >= 6, "{points}");
}

/// Writes a row by mysqli over TCP and reads by PDO over the socket, with a new connection each.
const PAGE: &str = r"<?php
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$in = new mysqli(getenv('MYSQL_HOST'), getenv('MYSQL_USER'), getenv('MYSQL_PASSWORD'), getenv('MYSQL_DATABASE'), (int) getenv('MYSQL_PORT'));
$in->query('CREATE TABLE IF NOT EXISTS visits (id INT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP)');
$in->query('INSERT INTO visits VALUES ()');
$out = new PDO('mysql:unix_socket=' . getenv('MYSQL_SOCKET') . ';dbname=' . getenv('MYSQL_DATABASE'), getenv('MYSQL_USER'), getenv('MYSQL_PASSWORD'));
$body = 'visit ' . $out->query('SELECT COUNT(*) FROM visits')->fetchColumn();
header('Content-Length: ' . strlen($body));
echo $body;
";

#[test]
fn a_project_in_php_reads_and_writes_and_its_password_changes_without_a_failed_request() {
    let vps = server();
    vps.hostkit("provision my-shop --php --no-db --with-mysql --no-redis --quiet").succeeds();
    vps.write("/root/one/public/index.php", PAGE);
    vps.write("/root/one/hostkit.toml", "[services]\nmysql = true\n");
    vps.hostkit("deploy my-shop --source /root/one --no-watch --quiet").succeeds();
    let host = format!("my-shop.{BASE_DOMAIN}");
    let body = || vps.get(&host, "/").unwrap().body;
    let one = body();
    assert!(one.starts_with("visit "), "{one}");
    assert_ne!(body(), one);

    let passwords = || vps.hostkit("env get my-shop MYSQL_PASSWORD").succeeds();
    let load = Load::on(&vps, &host, 4);
    for _ in 0..3 {
        let was = passwords();
        let told = vps.hostkit("db rotate my-shop --json").data();
        assert_eq!(told["restarted"], true, "{told}");
        assert_ne!(passwords(), was);
        let old =
            format!("MYSQL_PWD={} mariadb --no-defaults -u my_shop_user -e 'SELECT 1'", was.trim());
        assert_ne!(vps.sh(&old).code, 0, "the old password has ended");
    }
    load.end().assert_none_failed(100);
    vps.hostkit("drift my-shop").succeeds();
    // Stopped anywhere, the password that `.env` names is the one that opens, and the only one.
    for n in (0..14).step_by(2) {
        let _ = vps.hostkit_fault(&format!("kill@{n}"), "db rotate my-shop --quiet");
        vps.hostkit("recover --quiet").succeeds();
        assert!(body().starts_with("visit "), "kill@{n}");
        vps.hostkit("drift my-shop").succeeds();
    }

    // A deploy keeps what the release before has left, and goes back to it with its data.
    let before: u32 = body()[6..].parse().unwrap();
    vps.hostkit("deploy my-shop --source /root/one --no-watch --quiet").succeeds();
    vps.mysql("DELETE FROM visits");
    vps.hostkit("rollback my-shop --full --yes --quiet").succeeds();
    let after: u32 = body()[6..].parse().unwrap();
    assert!(after > before, "{after} {before}");
    vps.write("/root/one/hostkit.toml", "[services]\nmysql = true\n");
    vps.hostkit("project create bare --php --quiet").succeeds();
    let error = vps.hostkit("deploy bare --source /root/one").fails_with(4);
    assert!(error.contains("hostkit db create bare --mysql"), "{error}");
}

#[test]
fn a_backup_holds_it_and_proves_it() {
    let vps = server();
    vps.hostkit("provision my-shop --with-mysql --no-redis --quiet").succeeds();
    vps.mysql(GOODS);
    // A trigger of another time: its dump alters the database for a while, by its name.
    vps.mysql("ALTER DATABASE my_shop_db COLLATE utf8mb4_bin");
    let state = vps.mysql(STATE);
    let dump = vps.sh("hostkit db backup my-shop --mysql | zcat").stdout;
    assert!(dump.contains("\nALTER DATABASE `my_shop_db`"), "{dump}");
    let made = vps.hostkit("backup create my-shop --json").data();
    let id = made["id"].as_str().unwrap().to_owned();
    let proof = vps.hostkit("backup drill my-shop").succeeds();
    assert!(proof.contains("mysql") && proof.contains("3 tables, 4 rows"), "{proof}");
    assert_eq!(vps.in_mysql(), WHOLE);
    vps.hostkit("drift my-shop").succeeds();
    vps.hostkit("backup evidence --json").succeeds();

    vps.mysql("DROP TABLE parts; DROP VIEW names; INSERT INTO goods (name) VALUES ('late')");
    vps.hostkit(&format!("backup restore my-shop {id} --yes")).succeeds();
    assert_eq!(vps.mysql(STATE), state);
    assert_eq!(vps.in_mysql(), WHOLE);
    vps.hostkit("drift my-shop").succeeds();

    // As another project: its views and triggers work in that one's name.
    vps.hostkit(&format!("backup restore my-shop {id} --to-new other --yes")).succeeds();
    let words = [
        "hostkit",
        "db",
        "shell",
        "other",
        "--mysql",
        "-t",
        "-c",
        "CALL add_one(); SELECT COUNT(*) FROM names",
    ];
    assert_eq!(vps.run(&words, b"").succeeds().trim(), "3");
    vps.hostkit("drift other").succeeds();

    // Of one whose only database it is.
    vps.hostkit("provision lone --no-db --with-mysql --no-redis --quiet").succeeds();
    vps.hostkit("backup create lone --quiet").succeeds();
    vps.hostkit("backup restore lone --db --no-backup --yes").succeeds();

    // What can't be read fails the backup, loudly; the last copy before the end holds it, too.
    vps.mysql(
        "CREATE TABLE gone (id INT); CREATE VIEW broken AS SELECT * FROM gone; DROP TABLE gone",
    );
    vps.hostkit("backup create my-shop").fails_with(1);
    vps.mysql("DROP VIEW broken");
    let last = vps.hostkit("project delete my-shop --yes --json").data();
    let dir = last["backup"].as_str().unwrap();
    let kept = vps.sh(&format!("zcat {dir}/mysql.sql.gz | tail -1; stat -c %a {dir}/mysql.sql.gz"));
    assert_eq!(kept.stdout, "-- Dump completed\n600\n", "{kept}");
    assert_eq!(vps.in_mysql(), "NULL");
}

#[test]
fn a_server_with_it_comes_back_on_one_without() {
    let vps = server();
    vps.hostkit("provision my-shop --no-db --no-redis --with-mysql --quiet").succeeds();
    vps.mysql(GOODS);
    let goods = "SELECT COUNT(*), MAX(name) FROM goods";
    let before = vps.mysql(goods);
    let (other, place) = vault(&vps);
    vps.hostkit(&format!("config set backup.offsite {place}")).succeeds();
    vps.hostkit("backup run-all --quiet").succeeds();
    other.write("/root/key", &vps.read("/etc/hostkit/backup.key"));
    assert!(!other.exists("/usr/sbin/mariadbd"));
    other.hostkit("restore-host --repository /srv/vault/restic --key-file /root/key").succeeds();
    assert_eq!((other.mysql(goods), other.in_mysql()), (before, WHOLE.into()));
    assert_eq!(other.hostkit("drift").code, 0);
    other.hostkit("doctor").succeeds();
}
