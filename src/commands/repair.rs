//! `hostkit repair`: makes a project what it is recorded to be.

use serde::Serialize;

use super::{Context, facts, show, ssl, storage};
use crate::{
    error::Result,
    names::ProjectName,
    plan::{Ground, differences},
    registry::{NewOperation, Way},
    ui::count,
};

/// Make a project what it is recorded to be
///
/// Puts back what is missing and changes what differs; what is in place is not touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit repair my-shop
  hostkit repair my-shop --dry-run
  hostkit repair --all")]
pub struct Args {
    /// Project to repair
    #[arg(required_unless_present = "all")]
    pub name: Option<String>,

    /// Repair all projects
    #[arg(long, conflicts_with = "name")]
    all: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Repaired {
    project: String,
    changed: usize,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let names: Vec<ProjectName> = match &args.name {
        Some(name) => vec![cx.registry()?.project(&name.parse()?)?.name],
        None => cx.registry()?.projects()?.into_iter().map(|project| project.name).collect(),
    };
    if args.dry_run {
        let mut all = Vec::new();
        for name in &names {
            let project = cx.registry()?.project(name)?;
            all.extend(differences(&facts::plan_of(cx, &project, Ground::Known)?, &cx.host)?);
        }
        show::preview(cx, "repair", names.first().filter(|_| names.len() == 1), &all);
        return Ok(());
    }
    let mut repaired = Vec::new();
    let mut text = String::new();
    for name in &names {
        let changed = one(cx, name)?;
        text.push_str(&match changed {
            0 => format!("{name} is as it should be\n"),
            n => format!("{name} is repaired: {} put back\n", count(n, "thing")),
        });
        repaired.push(Repaired { project: name.to_string(), changed });
    }
    cx.ui.result("repair", args.name.as_deref(), &repaired, &text);
    Ok(())
}

/// Repairs one project; says how many things were not in place.
pub fn one(cx: &mut Context, name: &ProjectName) -> Result<usize> {
    let held = cx.take_project(name, "repair")?;
    let project = cx.registry()?.living_project(name)?;
    facts::check_room(cx)?;
    facts::check_services(cx, project.redis.is_some(), project.postgres)?;
    if project.storage.is_some() {
        storage::check(cx)?;
    }
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(name), verb: "repair", actor: &actor, way: Way::Undo };
    let changed = cx.carry_out(&new, None, |cx, _| {
        Ok((facts::plan_of(cx, &project, Ground::Known)?, Vec::new()))
    })?;
    drop(held);
    ssl::mend(cx, name);
    Ok(changed)
}
