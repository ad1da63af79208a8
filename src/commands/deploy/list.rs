//! `hostkit releases`, `hostkit deploys` and `hostkit resume`.

use std::time::Duration;

use serde::Serialize;

use super::stage;
use crate::{
    commands::Context,
    error::{Error, Result},
    names::{ProjectName, ReleaseId},
    registry::{Deploy, ReleaseState},
    ui::{Column, Paint, Table, ago, elapsed},
};

/// Show the releases that are kept
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit releases my-shop
  hostkit releases my-shop --json | jq -r '.data[].id'")]
pub struct ReleasesArgs {
    /// Project whose releases to show
    pub name: String,
}

/// Show deploys and rollbacks, and how they ended
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit deploys my-shop
  hostkit deploys my-shop --log 12")]
pub struct DeploysArgs {
    /// Project whose deploys to show
    pub name: String,

    /// How many, the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: u32,

    /// Print the log of this deploy instead
    #[arg(long, value_name = "ID")]
    log: Option<i64>,
}

/// Let deploys go on that were paused
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit resume my-shop")]
pub struct ResumeArgs {
    /// Project whose deploys to resume
    pub name: String,
}

#[derive(Serialize)]
struct Shown {
    id: ReleaseId,
    state: &'static str,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    made_at: jiff::Timestamp,
}

pub fn releases(args: &ReleasesArgs, cx: &mut Context) -> Result<()> {
    releases_of(&args.name.parse()?, cx, "releases")
}

pub fn releases_of(name: &ProjectName, cx: &mut Context, command: &str) -> Result<()> {
    let project = cx.registry()?.project(name)?;
    let live = project.live.map(|live| live.id);
    let state = |release: &crate::registry::Release| match release.state {
        _ if Some(&release.id) == live.as_ref() => "live",
        ReleaseState::Good => "good",
        ReleaseState::Failed => "failed",
        ReleaseState::Staged => "unproven",
    };
    let shown: Vec<Shown> = cx
        .registry()?
        .releases(name)?
        .into_iter()
        .map(|release| Shown {
            state: state(&release),
            id: release.id,
            source: release.source,
            revision: release.revision,
            made_at: release.made_at,
        })
        .collect();
    let paint = Paint::of(&std::io::stdout());
    let mut table = Table::new(vec![
        Column::left("RELEASE"),
        Column::left("STATE"),
        Column::left("MADE"),
        Column::left("FROM").gives_way_to(10),
    ]);
    for release in &shown {
        let state = match release.state {
            "live" => paint.green("● live"),
            "failed" => paint.red("failed"),
            other => other.to_owned(),
        };
        let from = release.revision.as_ref().unwrap_or(&release.source);
        table.row(vec![release.id.to_string(), state, ago(release.made_at), from.clone()]);
    }
    let text = if shown.is_empty() {
        format!("nothing is deployed to {name} yet  →  hostkit deploy {name}\n")
    } else {
        table.render(paint, crate::ui::width())
    };
    cx.ui.result(command, Some(name.as_str()), &shown, &text);
    Ok(())
}

pub fn deploys(args: &DeploysArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let deploys =
        cx.registry()?.deploys(&name, if args.log.is_some() { 1000 } else { args.last })?;
    if let Some(id) = args.log {
        return log(cx, &name, &deploys, id);
    }
    let text = if deploys.is_empty() {
        format!("{name} was never deployed  →  hostkit deploy {name}\n")
    } else {
        render(&deploys)
    };
    cx.ui.result("deploys", Some(name.as_str()), &deploys, &text);
    Ok(())
}

fn log(cx: &Context, name: &ProjectName, deploys: &[Deploy], id: i64) -> Result<()> {
    let deploy = deploys.iter().find(|deploy| deploy.id == id).ok_or_else(|| {
        Error::missing("no_deploy", format!("{name} has no deploy {id}"))
            .hint(format!("see `hostkit deploys {name}`"))
    })?;
    let path = stage::log_path(name, &deploy.release);
    let text = cx.host.read_text(&path)?.unwrap_or_default();
    let safe: String = console::strip_ansi_codes(&text)
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect();
    cx.ui.result("deploys", Some(name.as_str()), &safe, &safe);
    Ok(())
}

fn render(deploys: &[Deploy]) -> String {
    let paint = Paint::of(&std::io::stdout());
    let mut table = Table::new(vec![
        Column::right("ID"),
        Column::left("WHEN"),
        Column::left("WHAT"),
        Column::left("RELEASE"),
        Column::left("ENDED"),
        Column::right("TOOK"),
        Column::left("WHO").gives_way_to(6),
        Column::left("").gives_way_to(10),
    ]);
    for deploy in deploys {
        let ended = match deploy.outcome.as_str() {
            "done" => paint.green("done"),
            "running" => paint.yellow("running"),
            other => paint.red(other),
        };
        let took = deploy.ended_at.map(|end| end.duration_since(deploy.started_at));
        let took = took.and_then(|took| Duration::try_from(took).ok());
        let error = deploy.error.as_deref().and_then(|text| text.lines().next());
        table.row(vec![
            deploy.id.to_string(),
            ago(deploy.started_at),
            deploy.verb.clone(),
            deploy.release.clone(),
            ended,
            took.map_or_else(|| "-".into(), elapsed),
            deploy.actor.clone(),
            error.or(deploy.revision.as_deref()).unwrap_or(&deploy.source).to_owned(),
        ]);
    }
    table.render(paint, crate::ui::width())
}

pub fn resume(args: &ResumeArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.living_project(&name)?;
    let was = cx.registry()?.paused(&name)?;
    cx.registry()?.pause(&name, None)?;
    cx.record(Some(&name), "resume", Ok(()))?;
    let text = match &was {
        Some(reason) => format!("deploys of {name} go on (paused: {reason})\n"),
        None => format!("deploys of {name} were not paused\n"),
    };
    cx.ui.result("resume", Some(name.as_str()), &was.is_some(), &text);
    Ok(())
}
