//! `hostkit storage policy` and `proxy`: what anybody may read, and where a site shows it.

use serde::Serialize;

use super::{enable, place, without};
use crate::{
    commands::Context,
    config::Backend,
    error::{Error, Result},
    names::ProjectName,
    registry::{Policy, Project, Storage},
};

/// Show or say who may read a project's bucket
///
/// `private`: who has its key. `public-read`: anybody who knows an object's name; nobody may list
/// them. Visitors get there by `storage proxy`, or by a service's own address.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage policy my-shop
  hostkit storage policy my-shop public-read")]
pub struct PolicyArgs {
    /// Project whose bucket it is
    pub name: String,

    /// private or public-read
    policy: Option<String>,
}

/// Show a public bucket on the project's own site
///
/// Visitors may read objects below a path of the project's domains. Nothing but reads goes
/// through, and of a visitor's request nothing but the path.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage proxy my-shop
  hostkit storage proxy my-shop --path /media/
  hostkit storage proxy my-shop --off")]
pub struct ProxyArgs {
    /// Project whose bucket it is
    pub name: String,

    /// The path on its site
    #[arg(long, default_value = "/files/", value_name = "PATH")]
    path: String,

    /// Show it no more
    #[arg(long, conflicts_with = "path")]
    off: bool,
}

#[derive(Serialize)]
struct Now<'a> {
    policy: Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

fn now<'a>(cx: &Context, project: &'a Project, storage: &'a Storage) -> Now<'a> {
    let own = cx.config.base_domain.below(&project.name).ok();
    let domain = project.domains.first().or(own.as_ref());
    let is_shown = storage.policy == Policy::PublicRead;
    let path = storage.path.as_deref();
    let url = path.filter(|_| is_shown).zip(domain).map(|(path, d)| format!("http://{d}{path}"));
    Now { policy: storage.policy, path, url }
}

pub(super) fn policy(args: &PolicyArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    let storage = project.storage.clone().ok_or_else(|| without(&name))?;
    let Some(policy) = &args.policy else {
        let text = format!("{}\n", storage.policy.as_str());
        let now = now(cx, &project, &storage);
        cx.ui.result("storage policy", Some(name.as_str()), &now, &text);
        return Ok(());
    };
    let policy: Policy = policy.parse()?;
    let project = change(cx, &name, "storage policy", |storage| {
        storage.policy = policy;
        Ok(())
    })?;
    let storage = project.storage.clone().unwrap_or_default();
    let now = now(cx, &project, &storage);
    let is_ours = cx.config.storage.backend == Backend::Garage;
    let mut text = match policy {
        Policy::Private => format!("nobody reads {} without its key\n", name.bucket()),
        Policy::PublicRead => format!("anybody may read what {} holds\n", name.bucket()),
    };
    match (&now.url, policy) {
        (Some(url), _) => text.push_str(&format!("at {url}\n")),
        (None, Policy::PublicRead) if is_ours => {
            text.push_str(&format!("show it on its site: hostkit storage proxy {name}\n"));
        }
        _ => {}
    }
    cx.ui.result("storage policy", Some(name.as_str()), &now, &text);
    Ok(())
}

pub(super) fn proxy(args: &ProxyArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    let storage = project.storage.clone().ok_or_else(|| without(&name))?;
    if place(cx)?.kind != Backend::Garage {
        return Err(Error::usage("not_here", "this storage shows what is public by itself")
            .caused_by("it is a service elsewhere")
            .hint("say where: `hostkit config set storage.public_url URL`, then `hostkit repair --all`"));
    }
    let path = if args.off { None } else { Some(check_path(&args.path, &project)?) };
    if path.is_some() && storage.policy != Policy::PublicRead {
        return Err(Error::conflict("private", format!("the bucket of {name} is private")).hint(
            format!("open it to readers first: `hostkit storage policy {name} public-read`"),
        ));
    }
    let project = change(cx, &name, "storage proxy", |storage| {
        storage.path = path;
        Ok(())
    })?;
    let storage = project.storage.clone().unwrap_or_default();
    let now = now(cx, &project, &storage);
    let text = match &now.url {
        Some(url) => {
            format!("{url} shows what {} holds\n{}", name.bucket(), enable::taken_up(&name, false))
        }
        None => format!("no site shows what {} holds\n", name.bucket()),
    };
    cx.ui.result("storage proxy", Some(name.as_str()), &now, &text);
    Ok(())
}

/// A path that means itself to nginx, and that nothing of the project's answers at.
fn check_path(path: &str, project: &Project) -> Result<String> {
    let refused = |why: &str| {
        Error::usage("bad_path", format!("a bucket can't be shown at `{}`", path.escape_debug()))
            .caused_by(why.to_owned())
            .hint("a path like `/files/`")
    };
    let inner = path.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let Some(inner) = inner.filter(|inner| !inner.is_empty()) else {
        return Err(refused("it begins and ends with a slash, and has something between"));
    };
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if path.len() > 64 || !inner.split('/').all(plain) {
        return Err(refused("letters, digits, `-`, `_` and `.` are what it is made of"));
    }
    let routes = project.live.iter().flat_map(|live| &live.spec.routes);
    if let Some(route) = routes.into_iter().find(|route| route.path == path) {
        return Err(refused(&format!("the project answers at `{}` itself", route.path)));
    }
    Ok(path.to_owned())
}

fn change(
    cx: &mut Context,
    name: &ProjectName,
    verb: &str,
    edit: impl FnOnce(&mut Storage) -> Result<()>,
) -> Result<Project> {
    super::check(cx)?;
    let _held = cx.take_project(name, verb)?;
    let mut project = cx.registry()?.living_project(name)?;
    let storage = project.storage.as_mut().ok_or_else(|| without(name))?;
    edit(storage)?;
    enable::carry_out(cx, &project, verb, given(cx, &project)?)?;
    Ok(project)
}

/// Of a storage that makes no keys: the one that the project has, as it is.
fn given(cx: &Context, project: &Project) -> Result<Option<crate::secret::Keys>> {
    if place(cx)?.kind == Backend::Garage {
        return Ok(None);
    }
    let env = cx.host.read_text(&project.name.env_file())?.unwrap_or_default();
    Ok(crate::projects::storage_keys(&env))
}
