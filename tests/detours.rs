//! Releases with other routes: they change as one with the code, whatever happens meanwhile.

use std::{
    io::{Read, Write},
    time::Duration,
};

use crate::{
    routes::{APP, Shop, WEB},
    vps::Load,
};

/// Two tables that have no path in common but the names: the one's files are not in the other's
/// release, and the one's process knows nothing of the other's paths.
fn alternate(shop: &Shop) {
    let files = |name: &str, routes: &str, below: &str, dir: &str| {
        let server = APP.replace("VERSION", name).replace("BELOW", below);
        let strategy = "[deploy]\ndrain = \"5s\"\n";
        shop.tree(
            name,
            &[
                ("hostkit.toml", &format!("{WEB}{strategy}[routes]\n{routes}")),
                ("server.py", &server),
                (&format!("{dir}/index.html"), name),
                (&format!("{dir}/files/app.js"), name),
            ],
        );
    };
    files(
        "one",
        "\"/\" = { static = \"dist\", spa = true }\n\
         \"/api/\" = { process = \"web\", strip = true }\n\
         \"/assets/\" = { static = \"dist/files\" }\n",
        "/tasks",
        "dist",
    );
    files(
        "two",
        "\"/\" = { static = \"build/site\" }\n\
         \"/api/\" = { process = \"web\" }\n\
         \"/assets/\" = { static = \"build/site/files\", cache = \"1d\" }\n",
        "/api/tasks",
        "build/site",
    );
}

const PAGES: [&str; 3] = ["/", "/api/tasks", "/assets/app.js"];

#[test]
fn routes_change_as_one_with_the_code() {
    let shop = Shop::open();
    alternate(&shop);
    shop.deploy("one");
    let is = |version: &str| {
        assert_eq!(shop.get("/"), format!("200 {version}"));
        assert_eq!(shop.get("/assets/app.js"), format!("200 {version}"));
        assert!(shop.get("/api/tasks").contains(&format!("\"version\": \"{version}\"")));
    };
    is("one");
    let load = Load::looking(&shop.vps, &shop.host, 8, &PAGES);
    for n in 0..10 {
        shop.deploy(["two", "one"][n % 2]);
        is(["two", "one"][n % 2]);
        shop.vps.hostkit("rollback shop --quiet").succeeds();
        is(["one", "two"][n % 2]);
        let newest = shop.vps.hostkit("releases shop --json").data()[0]["id"].to_string();
        let newest = newest.trim_matches('"');
        shop.vps.hostkit(&format!("rollback shop --to {newest} --quiet")).succeeds();
        is(["two", "one"][n % 2]);
    }
    load.end().assert_none_failed(3000);
    shop.vps.hostkit("drift shop").succeeds();
    let left = shop.vps.sh("ls /run/systemd/system | grep hostkit-shop; ls /run/hostkit/next");
    assert_eq!(left.stdout, "", "{left}");
}

/// Who has connected and takes a while to ask gets an answer all the same.
#[test]
fn nobody_comes_too_late() {
    let shop = Shop::open();
    alternate(&shop);
    shop.deploy("one");
    let line = format!("GET /assets/app.js HTTP/1.0\r\nHost: {}\r\n\r\n", shop.host);
    let mut came = Vec::new();
    std::thread::scope(|scope| {
        let deploys = scope.spawn(|| {
            for n in 0..6 {
                shop.deploy(["two", "one"][n % 2]);
            }
        });
        let ask = |_| {
            let mut stream = shop.connect();
            std::thread::sleep(Duration::from_millis(400));
            let mut text = String::new();
            let _ = stream.write_all(line.as_bytes());
            let _ = stream.read_to_string(&mut text);
            text.lines().next().unwrap_or("closed").to_owned()
        };
        while !deploys.is_finished() {
            let some: Vec<_> = (0..8).map(|n| scope.spawn(move || ask(n))).collect();
            came.extend(some.into_iter().map(|one| one.join().unwrap()));
        }
    });
    let odd: Vec<_> = came.iter().filter(|line| !line.contains(" 200 ")).collect();
    println!("{} came late", came.len());
    assert!(odd.is_empty(), "{} of {}: {odd:?}", odd.len(), came.len());
}

#[test]
fn a_release_that_does_not_come_up_keeps_the_old_routes() {
    let shop = Shop::open();
    alternate(&shop);
    shop.deploy("one");
    let site = || shop.vps.read("/etc/nginx/sites-available/hostkit-shop");
    let before = site();
    // Comes up as the standby, and not as the main process: the site is on its way by then.
    let server = shop.vps.read("/root/two/server.py");
    let late = format!("import os, sys\nif os.environ['PORT'] == '8001': sys.exit(3)\n{server}");
    shop.vps.write("/root/late/server.py", &late);
    shop.vps.sh("cp -rn /root/two/. /root/late/").succeeds();
    let load = Load::looking(&shop.vps, &shop.host, 4, &PAGES);
    shop.vps.hostkit("deploy shop --source /root/late --no-watch").fails_with(6);
    assert_eq!(site(), before);
    assert_eq!(shop.get("/"), "200 one");
    assert!(shop.get("/api/tasks").contains("\"one\""));
    load.end().assert_none_failed(200);
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn killed_at_any_moment_the_routes_are_those_of_the_code() {
    let shop = Shop::open();
    alternate(&shop);
    shop.deploy("one");
    let mut ends = Vec::new();
    for n in (0..400).step_by(3) {
        let line = "deploy shop --source /root/two --no-watch --no-checkpoint";
        let killed = shop.vps.hostkit_fault(&format!("kill@{n}"), line);
        if killed.code == 0 {
            break;
        }
        shop.vps.hostkit("recover").succeeds();
        let (page, api) = (shop.get("/"), shop.get("/api/tasks"));
        let version = page.trim_start_matches("200 ").to_owned();
        assert!(["one", "two"].contains(&version.as_str()), "{n}: {page}");
        assert!(api.contains(&format!("\"{version}\"")), "{n}: {page} {api}");
        shop.vps.hostkit("drift shop").succeeds();
        if version == "two" {
            shop.vps.hostkit("rollback shop --quiet").succeeds();
        }
        ends.push(version);
    }
    println!("{ends:?}");
    assert!((8..130).contains(&ends.len()), "{ends:?}");
}

#[test]
fn what_breaks_after_the_switch_brings_the_old_routes_back() {
    let shop = Shop::open();
    alternate(&shop);
    shop.deploy("one");
    let site = shop.vps.read("/etc/nginx/sites-available/hostkit-shop");
    let server = shop.vps.read("/root/two/server.py");
    let ill =
        server.replace("status = 200 if", "status = 500 if time.time() - began > 3 else 200 if");
    shop.vps.write("/root/ill/server.py", &format!("import time\nbegan = time.time()\n{ill}"));
    shop.vps.sh("cp -rn /root/two/. /root/ill/").succeeds();
    let load = Load::looking(&shop.vps, &shop.host, 4, &PAGES);
    let told = shop.vps.hostkit("deploy shop --source /root/ill --watch 20s").fails_with(6);
    assert!(told.contains("requests were answered with 5xx"), "{told}");
    assert_eq!(shop.vps.read("/etc/nginx/sites-available/hostkit-shop"), site);
    assert_eq!(shop.get("/"), "200 one");
    let report = load.end();
    // It was ill, and nothing else was wrong: no path led to the other release's parts.
    let odd: Vec<_> = report.failed.iter().filter(|why| !why.ends_with("status 500")).collect();
    assert!(odd.is_empty() && !report.failed.is_empty(), "{odd:?}");
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn files_are_sent_while_a_process_starts_alone() {
    let shop = Shop::open();
    alternate(&shop);
    for name in ["one", "two"] {
        let edit =
            format!("sed -i 's/^drain/strategy = \"restart\"\\ndrain/' /root/{name}/hostkit.toml");
        shop.vps.sh(&edit).succeeds();
        let slow = format!(
            "import time\ntime.sleep(1)\n{}",
            shop.vps.read(&format!("/root/{name}/server.py"))
        );
        shop.vps.write(&format!("/root/{name}/server.py"), &slow);
    }
    shop.deploy("one");
    let load = Load::looking(&shop.vps, &shop.host, 4, &["/", "/assets/app.js"]);
    for version in ["two", "one"] {
        shop.deploy(version);
        assert_eq!(shop.get("/"), format!("200 {version}"));
    }
    shop.vps.hostkit("rollback shop --quiet").succeeds();
    assert_eq!(shop.get("/assets/app.js"), "200 two");
    load.end().assert_none_failed(200);
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn what_is_sent_and_what_runs_come_and_go() {
    let shop = Shop::open();
    alternate(&shop);
    // A site without a process, one without routes, and one with nothing for `/`.
    shop.tree(
        "files",
        &[
            (
                "hostkit.toml",
                "[routes]\n\"/\" = { static = \"www\" }\n\"/x\" = { redirect = \"/\" }\n",
            ),
            ("www/index.html", "files"),
        ],
    );
    shop.tree("plain", &[("hostkit.toml", WEB), ("server.py", &APP.replace("BELOW", "/"))]);
    shop.tree("pages", &[("index.html", "pages")]);
    let api = format!("{WEB}[routes]\n\"/api/\" = {{ process = \"web\" }}\n");
    shop.tree("api", &[("hostkit.toml", &api), ("server.py", &APP.replace("BELOW", "/"))]);
    let looks = |name: &str| {
        let (page, api) = (shop.get("/"), shop.get("/api/tasks"));
        match name {
            "files" => assert!(page == "200 files" && api.starts_with("404 "), "{page} {api}"),
            "pages" => assert!(page == "200 pages" && api.starts_with("404 "), "{page} {api}"),
            "plain" => assert!(page.contains("\"/\"") && api.starts_with("200 "), "{page} {api}"),
            "api" => assert!(page.starts_with("404 ") && api.starts_with("200 "), "{page} {api}"),
            _ => assert!(page == "200 one" && api.contains("\"one\""), "{page} {api}"),
        }
        shop.vps.hostkit("drift shop").succeeds();
    };
    let mut before = "files";
    shop.deploy("files");
    looks("files");
    for name in ["one", "files", "plain", "api", "pages", "one"] {
        shop.deploy(name);
        looks(name);
        shop.vps.hostkit("rollback shop --quiet").succeeds();
        looks(before);
        let newest = shop.vps.hostkit("releases shop --json").data()[0]["id"].to_string();
        shop.vps
            .hostkit(&format!("rollback shop --to {} --quiet", newest.trim_matches('"')))
            .succeeds();
        looks(name);
        before = name;
    }
}
