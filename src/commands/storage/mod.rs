//! `hostkit storage`: a bucket and a key for each project, of the server's own storage or of a
//! service elsewhere.

mod disable;
mod enable;
mod public;
mod rotate;
mod setup;
mod show;

use std::{collections::BTreeSet, path::Path};

use super::Context;
use crate::{
    config::Backend,
    error::{Error, Kind, Result},
    names::ProjectName,
    projects::{self, GARAGE_RPC, GARAGE_UNIT, GARAGE_USER, Garage, StorageFacts},
    registry::Project,
    secret::{Keys, Secret},
    sys::{
        Owner,
        storage::{Place, Storage, Store, TOKEN},
        users,
    },
};

/// Object storage: a bucket and a key for each project
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Credentials(rotate::Args),
    Disable(disable::Args),
    Enable(enable::Args),
    Policy(public::PolicyArgs),
    Proxy(public::ProxyArgs),
    Setup(setup::Args),
    Status(show::StatusArgs),
    Usage(show::UsageArgs),
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Credentials(args) => ("storage credentials", Some(&args.name)),
            Self::Disable(args) => ("storage disable", Some(&args.name)),
            Self::Enable(args) => ("storage enable", Some(&args.name)),
            Self::Policy(args) => ("storage policy", Some(&args.name)),
            Self::Proxy(args) => ("storage proxy", Some(&args.name)),
            Self::Setup(_) => ("storage setup", None),
            Self::Status(args) => ("storage status", args.name.as_deref()),
            Self::Usage(args) => ("storage usage", args.name.as_deref()),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Credentials(args) => rotate::run(args, cx),
            Self::Disable(args) => disable::run(args, cx),
            Self::Enable(args) => enable::run(args, cx),
            Self::Policy(args) => public::policy(args, cx),
            Self::Proxy(args) => public::proxy(args, cx),
            Self::Setup(args) => setup::run(args, cx),
            Self::Status(args) => show::status(args, cx),
            Self::Usage(args) => show::usage(args, cx),
        }
    }
}

/// Where this server's object storage is, if it has one.
pub fn place(cx: &Context) -> Result<Place> {
    projects::storage_place(&cx.config).ok_or_else(|| {
        Error::not_ready("no_storage", "this server has no object storage yet").hint(
            "set one up: `hostkit storage setup --garage PROGRAM`, or `--endpoint` for a service elsewhere",
        )
    })
}

fn open(cx: &Context) -> Result<(Place, Box<dyn Storage>)> {
    let place = place(cx)?;
    let storage = place.open(&cx.host)?;
    Ok((place, storage))
}

/// Fails unless it answers, before anything is changed.
pub fn check(cx: &Context) -> Result<()> {
    open(cx)?.1.answers()
}

/// Fails where a bucket of that name is there already: whose it is, nobody here knows.
pub fn check_new(cx: &Context, name: &ProjectName) -> Result<()> {
    let bucket = name.bucket();
    if open(cx)?.1.bucket(&bucket)?.is_none() {
        return Ok(());
    }
    Err(Error::conflict("bucket_exists", format!("there is a bucket `{bucket}` already"))
        .caused_by("no project is recorded to have it")
        .hint(format!(
            "if it is to be this project's: make it without (--no-storage), then `hostkit storage enable {name} --take-over`"
        )))
}

/// For who insists on storage in a new project.
pub fn insisted(cx: &Context) -> Result<bool> {
    let (place, storage) = open(cx)?;
    if storage.makes_keys() {
        return Ok(true);
    }
    Err(Error::usage("key_needed", "a new project can't have storage at once here")
        .caused_by(format!("`{}` gives no keys to hostkit for its projects", place.endpoint))
        .hint("make it without, then: `hostkit storage enable NAME --access-key ID`"))
}

/// Whether a new project gets storage where nobody said anything of it.
pub fn offered(cx: &Context, name: &str) -> bool {
    match cx.config.storage.backend {
        Backend::Garage => true,
        Backend::None => {
            cx.ui.note(format!("this server has no object storage yet: {name} goes without"));
            false
        }
        Backend::S3 => {
            cx.ui.note(format!(
                "the object storage gives no keys to hostkit; then: hostkit storage enable {name} --access-key ID"
            ));
            false
        }
    }
}

/// The key that a project is to have: the one of its `.env`, or a new one where that is unknown
/// to a storage that makes keys.
pub fn keys(cx: &Context, found: Option<Keys>) -> Result<Option<Keys>> {
    let (_, storage) = open(cx)?;
    if !storage.makes_keys() {
        return Ok(found);
    }
    if let Some(keys) = &found
        && storage.key(&keys.id)?.is_some_and(|is| is.keys == *keys)
    {
        return Ok(found);
    }
    Keys::generate().map(Some)
}

/// A project's bucket with the project's own key: to list, to read and to write, object by object.
/// Nothing where it has none.
pub fn store(cx: &Context, project: &Project) -> Result<Option<Store>> {
    if project.storage.is_none() {
        return Ok(None);
    }
    let name = &project.name;
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let keys = projects::storage_keys(&env).ok_or_else(|| no_key(name))?;
    place(cx)?.store(&name.bucket(), &keys).map(Some)
}

fn no_key(name: &ProjectName) -> Error {
    Error::failed(format!("{name} has no key to its bucket"))
        .coded("no_key")
        .caused_by(format!("`{}` holds none", name.env_file().display()))
        .hint(format!("put it back: `hostkit repair {name}`"))
}

/// For a project without a bucket.
fn without(name: &ProjectName) -> Error {
    Error::missing("no_bucket", format!("{name} has no object storage"))
        .hint(format!("give it some: `hostkit storage enable {name}`"))
}

/// What the plan of the server must know of its own storage.
pub fn facts(cx: &Context) -> Result<StorageFacts> {
    if cx.config.storage.backend != Backend::Garage {
        let unit = format!("/etc/systemd/system/{GARAGE_UNIT}");
        let is_retired = cx.host.meta(Path::new(&unit))?.is_some();
        return Ok(StorageFacts { garage: None, account: None, is_retired });
    }
    let secret = |path: &str| -> Result<Secret> {
        match cx.host.read_text(Path::new(path))? {
            Some(text) => Ok(Secret::new(text.trim())),
            None => Secret::generate(),
        }
    };
    let garage = Garage { user: user()?, token: secret(TOKEN)?, rpc: secret(GARAGE_RPC)? };
    Ok(StorageFacts { garage: Some(garage), account: None, is_retired: false })
}

/// The user of Garage as it is, or numbers that are free.
fn user() -> Result<Owner> {
    if let Some(user) = users::find(GARAGE_USER)? {
        return Ok(user.owner);
    }
    let mut taken = BTreeSet::new();
    for table in ["/etc/passwd", "/etc/group"] {
        let text = std::fs::read_to_string(table)
            .map_err(|e| Error::failed(format!("could not read `{table}`")).caused_by(e))?;
        let number = |line: &str| line.split(':').nth(2)?.parse::<u32>().ok();
        taken.extend(text.lines().filter_map(number));
    }
    // As programs of the system get theirs: from the top of what is kept for them.
    (200..1000)
        .rev()
        .find(|number| !taken.contains(number))
        .map(|number| Owner::new(number, number))
        .ok_or_else(|| Error::new(Kind::Conflict, "no_uid", "there is no user number left"))
}
