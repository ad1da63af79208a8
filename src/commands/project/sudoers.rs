//! `hostkit project regenerate-sudoers`: the rules of this version, for one project or all.

use serde::Serialize;

use crate::{
    commands::{Context, facts, show},
    error::Result,
    names::ProjectName,
    plan::{Ground, Plan, differences},
    registry::{NewOperation, Project, Way},
    steps::AnyStep,
    ui::count,
};

/// Write the sudo rules of projects anew
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project regenerate-sudoers my-shop
  hostkit project regenerate-sudoers --all")]
pub struct Args {
    /// Project whose rules to write
    #[arg(required_unless_present = "all")]
    pub name: Option<String>,

    /// Write those of all projects
    #[arg(long, conflicts_with = "name")]
    all: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Regenerated {
    projects: Vec<String>,
    changed: usize,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let projects = match &args.name {
        Some(name) => vec![cx.registry()?.project(&name.parse()?)?],
        None => cx.registry()?.projects()?,
    };
    if args.dry_run {
        let mut all = Vec::new();
        for project in &projects {
            all.extend(differences(&rules(cx, project)?, &cx.host)?);
        }
        show::preview(cx, "project regenerate-sudoers", None, &all);
        return Ok(());
    }
    let mut changed = 0;
    for project in &projects {
        changed += usize::from(regenerate(cx, &project.name)? > 0);
    }
    let data =
        Regenerated { projects: projects.iter().map(|p| p.name.to_string()).collect(), changed };
    let text = format!(
        "sudo rules: {} changed, {} as they should be\n",
        changed,
        count(projects.len() - changed, "project")
    );
    cx.ui.result("project regenerate-sudoers", args.name.as_deref(), &data, &text);
    Ok(())
}

fn regenerate(cx: &mut Context, name: &ProjectName) -> Result<usize> {
    let _held = cx.take_project(name, "project regenerate-sudoers")?;
    // Only now is it sure that nobody else is changing it, or has taken it away.
    let project = cx.registry()?.living_project(name)?;
    let actor = cx.caller.actor();
    let new = NewOperation {
        project: Some(name),
        verb: "project regenerate-sudoers",
        actor: &actor,
        way: Way::Undo,
    };
    cx.carry_out(&new, None, |cx, _| Ok((rules(cx, &project)?, Vec::new())))
}

/// The part of the plan that is the sudo rules.
fn rules(cx: &Context, project: &Project) -> Result<Plan> {
    let mut plan = facts::plan_of(cx, project, Ground::Known)?;
    let path = project.name.sudoers();
    plan.steps.retain(|planned| matches!(&planned.step, AnyStep::File(file) if file.path == path));
    Ok(plan)
}
