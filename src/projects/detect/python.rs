//! Python: a virtual environment of each release, and what starts in it.

use std::collections::BTreeSet;

use toml::Value;

use super::{Asked, BuildStep, Found, HOME, Phase, Start, Tree, migrations, parts, procfile};
use crate::names::Runtime;

pub(super) fn find(this: &Asked<'_>) -> Found {
    let needs = Needs::of(this.tree);
    let mut found = Found::default();
    install(this, &needs, &mut found);
    if !this.has_start() {
        found.start = Some(start(this, &needs, &mut found));
    }
    migrations::of_python(this.tree, &needs, &mut found);
    found
}

/// What a tree depends on, by the names that the package index knows.
pub(super) struct Needs {
    names: BTreeSet<String>,
    pyproject: toml::Table,
}

impl Needs {
    fn of(tree: &Tree) -> Self {
        let pyproject: toml::Table = tree.text("pyproject.toml").parse().unwrap_or_default();
        let mut names = BTreeSet::new();
        for line in tree.text("requirements.txt").lines() {
            add(&mut names, line);
        }
        let project = pyproject.get("project").and_then(|p| p.get("dependencies"));
        for line in project.and_then(Value::as_array).into_iter().flatten() {
            add(&mut names, line.as_str().unwrap_or_default());
        }
        let poetry = pyproject.get("tool").and_then(|tool| tool.get("poetry"));
        let list = poetry.and_then(|p| p.get("dependencies")).and_then(Value::as_table);
        for (name, value) in list.into_iter().flatten() {
            let extras = value.get("extras").map(Value::to_string).unwrap_or_default();
            add(&mut names, &format!("{name}{extras}").replace('"', ""));
        }
        Self { names, pyproject }
    }

    pub(super) fn name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether pip can install the tree itself.
    fn is_package(&self) -> bool {
        ["project", "build-system"].iter().any(|key| self.pyproject.contains_key(*key))
            || self.is_poetry()
    }

    fn is_poetry(&self) -> bool {
        let backend = self.pyproject.get("build-system").and_then(|b| b.get("build-backend"));
        self.pyproject.get("tool").and_then(|tool| tool.get("poetry")).is_some()
            || backend.and_then(Value::as_str).is_some_and(|name| name.starts_with("poetry"))
    }
}

/// Adds the name of a requirement such as `fastapi[standard]>=0.110 ; python_version > "3.8"`.
fn add(names: &mut BTreeSet<String>, line: &str) {
    let line = line.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
    if end == 0 || line.starts_with('-') {
        return;
    }
    let name = line[..end].to_ascii_lowercase().replace(['_', '.'], "-");
    let extras = line[end..].trim_start();
    let extras = extras.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if name == "fastapi" && extras.is_some_and(|(e, _)| e.contains("standard") || e.contains("all"))
    {
        names.insert("uvicorn".into());
    }
    names.insert(name);
}

fn install(this: &Asked<'_>, needs: &Needs, found: &mut Found) {
    let Asked { tree, tools, .. } = this;
    let step = |title: &str, command: &[&str]| BuildStep::new(Phase::Install, title, command);
    // What the lock file says holds, or nothing is installed: another list may be as good.
    let has_other = tree.has("requirements.txt");
    if tree.has("uv.lock") && tree.has("pyproject.toml") {
        if tools.uv || !has_other {
            return by_uv(this, found);
        }
        found.notes.push(
            "uv is not installed here, so requirements.txt holds and uv.lock does not".into(),
        );
    } else if tree.has("poetry.lock") && needs.is_poetry() {
        if tools.poetry || !has_other {
            return by_poetry(this, found);
        }
        let note =
            "poetry is not installed here, so requirements.txt holds and poetry.lock does not";
        found.notes.push(note.into());
    }
    // The server's pip installs as well, and a pip for each environment takes seconds to make.
    let shares_pip = tools.pip && !wants_pip(this);
    let venv: &[&str] = if shares_pip { &["--without-pip", "venv"] } else { &["venv"] };
    let command = [&["/usr/bin/python3", "-m", "venv"], venv].concat();
    let venv = step("venv", &command).needing("python3");
    found.steps.push(BuildStep { fills_venv: true, ..venv });
    let listed: &[&str] = if tree.has("requirements.txt") {
        &["--requirement", "requirements.txt"]
    } else if tree.has("pyproject.toml") && needs.is_package() {
        &["."]
    } else if this.manifest.build.packages.is_empty() {
        found.notes.push("nothing names dependencies, so none are installed".into());
        return;
    } else {
        &[]
    };
    let more = more(this);
    let what = [&more.iter().map(String::as_str).collect::<Vec<_>>(), listed].concat();
    let python = format!("{}venv/bin/python", parts::up(this.base));
    let pip: &[&str] = if shares_pip {
        &["/usr/bin/python3", "-m", "pip", "--python", &python]
    } else {
        &["venv/bin/python", "-m", "pip"]
    };
    let install = ["install", "--disable-pip-version-check", "--no-input"];
    let command = [pip, &install, &what].concat();
    let cache = this.cache("pip");
    let install = step("dependencies", &command).with(&[("PIP_CACHE_DIR", &cache)]);
    let directory = this.base.to_owned();
    found.steps.push(BuildStep { directory, fills_venv: true, ..install });
}

/// The manifest's own packages and constraints, as words of pip's. No word of it can be another
/// option: the reader of the manifest sees to that.
fn more(this: &Asked<'_>) -> Vec<String> {
    let build = &this.manifest.build;
    let file = build.constraints.iter().map(|file| format!("{}{file}", parts::up(this.base)));
    file.flat_map(|file| ["--constraint".to_owned(), file]).chain(build.packages.clone()).collect()
}

/// The manifest's packages, where a lock file says what else is installed.
fn beside_lock(this: &Asked<'_>, lock: &str, pip: &[&str], found: &mut Found) {
    let build = &this.manifest.build;
    if build.packages.is_empty() {
        if build.constraints.is_some() {
            found.notes.push(format!("{lock} holds, so `constraints` is of no use"));
        }
        return;
    }
    let python = format!("{}venv/bin/python", parts::up(this.base));
    let more = more(this);
    let words = pip.iter().map(|&word| if word == VENV { python.as_str() } else { word });
    let command: Vec<&str> = words.chain(more.iter().map(String::as_str)).collect();
    let step = BuildStep::new(Phase::Install, "packages", &command).with(&[
        ("PIP_CACHE_DIR", &this.cache("pip")),
        ("UV_LINK_MODE", "copy"),
        ("UV_CACHE_DIR", &this.cache("uv")),
        ("UV_PYTHON_DOWNLOADS", "never"),
    ]);
    found.steps.push(BuildStep { directory: this.base.to_owned(), ..step });
}

/// Stands for the environment's python in a command.
const VENV: &str = "{venv}";

fn by_uv(this: &Asked<'_>, found: &mut Found) {
    let uv = ["/usr/bin/env", "uv", "sync", "--frozen", "--no-dev"];
    let step = BuildStep::new(Phase::Install, "dependencies", &uv).needing("uv").with(&[
        ("UV_PROJECT_ENVIRONMENT", &format!("{}venv", parts::up(this.base))),
        ("UV_LINK_MODE", "copy"),
        ("UV_CACHE_DIR", &this.cache("uv")),
        ("UV_COMPILE_BYTECODE", "1"),
        ("UV_PYTHON_DOWNLOADS", "never"),
    ]);
    found.steps.push(BuildStep { directory: this.base.to_owned(), ..step });
    let pip = ["/usr/bin/env", "uv", "pip", "install", "--python", VENV];
    beside_lock(this, "uv.lock", &pip, found);
}

fn by_poetry(this: &Asked<'_>, found: &mut Found) {
    let poetry =
        ["/usr/bin/env", "poetry", "install", "--only", "main", "--no-root", "--no-interaction"];
    let step = BuildStep::new(Phase::Install, "dependencies", &poetry).needing("poetry").with(&[
        ("POETRY_VIRTUALENVS_CREATE", "true"),
        ("POETRY_VIRTUALENVS_IN_PROJECT", "true"),
        ("POETRY_CACHE_DIR", &this.cache("pypoetry")),
    ]);
    found.steps.push(BuildStep { directory: this.base.to_owned(), ..step });
    // Poetry's own place for it is not where the unit looks.
    let link = ["/bin/ln", "-sfn", &parts::within(this.base, ".venv"), "venv"];
    found.steps.push(BuildStep::new(Phase::Install, "venv", &link));
    let pip: &[&str] = if this.tools.pip {
        &["/usr/bin/python3", "-m", "pip", "--python", VENV]
    } else {
        &[VENV, "-m", "pip"]
    };
    let pip = [pip, &["install", "--disable-pip-version-check", "--no-input"]].concat();
    beside_lock(this, "poetry.lock", &pip, found);
}

/// Whether somebody calls the environment's own pip.
fn wants_pip(this: &Asked<'_>) -> bool {
    let steps = this.manifest.build.steps.iter().flatten();
    let commands = this.manifest.processes.iter().flat_map(|process| &process.command);
    steps.chain(commands).any(|text| text.contains("pip"))
}

/// The contract first (`python -m app`), then what frameworks are known for.
fn start(this: &Asked<'_>, needs: &Needs, found: &mut Found) -> Start {
    let tree = this.tree;
    let classic = Start { directory: HOME.into(), ..Start::new(&["venv/bin/python", "-m", "app"]) };
    if tree.has("__main__.py") {
        return if this.base.is_empty() { classic } else { Start::new(&["venv/bin/python", "."]) };
    }
    if let Some(start) = procfile::start(this, Runtime::Python, found) {
        return start;
    }
    if ["app/__main__.py", "app.py"].iter().any(|path| tree.has(path)) {
        return Start::new(&["venv/bin/python", "-m", "app"]);
    }
    if let Some(start) = django(tree, needs) {
        return start;
    }
    let uvicorn = |module: &str| {
        let server = "venv/bin/uvicorn";
        Start::new(&[server, module, "--host", "127.0.0.1", "--port", "$PORT"])
    };
    let app = |file: &str| parts::fastapi(tree.text(file));
    match (tree.has("main.py"), tree.has("app/main.py"), needs.name("uvicorn")) {
        (_, true, true) if app("main.py").is_none() && app("app/main.py").is_some() => {
            return uvicorn(&format!("app.main:{}", app("app/main.py").unwrap_or("app")));
        }
        (true, _, true) => {
            return uvicorn(&format!("main:{}", app("main.py").unwrap_or("app")));
        }
        (_, true, true) => return uvicorn("app.main:app"),
        (true, _, false) => return Start::new(&["venv/bin/python", "main.py"]),
        _ => {}
    }
    if tree.has("app/__init__.py") {
        return Start::new(&["venv/bin/python", "-m", "app"]);
    }
    found.notes.push(
        "nothing says how it starts, so it is `python -m app`, which wants a `__main__.py`: \
         `[process.web]` in hostkit.toml says another way"
            .into(),
    );
    classic
}

/// Django by the server that it depends on.
fn django(tree: &Tree, needs: &Needs) -> Option<Start> {
    if !tree.has("manage.py") {
        return None;
    }
    let module = |file: &str| {
        let end = format!("/{file}.py");
        let at_second = |path: &&String| path.ends_with(&end) && path.matches('/').count() == 1;
        let path = tree.paths.iter().find(at_second)?;
        let package = path.strip_suffix(&end)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        package.chars().all(is_name).then(|| format!("{package}.{file}:application"))
    };
    match (module("wsgi"), module("asgi")) {
        (Some(wsgi), _) if needs.name("gunicorn") => {
            Some(Start::new(&["venv/bin/gunicorn", &wsgi, "--bind", "127.0.0.1:${PORT}"]))
        }
        (_, Some(asgi)) if needs.name("uvicorn") => {
            let server = "venv/bin/uvicorn";
            Some(Start::new(&[server, &asgi, "--host", "127.0.0.1", "--port", "$PORT"]))
        }
        _ => None,
    }
}
