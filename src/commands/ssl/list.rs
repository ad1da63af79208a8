//! `hostkit ssl status` and `list`: which certificates there are, until when, and what is missing.

use super::{
    obtain::without,
    told::{Told, date},
};
use crate::{
    commands::Context,
    error::Result,
    names::ProjectName,
    ui::{Column, Paint, Table, width},
};

/// Show how it stands with a project's certificate
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssl status my-shop
  hostkit ssl status my-shop --json")]
pub struct StatusArgs {
    /// Project to show
    pub name: String,
}

/// List the certificates of all projects
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssl list
  hostkit ssl list --json | jq '.data[] | select(.state != \"issued\")'")]
pub struct ListArgs {}

pub(super) fn status(args: &StatusArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    let tls = project.tls.as_ref().ok_or_else(|| without(&name))?;
    let told = Told::of(cx, &project, tls, Vec::new())?;
    let text = told.text(&name);
    cx.ui.result("ssl status", Some(name.as_str()), &told, &text);
    Ok(())
}

pub(super) fn list(_args: &ListArgs, cx: &mut Context) -> Result<()> {
    let projects = cx.registry()?.projects()?;
    let mut all = Vec::new();
    let paint = Paint::of(&std::io::stdout());
    let mut table = Table::new(vec![
        Column::left("PROJECT"),
        Column::left("STATE"),
        Column::left("UNTIL"),
        Column::left("DOMAINS").gives_way_to(12),
    ]);
    for project in &projects {
        let Some(tls) = &project.tls else { continue };
        let told = Told::of(cx, project, tls, Vec::new())?;
        let until = told.expires_at.map_or_else(String::new, date);
        table.row(vec![
            paint.bold(project.name.as_str()),
            told.state.as_str().to_owned(),
            until,
            told.names.join(", "),
        ]);
        all.push(told);
    }
    let text = if all.is_empty() {
        "no project answers by HTTPS yet: hostkit ssl enable NAME\n".to_owned()
    } else {
        table.render(paint, width())
    };
    cx.ui.result("ssl list", None, &all, &text);
    Ok(())
}
