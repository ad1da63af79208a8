//! `hostkit drift`: what on the host is no longer as hostkit made it.

use serde::Serialize;

use super::{Context, facts, show};
use crate::{
    error::{Error, Result},
    names::ProjectName,
    plan::{Difference, Ground, differences},
    registry::Project,
    ui::Paint,
};

/// Show what is no longer as hostkit made it
///
/// Exits with 0 if all is as it should be, and with 1 if something differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit drift
  hostkit drift my-shop
  hostkit drift --json | jq '.data[] | select(.differences != [])'")]
pub struct Args {
    /// Only this project
    pub name: Option<String>,
}

#[derive(Serialize)]
struct Drift {
    project: String,
    things: usize,
    differences: Vec<Difference>,
}

/// Whether something differs decides the exit code; it is no error.
pub fn run(args: &Args, cx: &mut Context) -> Result<bool> {
    let projects = match &args.name {
        Some(name) => vec![cx.registry()?.project(&name.parse()?)?],
        None => cx.registry()?.projects()?,
    };
    let drifts = projects.iter().map(|project| look(cx, project)).collect::<Result<Vec<_>>>()?;
    let text: String =
        drifts.iter().map(|drift| render(drift, Paint::of(&std::io::stdout()))).collect();
    let text = if drifts.is_empty() { "no projects yet\n".to_owned() } else { text };
    let name = args.name.as_deref().and_then(|name| name.parse::<ProjectName>().ok());
    let clean = drifts.iter().all(|drift| drift.differences.is_empty());
    cx.ui.result("drift", name.as_ref().map(ProjectName::as_str), &drifts, &text);
    Ok(clean)
}

fn look(cx: &Context, project: &Project) -> Result<Drift> {
    let about = |error: Error| {
        let message = format!("could not look at {}: {}", project.name, error.message);
        Error { message, ..error }
    };
    let plan = facts::plan_of(cx, project, Ground::Known).map_err(about)?;
    Ok(Drift {
        project: project.name.to_string(),
        things: plan.steps.len(),
        differences: differences(&plan, &cx.host).map_err(about)?,
    })
}

fn render(drift: &Drift, paint: Paint) -> String {
    let Drift { project, things, differences } = drift;
    if differences.is_empty() {
        return format!("{} {project}: all {things} as hostkit made them\n", paint.check());
    }
    format!(
        "{} {project}: {} of {things} differ from what hostkit made\n\n{}\nhint: `hostkit repair {project}` puts them back\n",
        paint.cross(),
        differences.len(),
        show::listing(differences, paint)
    )
}
