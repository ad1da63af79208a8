//! How processes get secrets: in `.env`, or as files that systemd hands on, as one with a switch.

use std::{collections::BTreeMap, path::Path};

use super::values::{self, Values, Which};
use crate::{
    commands::Context,
    envfile::EnvFile,
    error::{Error, Result},
    names::{ProjectName, ReleaseId},
    projects::{self, Credentials},
    registry::{Arrived, Live, Project},
    secret::Secret,
    sys::Owner,
};

/// What a switch changes of a project's secrets.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Text of `.env`, where that changes.
    pub env: Option<Secret>,
    pub credentials: Credentials,
    pub arrived: Arrived,
}

/// What a deploy's own build and its commands before the switch are given.
const BUILD_ROOT: &str = "/run/hostkit/secrets";

/// Secrets as a release wants them: of `base`, else of the `.env` that is there.
pub fn arrange(
    cx: &mut Context,
    project: &Project,
    live: &Live,
    all: &Values,
    base: Option<&str>,
    is_back: bool,
) -> Result<Delivery> {
    let name = &project.name;
    let wanted = &live.spec.secret_files;
    let mut credentials = Credentials { gone: stale(cx, name, wanted)?, ..Credentials::default() };
    let is = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let mut file = EnvFile::parse(base.unwrap_or(&is))?;
    for row in cx.registry()?.secrets(name)? {
        let stays = all.contains_key(&row.name) && !wanted.contains(&row.name);
        // A former `.env` says by itself what was in it; of others we take away what we put there.
        // What a deploy makes where there is none is its own.
        let is_made = live.spec.generated.contains_key(&row.name);
        let is_ours = !is_back && !is_made && row.live_version.is_some();
        if !stays && (is_ours || wanted.contains(&row.name)) {
            file.unset(&row.name);
        }
    }
    for (key, (_, value)) in all {
        if wanted.contains(key) {
            credentials.files.insert(key.clone(), value.clone());
        } else {
            file.set(key, value.expose())?;
        }
    }
    check_files(name, wanted, |key| all.contains_key(key))?;
    let text = file.to_string();
    EnvFile::parse(&text)?;
    Ok(Delivery {
        env: (base.is_some() || text != is).then(|| Secret::new(text)),
        credentials,
        arrived: Arrived {
            project: name.clone(),
            release: live.id.clone(),
            versions: all.iter().map(|(key, (version, _))| (key.clone(), *version)).collect(),
            is_back,
        },
    })
}

/// For a release that was just built: what its build had.
pub fn arranged(
    cx: &mut Context,
    project: &Project,
    live: &Live,
    all: &Values,
) -> Result<Option<Delivery>> {
    let is_known = !cx.registry()?.secrets(&project.name)?.is_empty();
    let had_files = !stale(cx, &project.name, &[])?.is_empty();
    if !is_known && !had_files && live.spec.secret_files.is_empty() {
        return Ok(None);
    }
    arrange(cx, project, live, all, None, false).map(Some)
}

/// For a release that starts once more: what was set since, if anything was.
pub fn pending(
    cx: &mut Context,
    project: &Project,
    live: &Live,
    verb: &str,
    base: Option<&str>,
) -> Result<Option<Delivery>> {
    let name = &project.name;
    let current = values::versions(cx, name, Which::Current)?;
    if current == values::versions(cx, name, Which::Live)? {
        return Ok(None);
    }
    let all = values::read(cx, name, Which::Current, verb, Some(&live.id))?;
    arrange(cx, project, live, &all, base, false).map(Some)
}

/// For a release that comes back alone: what processes have now, in the form that it wants.
pub fn kept(cx: &mut Context, project: &Project, to: &Live) -> Result<Option<Delivery>> {
    let name = &project.name;
    let now = values::versions(cx, name, Which::Live)?;
    let has_files = |live: &Live| !live.spec.secret_files.is_empty();
    if has_files(to) || project.live.as_ref().is_some_and(has_files) {
        let chosen = chosen(cx, name, to, now)?;
        let all = values::read_versions(cx, name, &chosen, "rollback", Some(&to.id))?;
        return arrange(cx, project, to, &all, None, false).map(Some);
    }
    Ok((!now.is_empty()).then(|| Delivery {
        env: None,
        credentials: Credentials::default(),
        arrived: Arrived {
            project: name.clone(),
            release: to.id.clone(),
            versions: now,
            is_back: false,
        },
    }))
}

/// Of what a release can't start without, another version where the wanted one is gone.
fn chosen(
    cx: &mut Context,
    name: &ProjectName,
    to: &Live,
    mut wanted: BTreeMap<String, i64>,
) -> Result<BTreeMap<String, i64>> {
    let others = [
        values::versions(cx, name, Which::Pinned(&to.id))?,
        values::versions(cx, name, Which::Current)?,
        values::versions(cx, name, Which::Live)?,
    ];
    for key in &to.spec.secret_files {
        let candidates =
            wanted.get(key).into_iter().chain(others.iter().filter_map(|v| v.get(key)));
        for version in candidates.copied().collect::<Vec<_>>() {
            if cx.registry()?.sealed(name, key, version).is_ok() {
                wanted.insert(key.clone(), version);
                break;
            }
        }
    }
    Ok(wanted)
}

/// For a release that comes back with its data: what it had, beside the `.env` that it had.
pub fn former(
    cx: &mut Context,
    project: &Project,
    to: &Live,
    env: &str,
) -> Result<Option<Delivery>> {
    let is_known = !cx.registry()?.secrets(&project.name)?.is_empty();
    if !is_known && to.spec.secret_files.is_empty() {
        return Ok(None);
    }
    let name = &project.name;
    let pinned = values::versions(cx, name, Which::Pinned(&to.id))?;
    let chosen = chosen(cx, name, to, pinned)?;
    let all = values::read_versions(cx, name, &chosen, "rollback --full", Some(&to.id))?;
    arrange(cx, project, to, &all, Some(env), true).map(Some)
}

/// What processes have now, to go back to when what comes does not hold.
pub fn as_is(cx: &mut Context, project: &Project, next: &Live) -> Result<Option<Delivery>> {
    let Some(live) = &project.live else { return Ok(None) };
    let name = &project.name;
    let mut credentials = Credentials::default();
    for key in &live.spec.secret_files {
        let path = projects::credentials_dir(name).join(key);
        if let Some(text) = cx.host.read_text(&path)? {
            credentials.files.insert(key.clone(), Secret::new(text));
        }
    }
    let is_old = |key: &&String| !live.spec.secret_files.contains(key);
    credentials.gone = next.spec.secret_files.iter().filter(is_old).cloned().collect();
    Ok(Some(Delivery {
        env: cx.host.read_text(&name.env_file())?.map(Secret::new),
        credentials,
        arrived: Arrived {
            project: name.clone(),
            release: live.id.clone(),
            versions: values::versions(cx, name, Which::Live)?,
            is_back: false,
        },
    }))
}

/// Fails where a release wants a file of a secret that nobody has set.
pub fn check_files(
    name: &ProjectName,
    wanted: &[String],
    is_set: impl Fn(&str) -> bool,
) -> Result<()> {
    let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(|key| !is_set(key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let commands: Vec<String> =
        missing.iter().map(|key| format!("hostkit secrets set {name} {key}")).collect();
    Err(Error::usage("secret_missing", format!("the secret {} is not set", missing.join(", ")))
        .caused_by(
            "`[secrets] files` of the release's hostkit.toml hands it to processes as a file",
        )
        .hint(format!("set it, the value by standard input:\n{}", commands.join("\n"))))
}

/// Files of secrets that are files no more.
fn stale(cx: &Context, name: &ProjectName, wanted: &[String]) -> Result<Vec<String>> {
    let dir = projects::credentials_dir(name);
    if cx.host.meta(&dir)?.is_none() {
        return Ok(Vec::new());
    }
    let files = cx.host.list(&dir)?;
    let names = files.iter().filter_map(|file| file.to_str()).filter(|file| !file.starts_with('.'));
    Ok(names.filter(|file| !wanted.iter().any(|key| key == file)).map(str::to_owned).collect())
}

/// Puts the secrets of a release where its build and its commands find them, and nobody else.
pub fn for_build(
    cx: &mut Context,
    project: &Project,
    files: &[String],
    release: &ReleaseId,
) -> Result<Option<Values>> {
    let name = &project.name;
    let all = values::read(cx, name, Which::Current, "deploy", Some(release))?;
    if all.is_empty() {
        return Ok(None);
    }
    let dir = projects::build_secrets_dir(name);
    cx.host.make_dir(Path::new(BUILD_ROOT), Owner::ROOT, 0o700)?;
    cx.host.make_dir(&dir, Owner::ROOT, 0o700)?;
    let mut file = EnvFile::default();
    let mut texts: BTreeMap<&str, &Secret> = BTreeMap::new();
    for (key, (_, value)) in &all {
        if files.contains(key) {
            texts.insert(key, value);
        } else {
            file.set(key, value.expose())?;
        }
    }
    check_room(cx, name, &file)?;
    let env = Secret::new(file.to_string());
    texts.insert(".env", &env);
    for (file, text) in texts {
        cx.host.write(&dir.join(file), text.expose().as_bytes(), Owner::ROOT, 0o600)?;
    }
    Ok(Some(all))
}

/// Fails before anything is built where `.env` would become too long with them.
fn check_room(cx: &Context, name: &ProjectName, with: &EnvFile) -> Result<()> {
    let is = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let mut all = EnvFile::parse(&is)?;
    with.variables().try_for_each(|(key, value)| all.set(key, value))?;
    let text = Secret::new(all.to_string());
    EnvFile::parse(text.expose())
        .map(drop)
        .map_err(|error| error.hint("make long secrets files: `[secrets] files` in hostkit.toml"))
}

/// Takes away what a build was given.
pub fn sweep(cx: &Context, name: &ProjectName) -> Result<()> {
    cx.host.remove_tree(&projects::build_secrets_dir(name))
}
