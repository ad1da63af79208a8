use proptest::prelude::*;

use super::*;
use crate::release::Kind;

const FULL: &str = r#"
[project]
runtime = "python"
shared = ["uploads", "./var/data/"]

[build]
steps = ["npm ci", "npm run build && ls"]
install = true
timeout = "15m"
memory = "1500M"
packages = ["gunicorn==23.0.0", "uvicorn[standard]>=0.30,<1"]
constraints = "./constraints.txt"

[build.env]
NODE_ENV = "development"

[deploy]
strategy = "restart"
watch = 0
drain = "10s"
timeout = "2m"
migrate = false

[process.web]
command = "venv/bin/uvicorn main:app --host 127.0.0.1 --port $PORT"
directory = "backend"
aliases = ["shop-api", "old-shop"]
health = { path = "/health", status = 200, body = "ok" }
metrics = "/metrics"

[process.worker]
command = "venv/bin/celery -A tasks worker"

[process.cleanup]
command = "venv/bin/python -m app.cleanup"
schedule = "@daily"

[env]
LOG_LEVEL = "info"
[env.required]
SMTP_URL = "where mail goes"
[env.from]
SHOP_DB = "DATABASE_URL"
PGHOST = "DATABASE_URL.host"
SESSION_SECRET = "SECRET_KEY"
[env.generate]
SECRET_KEY = "hex:32"
ACCESS_CODE = { kind = "words:4", show = true, about = "typed into the login page" }

[secrets]
files = ["TLS_KEY", "API_TOKEN"]

[services]
postgres = { url_scheme = "postgresql+psycopg" }
redis = true
storage = false
"#;

#[test]
fn a_manifest_says_all_this() {
    insta::assert_debug_snapshot!("manifest", parse_manifest(FULL).unwrap());
}

#[test]
fn an_empty_manifest_says_nothing() {
    assert_eq!(parse_manifest("").unwrap(), Manifest::default());
    assert_eq!(parse_manifest("\u{feff}[project]\n").unwrap(), Manifest::default());
}

#[test]
fn an_error_names_its_place_and_the_nearest_key() {
    let error = parse_manifest("[build]\nsteps = []\n  stpes = []\n").unwrap_err();
    assert_eq!(error.kind.exit_code(), 2);
    assert_eq!(error.code, "bad_manifest");
    assert_eq!(error.message, "`hostkit.toml` can't be used: line 3, column 3");
    assert_eq!(error.cause.as_deref(), Some("there is no key `build.stpes`"));
    assert_eq!(error.hint.as_deref(), Some("did you mean `build.steps`?"));
}

#[test]
fn php_has_no_command() {
    let text = "[project]\nruntime = \"php\"\n[process.web]\nhealth = \"/up\"\n";
    let web = &parse_manifest(text).unwrap().processes[0];
    assert_eq!((web.kind.clone(), web.command.len()), (Kind::Web, 0));
    let error = parse_manifest(&text.replace("health", "command")).unwrap_err();
    assert!(error.cause.unwrap().contains("php-fpm is the web process, so it has no `command`"));
    assert!(error.hint.unwrap().contains("a server of your own in PHP"));
}

fn assert_told(wrong: &[(&str, &str, &str)]) {
    for (text, cause, hint) in wrong {
        let error = parse_manifest(text).unwrap_err();
        assert_eq!(error.code, "bad_manifest", "{text}");
        assert!(error.message.contains("line "), "{text}: {error}");
        assert!(error.cause.as_ref().unwrap().contains(cause), "{text}: {error}");
        assert!(
            error.hint.as_deref().unwrap_or_default().contains(hint),
            "{text}: {:?}",
            error.hint
        );
    }
}

#[test]
fn what_is_wrong_is_told() {
    assert_told(&[
        ("[projct]\n", "there is no key `projct`", "did you mean `project`?"),
        ("[wholly]\n", "there is no key `wholly`", "there are backup, build, deploy, env"),
        (
            "[project]\nname = 1\n",
            "there is no key `project.name`",
            "`[project]` knows port, public,",
        ),
        ("project = 1\n", "`project` wants a table, not a number", ""),
        (
            "[project]\nruntime = \"pyton\"\n",
            "`runtime` can't be `pyton`",
            "did you mean `python`?",
        ),
        (
            "[project]\nruntime = \"perl\"\n",
            "`runtime` can't be `perl`",
            "there are custom, nextjs",
        ),
        ("[project]\nshared = \"a\"\n", "`project.shared` wants a list, not a text", ""),
        ("[project]\nshared = [1]\n", "`project.shared` wants a list of texts", ""),
        ("[project]\nshared = [\"../x\"]\n", "`../x` is no path below the release", ""),
        ("[project]\nshared = [\"a//b\"]\n", "`a//b` is no path below the release", ""),
        ("[project]\nshared = [\"a\", \"a/\"]\n", "`a/` is shared twice", ""),
        ("[project]\nshared = [\"a/b\", \"a\"]\n", "`a` lies in another", ""),
        ("[project]\nshared = [\".complete\"]\n", "`.complete` belongs to each release", ""),
        ("[project]\nshared = [\".\"]\n", "`.` belongs to each release", ""),
        ("[project]\npublic = \"/etc\"\n", "`/etc` is no path below the release", ""),
        ("[project]\npublic = \"a; b\"\n", "`a; b` is no path below the release", ""),
        ("[project]\npublic = \"^\"\n", "`^` is no path below the release", ""),
        ("[build]\nsteps = [\" \"]\n", "it is no command of a shell", ""),
        ("[build]\nsteps = [\"a\\u001b[2J\"]\n", "`build.steps` holds a control character", ""),
        ("[build]\nsteps = [\"a\\u0000\"]\n", "`build.steps` holds a control character", ""),
        ("[build]\nmemory = \"1M\"\n", "`build.memory` wants 64M to 64G", ""),
        ("[build]\nmemory = \"lots\"\n", "`lots` is no size like `512M`", ""),
        ("[build]\ntimeout = \"1d2x\"\n", "`1d2x` is no length of time", ""),
        ("[build]\ntimeout = 0\n", "wants whole seconds from 1 to 21600", ""),
        ("[build]\ninstall = \"no\"\n", "`build.install` wants true or false, not a text", ""),
        ("[deploy]\nwatch = \"500ms\"\n", "wants whole seconds from 0 to 3600", ""),
        ("[deploy]\nwatch = -1\n", "`deploy.watch` is less than nothing", ""),
        ("[deploy]\nstrategy = \"restrt\"\n", "can't be `restrt`", "did you mean `restart`?"),
    ]);
}

#[test]
fn what_is_wrong_with_variables_and_services_is_told() {
    assert_told(&[
        ("[env]\nLD_PRELOAD = \"x\"\n", "it would change which code the process runs", ""),
        ("[env]\n\"A B\" = \"x\"\n", "a key has letters, digits and _", ""),
        ("[env]\nA = 5\n", "`env.A` wants a text, not a number", "put it in quotes: \"5\""),
        ("[env]\nA = \"\\u0000\"\n", "`env.A` holds a control character", ""),
        ("[env]\nA = \"a\\rExecStartPre=+/bin/id\"\n", "`env.A` holds a control character", ""),
        ("[env]\nPORT = \"80\"\n", "hostkit sets `PORT`", ""),
        ("[env]\nA = \"1\"\n[env.required]\nA = \"b\"\n", "`A` is required, so", ""),
        ("[env.required]\nA = \"b\\nc\"\n", "`env.required.A` wants one line", ""),
        ("[env]\nA = \"1\"\n[env.generate]\nA = \"hex\"\n", "`A` is generated, so it can't", ""),
        ("[env.required]\nA = \"\"\n[env.generate]\nA = \"hex\"\n", "nobody is required", ""),
        ("[env.generate]\nA = \"hexx\"\n", "`hexx` is no kind of secret", "A = \"hex:32\""),
        ("[env.generate]\nA = 32\n", "`env.generate.A` wants a text, not a number", ""),
        ("[env.generate]\nPORT = \"hex\"\n", "hostkit sets `PORT`", ""),
        ("[env.generate]\nDATABASE_URL = \"hex\"\n", "hostkit sets `DATABASE_URL`", ""),
        ("[env.generate]\nLD_PRELOAD = \"hex\"\n", "it would change which code", ""),
        ("[secrets]\nfiles = [\"LD_PRELOAD\"]\n", "it would change which code", ""),
        ("[secrets]\nfiles = [\"../x\"]\n", "a key has letters, digits and _", ""),
        ("[secrets]\nfiles = [\"PORT\"]\n", "hostkit sets `PORT`", ""),
        ("[secrets]\nfiles = [\"A\", \"A\"]\n", "`A` is listed twice", ""),
        ("[env]\nA = \"1\"\n[secrets]\nfiles = [\"A\"]\n", "`[env]` gives `A` a value", ""),
        ("[env.generate]\nA = { show = true }\n", "`A` has no kind", "kind = \"hex:32\""),
        (
            "[env.generate]\nA = { kind = \"hex\", abuot = \"x\" }\n",
            "",
            "did you mean `env.generate.A.about`?",
        ),
        ("[env.generate]\nA = { kind = \"hex\", about = \"a\\nb\" }\n", "wants one line", ""),
        ("[services]\npostgres = 1\n", "`services.postgres` wants true or false, not a number", ""),
        ("[services]\npostgress = true\n", "", "did you mean `services.postgres`?"),
        (
            "[services.postgres]\nurl_scheme = \"mysql\"\n",
            "`mysql` begins no address",
            "postgresql+psycopg",
        ),
        ("[services.postgres]\nurl_scheme = \"postgresql+a b\"\n", "begins no address", ""),
        ("[services.postgres]\nurl_scheme = \"postgresql+\"\n", "begins no address", ""),
        ("a = \n", "", "it is TOML"),
        ("a = 1\na = 2\n", "duplicate key", "it is TOML"),
    ]);
}

#[test]
fn what_is_wrong_with_names_is_told() {
    let web = "[process.web]\ncommand = \"a/w\"\n";
    let alias = |alias: &str| format!("{web}aliases = [\"{alias}\"]\n");
    let nothing = "there are DATABASE_URL, REDIS_URL";
    for name in ["foo@", "shop.socket", "../x", "a/b", "50%i", "A", "a b", "a\\\\x2d", "-x", ""] {
        let error = parse_manifest(&alias(name)).unwrap_err();
        assert!(error.cause.unwrap().contains("is no other name of a unit"), "{name}");
    }
    assert_told(&[
        (&alias("ssh"), "the system or hostkit itself uses the name `ssh`", "\"my-shop-api\""),
        (&alias("dbus-org-x"), "the system or hostkit itself uses the name", ""),
        (&alias("hostkit-other"), "the system or hostkit itself uses the name", ""),
        (&alias("shop-api.service"), "has an ending", "write \"shop-api\""),
        (&alias("a-x\", \"a-x"), "`a-x` is another name of `web` already", ""),
        (&format!("{web}aliases = \"a-x\"\n"), "wants a list, not a text", ""),
        (
            "[process.migrate]\ncommand = \"a/m\"\nwhen = \"release\"\naliases = [\"a-x\"]\n",
            "`migrate` runs once a deploy, and has no unit that stays",
            "",
        ),
        (
            "[env.from]\nA = \"DATABASE_ULR\"\n",
            "nothing sets `DATABASE_ULR`",
            "mean `DATABASE_URL`?",
        ),
        ("[env.from]\nA = \"WHOLLY_ELSE\"\n", "nothing sets `WHOLLY_ELSE`", nothing),
        ("[env.from]\nA = \"DATABASE_URL.hots\"\n", "no part `hots`", "database, host, password"),
        ("[env.from]\nA = \"PORT.host\"\n", "`PORT` is no address", ""),
        ("[env.from]\nPORT = \"HOST\"\n", "`PORT` is set already", ""),
        ("[env.from]\nLD_PRELOAD = \"HOST\"\n", "it would change which code", ""),
        ("[env]\nA = \"1\"\n[env.from]\nA = \"HOST\"\n", "can't have a default", ""),
        ("[env.from]\nA = \"B\"\nB = \"HOST\"\n", "nothing sets `B`", ""),
        ("[build]\npackages = [\"--pre\"]\n", "`--pre` is no package", "requirements.txt"),
        ("[build]\npackages = [\"./x\"]\n", "`./x` is no package", ""),
        ("[build]\nconstraints = \"/etc/passwd\"\n", "is no path below the release", ""),
        ("[build]\nconstraints = \"-r\"\n", "is no path below the release", ""),
        ("[build]\ninstall = false\npackages = [\"a\"]\n", "`packages` is of no use", ""),
        ("[build.env]\nLD_PRELOAD = \"x\"\n", "it would change which code", ""),
        ("[build.env]\nA = 1\n", "`build.env.A` wants a text, not a number", ""),
    ]);
}

#[test]
fn a_port_is_one_that_a_configuration_may_hand_out() {
    assert_eq!(parse_manifest("[project]\nport = 8000\n").unwrap().port, Some(8000));
    assert_told(&[
        ("[project]\nport = 80\n", "`project.port` wants 1024 to 8999", ""),
        ("[project]\nport = 9000\n", "`project.port` wants 1024 to 8999", ""),
        ("[project]\nport = 73536\n", "`project.port` wants 1024 to 8999", ""),
        ("[project]\nport = -1\n", "`project.port` wants 1024 to 8999", ""),
        ("[project]\nport = \"8000\"\n", "`project.port` wants a number, not a text", ""),
    ]);
}

#[test]
fn an_environment_has_variables_of_its_own() {
    let text = "[env]\nLEVEL = \"info\"\nstaging = \"a variable\"\n\
        [env.dev]\nLEVEL = \"debug\"\nONLY = \"x\"\n[env.prod]\nLEVEL = \"warn\"\n";
    let manifest = parse_manifest(text).unwrap();
    assert_eq!(manifest.environment["LEVEL"], "info");
    assert_eq!(manifest.environment["staging"], "a variable");
    assert_eq!(manifest.environment.len(), 2);
    assert_eq!(manifest.overlays[&Environment::Dev]["LEVEL"], "debug");
    assert_eq!(manifest.overlays[&Environment::Dev]["ONLY"], "x");
    assert_eq!(manifest.overlays[&Environment::Prod]["LEVEL"], "warn");
    assert_told(&[
        ("[env.prodd]\nA = \"1\"\n", "there is no environment `prodd`", "[env.prod]"),
        ("[env.live]\nA = \"1\"\n", "there is no environment `live`", ""),
        ("[env.dev]\nPORT = \"1\"\n", "hostkit sets `PORT`", ""),
        ("[env.dev]\nA = 1\n", "`env.dev.A` wants a text", ""),
        ("[env.dev]\nLD_PRELOAD = \"x\"\n", "it would change which code", ""),
        ("[env.required]\nA = \"why\"\n[env.dev]\nA = \"1\"\n", "`A` is required", ""),
        ("[env.generate]\nA = \"hex:32\"\n[env.prod]\nA = \"1\"\n", "`A` is generated", ""),
        ("[env.from]\nA = \"HOST\"\n[env.prod]\nA = \"1\"\n", "`A` is another variable's", ""),
    ]);
}

#[test]
fn an_environment_has_its_list_of_what_is_reachable() {
    let text = "[process.web]\ncommand = \"/bin/x\"\n[process.grafana]\ncommand = \"/bin/y\"\n\
        [routes]\n\"/\" = { process = \"web\" }\n\"/docs/\" = { static = \"docs\" }\n[expose]\n";
    let manifest = parse_manifest(&format!(
        "{text}prod = [\"web\"]\ndev = [\"web\", \"grafana\", \"/docs/\"]\n"
    ))
    .unwrap();
    assert_eq!(manifest.expose[&Environment::Prod], ["web"]);
    assert_eq!(manifest.expose[&Environment::Dev].len(), 3);
    assert!(!manifest.expose.contains_key(&Environment::Staging));
    let wrong = |list: &str| format!("{text}{list}\n");
    assert_told(&[
        (&wrong("prod = [\"grafan\"]"), "there is no process `grafan`", "`grafana`"),
        (&wrong("prod = [\"/doc/\"]"), "there is no route `/doc/`", "`/docs/`"),
        (&wrong("prd = [\"web\"]"), "there is no key `expose.prd`", "`expose.prod`"),
        (&wrong("prod = \"web\""), "`expose.prod` wants a list", ""),
    ]);
}

#[test]
fn a_key_of_a_strangers_moves_no_cursor() {
    let error = parse_manifest("\"\\u001b[2J\" = 1\n").unwrap_err();
    assert_eq!(error.cause.as_deref(), Some("there is no key `\\u{1b}[2J`"));
}

#[test]
fn a_manifest_has_an_end() {
    let error = parse_manifest(&"#".repeat(LONGEST + 1)).unwrap_err();
    assert_eq!(error.cause.as_deref(), Some("it has 65537 bytes, and 65536 are the most"));
    assert!(parse_manifest(&"#".repeat(LONGEST)).is_ok());
}

#[test]
fn depth_is_no_weapon() {
    for text in [
        format!("a = {}", "[".repeat(60_000)),
        format!("a = {}", "{a=".repeat(20_000)),
        format!("{}a = 1", "a.".repeat(30_000)),
        format!("[{}a]", "a.".repeat(30_000)),
    ] {
        assert!(parse_manifest(&text).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}|[\\[\\]a-z=\"'{}., \n0-9\\\\#]{0,120}") {
        let _ = parse_manifest(&text);
    }

    #[test]
    fn no_change_of_a_manifest_panics(
        at in 0..FULL.len(),
        length in 0..40_usize,
        put in "\\PC{0,8}|[\\[\\]=\"'{},.\n0-9-]{0,8}",
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{put}{}", &FULL[..at], &FULL[end..]);
        if let Ok(manifest) = parse_manifest(&text) {
            for process in &manifest.processes {
                prop_assert!(!process.command.is_empty());
                prop_assert!(!process.directory.contains(".."));
            }
            prop_assert!(manifest.shared.iter().all(|path| !path.starts_with('/')));
        }
    }
}

#[test]
fn storage_is_a_service() {
    let of = |text: &str| parse_manifest(text).unwrap().services.storage;
    assert_eq!(of("[services]\nstorage = true\n"), Some(true));
    assert_eq!(of("[services]\nredis = true\n"), None);
}

#[test]
fn fifty_secrets_are_enough() {
    let text = |n: usize| -> String {
        let lines = (0..n).map(|i| format!("KEY_{i} = \"hex:64\"\n"));
        std::iter::once("[env.generate]\n".to_owned()).chain(lines).collect()
    };
    assert_eq!(parse_manifest(&text(50)).unwrap().generated.len(), 50);
    assert!(parse_manifest(&text(51)).is_err());
}
