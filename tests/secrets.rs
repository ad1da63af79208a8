//! What a release needs before it is built: secrets that are made once, variables that have to be
//! set, and the address of its database in its own words.

use crate::vps::{BASE_DOMAIN, Load, MANIFEST, Vps, app};

/// Says at its start how it was started, and answers with its environment.
const START: &str = r#"
print("start", os.environ["PORT"], os.environ["HOSTKIT_RELEASE"],
      os.environ.get("DATABASE_URL", "none").split(":")[0], flush=True)
"#;
const TELL: &str = r#"body = "".join(f"{k}={v}\n" for k, v in os.environ.items())"#;

const GENERATE: &str = r#"
[env.generate]
SECRET_KEY = "hex:32"
API_KEY_ENCRYPTION_KEY = "fernet"
ACCESS_CODE = { kind = "words:4", show = true, about = "typed into the login page" }
"#;

const KEYS: [&str; 3] = ["ACCESS_CODE", "API_KEY_ENCRYPTION_KEY", "SECRET_KEY"];

fn ready(provision: &str) -> Vps {
    let vps = Vps::ready();
    let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
    vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
    vps.hostkit(&format!("provision shop {provision} --quiet")).succeeds();
    vps
}

fn tree(vps: &Vps, name: &str, more: &str) {
    vps.write(&format!("/root/{name}/server.py"), &app("", START, TELL));
    vps.write(&format!("/root/{name}/hostkit.toml"), &format!("{MANIFEST}{more}"));
}

fn deploy(vps: &Vps, name: &str) -> serde_json::Value {
    vps.hostkit(&format!("deploy shop --source /root/{name} --no-watch --json")).data()
}

fn get(vps: &Vps, key: &str) -> String {
    vps.hostkit(&format!("env get shop {key}")).succeeds().trim().to_owned()
}

fn values(vps: &Vps) -> Vec<String> {
    KEYS.iter().map(|key| get(vps, key)).collect()
}

fn page(vps: &Vps) -> String {
    vps.get(&format!("shop.{BASE_DOMAIN}"), "/").unwrap().body
}

#[test]
fn secrets_are_made_once_shown_once_and_kept() {
    let vps = ready("--no-db --no-redis");
    tree(&vps, "one", GENERATE);
    // Every command line of the server while it goes on.
    vps.sh("nohup bash -c 'while :; do cat /proc/[0-9]*/cmdline; done' > /root/cmdlines 2> /dev/null < /dev/null & echo $! > /root/watcher").succeeds();
    let told = deploy(&vps, "one");
    vps.sh("kill $(cat /root/watcher)").succeeds();
    let made = values(&vps);
    assert_eq!(told["generated"], serde_json::json!(KEYS));
    assert_eq!(told["secrets"], serde_json::json!({ "ACCESS_CODE": made[0] }));
    assert_eq!((made[0].len(), made[1].len(), made[2].len()), (23, 44, 64), "{made:?}");
    let page_of = page(&vps);
    for (key, value) in KEYS.iter().zip(&made) {
        assert!(page_of.contains(&format!("{key}={value}\n")), "{key}: {page_of}");
        // In `.env` and its former states, which are root's; and nowhere else.
        let found = vps.sh(&format!(
            "grep -rlF -- '{value}' /etc /var /run /root /srv /tmp /usr/local 2> /dev/null; \
             grep -rlF --exclude-dir=.staging -- '{value}' /home; journalctl --no-pager | grep -cF -- '{value}'"
        ));
        assert_eq!(found.stdout, "/home/shop/.env\n0\n", "{key}");
    }
    assert!(vps.sh("wc -c < /root/cmdlines").succeeds().trim().parse::<u64>().unwrap() > 10_000);
    assert_eq!(vps.sh("stat -c '%a %U:%G' /home/shop/.env").succeeds(), "640 root:shop\n");

    // Once more, with another release, and back: nothing is made, nothing shown, nothing changed.
    tree(&vps, "two", &format!("{GENERATE}[env]\nA = \"b\"\n"));
    let told = deploy(&vps, "two");
    assert!(told["secrets"].is_null() && told["generated"].is_null(), "{told}");
    assert_eq!(values(&vps), made);
    vps.hostkit("rollback shop --quiet").succeeds();
    assert_eq!(values(&vps), made);
    vps.hostkit("env sync shop /dev/null --restart").succeeds();
    assert_eq!(values(&vps), made);
    vps.hostkit("drift shop").succeeds();

    // A deploy that fails leaves what it made, says so without a value, and the next one keeps it.
    let more = "LATER = { kind = \"code:10\", show = true }\n[build]\nsteps = [\"exit 1\"]\n";
    tree(&vps, "three", &format!("{GENERATE}{more}"));
    let ran = vps.hostkit("deploy shop --source /root/three --no-watch");
    let later = get(&vps, "LATER");
    assert!(!ran.stdout.contains(&later), "{ran}");
    let said = ran.fails_with(1);
    assert!(said.contains("it made LATER, which stays: `hostkit env get shop LATER`"), "{said}");
    assert!(!said.contains(&later), "{said}");
    assert_eq!(values(&vps), made);
    assert!(!page(&vps).contains(&later));
    tree(&vps, "three", &format!("{GENERATE}{}", more.replace("exit 1", "true")));
    deploy(&vps, "three");
    assert_eq!(get(&vps, "LATER"), later);
    assert!(page(&vps).contains(&format!("LATER={later}\n")));
    assert_eq!(vps.hostkit("env history shop").succeeds().matches("env generate: ").count(), 2);
}

#[test]
fn a_person_sees_the_secret_and_the_projects_own_user_does_not() {
    let vps = ready("--no-db --no-redis");
    tree(&vps, "one", GENERATE);
    vps.sh("tar cz -C /root/one . > /tmp/one.tar.gz; chmod 644 /tmp/one.tar.gz").succeeds();
    let dry = vps.hostkit("deploy shop --source /root/one --dry-run").succeeds();
    assert!(dry.contains("makes       ACCESS_CODE"), "{dry}");
    vps.hostkit("env get shop ACCESS_CODE").fails_with(3);
    // As CI does, by the gate.
    let ran = vps.sh_as("shop", "hostkit deploy --archive - --no-watch --json < /tmp/one.tar.gz");
    let made = values(&vps);
    let told = ran.to_string();
    assert!(made.iter().all(|value| !told.contains(value)), "{told}");
    assert_eq!(ran.data()["generated"], serde_json::json!(KEYS));
    // The same in words, for a secret that is made anew.
    vps.hostkit("env unset shop ACCESS_CODE").succeeds();
    let ran = vps.sh_as("shop", "hostkit deploy --archive - --no-watch < /tmp/one.tar.gz");
    let again = get(&vps, "ACCESS_CODE");
    assert!(again != made[0] && !ran.to_string().contains(&again), "{ran}");
    assert!(ran.succeeds().contains("made: ACCESS_CODE (operators are shown it: "));
    vps.hostkit("env unset shop ACCESS_CODE").succeeds();
    let told = vps.hostkit("deploy shop --source /root/one --no-watch").succeeds();
    let line =
        format!("  ACCESS_CODE  {}  — typed into the login page\n", get(&vps, "ACCESS_CODE"));
    assert!(told.contains(&line), "{told}");
    assert!(!told.contains(&made[2]), "{told}");

    // Rotated through the gate: no failed request, and shown to operators alone.
    let load = Load::on(&vps, &format!("shop.{BASE_DOMAIN}"), 4);
    let told = vps.hostkit("env set shop ACCESS_CODE --generate --restart --json").data();
    let code = get(&vps, "ACCESS_CODE");
    assert_eq!(told["secrets"]["ACCESS_CODE"], code.as_str());
    assert_eq!((told["restarted"].as_bool(), code.len()), (Some(true), 23), "the kind stays");
    assert!(page(&vps).contains(&format!("ACCESS_CODE={code}\n")));
    let told = vps.hostkit("env set shop API_KEY_ENCRYPTION_KEY --generate --restart").succeeds();
    let key = get(&vps, "API_KEY_ENCRYPTION_KEY");
    assert!(key.len() == 44 && key != made[1] && told.contains(&key), "{told}");
    load.end().assert_none_failed(50);
    let ran = vps.sh_as("shop", "hostkit env set ACCESS_CODE --generate code:10 --json");
    let code = get(&vps, "ACCESS_CODE");
    assert_eq!(code.len(), 10);
    assert!(!ran.to_string().contains(&code), "{ran}");
    assert!(ran.data()["secrets"].is_null());
    vps.hostkit("env set shop ACCESS_CODE --generate fernett").fails_with(2);
    assert_eq!(get(&vps, "ACCESS_CODE"), code);
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn killed_at_any_change_all_secrets_are_there_or_none() {
    let vps = ready("--no-db --no-redis");
    tree(&vps, "one", &format!("{GENERATE}[build]\nsteps = [\"exit 1\"]\n"));
    let (mut with, mut without) = (0, 0);
    for n in 1..40 {
        let ran = vps.hostkit_fault(&format!("kill@{n}"), "deploy shop --source /root/one --quiet");
        vps.hostkit("recover --quiet").succeeds();
        let there = vps.sh("grep -cE '^(ACCESS_CODE|API_KEY_ENCRYPTION_KEY|SECRET_KEY)=..........' /home/shop/.env").stdout;
        match there.trim() {
            "0" => without += 1,
            "3" => with += 1,
            other => panic!("{other} at {n}"),
        }
        assert!(vps.sh("grep -c ^PORT= /home/shop/.env").succeeds().starts_with('1'));
        if there.trim() == "3" {
            vps.hostkit("env unset shop ACCESS_CODE API_KEY_ENCRYPTION_KEY SECRET_KEY").succeeds();
        }
        if ran.code != 137 {
            break;
        }
    }
    assert!(with > 2 && without > 2, "{with} {without}");
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn what_is_missing_stops_a_deploy_before_anything_is_built() {
    let vps = ready("--no-db --no-redis");
    let required = "[env.required]\nACCESS_CODE = \"typed into the login page\"\nSMTP_URL = \"where mail goes\"\n\
        [build]\nsteps = [\"echo built > built\"]\n[env]\nLOG_LEVEL = \"info\"\n";
    tree(&vps, "one", required);
    vps.write(
        "/root/one/.env.example",
        "# all of it\nACCESS_CODE=\nexport SENTRY_DSN=https://x\nLOG_LEVEL=debug\nPORT=8000\nDATABASE_URL=\n",
    );
    let dry = vps.hostkit("deploy shop --source /root/one --dry-run --json").data();
    assert_eq!(dry["missing_variables"], serde_json::json!(["ACCESS_CODE", "SMTP_URL"]));
    assert_eq!(dry["unset_examples"], serde_json::json!(["SENTRY_DSN"]));
    let said = vps.hostkit("deploy shop --source /root/one --no-watch").fails_with(2);
    for line in [
        "ACCESS_CODE and 1 other variable are not set",
        "ACCESS_CODE: typed into the login page",
        "SMTP_URL: where mail goes",
        "hostkit env set shop ACCESS_CODE",
        "hostkit env set shop SMTP_URL",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(vps.sh("find /home/shop /var/lib/hostkit -name built").stdout, "");
    // Set to nothing it is not set; set as the hint says, it goes on.
    vps.hostkit("env set shop ACCESS_CODE= SMTP_URL=smtp://x").succeeds();
    let said = vps.hostkit("deploy shop --source /root/one --no-watch").fails_with(2);
    assert!(said.contains("ACCESS_CODE is not set"), "{said}");
    vps.run(&["hostkit", "env", "set", "shop", "ACCESS_CODE"], b"opensesame\n").succeeds();
    let ran = vps.hostkit("deploy shop --source /root/one --no-watch");
    assert!(ran.stderr.contains("`.env.example` names SENTRY_DSN, and nothing sets it"), "{ran}");
    ran.succeeds();
    assert!(page(&vps).contains("ACCESS_CODE=opensesame\n"));
    // A database that the project lacks.
    for service in ["postgres = true", "redis = true", "postgres = { url_scheme = \"postgres\" }"] {
        tree(&vps, "two", &format!("[services]\n{service}\n"));
        let said = vps.hostkit("deploy shop --source /root/two --no-watch").fails_with(4);
        assert!(said.contains("shop has no database of "), "{said}");
        let next = ["hostkit provision shop", "hostkit db create shop"];
        assert!(next.iter().any(|next| said.contains(next)), "{said}");
        vps.hostkit("deploy shop --source /root/two --dry-run").fails_with(4);
    }
    tree(&vps, "two", "[services]\npostgres = false\nredis = false\n");
    deploy(&vps, "two");
}

#[test]
fn the_address_of_the_database_goes_with_the_release() {
    let vps = ready("--no-redis");
    let more = "[services]\npostgres = { url_scheme = \"postgresql+psycopg\" }\n\
           [process.prepare]\ncommand = \"/bin/sh -c 'printenv DATABASE_URL > ~/shared/prepare'\"\nwhen = \"release\"\n\
           [process.queue]\ncommand = \"/bin/sh -c 'printenv DATABASE_URL; exec sleep infinity'\"\n\
           [process.tidy]\ncommand = \"/bin/sh -c 'printenv DATABASE_URL'\"\nschedule = \"yearly\"\n";
    tree(&vps, "one", more);
    tree(&vps, "two", "[services]\npostgres = true\n");
    let plain = get(&vps, "DATABASE_URL");
    let wanted = plain.replace("postgresql://", "postgresql+psycopg://");
    assert_ne!(plain, wanted);
    let in_page = |url: &str| page(&vps).contains(&format!("DATABASE_URL={url}\n"));
    let in_exec = |url: &str| {
        vps.hostkit("exec shop -- printenv DATABASE_URL").succeeds() == format!("{url}\n")
    };
    deploy(&vps, "two");
    assert!(in_page(&plain) && in_exec(&plain));
    deploy(&vps, "one");
    assert!(in_page(&wanted) && in_exec(&wanted));
    assert_eq!(vps.read("/home/shop/shared/prepare"), format!("{wanted}\n"));
    vps.wait_until("the worker says it", |vps| {
        vps.sh("cat /var/log/projects/shop/queue.log").stdout == format!("{wanted}\n")
    });
    let told = vps.hostkit("cron run shop tidy").succeeds();
    assert!(told.contains(&wanted), "{told}");
    // The standby knew it, too, and which release it is.
    let id = vps.hostkit("project info shop --json").data()["release"].clone();
    let log = vps.read("/var/log/projects/shop/app.log");
    for port in [14001, 8001] {
        let line = format!("start {port} {} postgresql+psycopg\n", id.as_str().unwrap());
        assert!(log.contains(&line), "{line}: {log}");
    }
    assert_eq!(get(&vps, "DATABASE_URL"), plain);
    assert_eq!(vps.sh("stat -c '%a %U:%G' /home/shop/app/.release").succeeds(), "640 root:shop\n");
    vps.hostkit("drift shop").succeeds();
    // Changed by hand, it is drift, and put right without a word of the password.
    vps.sh("sed -i 's/psycopg/other/' /home/shop/app/.release").succeeds();
    let told = vps.hostkit("drift shop");
    assert!(told.stdout.contains(".release") && !told.stdout.contains(&plain[20..]), "{told}");
    told.fails_with(1);
    vps.hostkit("repair shop --quiet").succeeds();
    assert!(vps.read("/home/shop/app/.release").contains(&wanted));
    // Back, forward, and back again by an old release whose file is of another day.
    vps.hostkit("rollback shop --quiet").succeeds();
    assert!(in_page(&plain) && in_exec(&plain));
    let id = id.as_str().unwrap();
    vps.sh(&format!("sed -i s/psycopg/old/ /home/shop/releases/{id}/.release")).succeeds();
    vps.hostkit(&format!("rollback shop --to {id} --quiet")).succeeds();
    assert!(in_page(&wanted) && in_exec(&wanted));
    vps.hostkit("env set shop A=b --restart").succeeds();
    assert!(in_page(&wanted));
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn variables_have_other_names_where_a_release_says_so() {
    let vps = ready("");
    let names = "[env.generate]\nSECRET_KEY = \"hex:32\"\n[env.from]\nSHOP_DB = \"DATABASE_URL\"\n\
        PGPASSWORD = \"DATABASE_URL.password\"\nPGHOST = \"DATABASE_URL.host\"\nPGPORT = \"DATABASE_URL.port\"\n\
        PGUSER = \"DATABASE_URL.user\"\nPGDATABASE = \"DATABASE_URL.database\"\nREDIS_DB = \"REDIS_URL.database\"\n\
        JWT_SECRET = \"SECRET_KEY\"\n";
    // Migrations have them, and they lead to the database without any address.
    let more = "[services]\npostgres = { url_scheme = \"postgresql+psycopg\" }\n\
        [process.migrate]\ncommand = \"/bin/sh -c 'psql -Atc \\\"select current_database()\\\" > ~/shared/asked'\"\nwhen = \"release\"\n\
        [process.tidy]\ncommand = \"/bin/sh -c 'printenv JWT_SECRET'\"\nschedule = \"yearly\"\n";
    tree(&vps, "one", &format!("{more}{names}"));
    tree(&vps, "two", "[env.generate]\nSECRET_KEY = \"hex:32\"\n");
    deploy(&vps, "one");
    assert_eq!(vps.read("/home/shop/shared/asked"), "shop_db\n");
    let has = |line: &str| page(&vps).lines().any(|one| one == line);
    let url = get(&vps, "DATABASE_URL");
    let password = url.split([':', '@']).nth(2).unwrap().to_owned();
    assert!(has(&format!("SHOP_DB={}", url.replace("postgresql:", "postgresql+psycopg:"))));
    assert!(has(&format!("PGPASSWORD={password}")));
    assert!(has("PGUSER=shop_user") && has("PGPORT=5432") && has("REDIS_DB=1"));
    let told = vps.sh("hostkit exec shop -- psql -Atc 'select 1'").succeeds();
    assert_eq!(told, "1\n");
    // Each value is in `.env` and its former states, and in the file that is made of it.
    let found = vps.sh(&format!(
        "grep -rlF -- '{password}' /etc /run /srv /tmp /usr/local /home /root /var/log /var/lib/hostkit \
         2> /dev/null | grep -v ^/var/lib/hostkit/checkpoints/shop/.*[.]env$ | sort; \
         journalctl --no-pager | grep -cF -- '{password}'"
    ));
    let id = vps.hostkit("project info shop --json").data()["release"].clone();
    let release = format!("/home/shop/releases/{}/.release", id.as_str().unwrap());
    assert_eq!(found.stdout, format!("/home/shop/.env\n{release}\n0\n"));
    assert_eq!(vps.sh(&format!("stat -c '%a %U:%G' {release}")).succeeds(), "640 root:shop\n");

    // A change of what they are made of carries into them: with a restart at once, ...
    vps.hostkit("env set shop SECRET_KEY --generate --restart").succeeds();
    let secret = get(&vps, "SECRET_KEY");
    assert!(has(&format!("JWT_SECRET={secret}")));
    // ... and without one for all that starts later, whoever starts it.
    vps.hostkit("env set shop SECRET_KEY=another").succeeds();
    let told = vps.hostkit("cron run shop tidy").succeeds();
    assert!(told.contains("another\n") && !told.contains(&secret), "{told}");
    vps.sh("systemctl restart hostkit-shop").succeeds();
    vps.wait_until("it has the new one", |_| has("JWT_SECRET=another"));
    vps.hostkit("drift shop").succeeds();
    // The owner's own value holds, and back is back.
    vps.hostkit("env set shop PGHOST=elsewhere --restart").succeeds();
    assert!(has("PGHOST=elsewhere"));
    vps.hostkit("env unset shop PGHOST --restart").succeeds();
    assert!(has("PGHOST=localhost"));
    deploy(&vps, "two");
    assert!(!page(&vps).contains("JWT_SECRET=") && !page(&vps).contains("PGPASSWORD="));
    vps.hostkit("rollback shop --quiet").succeeds();
    assert!(has("JWT_SECRET=another"));

    // Without the database there is nothing to make them of.
    vps.hostkit("provision bare --no-db --no-redis --quiet").succeeds();
    let said = vps.hostkit("deploy bare --source /root/one --no-watch").fails_with(4);
    assert!(said.contains("bare has no database of PostgreSQL"), "{said}");
}
