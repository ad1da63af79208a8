//! `hostkit storage disable`: a project's bucket goes, after a copy of what is in it.

use serde::Serialize;

use super::place;
use crate::{
    commands::{Context, backup, confirm, facts, show},
    error::{Error, Result},
    names::ProjectName,
    plan::{Ground, Lane, Plan, differences},
    projects::{self, key_name},
    registry::{Change, NewOperation, Project, Way},
    steps::{Bucket, NoBucket},
};

/// Take a project's object storage away
///
/// What is in the bucket is copied to the project's backups first. Then the project no longer
/// knows of it, its key ends, and the bucket goes with all that is in it, unless it is to stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage disable my-shop
  hostkit storage disable my-shop --keep
  hostkit storage disable my-shop --yes --no-backup")]
pub struct Args {
    /// Project whose bucket goes
    pub name: String,

    /// Do not ask, whatever is in it
    #[arg(long, short = 'y', visible_alias = "force")]
    yes: bool,

    /// Name the project once more instead of being asked
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,

    /// Leave the bucket, open to nobody
    #[arg(long)]
    keep: bool,

    /// Take no copy
    #[arg(long)]
    no_backup: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Disabled {
    bucket: String,
    kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    super::check(cx)?;
    if project.storage.is_none() {
        return leftover(args, cx, &project);
    }
    let store = super::store(cx, &project);
    // A bucket that can't be looked into may hold anything.
    let is_empty = store
        .as_ref()
        .is_ok_and(|store| store.as_ref().is_none_or(|store| store.is_empty().unwrap_or(false)));
    if !is_empty && !args.keep && !args.dry_run {
        agree(args, &name)?;
    }
    let held = (!args.dry_run).then(|| cx.take_project(&name, "storage disable")).transpose()?;
    let project = cx.registry()?.living_project(&name)?;
    let after = Project { storage: None, ..project.clone() };
    let gone = gone(cx, &project, args.keep)?;
    if args.dry_run {
        let mut all = differences(&forgotten(cx, &after)?, &cx.host)?;
        all.extend(differences(&gone, &cx.host)?);
        show::preview(cx, "storage disable", Some(&name), &all);
        return Ok(());
    }
    let backup = if args.keep || args.no_backup { None } else { copy(cx, &project)? };
    let actor = cx.caller.actor();
    let verb = "storage disable";
    let new = NewOperation { project: Some(&name), verb, actor: &actor, way: Way::Undo };
    let change = Change::Storage(Box::new(after.clone()));
    cx.carry_out(&new, None, |cx, _| Ok((forgotten(cx, &after)?, vec![change])))?;
    remove(cx, &name, gone)?;
    drop(held);
    report(cx, &name, args.keep, backup);
    Ok(())
}

fn report(cx: &Context, name: &ProjectName, kept: bool, backup: Option<String>) {
    let bucket = name.bucket();
    let what = if kept { "is closed, and stays" } else { "is gone" };
    let copy = backup.as_ref().map(|path| format!("what was in it: {path}\n")).unwrap_or_default();
    let text = format!("{bucket} {what}\n{copy}");
    let data = Disabled { bucket, kept, backup };
    cx.ui.result("storage disable", Some(name.as_str()), &data, &text);
}

/// A bucket that an interrupted command left, or one that was kept.
fn leftover(args: &Args, cx: &mut Context, project: &Project) -> Result<()> {
    let name = &project.name;
    let (_, storage) = super::open(cx)?;
    if args.keep || storage.bucket(&name.bucket())?.is_none() {
        return Err(super::without(name));
    }
    agree(args, name)?;
    let held = cx.take_project(name, "storage disable")?;
    let gone = gone(cx, project, false)?;
    remove(cx, name, gone)?;
    drop(held);
    report(cx, name, false, None);
    Ok(())
}

fn agree(args: &Args, name: &ProjectName) -> Result<()> {
    let refused = |why: &str| {
        Error::conflict("bucket_not_empty", format!("the bucket of {name} is not empty"))
            .caused_by(format!("what is in it would go; {why}"))
            .hint(format!(
                "`hostkit storage disable {name} --yes` copies it and removes it, `--keep` leaves it"
            ))
    };
    if args.yes {
        return Ok(());
    }
    if let Some(confirmed) = &args.confirm {
        let fits = confirmed == name.as_str();
        return if fits { Ok(()) } else { Err(refused("--confirm names another project")) };
    }
    let question = format!("This removes all that {name} has stored in its bucket. Type its name:");
    confirm::answer(&question, |answer| answer == name.as_str(), refused)
}

fn copy(cx: &mut Context, project: &Project) -> Result<Option<String>> {
    let made = backup::of_bucket(cx, project).map_err(|error| {
        Error::failed(format!("could not copy the bucket of {}, so it stays", project.name))
            .coded("backup_failed")
            .caused_by(error)
            .hint("mend that, or remove it without a copy: `--no-backup`")
    })?;
    Ok(made.map(|path| path.display().to_string()))
}

/// The plan by which nothing tells the project of a bucket any more.
fn forgotten(cx: &Context, after: &Project) -> Result<Plan> {
    let mut facts = facts::of_project(&cx.host, after)?;
    facts.env = facts.env.as_deref().map(projects::without_storage).transpose()?;
    let passwords = projects::passwords(facts.env.as_deref())?;
    projects::storage_plan(after, &facts, &passwords, &cx.config, &cx.templates()?)
}

fn gone(cx: &Context, project: &Project, keeps: bool) -> Result<Plan> {
    let name = &project.name;
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let bucket = Bucket {
        place: place(cx)?,
        name: name.bucket(),
        whose: key_name(name),
        is_public: false,
        quota: 0,
        key: projects::storage_keys(&env).map(|keys| keys.id),
    };
    let mut plan = Plan::new(Ground::Known);
    plan.part("storage", name.bucket());
    plan.step(Lane::Storage, NoBucket { bucket, keeps });
    Ok(plan)
}

/// The project knows nothing of it by now: if this stops half-way, the same command goes on.
fn remove(cx: &mut Context, name: &ProjectName, gone: Plan) -> Result<()> {
    let actor = cx.caller.actor();
    let new = NewOperation {
        project: Some(name),
        verb: "storage disable",
        actor: &actor,
        way: Way::Undo,
    };
    cx.carry_out(&new, None, |_, _| Ok((gone, Vec::new()))).map(|_| ()).map_err(|error| {
        Error::failed(format!("the bucket `{}` is not wholly gone yet", name.bucket()))
            .coded("half_removed")
            .caused_by(error)
            .hint(format!("mend that, then `hostkit storage disable {name} --yes` goes on"))
    })
}
