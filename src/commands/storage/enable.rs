//! `hostkit storage enable`: a bucket and a key for a project that has none.

use serde::Serialize;

use super::{open, setup::read_secret};
use crate::{
    commands::{Context, deploy::switch, facts, show},
    error::{Error, Result},
    names::ProjectName,
    plan::{Plan, differences},
    projects::{self, ManagedEnv, Passwords},
    registry::{Change, NewOperation, Project, Storage, Way},
    secret::Keys,
    sys::storage::Place,
};

/// Give a project a bucket and a key to it
///
/// Where the storage is the server's own, the key is made here. A service elsewhere gives keys
/// out itself: make one there that may use the project's bucket and no other, and name it; its
/// secret is read from standard input. hostkit tries it on the buckets of other projects first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage enable my-shop --restart
  hostkit storage enable my-shop --access-key ID < secret")]
pub struct Args {
    /// Project to give a bucket
    pub name: String,

    /// The project's key at a service elsewhere; its secret is read from standard input
    #[arg(long, value_name = "ID")]
    access_key: Option<String>,

    /// Take a bucket that is there already, and replace S3_ variables of your own
    #[arg(long)]
    take_over: bool,

    /// Let the processes take it up now, through the gate and without a failed request
    #[arg(long)]
    restart: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Enabled {
    bucket: String,
    endpoint: String,
    restarted: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let (place, storage) = open(cx)?;
    let given = given(args, &place, storage.makes_keys())?;
    storage.answers()?;
    let held = (!args.dry_run).then(|| cx.take_project(&name, "storage enable")).transpose()?;
    let project = cx.registry()?.living_project(&name)?;
    check(args, cx, &project, given.as_ref())?;
    if let Some(keys) = &given {
        check_reach(cx, &place, &project, keys)?;
    }
    let after = Project { storage: project.storage.or(Some(Storage::default())), ..project };
    if args.dry_run {
        let differences = differences(&plan(cx, &after, given)?, &cx.host)?;
        show::preview(cx, "storage enable", Some(&name), &differences);
        return Ok(());
    }
    carry_out(cx, &after, "storage enable", given)?;
    let restarted = args.restart && restart(cx, &name, "storage enable")?;
    drop(held);
    let bucket = name.bucket();
    let told = taken_up(&name, restarted);
    let text = format!("{name} has the bucket {bucket}\n{told}");
    let data = Enabled { bucket, endpoint: place.endpoint, restarted };
    cx.ui.result("storage enable", Some(name.as_str()), &data, &text);
    Ok(())
}

/// What is left to do for the processes to know.
pub(super) fn taken_up(name: &ProjectName, restarted: bool) -> String {
    if restarted {
        return format!("{name} runs with it\n");
    }
    format!("its processes know when they restart: hostkit project restart {name}\n")
}

fn given(args: &Args, place: &Place, makes_keys: bool) -> Result<Option<Keys>> {
    match &args.access_key {
        None if makes_keys => Ok(None),
        None => Err(Error::usage("key_needed", "the project needs a key of its own")
            .caused_by(format!("`{}` gives no keys to hostkit for its projects", place.endpoint))
            .hint("make one there for the project's bucket alone, and name it: `--access-key ID < secret`")),
        Some(_) if makes_keys => {
            Err(Error::usage("key_unwanted", "this storage makes the key itself")
                .hint("leave `--access-key` out"))
        }
        Some(id) => Keys::read(id, read_secret()?.expose())
            .map(Some)
            .ok_or_else(|| Error::usage("bad_key", "this is no access key and no secret")),
    }
}

fn check(args: &Args, cx: &Context, project: &Project, given: Option<&Keys>) -> Result<()> {
    let name = &project.name;
    if project.storage.is_some() {
        // Another key for the same bucket is how one is replaced where hostkit makes none.
        return if given.is_some() {
            Ok(())
        } else {
            Err(Error::conflict("storage_exists", format!("{name} has object storage already"))
                .hint(format!("see `hostkit storage status {name}`")))
        };
    }
    if args.take_over {
        return Ok(());
    }
    super::check_new(cx, name).map_err(|error| match error.code {
        "bucket_exists" => error.hint(format!(
            "if it is to be this project's: `hostkit storage enable {name} --take-over`"
        )),
        _ => error,
    })?;
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let own = ManagedEnv::own_storage(&env);
    if own.is_empty() {
        return Ok(());
    }
    Err(Error::conflict("variables_set", format!("{name} sets {} itself", own.join(", ")))
        .caused_by("hostkit would replace them, and the project may use another storage by them")
        .hint(format!("if they may go: `hostkit storage enable {name} --take-over`")))
}

/// Refuses a key that opens more than it should: there would be nothing between the projects.
fn check_reach(cx: &mut Context, place: &Place, project: &Project, keys: &Keys) -> Result<()> {
    let wide = |what: String| {
        Error::conflict("key_too_wide", format!("this key is not {}'s alone", project.name))
            .caused_by(what)
            .hint(format!("make one that may use `{}` and no other bucket", project.name.bucket()))
    };
    let account = cx.host.read_text(std::path::Path::new(crate::sys::storage::ACCOUNT))?;
    if account.and_then(|text| Keys::parse(&text)).is_some_and(|own| own.id == keys.id) {
        return Err(wide("it is the one of hostkit's account".into()));
    }
    let others = cx.registry()?.projects()?;
    let others =
        others.iter().filter(|other| other.storage.is_some() && other.name != project.name);
    for other in others {
        let bucket = other.name.bucket();
        if place.store(&bucket, keys)?.opens()? == Some(true) {
            return Err(wide(format!("it opens the bucket of {} too", other.name)));
        }
    }
    Ok(())
}

fn plan(cx: &Context, project: &Project, given: Option<Keys>) -> Result<Plan> {
    let facts = facts::of_project(&cx.host, project)?;
    let found = projects::passwords(facts.env.as_deref())?;
    let storage = match given {
        Some(keys) => Some(keys),
        None => super::keys(cx, found.storage.clone())?,
    };
    let passwords = Passwords { storage, ..found };
    projects::storage_plan(project, &facts, &passwords, &cx.config, &cx.templates()?)
}

/// Makes a project's storage what its row will say.
pub(super) fn carry_out(
    cx: &mut Context,
    after: &Project,
    verb: &str,
    given: Option<Keys>,
) -> Result<()> {
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(&after.name), verb, actor: &actor, way: Way::Undo };
    let change = Change::Storage(Box::new(after.clone()));
    cx.carry_out(&new, None, |cx, _| Ok((plan(cx, after, given)?, vec![change])))?;
    Ok(())
}

/// The same release once more, through the gate; whether there was something to restart.
pub(super) fn restart(cx: &mut Context, name: &ProjectName, verb: &'static str) -> Result<bool> {
    let project = cx.registry()?.living_project(name)?;
    let is_up = cx.host.unit(&name.unit())?.is_active();
    let Some(live) = project.live.clone().filter(|_| is_up) else { return Ok(false) };
    switch::again(cx, &project, &live, verb, None, None)?;
    Ok(true)
}
