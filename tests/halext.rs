//! Halext, as its owner sets it up: one command, then what a house does with it.

mod browser;
mod deploys;
mod hardship;
mod house;
mod people;
mod small;

use house::{House, start_node};

#[test]
fn a_house_moves_in_with_one_command() {
    let house = House::build();
    let House { vps, code } = &house;
    // The page, its deep links and its parts; nothing beside them.
    let (status, index) = house.curl("/", "");
    assert!(status == 200 && index.contains("<div id=\"root\""), "{index}");
    assert_eq!(house.curl("/tasks", "").1, index);
    let script = index.split('"').find(|part| part.starts_with("/assets/")).unwrap();
    let (status, head) = house.curl(script, "-o /dev/null -D -");
    assert!(status == 200 && head.contains("immutable"), "{head}");
    for hidden in ["/assets/gone.js", "/hostkit.toml", "/package.json", "/.env", "/metrics"] {
        let (_, body) = house.curl(hidden, "");
        assert!(!body.contains("process.web") && !body.contains("halext_"), "{hidden}: {body}");
    }

    // No code, no account and no way in; and nobody makes himself an administrator.
    assert_eq!(house.register("ann", "wrong"), 401);
    assert_eq!(house.register("ann", code), 200);
    assert_eq!(house.sign_in("ann", "wrong"), Err(401));
    let ann = house.sign_in("ann", code).unwrap();
    assert_eq!(house.json("/admin/ai-clients", &ann, None).0, 403);
    let task = r#"{"title":"water the plants","priority":"high"}"#;
    assert_eq!(house.json("/tasks/", &ann, Some(task)).0, 201);
    assert_eq!(house.json("/tasks/", "", None).0, 401);

    // Chat: the mock, then a node that an administrator adds, then the mock again.
    assert!(house.chat(&ann, "hello").contains("event: done"));
    let admin = house.administrator("root1");
    start_node(vps, "cellar", 11434, "");
    house.add_node(&admin, "cellar", "127.0.0.1", 11434);
    let said = house.chat(&ann, "who are you");
    assert!(said.contains("cellar") && said.contains("heard"), "{said}");
    vps.sh("systemctl stop node-cellar").succeeds();
    let said = house.chat(&ann, "are you there");
    assert!(!said.contains("heard") && said.contains("event: done"), "{said}");

    // The panel may ask for a deploy where that is granted, and gets what hostkit says.
    assert_eq!(house.json("/admin/rebuild-frontend", &admin, Some("{}")).0, 501);
    let line = "deploy --only frontend";
    vps.hostkit_args(&["permissions", "grant", "halext", "--app", line]).succeeds();
    let (status, why) = house.json("/admin/rebuild-frontend", &admin, Some("{}"));
    assert!(status == 502 && why["detail"] == "nothing says what to deploy", "{status} {why}");
    assert_eq!(house.json("/admin/rebuild-frontend", &ann, Some("{}")).0, 403);

    // A new code lets nobody in by the old one, and nobody who is in goes out.
    vps.hostkit("env set halext ACCESS_CODE --generate --restart").succeeds();
    let fresh = vps.hostkit("env get halext ACCESS_CODE").succeeds().trim().to_owned();
    assert_ne!(&fresh, code);
    assert_eq!(house.sign_in("ann", code), Err(401));
    house.sign_in("ann", &fresh).unwrap();
    assert_eq!(house.json("/tasks/", &ann, None).1[0]["title"], "water the plants");

    // Another version: nothing is installed again, and what was written stays. What a build does to
    // the packages that it has been given is not for the next one.
    vps.write("/root/halext/VERSION", "9.9.9\n");
    let spoils = "import * as fs from 'node:fs';\\nconst mark = 'node_modules/vite/mark';\\n\
        if (fs.existsSync(mark)) throw new Error('spoilt');\\nfs.writeFileSync(mark, '');";
    let config = "/root/halext/frontend/vite.config.ts";
    vps.sh(&format!("sed -i '1i // @ts-nocheck\\n{}' {config}", spoils.replace('\'', "\"")))
        .succeeds();
    for _ in 0..2 {
        let ran = vps.hostkit("deploy halext --source /root/halext --no-watch");
        assert!(ran.stderr.contains("frontend: dependencies        as before"), "{ran}");
        ran.succeeds();
    }
    assert_eq!(house.json("/version", "", None).1["version"], "9.9.9");
    let of = vps.sh("find /home/halext/app/venv/ -type f -links 1 | wc -l").succeeds();
    assert!(of.trim().parse::<u32>().unwrap() < 100, "the packages are shared: {of}");

    // One part alone: the other stays as it is live, whatever the source says of it.
    vps.write("/root/halext/VERSION", "9.9.10\n");
    vps.sh("sed -i 's|<title>.*</title>|<title>another</title>|' /root/halext/frontend/index.html")
        .succeeds();
    vps.sh(
        "sed -i 's|\"name\": \"halext\"|\"name\": \"changed\"|' /root/halext/backend/app/routes.py",
    )
    .succeeds();
    for odd in ["../backend", "nothing", ".complete", "VERSION", "venv"] {
        let line = format!("deploy halext --source /root/halext --only {odd} --no-watch");
        vps.hostkit(&line).fails_with(2);
    }
    let only = |part: &str| {
        let line = format!("deploy halext --source /root/halext --only {part} --no-watch");
        vps.hostkit(&line).succeeds();
        (house.curl("/", "").1.contains("another"), house.json("/version", "", None).1)
    };
    let (is_new, version) = only("frontend");
    assert!(is_new && version["name"] == "halext" && version["version"] == "9.9.9", "{version}");
    vps.sh("sed -i 's|<title>.*</title>|<title>a third</title>|' /root/halext/frontend/index.html")
        .succeeds();
    let (is_old, version) = only("backend");
    assert!(is_old && version["name"] == "changed" && version["version"] == "9.9.9", "{version}");
    vps.hostkit("drift halext").succeeds();

    // A migration that fails, and a frontend that can't be built, change nothing.
    for (path, text) in [
        ("backend/app/migrations/0003_broken.sql", "ALTER TABLE nothing ADD COLUMN x int;"),
        ("frontend/src/broken.ts", "export const broken: number = \"no\";"),
    ] {
        vps.write(&format!("/root/halext/{path}"), text);
        let ran = vps.hostkit("deploy halext --source /root/halext --no-watch");
        assert!(ran.code == 1 || ran.code == 6, "{path}: {ran}");
        vps.sh(&format!("rm /root/halext/{path}")).succeeds();
        assert_eq!(house.json("/version", "", None).1["version"], "9.9.9");
    }
    assert_eq!(house.json("/tasks/", &ann, None).1[0]["title"], "water the plants");

    // Its figures are for this machine alone, where a Prometheus may be.
    let settings = include_str!("../templates/prometheus.yml");
    let often = settings.replace("15s", "1s").replace("10s", "1s");
    vps.write("/etc/hostkit/templates/prometheus.yml", &often);
    vps.hostkit("metrics setup --quiet").succeeds();
    vps.wait_until("its figures are read", |vps| {
        let own = "metrics query halext halext_requests_total{route=\"/metrics\"} --json";
        vps.hostkit(own).data()["samples"][0]["labels"]["status"] == "200"
    });

    // The database goes and comes: the truth is told, and nobody has to help.
    vps.sh("systemctl stop postgresql@15-main").succeeds();
    assert_eq!(house.json("/health", "", None).0, 503);
    vps.hostkit("health halext").fails_with(6);
    vps.sh("systemctl start postgresql@15-main").succeeds();
    vps.wait_until("the house is well", |vps| vps.hostkit("health halext").code == 0);
    assert_eq!(house.json("/tasks/", &ann, None).1[0]["title"], "water the plants");
    vps.hostkit("rollback halext").succeeds();
    assert_eq!(house.json("/version", "", None).1["name"], "halext");
    vps.hostkit("drift halext").succeeds();
    vps.hostkit("project delete halext --yes --no-backup").succeeds();
    vps.sh("id halext").fails_with(1);
}
