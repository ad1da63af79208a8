//! `hostkit project list`: what there is.

use serde::Serialize;

use crate::{
    commands::{
        Context,
        state::{self, State},
    },
    error::Result,
    names::Environment,
    projects,
    ui::{Column, Paint, Table, ago},
};

/// List the projects
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project list
  hostkit project list --json | jq -r '.data[].name'")]
pub struct Args {}

#[derive(Serialize)]
struct Row {
    name: String,
    runtime: &'static str,
    environment: Environment,
    state: State,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_db: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    url: String,
    domains: Vec<String>,
    created_by: String,
    created_at: jiff::Timestamp,
}

pub fn run(_: &Args, cx: &mut Context) -> Result<()> {
    let projects = cx.registry()?.projects()?;
    let units = state::units(cx, false);
    let paint = Paint::of(&std::io::stdout());
    let mut rows = Vec::new();
    let mut table = Table::new(vec![
        Column::left("PROJECT").gives_way_to(10),
        Column::left("STATE"),
        Column::left("RUNTIME").extra(),
        Column::left("ENV").extra(),
        Column::right("PORT"),
        Column::right("REDIS").extra(),
        Column::left("DATABASE").gives_way_to(8).extra(),
        Column::left("DOMAIN").gives_way_to(12),
        Column::right("CREATED").extra(),
    ]);
    for project in &projects {
        let release = state::release(cx, project)?;
        let state = State::of(project, release.as_ref(), units.get(&project.name.unit()));
        let base = cx.config.base_domain.below(&project.name)?;
        let domains: Vec<String> =
            std::iter::once(&base).chain(&project.domains).map(ToString::to_string).collect();
        let has_one = project.postgres || project.mysql;
        let database = has_one.then(|| project.name.database());
        table.row(vec![
            paint.bold(project.name.as_str()),
            state.painted(paint),
            project.runtime.to_string(),
            project.environment.to_string(),
            project.port.to_string(),
            match project.redis {
                Some(number) => number.to_string(),
                None => if project.own_redis { "own" } else { "-" }.into(),
            },
            database.clone().unwrap_or_else(|| "-".into()),
            domains.join(" "),
            ago(project.created_at),
        ]);
        rows.push(Row {
            name: project.name.to_string(),
            runtime: project.runtime.as_str(),
            environment: project.environment,
            state,
            port: project.port,
            redis_db: project.redis,
            database,
            url: projects::url(project, &cx.config)?,
            domains,
            created_by: project.created_by.clone(),
            created_at: project.created_at,
        });
    }
    let text = if rows.is_empty() {
        "no projects yet  →  hostkit provision my-app\n".to_owned()
    } else {
        table.render(paint, crate::ui::width())
    };
    cx.ui.result("project list", None, &rows, &text);
    Ok(())
}
