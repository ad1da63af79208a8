//! What a source tree is, how it is built, and what of it runs.

mod migrations;
mod node;
mod package;
mod parts;
mod php;
mod pins;
mod procfile;
mod python;
mod routes;
mod runtime;
mod site;

use std::collections::{BTreeMap, BTreeSet};

pub use parts::{FoundRoute, Serves, wanted_texts};
pub use php::Fpm;

use super::{
    manifest::{Install, Manifest, Migrate, Services, printable},
    words::split_command,
};
use crate::{
    envfile,
    error::{Error, Result},
    names::{ProjectName, Runtime},
    release::{Health, Kind, Process, Spec},
    secret::Generated,
};
use package::Package;

/// A process's `directory` that is no directory of the release: the project's home.
///
/// There `app` is the link to the release, so that `python -m app` runs its `__main__.py`. No
/// manifest can say it.
pub const HOME: &str = "^";

/// Files whose text tells what a tree is; none of them is large.
const TEXTS: &[&str] = &[
    ".env.example",
    ".npmrc",
    "Procfile",
    "app/main.py",
    "composer.json",
    "main.py",
    "manage.py",
    "next.config.js",
    "next.config.mjs",
    "next.config.ts",
    "package-lock.json",
    "package.json",
    "pyproject.toml",
    "requirements.txt",
];

/// Seconds, and bytes.
pub const USUAL_LIMITS: (u64, u64) = (TIMEOUT, MEMORY);
const TIMEOUT: u64 = 15 * 60;
const MEMORY: u64 = 1500 << 20;

/// A source tree, as far as it is looked at. Its owner may be anybody.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Files, relative to the top, not deeper than three levels.
    pub paths: BTreeSet<String>,
    /// The texts of [`wanted_texts`] that are there.
    pub texts: BTreeMap<String, String>,
}

/// Programs of the server that may be missing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tools {
    pub composer: bool,
    pub corepack: bool,
    /// The newest.
    pub fpm: Option<Fpm>,
    pub pip: bool,
    pub poetry: bool,
    pub uv: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipe {
    pub runtime: Runtime,
    /// What told the runtime: `requirements.txt`.
    pub because: String,
    pub steps: Vec<BuildStep>,
    /// Migrations that were found. Those of a manifest are processes of the spec.
    pub migrations: Option<Process>,
    pub spec: Spec,
    /// Directories of which the build makes one, for a static site whose `public` is open yet.
    pub public_candidates: Vec<String>,
    /// Routes that a tree of several parts needs, where no manifest says any.
    pub routes: Vec<FoundRoute>,
    /// Seconds that all steps may take.
    pub timeout: u64,
    /// Bytes that each may use.
    pub memory: u64,
    /// Variables that `.env` has to have, and what they are for.
    pub required: BTreeMap<String, String>,
    /// Variables that are made where `.env` has none.
    pub generated: BTreeMap<String, Generated>,
    pub services: Services,
    /// The port that the project is to have.
    pub port: Option<u16>,
    /// Variables that `.env.example` names.
    pub example: Vec<String>,
    /// Variables of the build alone, which win over those of `.env`.
    pub build_environment: BTreeMap<String, String>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// One command of the build, run in the release by the project's user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildStep {
    pub title: String,
    /// A program with a `/` that is no absolute path lies below the release. Nothing is expanded.
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Below the release; "" is the release itself.
    pub directory: String,
    pub phase: Phase,
    /// Whether it fills the release's `venv`, and nothing else.
    pub fills_venv: bool,
    /// A digest of all that decides what it puts into `node_modules`, where nothing else does and
    /// those are dropped after the build.
    pub modules: Option<String>,
    /// Programs that the server has to have.
    pub needs: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Brings in what others wrote.
    Install,
    /// Makes the release of it.
    Build,
}

impl Recipe {
    /// What runs once a deploy before requests move, in order.
    pub fn release_processes(&self) -> impl Iterator<Item = &Process> {
        let own = self.spec.processes.iter().filter(|process| process.kind == Kind::Release);
        own.chain(&self.migrations)
    }
}

impl BuildStep {
    fn new(phase: Phase, title: &str, command: &[&str]) -> Self {
        Self {
            title: title.into(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            environment: Vec::new(),
            directory: String::new(),
            phase,
            fills_venv: false,
            modules: None,
            needs: Vec::new(),
        }
    }

    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = variables.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        self.environment.extend(owned);
        self
    }

    fn needing(mut self, program: &'static str) -> Self {
        self.needs.push(program);
        self
    }
}

impl Tree {
    fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    fn has_below(&self, dir: &str) -> bool {
        let dir = format!("{dir}/");
        self.paths.range(dir.clone()..).next().is_some_and(|path| path.starts_with(&dir))
    }

    /// A directory of it, as a tree.
    fn below(&self, dir: &str) -> Self {
        if dir.is_empty() {
            return self.clone();
        }
        let start = format!("{dir}/");
        let inner = |path: &String| path.strip_prefix(&start).map(str::to_owned);
        Self {
            paths: self.paths.iter().filter_map(inner).collect(),
            texts: self
                .texts
                .iter()
                .filter_map(|(path, text)| Some((inner(path)?, text.clone())))
                .collect(),
        }
    }

    fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", |text| text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

/// What is asked of a tree.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// The part of it that decides: all of it, or the directory `base`.
    tree: &'a Tree,
    /// Where that lies below the release; "" is the release itself.
    base: &'a str,
    manifest: &'a Manifest,
    own_start: Option<&'a str>,
    project: &'a ProjectName,
    tools: Tools,
}

impl Asked<'_> {
    fn manifest_web(&self) -> Option<&Process> {
        self.manifest.processes.iter().find(|process| process.kind == Kind::Web)
    }

    /// Whether somebody said how it starts.
    fn has_start(&self) -> bool {
        self.own_start.is_some() || self.manifest_web().is_some()
    }

    fn cache(&self, name: &str) -> String {
        format!("/home/{}/.cache/{name}", self.project)
    }
}

/// What a runtime finds in a tree by itself.
#[derive(Default)]
struct Found {
    steps: Vec<BuildStep>,
    start: Option<Start>,
    migrations: Option<Process>,
    environment: BTreeMap<String, String>,
    public: Option<String>,
    public_candidates: Vec<String>,
    notes: Vec<String>,
}

struct Start {
    command: Vec<String>,
    directory: String,
}

impl Start {
    fn new(command: &[&str]) -> Self {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Self { command, directory: String::new() }
    }

    fn web(self, health: Option<Health>) -> Process {
        Process {
            name: "web".into(),
            command: self.command,
            directory: self.directory,
            kind: Kind::Web,
            health,
            metrics: None,
        }
    }
}

/// What a tree is, how it is built, and what of it runs.
///
/// `asked` is the runtime that somebody chose for the project, and nothing where it was the
/// default; `own_start` the command that it was given.
pub fn recipe(
    tree: &Tree,
    manifest: Option<&Manifest>,
    asked: Option<Runtime>,
    own_start: Option<&str>,
    project: &ProjectName,
    tools: Tools,
) -> Result<Recipe> {
    let empty = Manifest::default();
    let manifest = manifest.unwrap_or(&empty);
    let base = parts::base(tree, manifest, own_start);
    let part = tree.below(&base);
    let this = Asked { tree: &part, base: &base, manifest, own_start, project, tools };
    let (runtime, because) = runtime::decide(&this, asked)?;
    let package = match runtime {
        Runtime::Nextjs | Runtime::Node | Runtime::Php | Runtime::Static => Package::of(&part)?,
        Runtime::Custom | Runtime::Python => Package::default(),
    };
    let mut found = match runtime {
        Runtime::Custom => Found::default(),
        Runtime::Nextjs => node::next(&this, &package),
        Runtime::Node => node::plain(&this, &package),
        Runtime::Php => php::find(&this, &package)?,
        Runtime::Python => python::find(&this),
        Runtime::Static => site::find(&this, &package),
    };
    parts::settle(&this, runtime, &mut found);
    let routes = parts::frontend(&this, tree, &mut found)?;
    let processes = processes(&this, runtime, &mut found)?;
    routes::check(&this, runtime, &processes)?;
    let steps = steps(&this, found.steps);
    check_packages(&this, tree, runtime)?;
    let installs = pins::digest(&part, tree, &steps, &manifest.build);
    let replaced =
        processes.iter().any(|process| process.kind == Kind::Release || process.name == "migrate");
    let runs = !replaced && manifest.migrate == Migrate::Detected;
    found.environment.extend(manifest.environment.clone());
    Ok(Recipe {
        runtime,
        because,
        steps,
        migrations: found.migrations.filter(|_| runs),
        spec: Spec {
            runtime,
            processes,
            public: found.public,
            routes: parts::all_routes(manifest, &routes),
            environment: found.environment,
            installs,
            ..of_manifest(manifest, runtime)
        },
        build_environment: manifest.build.environment.clone(),
        public_candidates: found.public_candidates,
        routes,
        timeout: manifest.build.timeout.unwrap_or(TIMEOUT),
        memory: manifest.build.memory.unwrap_or(MEMORY),
        required: manifest.required.clone(),
        generated: manifest.generated.clone(),
        services: services(manifest),
        port: manifest.port,
        example: example(&[tree, &part]),
        notes: found.notes,
    })
}

/// What a manifest alone says of a release.
fn of_manifest(manifest: &Manifest, runtime: Runtime) -> Spec {
    let kinds = manifest.generated.iter().map(|(key, one)| (key.clone(), one.kind));
    Spec {
        runtime,
        processes: Vec::new(),
        public: None,
        routes: Vec::new(),
        shared: manifest.shared.clone(),
        environment: BTreeMap::new(),
        installs: None,
        switch: manifest.switch.clone(),
        generated: kinds.collect(),
        url_scheme: manifest.services.url_scheme.clone(),
        variables: manifest.variables.clone(),
        aliases: manifest.aliases.clone(),
        secret_files: manifest.secret_files.clone(),
        overlays: manifest.overlays.clone(),
        expose: manifest.expose.clone(),
    }
}

/// Whose address a variable is made of has to be there.
fn services(manifest: &Manifest) -> Services {
    let mut services = manifest.services.clone();
    let reads = |name: &str| manifest.variables.values().any(|source| source.variable == name);
    if reads("DATABASE_URL") {
        services.postgres = Some(true);
    }
    if ["REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"].into_iter().any(reads) {
        services.redis = Some(true);
    }
    services
}

/// Fails where the manifest names packages and nothing here would install them.
fn check_packages(this: &Asked<'_>, tree: &Tree, runtime: Runtime) -> Result<()> {
    let build = &this.manifest.build;
    if runtime != Runtime::Python && !(build.packages.is_empty() && build.constraints.is_none()) {
        return Err(Error::usage("not_python", "`packages` and `constraints` are for Python")
            .caused_by(format!("`{}` runs on {runtime}", this.project))
            .hint("list them where the tree lists its dependencies: package.json, composer.json"));
    }
    match build.constraints.as_ref().filter(|file| !tree.has(file)) {
        Some(file) => Err(Error::usage("no_constraints", format!("there is no file `{file}`"))
            .caused_by("hostkit.toml names it: `build.constraints`, from the top of the tree")
            .hint("name a file that goes along with the source, not below three directories")),
        None => Ok(()),
    }
}

/// Names of variables in `.env.example` of a tree or its part, whatever else those say.
fn example(trees: &[&Tree]) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim();
        let (key, _) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let key = key.trim();
        envfile::check_key(key).is_ok().then(|| key.to_owned())
    };
    let lines = trees.iter().flat_map(|tree| tree.text(".env.example").lines());
    let mut names: Vec<String> = lines.filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// The manifest's steps instead of those of the build; what installs stays, if it may.
fn steps(this: &Asked<'_>, mut found: Vec<BuildStep>) -> Vec<BuildStep> {
    let manifest = this.manifest;
    if manifest.build.install == Install::Nothing {
        found.retain(|step| step.phase != Phase::Install);
    }
    let Some(own) = &manifest.build.steps else { return found };
    found.retain(|step| step.phase == Phase::Install);
    // Programs whose own places for it lie in the home, where nobody but root may write.
    let caches = [
        ("CARGO_HOME", "cargo"),
        ("COMPOSER_HOME", "composer-home"),
        ("GOPATH", "go"),
        ("YARN_GLOBAL_FOLDER", "yarn"),
        ("npm_config_cache", "npm"),
    ];
    let named = |step: &String| {
        let first = step.lines().next().unwrap_or_default();
        let mut step = BuildStep::new(Phase::Build, &printable(first), &["/bin/sh", "-c", step]);
        step.environment = caches.map(|(key, dir)| (key.to_owned(), this.cache(dir))).into();
        step
    };
    found.extend(own.iter().map(named));
    found
}

/// `web` first: the manifest's, the project's own, or the one that was found.
fn processes(this: &Asked<'_>, runtime: Runtime, found: &mut Found) -> Result<Vec<Process>> {
    let mut processes = this.manifest.processes.clone();
    for process in &mut processes {
        in_full(&mut process.command, runtime, this.base);
    }
    if runtime == Runtime::Php {
        // php-fpm answers, whatever the manifest says of how to tell.
        processes.retain(|process| process.kind != Kind::Web);
        let health = this.manifest_web().and_then(|web| web.health.clone());
        let web = found.start.take().map(|start| start.web(health));
        return Ok(web.into_iter().chain(processes).collect());
    }
    if runtime == Runtime::Static || this.manifest_web().is_some() {
        return Ok(processes);
    }
    let start = match (this.own_start, found.start.take()) {
        (Some(line), _) => Start {
            // No variable is expanded in what was given as it is.
            command: split_command(line)?.iter().map(|word| word.replace('$', "$$")).collect(),
            directory: if runtime == Runtime::Python { HOME.into() } else { String::new() },
        },
        (None, Some(start)) => start,
        (None, None) => return Err(no_start(this, runtime)),
    };
    processes.insert(0, start.web(None));
    Ok(processes)
}

fn no_start(this: &Asked<'_>, runtime: Runtime) -> Error {
    let (cause, command) = match runtime {
        Runtime::Custom => ("a custom project says so itself", "bin/server --port $PORT"),
        _ => (
            "`package.json` has no `start` script, and there is no index.js, server.js or app.js",
            "/usr/bin/node server.js",
        ),
    };
    Error::usage("start_unknown", format!("nothing says how `{}` starts", this.project))
        .caused_by(cause)
        .hint(format!("write into hostkit.toml:\n[process.web]\ncommand = \"{command}\""))
}

/// Programs of the system; other bare names are those that the project installed.
const SYSTEM: &[&str] =
    &["bash", "env", "java", "node", "npm", "npx", "perl", "php", "python3", "ruby", "sh"];

/// Gives a bare program its path; `base` is where node's packages are installed.
fn in_full(command: &mut [String], runtime: Runtime, base: &str) {
    let Some(program) = command.first_mut().filter(|program| !program.contains('/')) else {
        return;
    };
    let is_system = SYSTEM.contains(&program.as_str());
    *program = match runtime {
        Runtime::Python if !is_system || program == "python3" => format!("venv/bin/{program}"),
        Runtime::Nextjs | Runtime::Node if !is_system => {
            parts::within(base, &format!("node_modules/.bin/{program}"))
        }
        _ => format!("/usr/bin/{program}"),
    };
}

#[cfg(test)]
mod tests;
