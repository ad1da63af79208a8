//! Former states of a project's environment.

use serde::Serialize;

use super::{How, change};
use crate::{
    commands::{
        Context,
        checkpoint::{find, restore::env_of},
        secrets,
    },
    envfile::EnvFile,
    error::Result,
    names::{CheckpointId, ProjectName},
    ui::{Column, Paint, Table, ago, width},
};

/// List former states of the environment, the newest first
///
/// Each is the environment as it was before what is noted beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env history my-shop")]
pub struct HistoryArgs {
    /// Project whose environment
    pub name: String,
}

/// Put the environment back to a former state
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env restore my-shop 20261121-093012 --restart
  hostkit env restore my-shop 20261121-093012 --dry-run")]
pub struct RestoreArgs {
    /// Project whose environment
    pub name: String,
    /// The state: `hostkit env history` names them
    id: String,
    #[command(flatten)]
    how: How,
}

#[derive(Serialize)]
struct State<'a> {
    id: &'a CheckpointId,
    made_at: jiff::Timestamp,
    actor: &'a str,
    before: &'a str,
}

pub(super) fn history(args: &HistoryArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let all = cx.registry()?.checkpoints(&name)?;
    let states: Vec<State<'_>> = all
        .iter()
        .map(|checkpoint| State {
            id: &checkpoint.id,
            made_at: checkpoint.made_at,
            actor: &checkpoint.actor,
            before: checkpoint.note.as_deref().unwrap_or(checkpoint.kind.as_str()),
        })
        .collect();
    let mut table = Table::new(vec![
        Column::left("STATE"),
        Column::left("UNTIL"),
        Column::left("BY"),
        Column::left("BEFORE").gives_way_to(10),
    ]);
    for state in &states {
        let cells = [state.id.as_str(), &ago(state.made_at), state.actor, state.before];
        table.row(cells.map(str::to_owned).to_vec());
    }
    let text = if states.is_empty() {
        format!("the environment of {name} has not changed since it was made\n")
    } else {
        table.render(Paint::of(&std::io::stdout()), width())
    };
    cx.ui.result("env history", Some(name.as_str()), &states, &text);
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let id = args.id.parse::<CheckpointId>()?;
    cx.registry()?.project(&name)?;
    find(cx, &name, &id)?;
    let then = env_of(cx, &name, &id)?;
    let then = EnvFile::parse(&secrets::as_today(cx, &name, &then)?)?;
    change(cx, &args.name, "env restore", &args.how, &[], |file| {
        *file = then;
        Ok(())
    })
}
