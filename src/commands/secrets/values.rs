//! Values of secrets in memory: read with a note of who read them, and why.

use std::collections::BTreeMap;

use super::keys;
use crate::{
    commands::Context,
    error::{Error, Result},
    names::{ProjectName, ReleaseId},
    registry::{SecretRow, Use},
    secret::{Keyring, Place, Secret},
};

/// By name: the version, and its value.
pub type Values = BTreeMap<String, (i64, Secret)>;

/// Which of a project's values.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those that the next deploy brings.
    Current,
    /// Those that processes have.
    Live,
    /// Those that a release had.
    Pinned(&'a ReleaseId),
}

/// Reads values that go to somebody: to a process, a person or a backup.
pub fn read(
    cx: &mut Context,
    project: &ProjectName,
    which: Which<'_>,
    what: &str,
    release: Option<&ReleaseId>,
) -> Result<Values> {
    let versions = versions(cx, project, which)?;
    read_versions(cx, project, &versions, what, release)
}

/// The same of versions that are known.
pub fn read_versions(
    cx: &mut Context,
    project: &ProjectName,
    versions: &BTreeMap<String, i64>,
    what: &str,
    release: Option<&ReleaseId>,
) -> Result<Values> {
    if versions.is_empty() {
        return Ok(Values::new());
    }
    let actor = cx.caller.actor();
    let names = versions.iter().map(|(name, version)| (name.as_str(), Some(*version)));
    cx.registry()?.audit_secrets(project, &Use { what, actor: &actor, release }, names)?;
    open(cx, project, versions)
}

pub fn versions(
    cx: &mut Context,
    project: &ProjectName,
    which: Which<'_>,
) -> Result<BTreeMap<String, i64>> {
    let of = |pick: fn(&SecretRow) -> Option<i64>, rows: Vec<SecretRow>| {
        rows.into_iter().filter_map(|row| Some((row.name.clone(), pick(&row)?))).collect()
    };
    Ok(match which {
        Which::Current => of(|row| row.version, cx.registry()?.secrets(project)?),
        Which::Live => of(|row| row.live_version, cx.registry()?.secrets(project)?),
        Which::Pinned(release) => cx.registry()?.pinned_secrets(project, release)?,
    })
}

/// Opens values without a note of it: what hostkit compares by itself goes to nobody.
pub fn open(
    cx: &mut Context,
    project: &ProjectName,
    versions: &BTreeMap<String, i64>,
) -> Result<Values> {
    let mut ring = keys::ring(cx)?;
    let mut opened = Values::new();
    for (name, version) in versions {
        let value = match one(cx, &ring, project, name, *version) {
            // Their key may have been changed since we read it.
            Err(error) if error.code == "key_unknown" => {
                ring = keys::ring(cx)?;
                one(cx, &ring, project, name, *version)?
            }
            // Cleared since processes were given it.
            Err(error) if error.code == "no_version" => continue,
            other => other?,
        };
        opened.insert(name.clone(), (*version, value));
    }
    Ok(opened)
}

fn one(
    cx: &mut Context,
    ring: &Keyring,
    project: &ProjectName,
    name: &str,
    version: i64,
) -> Result<Secret> {
    let sealed = cx.registry()?.sealed(project, name, version)?;
    ring.open(Place { project: project.as_str(), name, version }, &sealed)
}

/// For the plan of a project as it is: what its processes were given, if it can be opened.
pub fn of_plan(cx: &Context, project: &ProjectName) -> Option<BTreeMap<String, Secret>> {
    let registry = cx.registry.as_ref()?;
    let rows = registry.secrets(project).ok()?;
    let live: Vec<(String, i64)> =
        rows.into_iter().filter_map(|row| Some((row.name, row.live_version?))).collect();
    if live.is_empty() {
        return None;
    }
    let ring = keys::known(cx)?;
    let open = |(name, version): (String, i64)| -> Result<Option<(String, Secret)>> {
        let sealed = match registry.sealed(project, &name, version) {
            Err(error) if error.code == "no_version" => return Ok(None),
            other => other?,
        };
        let place = Place { project: project.as_str(), name: &name, version };
        let value = ring.open(place, &sealed)?;
        Ok(Some((name, value)))
    };
    let opened: Result<Vec<_>> = live.into_iter().map(open).collect();
    opened.ok().map(|all| all.into_iter().flatten().collect())
}

/// The one value, for whoever may see it.
pub fn show(cx: &mut Context, project: &ProjectName, name: &str) -> Result<Secret> {
    let row = cx.registry()?.secret(project, name)?;
    let version = row.version.ok_or_else(|| not_set(project, name))?;
    let actor = cx.caller.actor();
    let names = [(name, Some(version))];
    cx.registry()?.audit_secrets(project, &Use::of("show", &actor), names)?;
    let versions = BTreeMap::from([(name.to_owned(), version)]);
    let opened = open(cx, project, &versions)?.remove(name);
    opened.map(|(_, value)| value).ok_or_else(|| not_set(project, name))
}

pub fn not_set(project: &ProjectName, name: &str) -> Error {
    Error::missing("not_set", format!("`{name}` of {project} has no value")).hint(format!(
        "set it, the value by standard input: `hostkit secrets set {project} {name}`"
    ))
}
