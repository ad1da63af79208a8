//! Manifests before any deploy: checked, printed, described by a schema; and trees without one.

use std::path::Path;

use serde_json::json;

use crate::vps::{BASE_DOMAIN, Vps};

/// As a person on a laptop would: nobody whom hostkit knows, on a server without hostkit's setup.
fn as_nobody(vps: &Vps, line: &str) -> crate::vps::Ran {
    vps.sh("id somebody > /dev/null 2>&1 || useradd -m somebody").succeeds();
    vps.sh_as("somebody", &format!("hostkit {line}"))
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let vps = Vps::bare();
    vps.write(
        "/srv/shop/hostkit.toml",
        "[project]\nruntime = \"pyton\"\n\n[build]\nstpes = []\n[process.web]\n\
         command = \"a && b\"\ndirectory = \"backend\"\n",
    );
    let ran = as_nobody(&vps, "validate /srv/shop");
    assert_eq!(ran.code, 2, "{ran}");
    for line in [
        "hostkit.toml:2:11: `runtime` can't be `pyton`\n     2 | runtime = \"pyton\"\n       |           ^\n  hint: did you mean `python`?\n",
        "hostkit.toml:5:1: there is no key `build.stpes`\n",
        "  hint: did you mean `build.steps`?\n",
        "hostkit.toml:7:11: `&&` means something to a shell only",
        "3 mistakes\n",
    ] {
        assert!(ran.stdout.contains(line), "{line}: {ran}");
    }
    let ran = as_nobody(&vps, "validate /srv/shop --json");
    assert_eq!(ran.code, 2, "{ran}");
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let mistakes = told["data"]["mistakes"].as_array().unwrap();
    let places: Vec<_> = mistakes.iter().map(|one| (&one["line"], &one["column"])).collect();
    assert_eq!(json!(places), json!([[2, 11], [5, 1], [7, 11]]));
    assert_eq!(told["data"]["valid"], false);

    // What a deploy would refuse or its owner regret; and a tree that needs no manifest.
    vps.write(
        "/srv/shop/hostkit.toml",
        "[process.web]\ncommand = \"a/b\"\ndirectory = \"backend\"\n",
    );
    vps.write("/srv/shop/.env", "PASSWORD=x\n");
    vps.write("/srv/shop/package.json", "{\"scripts\":{\"start\":\"node x.js\"}}");
    vps.sh("cd /srv/shop && git init -q . && git add -f .env").succeeds();
    let told = as_nobody(&vps, "validate /srv/shop").succeeds();
    for line in [
        "warning: `.env` goes along with each deploy",
        "warning: `web` runs in `backend`, and the tree has no such directory",
        "warning: there is no lock file",
        "hostkit.toml can be used\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    // An environment that there is not, and one that reaches what nobody leads to.
    let odd = "[process.web]\ncommand = \"a/b\"\n[process.mail]\ncommand = \"a/c\"\n";
    vps.write("/srv/shop/hostkit.toml", &format!("{odd}[expose]\ndev = [\"web\", \"mail\"]\n"));
    let told = as_nobody(&vps, "validate /srv/shop").succeeds();
    assert!(told.contains("warning: `[expose]` names `mail`, and no route leads there"), "{told}");
    vps.write(
        "/srv/shop/hostkit.toml",
        &format!("{odd}[env.stagign]\nA = \"1\"\n[expose]\nprod = [\"maill\"]\n"),
    );
    let ran = as_nobody(&vps, "validate /srv/shop");
    assert_eq!(ran.code, 2, "{ran}");
    for line in [
        "hostkit.toml:5:6: there is no environment `stagign`\n",
        "did you mean `[env.staging]`?",
        "hostkit.toml:8:9: there is no process `maill`\n",
        "did you mean `mail`?",
    ] {
        assert!(ran.stdout.contains(line), "{line}: {ran}");
    }
    vps.write("/srv/shop/hostkit.toml", odd);
    // Git's shortest form of its index, and a name that would move the cursor.
    vps.sh("mkdir -p $'/srv/odd/a\\e[2Jb' && cd /srv/odd && touch a.py $'a\\e[2Jb/.env' && git init -q . && git add -f . && git update-index --index-version 4 && rm $'a\\e[2Jb/.env'").succeeds();
    assert_eq!(
        vps.sh("head -c 8 /srv/odd/.git/index | tail -c 1 | od -An -tu1").succeeds().trim(),
        "4"
    );
    for json in ["", "--json"] {
        let told = as_nobody(&vps, &format!("validate /srv/odd {json}")).succeeds();
        assert!(told.contains("u{1b}[2Jb/.env` goes along with each deploy"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }
    vps.sh("cd /srv/shop; git rm -q --cached .env; mkdir backend; touch backend/x; echo '{}' > package-lock.json").succeeds();
    let told = as_nobody(&vps, "validate /srv/shop --json").data();
    assert_eq!((&told["valid"], &told["warnings"]), (&json!(true), &json!([])));
    vps.sh("mkdir /srv/empty /srv/site; touch /srv/site/index.html").succeeds();
    vps.write("/srv/py/main.py", "");
    for (requirements, is_told) in [("flask\n", true), ("flask==3.0.0\n", false)] {
        vps.write("/srv/py/requirements.txt", requirements);
        let told = as_nobody(&vps, "validate /srv/py").succeeds();
        assert_eq!(told.contains("warning: there is no lock file, and no"), is_told, "{told}");
    }
    let told = as_nobody(&vps, "validate /srv/empty").succeeds();
    assert!(told.contains("a deploy would be refused: nothing in the tree says"), "{told}");
    let told = as_nobody(&vps, "validate /srv/site").succeeds();
    assert!(told.contains("there is no hostkit.toml, and none is needed"), "{told}");
    assert_eq!(as_nobody(&vps, "validate /srv/none").code, 2);
    vps.sh("rm -rf /srv/shop /srv/empty /srv/site").succeeds();
}

const CHECK: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open("/root/schema.json"))
Draft202012Validator.check_schema(schema)
manifest = json.load(open("/root/manifest.json"))
errors = [f"{list(e.absolute_path)}: {e.message}" for e in Draft202012Validator(schema).iter_errors(manifest)]
print("\n".join(errors))
sys.exit(1 if errors else 0)
"#;

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let vps = Vps::bare();
    vps.sh("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-jsonschema > /dev/null").succeeds();
    vps.write("/root/check.py", CHECK);
    vps.sh("hostkit manifest --schema > /root/schema.json").succeeds();
    assert_eq!(as_nobody(&vps, "manifest --schema --json").data()["title"], "hostkit.toml");
    let schema = |text: &str| {
        let manifest: serde_json::Value = toml::from_str(text).unwrap();
        vps.write("/root/manifest.json", &manifest.to_string());
        vps.sh("python3 /root/check.py")
    };
    let reader = |text: &str| {
        vps.write("/root/tree/hostkit.toml", text);
        vps.hostkit("validate /root/tree")
    };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let dir = entry.unwrap().path();
        let own = std::fs::read_to_string(dir.join("hostkit.toml"));
        if let Ok(text) = &own {
            schema(text).succeeds();
            count += 1;
        }
        // What is printed for it is taken by both.
        vps.push(&dir, "/root/example");
        let printed = vps.hostkit("manifest /root/example");
        vps.sh("rm -rf /root/example").succeeds();
        if printed.code == 0 {
            schema(&printed.stdout).succeeds();
            reader(&printed.stdout).succeeds();
        }
    }
    assert!(count >= 3, "{count}");
    let web = "[process.web]\ncommand = \"a/b\"\n";
    for good in [
        "",
        "[project]\nshared = [\"a\", \"./b/c/\"]\npublic = \"\"\n",
        "[build]\ntimeout = 90\nmemory = \"64M\"\nsteps = []\ninstall = false\n",
        "[deploy]\ntimeout = \"50m 30s\"\nwatch = \"PT5S\"\nstrategy = \"restart\"\nmigrate = true\n",
        &format!("{web}health = \"/up\"\n"),
        &format!(
            "{web}directory = \"a/b\"\nhealth = {{ path = \"/up?a=b\", status = 204, body = \"x\", timeout = 3 }}\n"
        ),
        "[process.tidy]\ncommand = \"a/b\"\nschedule = \"daily\"\n[process.a-1]\ncommand = \"x/y\"\nwhen = \"release\"\n",
        "[env]\nA = \"\"\n_b2 = \"c\"\n[env.required]\nC = \"why\"\n[env.generate]\nD = \"fernet\"\nE = { kind = \"words:4\", show = true, about = \"x\" }\nF = \"hex\"\n",
        "[services]\npostgres = { url_scheme = \"postgresql+psycopg\" }\nredis = true\nstorage = false\n",
        "[services]\npostgres = false\n",
        "[build]\npackages = [\"uvicorn[standard]>=0.30,<1\", \"a==1\"]\nconstraints = \"./deploy/c.txt\"\n[build.env]\nNODE_ENV = \"\"\n",
        &format!("{web}aliases = [\"my-shop-api\", \"old_one\"]\n"),
        "[env.from]\nPGHOST = \"DATABASE_URL.host\"\nA = \"PORT\"\n",
        &format!(
            "{web}[routes]\n\"/\" = {{ process = \"web\", allow = [\"10.0.0.0/8\", \"::1\"], deny = [\"10.1.1.1\"] }}\n"
        ),
    ] {
        reader(good).succeeds();
        let ran = schema(good);
        assert_eq!(ran.code, 0, "{good}: {ran}");
    }
    for bad in [
        "[projct]\n",
        "project = 1\n",
        "[project]\nruntime = \"pyton\"\n",
        "[project]\nshared = \"a\"\n",
        "[project]\npublic = \"/etc\"\n",
        "[build]\nstpes = []\n",
        "[build]\nmemory = \"lots\"\n",
        "[build]\ntimeout = 0\n",
        "[build]\ninstall = \"no\"\n",
        "[deploy]\nstrategy = \"fast\"\n",
        &format!("{web}health = \"up\"\n"),
        &format!("{web}health = {{ status = 200 }}\n"),
        &format!("{web}health = {{ path = \"/\", status = 99 }}\n"),
        &format!("{web}when = \"later\"\n"),
        "[process.Web]\ncommand = \"a/b\"\n",
        "[env]\nA = 5\n",
        "[env]\nA = { B = \"c\" }\n",
        "[env]\nrequired = \"x\"\n",
        "[env]\n\"A B\" = \"x\"\n",
        "[env.generate]\nA = \"hexx\"\n",
        "[env.generate]\nA = { show = true }\n",
        "[services]\npostgres = { scheme = \"x\" }\n",
        "[services.postgres]\nurl_scheme = \"mysql\"\n",
        "[build]\npackages = [\"--pre\"]\n",
        "[build]\npackages = [\"x @ https://x.example/x\"]\n",
        "[build]\nconstraints = \"/etc/passwd\"\n",
        &format!("{web}aliases = [\"ssh.socket\"]\n"),
        &format!("{web}aliases = [\"a@\"]\n"),
        &format!("{web}aliases = [\"../x\"]\n"),
        "[env.from]\nA = \"DATABASE_URL.hots\"\n",
        &format!("{web}[routes]\n\"/\" = {{ process = \"web\", allow = [\"all\"] }}\n"),
    ] {
        reader(bad).fails_with(2);
        let ran = schema(bad);
        assert_eq!(ran.code, 1, "{bad}: {ran}");
    }
}

const BACKEND: &str = r#"
import json, os
class FastAPI:
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = json.dumps({"cwd": os.getcwd(), "version": "VERSION",
            "dist": os.path.exists("../frontend/dist/index.html"),
            "modules": os.path.exists("../frontend/node_modules")}).encode()
        await send({"type": "http.response.start", "status": 200,
            "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})
app = FastAPI()
"#;

#[test]
fn a_tree_of_two_parts_is_deployed_without_a_manifest() {
    let vps = Vps::ready();
    let write = |path: &str, text: &str| vps.write(&format!("/root/shop/{path}"), text);
    write("backend/main.py", &BACKEND.replace("VERSION", "one"));
    write("backend/requirements.txt", "uvicorn==0.40.0\nclick==8.3.1\nh11==0.16.0\n");
    write(
        "frontend/package.json",
        r#"{"name":"f","version":"1.0.0","scripts":{"build":"node make.js"},"devDependencies":{"is-number":"7.0.0"}}"#,
    );
    write(
        "frontend/make.js",
        "if (!require.resolve('is-number').includes('/frontend/')) throw 'of the system'; const fs = require('fs'); fs.mkdirSync('dist'); fs.writeFileSync('dist/index.html', 'page')",
    );
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    // A lock file as npm makes it.
    vps.sh("cd /root/shop/frontend && npm install --package-lock-only --no-audit --no-fund && rm -rf node_modules").succeeds();
    let told = vps.hostkit("manifest /root/shop").succeeds();
    for line in [
        "directory = \"backend\"\n",
        "uvicorn main:app",
        "\"/\" = { static = \"frontend/dist\", spa = true }\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let deploy = || vps.hostkit("deploy shop --source /root/shop --no-watch --json").data();
    let page = || {
        let body = vps.get(&format!("shop.{BASE_DOMAIN}"), "/api/").unwrap().body;
        serde_json::from_str::<serde_json::Value>(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
    };
    let first = deploy();
    assert_eq!(first["because"], "backend/requirements.txt");
    let id = first["release"].as_str().unwrap();
    let cwd = format!("/home/shop/releases/{id}/backend");
    let seen = page();
    assert_eq!(
        (&seen["dist"], &seen["modules"], &seen["version"]),
        (&json!(true), &json!(false), &json!("one"))
    );
    assert_eq!(seen["cwd"], cwd.as_str());
    // The second takes over what the backend has installed, and builds the frontend from a cache.
    write("backend/main.py", &BACKEND.replace("VERSION", "two"));
    let second = deploy();
    assert_eq!((&page()["version"], &page()["dist"]), (&json!("two"), &json!(true)));
    let phases = second["phases"].as_object().unwrap();
    assert!(!phases.contains_key("venv"), "{phases:?}");
    assert!(phases.contains_key("frontend: dependencies"), "{phases:?}");
    println!("phases: {} and {}", first["phases"], second["phases"]);
    assert!(vps.sh("ls /home/shop/.cache").succeeds().contains("npm"));
    // The same by a manifest that was printed, and by steps of one's own with caches of the project's.
    vps.sh(
        "hostkit manifest /root/shop > /root/printed && cp /root/printed /root/shop/hostkit.toml",
    )
    .succeeds();
    write("backend/main.py", &BACKEND.replace("VERSION", "three"));
    deploy();
    assert_eq!((&page()["version"], &page()["dist"]), (&json!("three"), &json!(true)));
    write(
        "hostkit.toml",
        "[process.web]\ncommand = \"venv/bin/uvicorn main:app --host $HOST --port $PORT\"\n\
         directory = \"backend\"\n[build]\nsteps = [\"npm --prefix frontend ci && npm --prefix frontend run build\"]\n",
    );
    write("backend/main.py", &BACKEND.replace("VERSION", "four"));
    deploy();
    assert_eq!((&page()["version"], &page()["dist"]), (&json!("four"), &json!(true)));
    vps.hostkit("rollback shop --quiet").succeeds();
    assert_eq!(page()["version"], "three");
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn a_frontend_alone_is_deployed_from_its_directory() {
    let vps = Vps::ready();
    let write = |path: &str, text: &str| vps.write(&format!("/root/site/{path}"), text);
    write("README.md", "a site");
    write("frontend/package.json", r#"{"scripts":{"build":"node make.js"}}"#);
    write(
        "frontend/make.js",
        "const fs = require('fs'); fs.mkdirSync('build'); fs.writeFileSync('build/index.html', 'page')",
    );
    vps.hostkit("provision site --no-db --no-redis --quiet").succeeds();
    let told = vps.hostkit("manifest /root/site").succeeds();
    assert!(told.contains("# found in frontend: /usr/bin/npm run build"), "{told}");
    for manifest in ["", "printed", "[project]\npublic = \"frontend/build\"\n"] {
        match manifest {
            "" => {}
            "printed" => write("hostkit.toml", &told),
            own => write("hostkit.toml", own),
        }
        vps.hostkit("deploy site --source /root/site --no-watch --quiet").succeeds();
        let page = |path: &str| vps.get(&format!("site.{BASE_DOMAIN}"), path).unwrap();
        assert_eq!(page("/").body, "page", "{manifest}");
        // Nothing of what it was made from is to be seen.
        let source = page("/make.js");
        assert!(!source.body.contains("require"), "{}", source.body);
    }
    vps.hostkit("drift site").succeeds();
}
