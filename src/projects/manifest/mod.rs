//! `hostkit.toml` in a source tree: what the project's owner says of it. A stranger's text.

mod command;
mod process;
mod reader;
mod routes;
mod schedule;

use std::collections::BTreeMap;

use toml::de::DeTable;

pub(super) use command::words;
pub(super) use process::name_fault;
pub(super) use reader::printable;
use reader::{At, Table};
pub(super) use schedule::on_calendar;

use crate::{
    config::Size,
    envfile,
    error::{Error, Result},
    names::{Runtime, nearest},
    release::{Process, Route, Strategy, Switch},
};

/// The file's name, at the top of the tree.
pub const MANIFEST: &str = "hostkit.toml";

const LONGEST: usize = 64 * 1024;
const MOST_STEPS: usize = 50;
const MOST_SHARED: usize = 50;

/// Tables that belong to later versions.
const LATER: &[&str] = &["expose", "services"];

/// Variables that hostkit sets in each `.env`, which wins over a default.
const OWN_VARIABLES: &[&str] = &["HOST", "PORT", "PROJECT_NAME"];

/// What a release can't have as a link into `shared/`.
const NOT_SHARED: &[&str] = &[".complete", ".git", "hostkit.toml", "node_modules", "venv"];

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Manifest {
    /// `None` is what the tree looks like.
    pub runtime: Option<Runtime>,
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
    /// Variables that have to be in `.env`, and what they are for.
    pub required: BTreeMap<String, String>,
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
    if text.len() > LONGEST {
        let why = format!("it has {} bytes, and {LONGEST} are the most", text.len());
        return Err(reader::refused(text, None, why));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = DeTable::parse(text).map_err(|e| {
        let why = e.message().lines().next().unwrap_or("it is no TOML");
        reader::refused(text, e.span().as_ref(), printable(why))
            .hint("it is TOML: `key = \"value\"` lines below `[table]` lines")
    })?;
    let whole = Table::whole(text, parsed.get_ref());
    if let Some(later) = whole.keys().into_iter().find(|key| LATER.contains(&key.value)) {
        let At { value, span } = later;
        return Err(whole
            .refused(
                &span,
                format!("`[{value}]` is for a later version, and this one has none yet"),
            )
            .coded("not_yet")
            .hint(format!("leave `[{value}]` out")));
    }
    whole.knows(&["build", "deploy", "env", "process", "project", "routes"])?;
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
    manifest.routes = routes::read(&whole, &manifest)?;
    if let Some(table) = whole.table("env")? {
        environment(&mut manifest, &table)?;
    }
    Ok(manifest)
}

fn project(manifest: &mut Manifest, table: &Table<'_>) -> Result<()> {
    table.knows(&["public", "runtime", "shared"])?;
    if let Some(at) = table.string("runtime")? {
        let words = Runtime::ALL.map(Runtime::as_str);
        manifest.runtime = Some(one_of(table, &at, "runtime", &words)?.parse()?);
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
    table.knows(&["install", "memory", "steps", "timeout"])?;
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
    if table.boolean("install")? == Some(false) {
        build.install = Install::Nothing;
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
    table.knows(&["drain", "migrate", "strategy", "timeout", "watch"])?;
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

fn environment(manifest: &mut Manifest, table: &Table<'_>) -> Result<()> {
    let required = match table.table("required")? {
        Some(required) => variables(&required, |_| false)?,
        None => BTreeMap::new(),
    };
    let defaults = variables(table, |key| key == "required")?;
    for At { value, span } in table.keys() {
        if OWN_VARIABLES.contains(&value) {
            let why = format!("hostkit sets `{value}` in each `.env`, and that wins");
            return Err(table.refused(&span, why));
        }
        if required.contains_key(value) {
            let why = format!("`{value}` is required, so it can't have a default");
            return Err(table.refused(&span, why));
        }
    }
    let long = |text: &String| text.chars().count() > 200 || text.contains(char::is_control);
    if let Some((key, _)) = required.iter().find(|(_, what)| long(what)) {
        let why = format!("`env.required.{key}` wants one line of up to 200 characters");
        return Err(table.refused(&table.span, why));
    }
    manifest.environment = defaults;
    manifest.required = required;
    Ok(())
}

fn variables(table: &Table<'_>, skip: fn(&str) -> bool) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for At { value: key, span } in table.keys() {
        if skip(key) && table.is_table(key) {
            continue;
        }
        envfile::check_key(key).map_err(|Error { message, cause, hint, .. }| {
            let error = table.refused(&span, cause.unwrap_or(message));
            hint.into_iter().fold(error, Error::hint)
        })?;
        if let Some(at) = table.string(key)? {
            variables.insert(key.to_owned(), at.value.to_owned());
        }
    }
    Ok(variables)
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
