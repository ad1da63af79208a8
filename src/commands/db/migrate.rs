//! The migrations of the live release, run now.

use serde::Serialize;

use super::mysql::Which;
use crate::{
    commands::{Context, checkpoint::take, deploy::stage::Stage},
    error::{Error, Result},
    names::CheckpointId,
    projects::USUAL_LIMITS,
    registry::{CheckpointKind, Project},
    release::{Kind, Process},
    sys::signals::Changing,
    ui::count,
};

/// Run the migrations of the release that is live
///
/// A deploy runs them by itself; this runs them once more, after a checkpoint: as the project's
/// user, in the sandbox of a build.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db migrate my-shop
  hostkit db migrate my-shop --dry-run")]
pub struct Args {
    /// Project whose migrations to run
    pub name: String,

    /// Take no checkpoint of the database first
    #[arg(long)]
    no_checkpoint: bool,

    /// Show what would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Migrated {
    release: String,
    ran: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointId>,
    dry_run: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name = args.name.parse()?;
    Which::default().of(cx, &name)?;
    let held = cx.take_project(&name, "db migrate")?;
    let (project, _) = Which::default().of(cx, &name)?;
    let Some(live) = project.live.clone() else {
        return Err(Error::missing("no_release", format!("nothing is deployed to {name} yet"))
            .hint(format!("hostkit deploy {name}")));
    };
    let steps: Vec<Process> =
        live.spec.processes.iter().filter(|p| p.kind == Kind::Release).cloned().collect();
    if steps.is_empty() {
        return Err(Error::missing(
            "no_migration",
            format!("{} of {name} has no migrations", live.id),
        )
        .caused_by("none were found, and hostkit.toml has no process with when = \"release\"")
        .hint("see `hostkit manifest`"));
    }
    let mut done = Migrated {
        release: live.id.to_string(),
        ran: steps.iter().map(|step| step.command.join(" ")).collect(),
        checkpoint: None,
        dry_run: args.dry_run,
    };
    if args.dry_run {
        let text: String = done.ran.iter().map(|line| format!("would run: {line}\n")).collect();
        cx.ui.result("db migrate", Some(name.as_str()), &done, &text);
        return Ok(());
    }
    let _changing = Changing::begin();
    let mut stage = Stage::new(&project, live.id.clone());
    if !args.no_checkpoint {
        done.checkpoint = Some(checkpoint(cx, &project, &mut stage)?);
    }
    let ran = steps.iter().try_for_each(|step| stage.prepare(cx, step, &live.spec, USUAL_LIMITS));
    let told = ran.as_ref().copied().map_err(|e| Error::new(e.kind, e.code, e.message.clone()));
    let _ = cx.record(Some(&name), "db migrate", told);
    drop(held);
    ran.map_err(|error| match &done.checkpoint {
        Some(id) => error.hint(format!(
            "what it changed may stand half-way; as it was before: `hostkit checkpoint restore {name} {id}`"
        )),
        None => error,
    })?;
    let text = format!("{} of {} ran\n", count(steps.len(), "migration"), live.id);
    cx.ui.result("db migrate", Some(name.as_str()), &done, &text);
    Ok(())
}

fn checkpoint(cx: &mut Context, project: &Project, stage: &mut Stage<'_>) -> Result<CheckpointId> {
    take::settle(cx, project)?;
    let mut new = take::begin(cx, project, CheckpointKind::PreMigration, None)?;
    stage.phase(cx, "checkpoint", |_| {
        take::fill(cx, project, &mut new)
            .map_err(|error| error.hint("migrate without one: `--no-checkpoint`"))?;
        Ok(((), new.bytes().map_or(String::new(), crate::ui::bytes)))
    })?;
    take::record(cx, &project.name, &new)?;
    take::prune(cx, &project.name)?;
    Ok(new.id)
}
