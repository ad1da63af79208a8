//! `hostkit rollback`: the same road, to a release that was good before.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::switch::{self, Move};
use crate::{
    commands::{Context, facts},
    error::{Error, Result},
    names::{ProjectName, ReleaseId},
    registry::{Live, NewDeploy, Project, Release, ReleaseState},
    ui::elapsed,
};

/// Go back to the release before, without a failed request
///
/// The target is the good release before the one that is live now, so it can be repeated; and a
/// rollback can itself be rolled back by `--to`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit rollback my-shop
  hostkit rollback my-shop --list
  hostkit rollback my-shop --to 20261121-093012
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

    /// Show where it would go, and go nowhere
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct RolledBack<'a> {
    release: &'a ReleaseId,
    previous: &'a ReleaseId,
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
    if !args.dry_run {
        go(cx, &project, &target, &now)?;
    }
    drop(held);
    let data = RolledBack {
        release: &target.id,
        previous: &now,
        milliseconds: start.elapsed().as_millis(),
        dry_run: args.dry_run,
    };
    let text = if cx.ui.voice.quiet {
        format!("{}\n", target.id)
    } else if args.dry_run {
        format!("{name} would go from {now} to {} ({})\n", target.id, target.source)
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

fn go(cx: &mut Context, project: &Project, target: &Release, now: &ReleaseId) -> Result<()> {
    let name = &project.name;
    facts::check_room(cx)?;
    cx.ui.head(format!("{name}  {now}  →  {}", target.id));
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
    let live = Live { id: target.id.clone(), spec: target.spec.clone() };
    let to = Move { project, live, verb: "rollback", deploy, phases: BTreeMap::new(), env: None };
    match switch::carry_out(cx, &to, 0) {
        Ok(_) => Ok(()),
        Err(error) => {
            cx.registry()?.fail_deploy(deploy, &error.to_string(), &BTreeMap::new())?;
            Err(error.hint(format!("{name} still serves {now}")))
        }
    }
}
