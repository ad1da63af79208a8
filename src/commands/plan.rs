//! `hostkit plan`: what provisioning or repairing a project would change.

use super::{Context, create, facts, provision::Settings, show};
use crate::{
    error::Result,
    names::ProjectName,
    plan::{Ground, differences},
};

/// Show what provisioning or repairing a project would change
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit plan my-new-shop --node      (what `provision` would make)
  hostkit plan my-shop                 (what `repair` would change)")]
pub struct Args {
    /// Project, new or not
    pub name: String,

    #[command(flatten)]
    settings: Settings,

    /// Leave out PostgreSQL, for a new project
    #[arg(long)]
    no_db: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let Some(project) = cx.registry()?.find_project(&name)? else {
        let mut new = args.settings.check(&args.name, "provision", !args.no_db, cx)?;
        new.dry_run = true;
        return create::run(&new, cx);
    };
    let plan = facts::plan_of(cx, &project, Ground::Known)?;
    let differences = differences(&plan, &cx.host)?;
    show::preview(cx, "repair", Some(&name), &differences);
    Ok(())
}
