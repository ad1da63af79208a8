//! `hostkit rollback`: the same road, to a release that was good before.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::switch::{self, Move};
use crate::{
    commands::{
        Context,
        checkpoint::{restore, take},
        confirm, facts,
        secrets::deliver,
    },
    error::{Error, Result},
    names::{ProjectName, ReleaseId},
    projects::Comes,
    registry::{Checkpoint, Live, NewDeploy, Project, Release, ReleaseState},
    steps::AnyStep,
    sys::signals,
    ui::elapsed,
};

/// Go back to the release before, without a failed request
///
/// The target is the good release before the one that is live now, so it can be repeated; and a
/// rollback can itself be rolled back by `--to`. With `--full` the database and the environment go
/// back, too, to what they were when the target's successor came; connections to the database end
/// for that, and what it holds now becomes a checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit rollback my-shop
  hostkit rollback my-shop --list
  hostkit rollback my-shop --to 20261121-093012
  hostkit rollback my-shop --full
  hostkit rollback my-shop --dry-run")]
pub struct Args {
    /// Project to roll back
    pub name: String,

    /// Go to this release
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,

    /// Show where it could go
    #[arg(long)]
    list: bool,

    /// Put the database and the environment back, too
    #[arg(long)]
    full: bool,

    /// Do not ask before the database is put back
    #[arg(long, short = 'y', requires = "full")]
    yes: bool,

    /// Show where it would go, and go nowhere
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct RolledBack<'a> {
    release: &'a ReleaseId,
    previous: &'a ReleaseId,
    /// What the database and the environment went back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<&'a Checkpoint>,
    milliseconds: u128,
    dry_run: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let wanted = args.to.as_deref().map(str::parse::<ReleaseId>).transpose()?;
    if args.list {
        return super::list::releases_of(&name, cx, "rollback");
    }
    let start = Instant::now();
    cx.registry()?.project(&name)?;
    let held = cx.take_project(&name, "rollback")?;
    let project = cx.registry()?.living_project(&name)?;
    let target = target(cx, &project, wanted.as_ref())?;
    let now = project.live.as_ref().map_or_else(|| target.id.clone(), |live| live.id.clone());
    let full = args.full.then(|| state_of(cx, &name, &target.id)).transpose()?;
    if !args.dry_run {
        if let Some(checkpoint) = &full {
            agree(args, &project, &target, checkpoint)?;
        }
        go(cx, &project, &target, full.as_ref())?;
    }
    drop(held);
    let data = RolledBack {
        release: &target.id,
        previous: &now,
        checkpoint: full.as_ref(),
        milliseconds: start.elapsed().as_millis(),
        dry_run: args.dry_run,
    };
    let text = if cx.ui.voice.quiet {
        format!("{}\n", target.id)
    } else if args.dry_run {
        let data = full.as_ref().map_or(String::new(), |checkpoint| {
            format!("its data would go back to {}\n", restore::told(checkpoint))
        });
        format!("{name} would go from {now} to {} ({})\n{data}", target.id, target.source)
    } else {
        format!(
            "\n{} is live again after {}\nNext:  hostkit status {name}  ·  back: hostkit rollback {name} --to {now}\n",
            target.id,
            elapsed(start.elapsed())
        )
    };
    cx.ui.result("rollback", Some(name.as_str()), &data, &text);
    Ok(())
}

fn target(cx: &mut Context, project: &Project, wanted: Option<&ReleaseId>) -> Result<Release> {
    let name = &project.name;
    let see = format!("see `hostkit rollback {name} --list`");
    let Some(live) = &project.live else {
        return Err(Error::missing("no_release", format!("nothing is deployed to {name} yet"))
            .hint(format!("hostkit deploy {name}")));
    };
    let releases = cx.registry()?.releases(name)?;
    let found = match wanted {
        Some(id) if *id == live.id => {
            return Err(Error::conflict("is_live", format!("{id} is what {name} serves")).hint(see));
        }
        Some(id) => releases.iter().find(|release| release.id == *id),
        None => switch::previous(&releases, &live.id),
    };
    let Some(release) = found else {
        let what = wanted.map_or_else(
            || format!("{name} has no good release before {}", live.id),
            |id| format!("{name} has no release {id}"),
        );
        return Err(Error::missing("no_release", what).hint(see));
    };
    if release.state != ReleaseState::Good {
        return Err(
            Error::conflict("not_good", format!("{} never passed its gate", release.id)).hint(see)
        );
    }
    if !switch::is_complete(cx, name, &release.id)? {
        return Err(Error::missing(
            "no_release",
            format!("{} is not whole on the disk", release.id),
        )
        .hint(see));
    }
    Ok(release.clone())
}

/// The state in which a release was left for its successor.
fn state_of(cx: &mut Context, name: &ProjectName, release: &ReleaseId) -> Result<Checkpoint> {
    let all = cx.registry()?.checkpoints(name)?;
    all.into_iter()
        .find(|checkpoint| {
            checkpoint.kind.ends_a_release() && checkpoint.release.as_ref() == Some(release)
        })
        .ok_or_else(|| {
            Error::missing("no_checkpoint", format!("no checkpoint says how {release} was left"))
                .caused_by("a deploy takes one unless it is told not to")
                .hint(format!(
                    "go back without the data: `hostkit rollback {name} --to {release}`; see `hostkit checkpoint list {name}`"
                ))
        })
}

fn agree(args: &Args, project: &Project, target: &Release, checkpoint: &Checkpoint) -> Result<()> {
    let name = &project.name;
    let what = if checkpoint.bytes().is_some() {
        "its database and environment"
    } else {
        "its environment"
    };
    let question = format!(
        "This puts {name} back to {} and {what} to {}. What is there now becomes a checkpoint. Go on? [y/N]",
        target.id,
        restore::told(checkpoint)
    );
    let again = format!("hostkit rollback {name} --to {} --full --yes", target.id);
    confirm::ask(&question, args.yes, |why| restore::refused(name, why, &again))
}

fn go(
    cx: &mut Context,
    project: &Project,
    target: &Release,
    full: Option<&Checkpoint>,
) -> Result<()> {
    let name = &project.name;
    signals::outlive_the_terminal();
    let now = project.live.as_ref().map_or(&target.id, |live| &live.id);
    facts::check_room(cx)?;
    cx.ui.head(format!("{name}  {now}  →  {}", target.id));
    let data = full.map(|checkpoint| Data::of(cx, project, checkpoint)).transpose()?;
    let live = Live { id: target.id.clone(), spec: target.spec.clone() };
    let secrets = match &data {
        Some(data) => deliver::former(cx, project, &live, &data.env),
        None => deliver::kept(cx, project, &live),
    };
    let secrets = match (secrets, &data) {
        (Ok(secrets), _) => secrets,
        (Err(error), data) => {
            if let Some(data) = data {
                take::forget(cx, name, &data.before.id)?;
            }
            return Err(error);
        }
    };
    let actor = cx.caller.actor();
    let deploy = cx.registry()?.begin_deploy(&NewDeploy {
        project: name,
        verb: "rollback",
        release: &target.id,
        previous: Some(now),
        source: &target.source,
        revision: target.revision.as_deref(),
        actor: &actor,
    })?;
    let (restored, env, before) = match data {
        Some(Data { restored, env, before }) => (restored, Some(env), Some(before)),
        None => (Vec::new(), None, None),
    };
    let to = Move {
        project,
        live,
        verb: "rollback",
        deploy,
        phases: BTreeMap::new(),
        env: env.as_deref(),
        secrets,
        data: (!restored.is_empty()).then_some(Comes::Back(restored)),
    };
    match switch::carry_out(cx, to, 0) {
        Ok(_) if before.is_some() => restore::settle_after(cx, project).map(|_| ()),
        Ok(_) => Ok(()),
        Err(error) => {
            if let Some(before) = before {
                take::forget_failed(cx, name, &before.id, &error)?;
            }
            cx.registry()?.fail_deploy(deploy, &error.to_string(), &BTreeMap::new())?;
            Err(error.hint(format!("{name} still serves {now}")))
        }
    }
}

/// What goes back with the release, and the checkpoint of what is there until then.
struct Data {
    restored: Vec<AnyStep>,
    env: String,
    before: Checkpoint,
}

impl Data {
    fn of(cx: &mut Context, project: &Project, checkpoint: &Checkpoint) -> Result<Self> {
        take::settle(cx, project)?;
        let env = restore::env_of(cx, &project.name, &checkpoint.id)?;
        let before = take::announce(cx, project)?;
        let dumps = restore::Dumps::of(&project.name, checkpoint);
        let restored = dumps.steps(cx, project, &before.id);
        if restored.is_err() {
            take::forget(cx, &project.name, &before.id)?;
        }
        Ok(Self { restored: restored?, env, before })
    }
}
