//! Node and Next.js: dependencies by the lock file that is there, a build, and a start.

use super::{
    Asked, BuildStep, Found, Phase, Start, Tree, migrations, package::Package, pins, procfile,
};
use crate::{names::Runtime, projects::manifest};

/// What starts where `package.json` names nothing.
pub(super) const ENTRIES: &[&str] = &["index.js", "server.js", "app.js"];

pub(super) fn plain(this: &Asked<'_>, package: &Package) -> Found {
    let mut found = Found::default();
    migrations::of_node(this.tree, package, &mut found);
    if !this.has_start() {
        found.start = match procfile::start(this, Runtime::Node, &mut found) {
            Some(start) => Some(start),
            None => start(this.tree, package),
        };
    }
    install(this, package, &mut found);
    build(this, package, &mut found);
    prune(this, package, &mut found);
    found
}

pub(super) fn next(this: &Asked<'_>, package: &Package) -> Found {
    let mut found = Found::default();
    migrations::of_node(this.tree, package, &mut found);
    let standalone = next_output(this.tree) == Some("standalone");
    if !this.has_start() {
        let next = ["node_modules/.bin/next", "start", "-H", "127.0.0.1", "-p", "$PORT"];
        let alone = ["/usr/bin/node", ".next/standalone/server.js"];
        found.start = Some(match plain_script(package) {
            Some(start) => start,
            None if standalone => Start::new(&alone),
            None => Start::new(&next),
        });
    }
    if standalone {
        // Its server listens everywhere unless this is set.
        found.environment.insert("HOSTNAME".into(), "127.0.0.1".into());
    }
    install(this, package, &mut found);
    if package.script("build").is_some() {
        build(this, package, &mut found);
    } else {
        let next = BuildStep::new(Phase::Build, "build", &["node_modules/.bin/next", "build"]);
        found.steps.push(next);
    }
    for step in found.steps.iter_mut().filter(|step| step.phase == Phase::Build) {
        step.environment.push(("NEXT_TELEMETRY_DISABLED".into(), "1".into()));
    }
    if standalone {
        let copy = |from: &str| {
            let to = format!(".next/standalone/{from}");
            BuildStep::new(Phase::Build, "files", &["/bin/cp", "-r", "-T", from, &to])
        };
        found.steps.push(copy(".next/static"));
        found.steps.extend(this.tree.has_below("public").then(|| copy("public")));
    }
    prune(this, package, &mut found);
    found
}

/// What `output` in Next.js's configuration says: `standalone` or `export`.
pub(super) fn next_output(tree: &Tree) -> Option<&'static str> {
    let files = ["next.config.js", "next.config.mjs", "next.config.ts"];
    let code: String = files
        .iter()
        .flat_map(|file| tree.text(file).lines())
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace() && !"'\"`".contains(*c))
        .collect();
    ["standalone", "export"].into_iter().find(|word| code.contains(&format!("output:{word}")))
}

/// `start` in `package.json`, or the file that is known to start.
fn start(tree: &Tree, package: &Package) -> Option<Start> {
    if package.script("start").is_some() {
        return plain_script(package).or_else(|| Some(Start::new(&["/usr/bin/npm", "start"])));
    }
    let main = package.text("main").map(|main| main.trim_start_matches("./"));
    let main = main.filter(|main| tree.has(main) && !main.starts_with('-'));
    let entry = main.or_else(|| ENTRIES.iter().copied().find(|entry| tree.has(entry)))?;
    Some(Start::new(&["/usr/bin/node", entry]))
}

/// `start`, where it is `node FILE …` and no shell or npm is needed for it.
fn plain_script(package: &Package) -> Option<Start> {
    if package.script("prestart").or(package.script("poststart")).is_some() {
        return None;
    }
    let mut command = manifest::words(package.script("start")?).ok()?;
    if command.len() < 2 || command[0] != "node" {
        return None;
    }
    command[0] = "/usr/bin/node".into();
    Some(Start { command, directory: String::new() })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manager {
    Npm,
    Pnpm,
    /// The first one, whose options are other ones.
    YarnClassic,
    Yarn,
}

impl Manager {
    fn of(tree: &Tree, package: &Package) -> Self {
        let declared = package.text("packageManager").unwrap_or_default();
        let pnpm = tree.has("pnpm-lock.yaml");
        let yarn = tree.has("yarn.lock");
        let npm =
            has_npm_lock(tree) && !declared.starts_with("pnpm@") && !declared.starts_with("yarn@");
        let is_classic = declared.starts_with("yarn@1")
            || !(declared.starts_with("yarn@") || tree.has(".yarnrc.yml"));
        match () {
            () if npm => Self::Npm,
            () if yarn && !(pnpm && declared.starts_with("pnpm@")) => {
                if is_classic {
                    Self::YarnClassic
                } else {
                    Self::Yarn
                }
            }
            () if pnpm => Self::Pnpm,
            () => Self::Npm,
        }
    }

    /// A step by this manager: yarn and pnpm come through corepack where it is there.
    fn step(self, this: &Asked<'_>, phase: Phase, title: &str, arguments: &[&str]) -> BuildStep {
        let name = match self {
            Self::Npm => {
                let command: Vec<&str> =
                    std::iter::once("/usr/bin/npm").chain(arguments.iter().copied()).collect();
                return BuildStep::new(phase, title, &command).needing("npm").with(&[
                    ("npm_config_cache", &this.cache("npm")),
                    ("npm_config_update_notifier", "false"),
                ]);
            }
            Self::Pnpm => "pnpm",
            Self::Yarn | Self::YarnClassic => "yarn",
        };
        let program: &[&str] = if this.tools.corepack { &["corepack", name] } else { &[name] };
        let words = std::iter::once(&"/usr/bin/env").chain(program).chain(arguments);
        let command: Vec<&str> = words.copied().collect();
        let step = BuildStep::new(phase, title, &command)
            .needing(if this.tools.corepack { "corepack" } else { name })
            .with(&[
                ("COREPACK_HOME", &this.cache("corepack")),
                ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
                // The version that package.json names, else corepack's own: not each day's newest.
                ("COREPACK_DEFAULT_TO_LATEST", "0"),
            ]);
        match self {
            Self::Pnpm => step.with(&[
                ("npm_config_package_import_method", "copy"),
                ("npm_config_store_dir", &this.cache("pnpm")),
            ]),
            // Without node_modules, nothing else finds what it installed.
            Self::Yarn => step.with(&[
                ("YARN_GLOBAL_FOLDER", &this.cache("yarn")),
                ("YARN_NODE_LINKER", "node-modules"),
            ]),
            _ => step.with(&[("YARN_CACHE_FOLDER", &this.cache("yarn"))]),
        }
    }
}

fn has_npm_lock(tree: &Tree) -> bool {
    tree.has("package-lock.json") || tree.has("npm-shrinkwrap.json")
}

pub(super) fn install(this: &Asked<'_>, package: &Package, found: &mut Found) {
    if !this.tree.has("package.json") {
        return;
    }
    let manager = Manager::of(this.tree, package);
    let arguments: &[&str] = match manager {
        Manager::Npm if has_npm_lock(this.tree) => &["ci", "--no-audit", "--no-fund"],
        Manager::Npm => {
            found.notes.push("there is no lock file, so each build may get other versions".into());
            &["install", "--no-audit", "--no-fund"]
        }
        Manager::Pnpm | Manager::YarnClassic => &["install", "--frozen-lockfile"],
        Manager::Yarn => &["install", "--immutable"],
    };
    // `NODE_ENV=production` is meant for what runs, and would leave out what builds.
    let whole: &[&str] = match manager {
        _ if package.script("build").is_none() => &[],
        Manager::Npm => &["--include=dev"],
        Manager::Pnpm => &["--prod=false"],
        Manager::YarnClassic => &["--production=false"],
        Manager::Yarn => &[],
    };
    let arguments = [arguments, whole].concat();
    found.steps.push(manager.step(this, Phase::Install, "dependencies", &arguments));
}

pub(super) fn build(this: &Asked<'_>, package: &Package, found: &mut Found) {
    if package.script("build").is_some() {
        let manager = Manager::of(this.tree, package);
        found.steps.push(manager.step(this, Phase::Build, "build", &["run", "build"]));
    }
}

/// What makes files that need no packages any more: those are gone after the build.
pub(super) fn build_only(this: &Asked<'_>, package: &Package, found: &mut Found) {
    let before = found.steps.len();
    install(this, package, found);
    build(this, package, found);
    let added = &mut found.steps[before..];
    if added.is_empty() {
        return;
    }
    if let Some(step) = added.iter_mut().find(|step| step.phase == Phase::Install) {
        step.modules = pins::of_npm(this.tree, package, step);
    }
    found.steps.push(BuildStep::new(Phase::Build, "tidy", &["/bin/rm", "-rf", "node_modules"]));
}

/// Drops what only developers need, unless some of it runs later.
fn prune(this: &Asked<'_>, package: &Package, found: &mut Found) {
    let manager = Manager::of(this.tree, package);
    let is_installed = found.steps.iter().any(|step| step.phase == Phase::Install);
    if manager != Manager::Npm || !is_installed || !package.has_developers() {
        return;
    }
    let own = this.manifest.processes.iter().chain(&found.migrations);
    let started = found.start.iter().map(|start| &start.command);
    let words = own.map(|process| &process.command).chain(started).flatten().map(String::as_str);
    let script = package.script("start").unwrap_or_default().split_whitespace();
    let own_start = this.own_start.unwrap_or_default().split_whitespace();
    let parts = words.chain(script).chain(own_start).flat_map(|word| word.split('/'));
    if let Some(tool) = parts.into_iter().find(|part| package.builds_with(part)) {
        found.notes.push(format!(
            "`{}` runs later, so the packages of developers stay",
            manifest::printable(tool)
        ));
        return;
    }
    found.steps.push(manager.step(
        this,
        Phase::Build,
        "tidy",
        &["prune", "--omit=dev", "--no-audit", "--no-fund"],
    ));
}
