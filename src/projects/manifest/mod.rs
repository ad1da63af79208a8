//! `hostkit.toml` in a source tree: what the project's owner says of it. A stranger's text.

mod command;
mod environment;
mod expose;
mod keys;
mod mistakes;
mod packages;
mod process;
mod reader;
mod routes;
mod schedule;
mod schema;
mod secrets;
mod services;
mod written;

use std::{collections::BTreeMap, ops::RangeInclusive};

use toml::de::DeTable;

pub(super) use command::words;
pub use mistakes::mistakes;
pub(super) use packages::is_pinned;
pub(super) use process::name_fault;
pub(super) use reader::printable;
use reader::{At, Table};
pub(super) use schedule::on_calendar;
pub use schema::schema;
pub use services::Services;
pub use written::manifest_text;

use crate::{
    config::Size,
    error::Result,
    names::{Environment, Runtime, nearest},
    release::{Process, Route, Source, Strategy, Switch},
    secret::Generated,
};

/// The file's name, at the top of the tree.
pub const MANIFEST: &str = "hostkit.toml";

const LONGEST: usize = 64 * 1024;
const MOST_STEPS: usize = 50;
const MOST_SHARED: usize = 50;

/// What a configuration may hand out.
const PORTS: RangeInclusive<u16> = 1024..=8999;

/// What a release can't have as a link into `shared/`.
const NOT_SHARED: &[&str] = &[".complete", ".git", "hostkit.toml", "node_modules", "venv"];

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Manifest {
    /// `None` is what the tree looks like.
    pub runtime: Option<Runtime>,
    /// The one that the project is to have.
    pub port: Option<u16>,
    pub shared: Vec<String>,
    pub public: Option<String>,
    pub build: Build,
    pub switch: Switch,
    /// Whether migrations that are found may run.
    pub migrate: Migrate,
    /// `web` first, the others by name.
    pub processes: Vec<Process>,
    /// By path.
    pub routes: Vec<Route>,
    pub environment: BTreeMap<String, String>,
    /// Defaults of one environment alone, which win over the others.
    pub overlays: BTreeMap<Environment, BTreeMap<String, String>>,
    /// What visitors reach in an environment, where a list says so.
    pub expose: BTreeMap<Environment, Vec<String>>,
    /// Variables that have to be in `.env`, and what they are for.
    pub required: BTreeMap<String, String>,
    /// Variables that are made where `.env` has none.
    pub generated: BTreeMap<String, Generated>,
    /// Variables that are others by another name.
    pub variables: BTreeMap<String, Source>,
    /// Other names of units, and the process that each is of.
    pub aliases: BTreeMap<String, String>,
    /// Secrets that processes read from files.
    pub secret_files: Vec<String>,
    pub services: Services,
    /// The command that looks at a backup which was brought back.
    pub check: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Build {
    /// Instead of those that were found.
    pub steps: Option<Vec<String>>,
    pub install: Install,
    /// Seconds.
    pub timeout: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Beside what the tree lists.
    pub packages: Vec<String>,
    /// A file below the release that says which versions those may have.
    pub constraints: Option<String>,
    /// Variables of the build alone, which win over those of `.env`.
    pub environment: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Install {
    #[default]
    Detected,
    Nothing,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Migrate {
    #[default]
    Detected,
    Never,
}

pub fn parse_manifest(text: &str) -> Result<Manifest> {
    let text = plain(text);
    read(text, &document(text)?)
}

fn plain(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn document(text: &str) -> Result<DeTable<'_>> {
    if text.len() > LONGEST {
        let why = format!("it has {} bytes, and {LONGEST} are the most", text.len());
        return Err(reader::refused(text, None, why));
    }
    let parsed = DeTable::parse(text).map_err(|e| reader::no_toml(text, &e))?;
    Ok(parsed.into_inner())
}

fn read(text: &str, document: &DeTable<'_>) -> Result<Manifest> {
    let whole = Table::whole(text, document);
    whole.knows(keys::MANIFEST)?;
    let mut manifest = Manifest::default();
    if let Some(table) = whole.table("project")? {
        project(&mut manifest, &table)?;
    }
    if let Some(table) = whole.table("build")? {
        manifest.build = build(&table)?;
    }
    if let Some(table) = whole.table("deploy")? {
        deploy(&mut manifest, &table)?;
    }
    manifest.processes = process::read(&whole, &manifest)?;
    manifest.aliases = process::aliases(&whole)?;
    manifest.routes = routes::read(&whole, &manifest)?;
    if let Some(table) = whole.table("expose")? {
        manifest.expose = expose::read(&manifest, &table)?;
    }
    if let Some(table) = whole.table("services")? {
        manifest.services = services::read(&table)?;
    }
    if let Some(table) = whole.table("env")? {
        environment::read(&mut manifest, &table)?;
    }
    if let Some(table) = whole.table("secrets")? {
        manifest.secret_files = secrets::read(&manifest, &table)?;
    }
    if let Some(table) = whole.table("backup")? {
        table.knows(keys::BACKUP)?;
        if let Some(at) = table.string("check")? {
            let refused = |no: command::Refused| {
                let error = table.refused(&at.span, no.why);
                match no.hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            };
            manifest.check = Some(command::words(at.value).map_err(refused)?);
        }
    }
    Ok(manifest)
}

fn project(manifest: &mut Manifest, table: &Table<'_>) -> Result<()> {
    table.knows(keys::PROJECT)?;
    if let Some(at) = table.string("runtime")? {
        let words = Runtime::ALL.map(Runtime::as_str);
        manifest.runtime = Some(one_of(table, &at, "runtime", &words)?.parse()?);
    }
    if let Some(At { value, span }) = table.number("port")? {
        let fits = u16::try_from(value).ok().filter(|port| PORTS.contains(port));
        let refused = || {
            let (first, last) = (PORTS.start(), PORTS.end());
            table.refused(&span, format!("`project.port` wants {first} to {last}"))
        };
        manifest.port = Some(fits.ok_or_else(refused)?);
    }
    if let Some(at) = table.string("public")? {
        let public = path(&at).map_err(|why| table.refused(&at.span, why))?;
        manifest.public = Some(public);
    }
    for at in table.strings("shared", MOST_SHARED)?.unwrap_or_default() {
        let refused =
            |why: &str| table.refused(&at.span, format!("`{}` {why}", printable(at.value)));
        let shared = path(&at).map_err(|why| table.refused(&at.span, why))?;
        let first = shared.split('/').next().unwrap_or_default();
        if first.is_empty() || NOT_SHARED.contains(&first) {
            return Err(refused("belongs to each release alone"));
        }
        if manifest.shared.contains(&shared) {
            return Err(refused("is shared twice"));
        }
        let holds = |one: &str, two: &str| two.starts_with(&format!("{one}/"));
        if manifest.shared.iter().any(|other| holds(other, &shared) || holds(&shared, other)) {
            return Err(refused("lies in another shared directory, or holds one"));
        }
        manifest.shared.push(shared);
    }
    Ok(())
}

fn build(table: &Table<'_>) -> Result<Build> {
    table.knows(keys::BUILD)?;
    let mut build = Build { timeout: table.seconds("timeout", 1, 6 * 3600)?, ..Build::default() };
    if let Some(steps) = table.strings("steps", MOST_STEPS)? {
        let odd = |c: char| c.is_control() && c != '\n' && c != '\t';
        let bad = steps.iter().find(|at| {
            at.value.trim().is_empty() || at.value.len() > 4096 || at.value.contains(odd)
        });
        if let Some(At { span, .. }) = bad {
            return Err(table.refused(span, "it is no command of a shell"));
        }
        build.steps = Some(steps.into_iter().map(|at| at.value.trim().to_owned()).collect());
    }
    build.packages = packages::read(table)?;
    if let Some(at) = table.string("constraints")? {
        let file = path(&at).map_err(|why| table.refused(&at.span, why))?;
        if file.is_empty() {
            return Err(table.refused(&at.span, "`.` is no file"));
        }
        build.constraints = Some(file);
    }
    if table.boolean("install")? == Some(false) {
        build.install = Install::Nothing;
        let idle =
            table.keys().into_iter().find(|k| ["constraints", "packages"].contains(&k.value));
        if let Some(At { value, span }) = idle {
            let why = format!("`install = false` installs nothing, so `{value}` is of no use");
            return Err(table.refused(&span, why));
        }
    }
    if let Some(variables) = table.table("env")? {
        build.environment = environment::texts(&variables, &[])?;
    }
    if let Some(At { value, span }) = table.string("memory")? {
        let size: Size =
            value.parse().map_err(|why: String| table.refused(&span, printable(&why)))?;
        if !((64 << 20)..=(64 << 30)).contains(&size.0) {
            return Err(table.refused(&span, "`build.memory` wants 64M to 64G"));
        }
        build.memory = Some(size.0);
    }
    Ok(build)
}

fn deploy(manifest: &mut Manifest, table: &Table<'_>) -> Result<()> {
    table.knows(keys::DEPLOY)?;
    let usual = Switch::default();
    let strategy = match table.string("strategy")? {
        Some(at) if one_of(table, &at, "strategy", &["restart", "standby"])? == "restart" => {
            Strategy::Restart
        }
        Some(_) => Strategy::Standby,
        None => usual.strategy,
    };
    manifest.switch = Switch {
        strategy,
        watch: table.seconds("watch", 0, 3600)?.unwrap_or(usual.watch),
        drain: table.seconds("drain", 0, 3600)?.unwrap_or(usual.drain),
        timeout: table.seconds("timeout", 1, 3600)?.unwrap_or(usual.timeout),
    };
    if table.boolean("migrate")? == Some(false) {
        manifest.migrate = Migrate::Never;
    }
    Ok(())
}

fn one_of<'a>(
    table: &Table<'_>,
    at: &At<&'a str>,
    key: &str,
    words: &[&'a str],
) -> Result<&'a str> {
    if words.contains(&at.value) {
        return Ok(at.value);
    }
    let error = table.refused(&at.span, format!("`{key}` can't be `{}`", printable(at.value)));
    Err(match nearest(at.value, words.iter().copied()) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint(format!("there are {}", words.join(", "))),
    })
}

/// A directory below the release, in its one form; "" is the release itself.
fn path(at: &At<&str>) -> Result<String, String> {
    let text = at.value.strip_prefix("./").unwrap_or(at.value);
    let text = text.strip_suffix('/').filter(|text| !text.is_empty()).unwrap_or(text);
    if matches!(text, "" | ".") {
        return Ok(String::new());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let is_part = |part: &str| {
        !part.is_empty()
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.len() <= 100
            && part.chars().all(fits)
    };
    if text.len() <= 200 && text.split('/').all(is_part) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{}` is no path below the release, of letters, digits and . _ - + @",
        printable(at.value)
    ))
}

#[cfg(test)]
mod tests;
