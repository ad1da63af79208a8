use proptest::prelude::*;

use super::*;
use crate::projects::manifest::parse_manifest;

mod node;
mod packages;
mod parts;
mod php;
mod routes;

const ALL_TOOLS: Tools = Tools {
    composer: true,
    corepack: true,
    fpm: Some(Fpm { major: 8, minor: 2 }),
    pip: true,
    poetry: true,
    uv: true,
};

/// A tree of `path` and `path=text` entries.
fn tree(entries: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for entry in entries {
        let (path, text) = entry.split_once('=').unwrap_or((entry, ""));
        tree.paths.insert(path.into());
        let is_wanted = wanted_texts(None).iter().any(|name| name == path);
        if is_wanted || path.ends_with("constraints.txt") {
            tree.texts.insert(path.into(), text.into());
        }
    }
    tree
}

fn with(
    entries: &[&str],
    manifest: &str,
    asked: Option<Runtime>,
    own_start: Option<&str>,
    tools: Tools,
) -> Result<Recipe> {
    let manifest = parse_manifest(manifest).unwrap();
    let shop = "my-shop".parse().unwrap();
    recipe(&tree(entries), Some(&manifest), asked, own_start, &shop, tools)
}

fn of(entries: &[&str]) -> Recipe {
    with(entries, "", None, None, Tools::default()).unwrap()
}

fn steps_of(recipe: &Recipe) -> Vec<String> {
    recipe.steps.iter().map(|step| step.command.join(" ")).collect()
}

fn web(recipe: &Recipe) -> String {
    let web = recipe.spec.web().unwrap();
    let place = if web.directory.is_empty() { "" } else { " in " };
    format!("{}{place}{}", web.command.join(" "), web.directory)
}

#[test]
fn recipes_as_a_whole() {
    let told = |name: &str, recipe: Recipe| insta::assert_debug_snapshot!(name, recipe);
    told("python", of(&["requirements.txt=flask\n", "__main__.py"]));
    let next = r#"package.json={"scripts":{"build":"next build","start":"next start"},
        "dependencies":{"next":"15"},"devDependencies":{"typescript":"5"}}"#;
    let config = "next.config.mjs=export default {\n  output: 'standalone',\n}";
    told("next-standalone", of(&[next, config, "package-lock.json", "public/a.svg"]));
    let manifest = "[project]\nshared = [\"uploads\"]\n[build]\nsteps = [\"make\\nmake install\"]\n\
        timeout = \"5m\"\nmemory = \"1G\"\n\
        [process.web]\ncommand = \"uvicorn main:app\"\ndirectory = \"api\"\n\
        [process.beat]\ncommand = \"venv/bin/celery beat\"\n[env]\nA = \"1\"\n\
        [env.required]\nKEY = \"of the door\"\n";
    told("manifest", with(&["requirements.txt"], manifest, None, None, ALL_TOOLS).unwrap());
}

#[test]
fn a_tree_says_what_runs_it() {
    let build = r#"package.json={"scripts":{"build":"x","start":"START"}}"#;
    let start = |script: &str| build.replace("START", script);
    let (node, react, vite) =
        (start("node a.js"), start("react-scripts start"), start("npx vite preview"));
    for (entries, runtime, because) in [
        (&["requirements.txt"][..], Runtime::Python, "requirements.txt"),
        (&["pyproject.toml", "index.html"], Runtime::Python, "pyproject.toml"),
        (&["__main__.py", "index.html"], Runtime::Python, "__main__.py"),
        (&["main.py"], Runtime::Python, "its Python files"),
        (&["app/__main__.py"], Runtime::Python, "its Python files"),
        (&[&node], Runtime::Node, "package.json"),
        (&[&node, "requirements.txt"], Runtime::Node, "package.json"),
        (&["package.json={\"main\":\"./lib/x.js\"}", "lib/x.js"], Runtime::Node, "package.json"),
        (&["package.json={}", "server.js"], Runtime::Node, "package.json"),
        (&["server.js"], Runtime::Node, "its JavaScript file"),
        (
            &["package.json={\"dependencies\":{\"next\":\"15\"}}"],
            Runtime::Nextjs,
            "`next` in package.json",
        ),
        (&["package.json={}", "next.config.ts"], Runtime::Nextjs, "`next` in package.json"),
        (
            &[
                "package.json={}",
                "next.config.js=// output: 'x'\nmodule.exports = {\"output\" : \"export\"}",
            ],
            Runtime::Static,
            "`output: \"export\"` for Next.js",
        ),
        (&[&react], Runtime::Static, "`build` in package.json, and nothing that starts"),
        (
            &[&vite, "index.html"],
            Runtime::Static,
            "`build` in package.json, and nothing that starts",
        ),
        (&[&react, "requirements.txt"], Runtime::Python, "requirements.txt"),
        (&["package.json={}", "index.html"], Runtime::Static, "index.html"),
        (&["index.html", "app.js", "make.py"], Runtime::Static, "index.html"),
        (&["public/index.html"], Runtime::Static, "public/index.html"),
    ] {
        let recipe = of(entries);
        assert_eq!((recipe.runtime, recipe.because.as_str()), (runtime, because), "{entries:?}");
        assert_eq!(recipe.spec.runtime, runtime);
    }
}

#[test]
fn an_unknown_tree_gets_the_manifest_to_write() {
    let error = with(&["README.md"], "", None, None, ALL_TOOLS).unwrap_err();
    assert_eq!((error.code, error.kind.exit_code()), ("unknown_tree", 2));
    assert!(error.cause.unwrap().contains("requirements.txt"));
    let hint = error.hint.unwrap();
    let manifest = hint.split_once(":\n").unwrap().1;
    let web = with(&[], manifest, None, None, ALL_TOOLS).unwrap();
    assert_eq!(web.runtime, Runtime::Custom);
    let php = with(&["composer.json", "src/a.php"], "", None, None, ALL_TOOLS).unwrap_err();
    assert!(php.cause.unwrap().contains("no public/index.php"));
}

#[test]
fn what_was_asked_for_holds_or_is_contradicted() {
    let node = r#"package.json={"scripts":{"start":"node a.js"}}"#;
    let asked = |entries: &[&str], manifest: &str, asked| {
        with(entries, manifest, Some(asked), None, ALL_TOOLS)
    };
    assert_eq!(
        asked(&[node, "requirements.txt"], "", Runtime::Python).unwrap().because,
        "requirements.txt"
    );
    assert_eq!(
        asked(&["package.json=}", "a.py"], "", Runtime::Python).unwrap().runtime,
        Runtime::Python
    );
    assert_eq!(asked(&[], "", Runtime::Static).unwrap().because, "as it was made");
    let error = asked(&[node], "", Runtime::Python).unwrap_err();
    assert_eq!(error.code, "runtime_differs");
    assert_eq!(error.message, "`my-shop` was made for python, and this is a tree for node");
    let hint = error.hint.unwrap();
    let way_out = hint.split_once(":\n").unwrap().1;
    assert_eq!(asked(&[node], way_out, Runtime::Python).unwrap().because, "hostkit.toml");
    let error = asked(&[node], "[project]\nruntime = \"node\"", Runtime::Python).unwrap_err();
    assert_eq!(error.cause.as_deref(), Some("hostkit.toml says node"));
    let python = with(&[node], "[project]\nruntime = \"python\"", None, None, ALL_TOOLS).unwrap();
    assert_eq!((python.runtime, python.because.as_str()), (Runtime::Python, "hostkit.toml"));
}

#[test]
fn a_start_of_ones_own_is_used_unless_the_manifest_has_one() {
    let manifest = "[process.web]\ncommand = \"/x y\"\n";
    let start = |entries: &[&str], manifest: &str| {
        with(entries, manifest, None, Some("/usr/bin/x 'a b'"), ALL_TOOLS).unwrap()
    };
    let recipe = start(&["bin/x"], "");
    assert_eq!((recipe.runtime, web(&recipe)), (Runtime::Custom, "/usr/bin/x a b".into()));
    assert_eq!(recipe.because, "its start command");
    assert_eq!(web(&start(&["requirements.txt"], "")), "/usr/bin/x a b in ^");
    assert_eq!(web(&start(&["requirements.txt"], manifest)), "/x y");
    assert_eq!(start(&["package.json={}"], "").runtime, Runtime::Node);
    let error = with(&[], "", Some(Runtime::Custom), None, ALL_TOOLS).unwrap_err();
    assert_eq!(error.code, "start_unknown");
}

#[test]
fn python_starts_by_the_contract_first() {
    let procfile = "Procfile=web: gunicorn app:app -b :$PORT\nworker: celery\n";
    for (entries, start) in [
        (
            &["requirements.txt=uvicorn", "__main__.py", "main.py"][..],
            "venv/bin/python -m app in ^",
        ),
        (&["requirements.txt", "app/__main__.py"], "venv/bin/python -m app"),
        (&["requirements.txt", "app.py"], "venv/bin/python -m app"),
        (&["requirements.txt", "app.py", procfile], "venv/bin/gunicorn app:app -b :${PORT}"),
        (&["requirements.txt", "app.py", "Procfile=web: a && b"], "venv/bin/python -m app"),
        (
            &["requirements.txt=# web\nUvicorn[standard]==0.30  # x\n", "main.py"],
            "venv/bin/uvicorn main:app --host 127.0.0.1 --port $PORT",
        ),
        (
            &[
                "pyproject.toml=[project]\ndependencies = [\"fastapi[standard] >= 0.1\"]",
                "app/main.py",
                "app/__init__.py",
            ],
            "venv/bin/uvicorn app.main:app --host 127.0.0.1 --port $PORT",
        ),
        (
            &[
                "pyproject.toml=[tool.poetry.dependencies]\nfastapi = {version = \"1\", extras = [\"all\"]}",
                "main.py",
            ],
            "venv/bin/uvicorn main:app --host 127.0.0.1 --port $PORT",
        ),
        (&["requirements.txt=flask", "main.py"], "venv/bin/python main.py"),
        (
            &["requirements.txt=Django\ngunicorn", "manage.py", "shop/wsgi.py", "shop/asgi.py"],
            "venv/bin/gunicorn shop.wsgi:application --bind 127.0.0.1:${PORT}",
        ),
        (
            &["requirements.txt=django\nuvicorn", "manage.py", "shop/asgi.py"],
            "venv/bin/uvicorn shop.asgi:application --host 127.0.0.1 --port $PORT",
        ),
        (&["requirements.txt", "app/__init__.py"], "venv/bin/python -m app"),
        (&["requirements.txt"], "venv/bin/python -m app in ^"),
    ] {
        assert_eq!(web(&of(entries)), start, "{entries:?}");
    }
    assert!(of(&["requirements.txt"]).notes[0].contains("wants a `__main__.py`"));
    assert!(of(&["requirements.txt", procfile]).notes[0].contains("only `web` of the Procfile"));
}

#[test]
fn python_installs_by_the_lock_file_and_the_tools_that_are_there() {
    let venv = "/usr/bin/python3 -m venv venv";
    let pip = "venv/bin/python -m pip install --disable-pip-version-check --no-input";
    let project = "pyproject.toml=[project]\nname = \"x\"";
    let poetry = "pyproject.toml=[tool.poetry]\nname = \"x\"";
    let steps = |entries: &[&str], tools| steps_of(&with(entries, "", None, None, tools).unwrap());
    let none = Tools::default();
    let requirements = format!("{pip} --requirement requirements.txt");
    assert_eq!(steps(&["requirements.txt", project], none), [venv, &requirements]);
    let itself = format!("{pip} .");
    assert_eq!(steps(&[project], none), [venv, &itself]);
    assert_eq!(steps(&[project, "uv.lock", "requirements.txt"], none), [venv, &requirements]);
    let shared = Tools { pip: true, ..none };
    assert_eq!(
        steps(&["requirements.txt"], shared),
        [
            "/usr/bin/python3 -m venv --without-pip venv",
            "/usr/bin/python3 -m pip --python venv/bin/python install \
             --disable-pip-version-check --no-input --requirement requirements.txt"
        ]
    );
    let own = "[build]\nsteps = [\"venv/bin/pip install x\"]";
    let own = with(&["requirements.txt"], own, None, None, shared).unwrap();
    assert_eq!(steps_of(&own)[..2], [venv, &requirements]);
    let uv = "/usr/bin/env uv sync --frozen --no-dev";
    assert_eq!(steps(&[project, "uv.lock", "requirements.txt"], ALL_TOOLS), [uv]);
    let backend = "pyproject.toml=[project]\nname = \"x\"\n[build-system]\n\
        requires = [\"poetry-core\"]\nbuild-backend = \"poetry.core.masonry.api\"";
    assert_eq!(steps(&[backend, "poetry.lock"], ALL_TOOLS).len(), 2);
    assert_eq!(
        steps(&[poetry, "poetry.lock"], ALL_TOOLS),
        [
            "/usr/bin/env poetry install --only main --no-root --no-interaction",
            "/bin/ln -sfn .venv venv"
        ]
    );
    assert_eq!(steps(&["pyproject.toml=[tool.black]", "__main__.py"], none), [venv]);
    assert_eq!(steps(&["__main__.py"], none), [venv]);
    let recipe = with(&[project, "uv.lock"], "", None, None, ALL_TOOLS).unwrap();
    assert_eq!(recipe.steps[0].needs, ["uv"]);
    assert!(
        recipe.steps[0].environment.contains(&("UV_PROJECT_ENVIRONMENT".into(), "venv".into()))
    );
    // A lock file that nothing here can read is not passed over in silence.
    for (tree, tool) in [([project, "uv.lock"], "uv"), ([poetry, "poetry.lock"], "poetry")] {
        assert_eq!(of(&tree).steps[0].needs, [tool]);
        let note = &of(&[tree[0], tree[1], "requirements.txt"]).notes[0];
        assert!(note.contains(&format!("{tool} is not installed")), "{note}");
    }
}

#[test]
fn a_site_is_files_or_what_a_build_makes() {
    let public = |entries: &[&str], manifest: &str| {
        let recipe = with(entries, manifest, None, None, ALL_TOOLS).unwrap();
        assert!(recipe.spec.processes.is_empty());
        (recipe.spec.public.clone(), recipe.public_candidates.join(" "), steps_of(&recipe))
    };
    let some = |dir: &str| Some(dir.to_owned());
    let vite = "package.json={\"scripts\":{\"build\":\"vite build\"}}";
    assert_eq!(public(&["index.html"], ""), (some(""), String::new(), vec![]));
    assert_eq!(public(&["public/index.html"], ""), (some("public"), String::new(), vec![]));
    let (open, candidates, steps) = public(&[vite, "index.html", "package-lock.json"], "");
    assert_eq!((open, candidates.as_str()), (None, "dist build out"));
    assert_eq!(
        steps,
        [
            "/usr/bin/npm ci --no-audit --no-fund --include=dev",
            "/usr/bin/npm run build",
            "/bin/rm -rf node_modules"
        ]
    );
    let manifest = "[project]\npublic = \"site\"\n[build]\nsteps = [\"make\"]\ninstall = false\n";
    assert_eq!(
        public(&[vite], manifest),
        (some("site"), String::new(), vec!["/bin/sh -c make".into()])
    );
    assert_eq!(public(&["x"], "[project]\nruntime = \"static\"").0, some(""));
}

#[test]
fn files_beside_a_process_take_routes() {
    for manifest in [
        "[project]\npublic = \"dist\"\n[process.web]\ncommand = \"a\"\n",
        "[project]\nruntime = \"static\"\n[process.web]\ncommand = \"a\"\n",
        "[project]\nruntime = \"node\"\npublic = \"dist\"\n",
    ] {
        let error = with(&[], manifest, None, None, ALL_TOOLS).unwrap_err();
        assert_eq!(error.code, "no_routes", "{manifest}");
    }
}

#[test]
fn migrations_are_found_unless_there_are_two() {
    let package = "package.json={\"scripts\":{\"start\":\"node a\"},\
        \"dependencies\":{\"knex\":\"3\",\"sequelize-cli\":\"6\"}}";
    let run = |entries: &[&str], manifest: &str| {
        let recipe = with(entries, manifest, None, None, ALL_TOOLS).unwrap();
        recipe.release_processes().map(|p| p.command.join(" ")).collect::<Vec<_>>()
    };
    let alembic = ["requirements.txt=alembic~=1.13", "alembic.ini"];
    let django = "manage.py=os.environ['DJANGO_SETTINGS_MODULE'] # django";
    let prisma = ["prisma/schema.prisma", "prisma/migrations/migration_lock.toml"];
    assert_eq!(run(&alembic, ""), ["venv/bin/alembic upgrade head"]);
    assert!(run(&["requirements.txt=x", "alembic.ini"], "").is_empty());
    assert_eq!(run(&[django], ""), ["venv/bin/python manage.py migrate --noinput"]);
    assert_eq!(
        run(&[package, prisma[0], prisma[1]], ""),
        ["node_modules/.bin/prisma migrate deploy"]
    );
    assert!(run(&[package, prisma[0]], "").is_empty());
    assert_eq!(run(&[package, "knexfile.ts"], ""), ["node_modules/.bin/knex migrate:latest"]);
    assert_eq!(run(&[package, ".sequelizerc"], ""), ["node_modules/.bin/sequelize-cli db:migrate"]);
    let both = of(&[alembic[0], alembic[1], django]);
    assert_eq!(both.migrations, None);
    assert!(both.notes.iter().any(|note| note.contains("of alembic and Django, so none")));
    assert!(run(&alembic, "[deploy]\nmigrate = false").is_empty());
    let own = "[process.upgrade]\ncommand = \"venv/bin/up\"\nwhen = \"release\"\n";
    assert_eq!(run(&alembic, own), ["venv/bin/up"]);
    assert!(run(&alembic, "[process.migrate]\ncommand = \"venv/bin/worker\"").is_empty());
}

#[test]
fn a_manifest_replaces_what_builds_and_keeps_what_installs() {
    let steps = |manifest: &str| {
        steps_of(&with(&["requirements.txt"], manifest, None, None, ALL_TOOLS).unwrap())
    };
    assert_eq!(steps("[build]\nsteps = [\"a && b\"]").last().unwrap(), "/bin/sh -c a && b");
    assert_eq!(steps("[build]\nsteps = [\"a\"]").len(), 3);
    assert_eq!(steps("[build]\nsteps = [\"a\"]\ninstall = false"), ["/bin/sh -c a"]);
    assert!(steps("[build]\ninstall = false").is_empty());
}

fn entry() -> impl Strategy<Value = String> {
    let names: Vec<String> = TEXTS
        .iter()
        .chain(&[
            "app.py",
            "main.py",
            "index.html",
            "yarn.lock",
            "uv.lock",
            "x/wsgi.py",
            "index.js",
            "index.php",
            "backend/requirements.txt",
            "backend/main.py",
            "frontend/package.json",
            "server/package.json",
        ])
        .map(|&name| name.to_owned())
        .collect();
    let text = "\\PC{0,40}|[\\[\\]{}\":a-z\n=]{0,40}";
    (proptest::sample::select(names), text).prop_map(|(name, text)| format!("{name}={text}"))
}

proptest! {
    #[test]
    fn no_tree_panics(
        entries in proptest::collection::vec(entry(), 0..6),
        asked in proptest::option::of(proptest::sample::select(Runtime::ALL.to_vec())),
    ) {
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        if let Ok(recipe) = with(&entries, "", asked, None, ALL_TOOLS) {
            prop_assert!(asked.is_none_or(|asked| asked == recipe.runtime));
            prop_assert!(recipe.spec.processes.iter().all(|process| !process.command.is_empty()));
            prop_assert_eq!(recipe.spec.web().is_none(), recipe.runtime == Runtime::Static);
        }
    }
}
