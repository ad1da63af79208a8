//! `hostkit ssl disable`: back to HTTP.

use serde::Serialize;

use super::obtain::{wish, without};
use crate::{
    commands::{Context, facts, show},
    error::Result,
    names::ProjectName,
    plan::differences,
    projects,
    registry::Project,
};

/// Let a project answer by HTTP alone
///
/// Its certificate and its key are removed. Browsers that were told to come by HTTPS alone (--hsts)
/// stay away for as long as they were told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssl disable my-shop
  hostkit ssl disable my-shop --dry-run")]
pub struct Args {
    /// Project to take the certificate from
    pub name: String,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Disabled {
    url: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    if project.tls.is_none() {
        return Err(without(&name));
    }
    if args.dry_run {
        let after = Project { tls: None, ..project };
        let facts = facts::of_site(&cx.host, &after)?;
        let plan = projects::tls_plan(&after, &facts, &cx.config, &cx.templates()?)?;
        let differences = differences(&plan, &cx.host)?;
        show::preview(cx, "ssl disable", Some(&name), &differences);
        return Ok(());
    }
    let account = cx.take_account("ssl disable")?;
    let held = cx.take_project(&name, "ssl disable")?;
    let project = cx.registry()?.living_project(&name)?;
    let after = Project { tls: None, ..project };
    wish(cx, &after, "ssl disable")?;
    drop((held, account));
    let data = Disabled { url: projects::url(&after, &cx.config)? };
    let text = format!("{name} answers by HTTP alone: {}\n", data.url);
    cx.ui.result("ssl disable", Some(name.as_str()), &data, &text);
    Ok(())
}
