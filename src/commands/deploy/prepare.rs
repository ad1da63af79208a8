//! What comes between a release that is complete and requests that move to it.

use super::{Args, Begun, stage::Stage};
use crate::{
    commands::{Context, checkpoint::take},
    error::Result,
    projects::Recipe,
    registry::CheckpointKind,
};

/// What has to run before requests move, with a state of the data to go back to.
pub(super) fn all(
    args: &Args,
    cx: &mut Context,
    begun: &Begun,
    stage: &mut Stage<'_>,
    recipe: &Recipe,
) -> Result<()> {
    let before: Vec<_> = recipe
        .release_processes()
        .filter(|process| !args.no_migrate || recipe.migrations.as_ref() != Some(*process))
        .cloned()
        .collect();
    checkpoint(args, cx, begun, stage, !before.is_empty())?;
    let limits = (recipe.timeout, recipe.memory);
    before.iter().try_for_each(|process| stage.prepare(cx, process, &recipe.spec, limits))
}

/// Keeps what the release that is live leaves to its successor: to that one can go back in full.
fn checkpoint(
    args: &Args,
    cx: &mut Context,
    begun: &Begun,
    stage: &mut Stage<'_>,
    migrates: bool,
) -> Result<()> {
    let project = &begun.project;
    if args.no_checkpoint || !cx.config.deploys.checkpoint || project.live.is_none() {
        return Ok(());
    }
    let kind = if migrates { CheckpointKind::PreMigration } else { CheckpointKind::PreDeploy };
    take::settle(cx, project)?;
    let mut new = take::begin(cx, project, kind, None)?;
    if project.postgres || project.mysql {
        stage.phase(cx, "checkpoint", |_| {
            take::fill(cx, project, &mut new)
                .map_err(|error| error.hint("deploy without one: `--no-checkpoint`"))?;
            Ok(((), new.bytes().map_or(String::new(), crate::ui::bytes)))
        })?;
    }
    take::record(cx, &project.name, &new)
}
