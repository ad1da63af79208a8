//! Trees of several parts: a backend in one directory, a frontend that is built in another.

use super::{Asked, Found, HOME, TEXTS, Tree, node, package::Package};
use crate::{
    error::Result,
    names::Runtime,
    projects::manifest::Manifest,
    release::{Answer, Files, Proxied, Route},
};

/// Where a backend lies, the likeliest first.
const BACKENDS: &[&str] = &["backend", "server", "api"];

/// Where a frontend lies, the likeliest first.
const FRONTENDS: &[&str] = &["frontend", "client", "web", "ui"];

/// What tells of a tree that it is one project, and not several in directories.
const TELLS: &[&str] = &[
    "Procfile",
    "__main__.py",
    "composer.json",
    "index.html",
    "index.php",
    "manage.py",
    "package.json",
    "pyproject.toml",
    "requirements.txt",
];

/// A route that a tree needs, by what was found in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundRoute {
    pub path: String,
    pub serves: Serves,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Serves {
    /// Files that the build makes: in `directory` most likely, else in another of `candidates`.
    Files { directory: String, candidates: Vec<String>, spa: bool },
    /// The process of that name; `strip` takes the route's path off the request's.
    Process { name: &'static str, strip: bool, websocket: bool },
}

/// Files of a tree whose texts [`super::recipe`] reads, if they are there.
pub fn wanted_texts(manifest: Option<&Manifest>) -> Vec<String> {
    let own = manifest.and_then(web_directory);
    let dirs = [""].into_iter().chain(own).chain(BACKENDS.iter().chain(FRONTENDS).copied());
    let mut names: Vec<String> =
        dirs.flat_map(|dir| TEXTS.iter().map(move |name| within(dir, name))).collect();
    names.extend(manifest.and_then(|manifest| manifest.build.constraints.clone()));
    names.sort();
    names.dedup();
    names
}

fn web_directory(manifest: &Manifest) -> Option<&str> {
    let web = manifest.processes.iter().find(|process| process.name == "web")?;
    Some(web.directory.as_str()).filter(|directory| !directory.is_empty())
}

/// The directory whose dependencies are installed, and that says how it starts: "" is the tree.
pub(super) fn base(tree: &Tree, manifest: &Manifest, own_start: Option<&str>) -> String {
    if manifest.runtime == Some(Runtime::Php) || own_start.is_some() {
        return String::new();
    }
    let has = |dir: &str, names: &[&str]| names.iter().any(|name| tree.has(&within(dir, name)));
    let lists = ["requirements.txt", "pyproject.toml", "package.json"];
    let has_web = manifest.processes.iter().any(|process| process.name == "web");
    let is_whole = has_web || has("", TELLS) || tree.paths.iter().any(|path| is_code(path));
    let found = if manifest.runtime == Some(Runtime::Static) || manifest.public.is_some() {
        FRONTENDS.iter().find(|dir| !is_whole && is_site(tree, dir, manifest)).copied()
    } else if let Some(own) = web_directory(manifest) {
        Some(own).filter(|own| !has("", &lists) && has(own, &[&lists[..], &["manage.py"]].concat()))
    } else if is_whole {
        None
    } else {
        let is_backend = |dir: &&&str| {
            let python = ["requirements.txt", "pyproject.toml", "manage.py"];
            let starts = Package::of(&tree.below(dir))
                .is_ok_and(|package| package.script("start").is_some());
            has(dir, &python) || starts
        };
        let site = || FRONTENDS.iter().find(|dir| is_site(tree, dir, manifest));
        BACKENDS.iter().find(is_backend).or_else(site).copied()
    };
    found.unwrap_or_default().to_owned()
}

/// Whether a directory is a frontend that is all of the project, as far as a manifest leaves it open.
fn is_site(tree: &Tree, dir: &str, manifest: &Manifest) -> bool {
    let is_open = manifest.processes.is_empty() && manifest.routes.is_empty();
    let part = tree.below(dir);
    let builds = Package::of(&part).is_ok_and(|package| package.script("build").is_some());
    match &manifest.public {
        // What is there already needs no build.
        Some(public) => is_open && builds && public.starts_with(&format!("{dir}/")),
        None => is_open && (builds || part.has("index.html")),
    }
}

fn is_code(path: &str) -> bool {
    !path.contains('/')
        && [".py", ".js", ".mjs", ".ts", ".php"].iter().any(|end| path.ends_with(end))
}

/// Moves what was found in a directory of the tree to where that lies.
pub(super) fn settle(this: &Asked<'_>, runtime: Runtime, found: &mut Found) {
    let base = this.base;
    if base.is_empty() {
        return;
    }
    if this.manifest.public.is_none() {
        let moved = |dir: &String| if dir.is_empty() { base.into() } else { within(base, dir) };
        found.public = found.public.as_ref().map(moved);
        found.public_candidates = found.public_candidates.iter().map(moved).collect();
    }
    let move_program = |command: &mut Vec<String>| {
        if let Some(program) = command.first_mut().filter(|word| word.starts_with("node_modules/"))
        {
            *program = within(base, program);
        }
    };
    for step in &mut found.steps {
        // Python's own are where they belong: the environment is the release's.
        if runtime != Runtime::Python {
            base.clone_into(&mut step.directory);
        }
        move_program(&mut step.command);
    }
    if let Some(start) = &mut found.start {
        if start.directory == HOME {
            found.notes.push(format!(
                "nothing says how `{base}` starts, so it is `python -m app` there: \
                 `[process.web]` in hostkit.toml says another way"
            ));
        }
        base.clone_into(&mut start.directory);
        move_program(&mut start.command);
    }
    if let Some(migrations) = &mut found.migrations {
        base.clone_into(&mut migrations.directory);
        move_program(&mut migrations.command);
    }
}

/// Adds the build of a frontend that lies beside the backend, and says which routes the two need.
pub(super) fn frontend(
    this: &Asked<'_>,
    tree: &Tree,
    found: &mut Found,
) -> Result<Vec<FoundRoute>> {
    let is_own = this.manifest.build.steps.is_some();
    let served = served(this.manifest);
    // Alone it is built as what it is.
    let is_alone = FRONTENDS.contains(&this.base);
    if is_own || is_alone || (this.base.is_empty() && served.is_empty()) {
        return Ok(Vec::new());
    }
    let usual = FRONTENDS.iter().map(|&dir| dir.to_owned());
    let tops = served.into_iter().map(|dir| dir.split('/').next().unwrap_or_default().to_owned());
    for dir in tops.chain(usual).filter(|dir| dir != this.base && !dir.is_empty()) {
        let part = tree.below(&dir);
        let package = Package::of(&part)?;
        if package.script("build").is_none() {
            continue;
        }
        let there = Asked { tree: &part, base: &dir, ..*this };
        let mut built = Found::default();
        node::build_only(&there, &package, &mut built);
        for step in &mut built.steps {
            step.title = format!("{dir}: {}", step.title);
            dir.clone_into(&mut step.directory);
        }
        found.steps.append(&mut built.steps);
        found.notes.extend(built.notes.iter().map(|note| format!("{dir}: {note}")));
        let is_told = !this.manifest.routes.is_empty();
        return Ok(if is_told { Vec::new() } else { routes(this, &dir, &part, &package) });
    }
    Ok(Vec::new())
}

/// Directories that a manifest's routes serve files from: what lies there may have to be built.
fn served(manifest: &Manifest) -> Vec<String> {
    manifest.routes.iter().filter_map(Route::files).map(|files| files.at.clone()).collect()
}

/// The manifest's routes, or those that were found.
pub(super) fn all_routes(manifest: &Manifest, found: &[FoundRoute]) -> Vec<Route> {
    if found.is_empty() { manifest.routes.clone() } else { found.iter().map(route).collect() }
}

/// As a manifest would say it.
fn route(found: &FoundRoute) -> Route {
    let to = match &found.serves {
        Serves::Files { directory, spa, .. } => {
            Answer::Static(Files { at: directory.clone(), spa: *spa, cache: None })
        }
        Serves::Process { name, strip, websocket } => Answer::Process(Proxied {
            process: (*name).to_owned(),
            strip: *strip,
            websocket: *websocket,
            timeout: None,
            body: None,
            buffering: true,
        }),
    };
    Route { path: found.path.clone(), to, allow: Vec::new(), deny: Vec::new() }
}

fn routes(this: &Asked<'_>, dir: &str, part: &Tree, package: &Package) -> Vec<FoundRoute> {
    let builds_to = |names: &[&str]| names.iter().any(|name| package.knows(name));
    let exports = node::next_output(part) == Some("export");
    let likeliest = match () {
        () if exports => "out",
        () if builds_to(&["react-scripts", "@sveltejs/adapter-static"]) => "build",
        () => "dist",
    };
    let many_pages = exports || builds_to(&["astro", "gatsby", "@11ty/eleventy"]);
    let candidates = ["dist", "build", "out"].map(|name| within(dir, name)).into();
    let files = Serves::Files { directory: within(dir, likeliest), candidates, spa: !many_pages };
    let code: String = ["main.py", "app/main.py"].iter().map(|file| this.tree.text(file)).collect();
    let says =
        |text: &str| code.contains(&format!("\"{text}")) || code.contains(&format!("'{text}"));
    let process = |strip, websocket| Serves::Process { name: "web", strip, websocket };
    let mut routes = vec![
        FoundRoute { path: "/".into(), serves: files },
        FoundRoute { path: "/api/".into(), serves: process(!says("/api"), false) },
    ];
    if code.contains(".websocket(") && says("/ws") {
        routes.push(FoundRoute { path: "/ws/".into(), serves: process(false, true) });
    }
    routes
}

/// What a program's module calls its `FastAPI()`.
pub(super) fn fastapi(code: &str) -> Option<&str> {
    code.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let name = name.split(':').next().unwrap_or_default().trim_end();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let value = value.trim_start();
        let value = value.strip_prefix("fastapi.").unwrap_or(value);
        (value.starts_with("FastAPI(") && !name.is_empty() && name.chars().all(is_name))
            .then_some(name)
    })
}

pub(super) fn because(base: &str, what: &str) -> String {
    let is_file = !what.contains(' ');
    if base.is_empty() || !is_file { what.to_owned() } else { within(base, what) }
}

/// A path in a directory that lies below the release.
pub(super) fn within(dir: &str, path: &str) -> String {
    if dir.is_empty() { path.to_owned() } else { format!("{dir}/{path}") }
}

/// The way from a directory below the release to the release.
pub(super) fn up(dir: &str) -> String {
    "../".repeat(if dir.is_empty() { 0 } else { dir.split('/').count() })
}
