//! Trees of several parts, and manifests that are printed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::projects::manifest::manifest_text;

const VITE: &str =
    r#"frontend/package.json={"scripts":{"build":"vite build"},"devDependencies":{"vite":"5"}}"#;

/// Each step with where it runs.
fn placed(recipe: &Recipe) -> Vec<String> {
    let line = |step: &BuildStep| format!("{}: {}", step.directory, step.command.join(" "));
    recipe.steps.iter().map(line).collect()
}

const PIP: &str = "/usr/bin/python3 -m pip --python ../venv/bin/python install \
    --disable-pip-version-check --no-input --requirement requirements.txt";

#[test]
fn a_backend_and_a_frontend_are_found_in_their_directories() {
    let main = "backend/main.py=from fastapi import FastAPI\napi = FastAPI(title='x')\n\
        @api.websocket(\"/ws/{id}\")\n";
    let requirements = "backend/requirements.txt=fastapi==0.1\nuvicorn==0.2\n";
    let entries = [requirements, main, VITE, "frontend/package-lock.json", "README.md"];
    let recipe = with(&entries, "", None, None, ALL_TOOLS).unwrap();
    assert_eq!(
        (recipe.runtime, recipe.because.as_str()),
        (Runtime::Python, "backend/requirements.txt")
    );
    assert_eq!(
        placed(&recipe),
        [
            ": /usr/bin/python3 -m venv --without-pip venv",
            &format!("backend: {PIP}"),
            "frontend: /usr/bin/npm ci --no-audit --no-fund --include=dev",
            "frontend: /usr/bin/npm run build",
            "frontend: /bin/rm -rf node_modules",
        ]
    );
    assert_eq!(web(&recipe), "venv/bin/uvicorn main:api --host 127.0.0.1 --port $PORT in backend");
    let titles: BTreeSet<&str> = recipe.steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(titles.len(), recipe.steps.len(), "each is timed by its title: {titles:?}");
    let cache = ("npm_config_cache".to_owned(), "/home/my-shop/.cache/npm".to_owned());
    assert!(recipe.steps[2].environment.contains(&cache));
    // What the backend installs is known by itself: a change of the frontend leaves it.
    assert!(recipe.spec.installs.is_some());
    let paths: Vec<&str> = recipe.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/", "/api/", "/ws/"]);
    let candidates = ["dist", "build", "out"].map(|dir| format!("frontend/{dir}")).to_vec();
    let directory = "frontend/dist".to_owned();
    assert_eq!(recipe.routes[0].serves, Serves::Files { directory, candidates, spa: true });
    let api = Serves::Process { name: "web", strip: true, websocket: false };
    assert_eq!(recipe.routes[1].serves, api);
}

#[test]
fn parts_differ_from_tree_to_tree() {
    let requirements = "backend/requirements.txt=uvicorn\n";
    let start = |entries: &[&str]| {
        let all: Vec<&str> = [requirements].into_iter().chain(entries.iter().copied()).collect();
        web(&with(&all, "", None, None, ALL_TOOLS).unwrap())
    };
    let uvicorn = |module: &str| {
        format!("venv/bin/uvicorn {module} --host 127.0.0.1 --port $PORT in backend")
    };
    assert_eq!(start(&["backend/app/main.py=app = FastAPI()\n"]), uvicorn("app.main:app"));
    assert_eq!(
        start(&[
            "backend/main.py=import app\n",
            "backend/app/main.py=web: FastAPI = fastapi.FastAPI()\n"
        ]),
        uvicorn("app.main:web")
    );
    assert_eq!(start(&["backend/main.py", "backend/app/main.py"]), uvicorn("main:app"));
    assert_eq!(start(&["backend/__main__.py"]), "venv/bin/python . in backend");
    let django = "backend/requirements.txt=django\ngunicorn\n";
    let recipe = of(&[django, "backend/manage.py", "backend/site/wsgi.py"]);
    assert!(web(&recipe).starts_with("venv/bin/gunicorn site.wsgi:application"));
    let migrations = recipe.migrations.unwrap();
    assert_eq!(
        (migrations.command[1].as_str(), migrations.directory.as_str()),
        ("manage.py", "backend")
    );
    // Node, with its packages where its code is.
    let node = r#"server/package.json={"scripts":{"start":"node index.js"},
        "dependencies":{"knex":"3"}}"#;
    let recipe = of(&[node, "server/package-lock.json", "server/knexfile.js"]);
    assert_eq!((recipe.runtime, recipe.because.as_str()), (Runtime::Node, "server/package.json"));
    assert_eq!(web(&recipe), "/usr/bin/node index.js in server");
    assert_eq!(placed(&recipe), ["server: /usr/bin/npm ci --no-audit --no-fund"]);
    let migrations = recipe.migrations.unwrap();
    assert_eq!(migrations.command[0], "server/node_modules/.bin/knex");
    assert_eq!(migrations.directory, "server");
    // uv and poetry put the environment where the unit looks.
    let recipe =
        with(&["backend/uv.lock", "backend/pyproject.toml"], "", None, None, ALL_TOOLS).unwrap();
    assert_eq!(placed(&recipe), ["backend: /usr/bin/env uv sync --frozen --no-dev"]);
    assert!(
        recipe.steps[0].environment.contains(&("UV_PROJECT_ENVIRONMENT".into(), "../venv".into()))
    );
    let poetry = "backend/pyproject.toml=[tool.poetry]\nname = \"x\"\n";
    let recipe = with(&["backend/poetry.lock", poetry], "", None, None, ALL_TOOLS).unwrap();
    assert_eq!(placed(&recipe).last().unwrap(), ": /bin/ln -sfn backend/.venv venv");
}

#[test]
fn what_is_at_the_top_decides_alone() {
    for top in ["requirements.txt", "index.html", "main.py", "__main__.py"] {
        let recipe = of(&[top, "backend/requirements.txt", VITE]);
        assert_eq!(
            (recipe.because.as_str().contains('/'), recipe.routes.len()),
            (false, 0),
            "{top}"
        );
        assert!(recipe.steps.iter().all(|step| step.directory.is_empty()), "{top}");
    }
    // A manifest's steps build all there is to build.
    let manifest = "[process.web]\ncommand = \"venv/bin/x\"\ndirectory = \"backend\"\n\
        [build]\nsteps = [\"npm --prefix frontend ci\"]\n";
    let recipe =
        with(&["backend/requirements.txt", VITE], manifest, None, None, ALL_TOOLS).unwrap();
    assert_eq!(
        placed(&recipe)[1..],
        [format!("backend: {PIP}"), ": /bin/sh -c npm --prefix frontend ci".into()]
    );
    let caches: Vec<&str> = recipe.steps[2].environment.iter().map(|(_, v)| v.as_str()).collect();
    assert!(caches.contains(&"/home/my-shop/.cache/npm"), "{caches:?}");
    assert_eq!(recipe.routes, []);
    // Whose process runs in a directory without dependencies has them at the top, if anywhere.
    let recipe = with(
        &["requirements.txt", "backend/main.py"],
        "[process.web]\ncommand = \"venv/bin/x\"\ndirectory = \"backend\"\n",
        None,
        None,
        ALL_TOOLS,
    );
    assert_eq!(recipe.unwrap().steps[1].directory, "");
    let manifest = "[process.web]\ncommand = \"run\"\ndirectory = \"services/api\"\n";
    let recipe = with(&["services/api/package.json={}"], manifest, None, None, ALL_TOOLS).unwrap();
    assert_eq!(web(&recipe), "services/api/node_modules/.bin/run in services/api");
    let recipe = with(&["services/api/requirements.txt"], manifest, None, None, ALL_TOOLS).unwrap();
    assert!(placed(&recipe)[1].contains(" --python ../../venv/bin/python "));
    assert_eq!(web(&recipe), "venv/bin/run in services/api");
}

/// All of a recipe but for what is only said.
fn effect(recipe: Recipe) -> Recipe {
    Recipe { because: String::new(), notes: Vec::new(), routes: Vec::new(), ..recipe }
}

fn assert_printed(tree: &Tree, manifest: Option<&str>, what: &str) -> String {
    let shop = "my-shop".parse().unwrap();
    let manifest = manifest.map(|text| parse_manifest(text).unwrap());
    let first = recipe(tree, manifest.as_ref(), None, None, &shop, ALL_TOOLS).unwrap();
    let text = manifest_text(&first, manifest.as_ref());
    let again = parse_manifest(&text).unwrap_or_else(|e| panic!("{what}: {e}\n{text}"));
    let second = recipe(tree, Some(&again), None, None, &shop, ALL_TOOLS).unwrap();
    assert_eq!(effect(first), effect(second.clone()), "{what}:\n{text}");
    // What is printed once is printed so again.
    let twice = manifest_text(&second, Some(&again));
    let values = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(values(&twice), values(&text), "{what}");
    text
}

fn walk(dir: &Path, top: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if !name.contains("node_modules") && name.matches('/').count() < 2 {
                walk(&path, top, tree);
            }
            continue;
        }
        if let Ok(text) = fs::read_to_string(&path) {
            tree.texts.insert(name.clone(), text);
        }
        tree.paths.insert(name);
    }
}

#[test]
fn the_printed_manifest_of_each_example_comes_to_the_same_recipe() {
    let examples: PathBuf = [env!("CARGO_MANIFEST_DIR"), "examples"].iter().collect();
    let mut count = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let dir = entry.unwrap().path();
        let mut tree = Tree::default();
        walk(&dir, &dir, &mut tree);
        let manifest = tree.texts.get("hostkit.toml").cloned();
        let name = dir.file_name().unwrap().to_str().unwrap();
        let is_source =
            manifest.is_some() || TEXTS.iter().chain(&["__main__.py"]).any(|name| tree.has(name));
        if !is_source {
            continue;
        }
        assert_printed(&tree, manifest.as_deref(), name);
        count += 1;
    }
    assert!(count >= 7, "{count}");
}

#[test]
fn the_printed_manifest_of_any_tree_comes_to_the_same_recipe() {
    let next = r#"package.json={"scripts":{"build":"next build"},"dependencies":{"next":"15"}}"#;
    let full = "[project]\nshared = [\"uploads\"]\n\
        [build]\nsteps = [\"make 'a'\\nmake \\\"b\\\"\"]\ntimeout = 90\nmemory = \"1G\"\n\
        [deploy]\nstrategy = \"restart\"\nwatch = 0\ndrain = \"90s\"\nmigrate = false\n\
        [process.web]\ncommand = \"uvicorn main:app --port $PORT --x '$HOME a' \\\"b c\\\" %h\"\ndirectory = \"api\"\naliases = [\"my-shop-api\"]\n\
        health = { path = \"/up?a=b\", status = 204, body = \"a \\\"b\\\" \\\\\" }\nmetrics = \"/internal/metrics\"\n\
        [process.beat]\ncommand = \"celery beat\"\n\
        [process.tidy]\ncommand = \"/bin/sh -c 'a && b; echo $X'\"\nschedule = \"*/5 9-17 * * 1-5\"\n\
        [process.move]\ncommand = \"python3 x.py\"\nwhen = \"release\"\n\
        [services]\npostgres = { url_scheme = \"postgresql+psycopg\" }\nredis = false\n\
        [build.env]\nB = \"$X '%h'\"\n\
        [env]\nA = \"1 \\\"2\\\" #3\"\n[env.from]\nPGHOST = \"DATABASE_URL.host\"\nK = \"KEY\"\n[env.required]\nKEY = \"of the 'door'\"\n\
        [env.generate]\nS = \"fernet\"\nC = { kind = \"code:9\", show = true, about = \"a \\\"b\\\"\" }\n";
    for (entries, manifest) in [
        (&["requirements.txt=flask\nuvicorn\n", "main.py"][..], None),
        (&["requirements.txt=alembic\n", "alembic.ini", "__main__.py"], None),
        (&["requirements.txt", "Procfile=web: gunicorn a:b --bind 127.0.0.1:$PORT"], None),
        (&["backend/requirements.txt=uvicorn", "backend/main.py=a = FastAPI()", VITE], None),
        (&["server/package.json={\"scripts\":{\"start\":\"node a.js\"}}", "server/a.js"], None),
        (&[next, "next.config.mjs=export default {output: 'standalone'}"], None),
        (&[next, "next.config.mjs=export default {output: 'export'}"], None),
        (&["index.html"], None),
        (&["public/index.php", "composer.json={}"], None),
        (&["index.php"], Some("[project]\nruntime = \"php\"\n[process.web]\nhealth = \"/up\"\n")),
        (&["requirements.txt"], Some(full)),
        (&["a.txt"], Some(full)),
        (&[VITE], None),
        (&["web/index.html"], None),
        (
            &["index.html", "main.py"],
            Some(
                "[routes]\n\"/\" = { static = \"a\", allow = [\"10.0.0.0/8\"], deny = [\"10.1.2.3\"] }\n",
            ),
        ),
        (
            &["requirements.txt=flask", "c/constraints.txt=x==1"],
            Some("[build]\npackages = [\"a[b]==1\"]\nconstraints = \"c/constraints.txt\"\n"),
        ),
        (&["dist/a.html"], Some("[project]\npublic = \"dist\"\n[build]\ninstall = false\n")),
    ] {
        assert_printed(&tree(entries), manifest, &format!("{entries:?}"));
    }
}

#[test]
fn a_printed_manifest_reads_well() {
    let entries = [
        "backend/requirements.txt=uvicorn\n",
        "backend/main.py=app = FastAPI()\n@app.get(\"/api/x\")\n",
        VITE,
        "frontend/package-lock.json",
    ];
    insta::assert_snapshot!("printed", assert_printed(&tree(&entries), None, "parts"));
}

#[test]
fn a_frontend_alone_is_found_in_its_directory() {
    let recipe =
        |entries: &[&str], manifest: &str| with(entries, manifest, None, None, ALL_TOOLS).unwrap();
    let built = recipe(&[VITE, "frontend/package-lock.json", "README.md"], "");
    assert_eq!(
        (built.runtime, built.because.as_str()),
        (Runtime::Static, "`build` in package.json, and nothing that starts")
    );
    assert_eq!(
        placed(&built),
        [
            "frontend: /usr/bin/npm ci --no-audit --no-fund --include=dev",
            "frontend: /usr/bin/npm run build",
            "frontend: /bin/rm -rf node_modules",
        ]
    );
    assert_eq!(built.public_candidates, ["frontend/dist", "frontend/build", "frontend/out"]);
    assert!(built.routes.is_empty() && built.spec.processes.is_empty());

    let plain = recipe(&["web/index.html", "web/style.css"], "");
    assert_eq!((plain.runtime, plain.spec.public.as_deref()), (Runtime::Static, Some("web")));
    assert_eq!(plain.because, "web/index.html");
    let below = recipe(&["ui/index.html", "ui/package.json={\"scripts\":{\"build\":\"x\"}}"], "");
    assert_eq!(below.public_candidates[0], "ui/dist");
    // What a person says of where it ends holds, and it is built all the same.
    let told = recipe(&[VITE], "[project]\npublic = \"frontend/site\"\n");
    assert_eq!(told.spec.public.as_deref(), Some("frontend/site"));
    assert!(placed(&told).contains(&"frontend: /usr/bin/npm run build".to_owned()));
    // A tree that is something else is not.
    for (entries, manifest) in [
        (&["index.html", VITE][..], ""),
        (&["web/index.html"], "[project]\npublic = \"web\"\n"),
        (&["main.py", "web/index.html"], ""),
    ] {
        assert!(recipe(entries, manifest).steps.iter().all(|step| step.directory.is_empty()));
    }
}
