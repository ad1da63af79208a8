//! `hostkit project environment`: what a project is for.

use serde::Serialize;

use crate::{
    commands::{Context, deploy::switch, facts, show},
    error::Result,
    names::{Environment, ProjectName},
    plan::{Plan, differences},
    projects,
    registry::{Change, NewOperation, Project, Way},
};

/// Show or change the environment that a project is of
///
/// `[env.dev]` of hostkit.toml holds in a project of `dev`, and so does its list of `[expose]`. A
/// project that runs starts anew with them, through the gate and without a failed request; if it
/// does not come up, the old environment holds. Its release is not built again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project environment my-shop
  hostkit project environment my-shop staging
  hostkit project environment my-shop dev --dry-run")]
pub struct Args {
    /// Project that is of it
    pub name: String,

    /// The environment from now on
    environment: Option<Environment>,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Now {
    environment: Environment,
    changed: bool,
    restarted: bool,
}

const VERB: &str = "project environment";

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    let Some(environment) = args.environment else {
        let now = Now { environment: project.environment, changed: false, restarted: false };
        cx.ui.result(VERB, Some(name.as_str()), &now, &format!("{}\n", project.environment));
        return Ok(());
    };
    let _held = cx.take_project(&name, VERB)?;
    let project = cx.registry()?.living_project(&name)?;
    let changed = project.environment != environment;
    let project = Project { environment, ..project };
    if args.dry_run {
        let plan = plan(cx, &project)?;
        show::preview(cx, VERB, Some(&name), &differences(&plan, &cx.host)?);
        return Ok(());
    }
    let restarted = changed && cx.host.unit(&name.unit())?.is_active();
    match &project.live {
        Some(live) if restarted => switch::again(cx, &project, live, VERB, None, None)
            .map_err(|error| error.hint(format!("{name} still runs as it did")))?,
        _ if changed => write(cx, &project)?,
        _ => {}
    }
    let told = match (changed, restarted) {
        (false, _) => format!("{name} is of {environment} already\n"),
        (true, true) => format!("{name} is of {environment}, and runs so\n"),
        (true, false) => format!("{name} is of {environment}\n"),
    };
    cx.ui.result(VERB, Some(name.as_str()), &Now { environment, changed, restarted }, &told);
    Ok(())
}

fn plan(cx: &Context, project: &Project) -> Result<Plan> {
    let facts = facts::of_project(&cx.host, project)?;
    projects::environment_plan(project, &facts, &cx.config, &cx.templates()?)
}

fn write(cx: &mut Context, project: &Project) -> Result<()> {
    let actor = cx.caller.actor();
    let name = &project.name;
    let new = NewOperation { project: Some(name), verb: VERB, actor: &actor, way: Way::Undo };
    let change = Change::Environment(name.clone(), project.environment);
    cx.carry_out(&new, None, |cx, _| Ok((plan(cx, project)?, vec![change])))?;
    Ok(())
}
