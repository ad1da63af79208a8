//! `hostkit health`: whether a project does its work, asked of the project itself.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Context, process, state};
use crate::{error::Result, names::ProjectName, projects, registry::Project, sys::http, ui::Paint};

/// Ask a project whether it does its work
///
/// Looks at its processes, asks the web process what a deploy asks it, and asks the web server for
/// the site as a visitor would. Exits with 6 where something is not as it should be.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit health my-shop
  hostkit health my-shop --json | jq '.data.checks[] | select(.healthy | not)'
  hostkit health my-shop --quiet || mail -s 'my-shop is down' me@example.com </dev/null")]
pub struct Args {
    /// Project to ask
    pub name: String,
}

#[derive(Serialize)]
struct Health {
    healthy: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    what: String,
    healthy: bool,
    /// What it is, or what is wrong with it.
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

/// How long a visitor would wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether it is healthy.
pub fn run(args: &Args, cx: &mut Context) -> Result<bool> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    let mut checks = vec![release(cx, &project)?];
    if project.live.is_some() {
        checks.extend(processes(cx, &project)?);
        checks.extend(answers(cx, &project)?);
    }
    checks.push(site(cx, &project)?);
    let healthy = checks.iter().all(|check| check.healthy);
    let paint = Paint::of(&std::io::stdout());
    let mut text = String::new();
    for Check { what, healthy, said, ms } in &checks {
        let mark = if *healthy { paint.check() } else { paint.cross() };
        let ms = ms.map_or(String::new(), |ms| format!("  {}", paint.dim(&format!("{ms} ms"))));
        text.push_str(&format!("  {mark} {what:<12} {said}{ms}\n"));
    }
    text.push_str(&if healthy {
        format!("\n{name} is healthy\n")
    } else {
        format!("\n{name} is not healthy  →  hostkit log {name}\n")
    });
    cx.ui.result("health", Some(name.as_str()), &Health { healthy, checks }, &text);
    Ok(healthy)
}

fn release(cx: &Context, project: &Project) -> Result<Check> {
    let is = state::release(cx, project)?;
    let (healthy, said) = match (&is, project.live.as_ref().map(|live| &live.id)) {
        (Some(is), Some(live)) if is == live => (true, is.to_string()),
        (Some(is), Some(live)) => (false, format!("{is} is linked, and {live} should be")),
        (None, Some(live)) => (false, format!("{live} is not whole")),
        (_, None) => (false, format!("none yet: `hostkit deploy {}`", project.name)),
    };
    Ok(Check { what: "release".into(), healthy, said, ms: None })
}

fn processes(cx: &Context, project: &Project) -> Result<Vec<Check>> {
    let check = |(name, state, is_well): (String, String, bool)| Check {
        what: name,
        healthy: is_well,
        said: state,
        ms: None,
    };
    Ok(process::states(cx, project)?.into_iter().map(check).collect())
}

/// What a deploy asks the web process, if there is one.
fn answers(cx: &Context, project: &Project) -> Result<Option<Check>> {
    let Some(gate) = projects::gate(project, &cx.config)? else { return Ok(None) };
    let start = Instant::now();
    let asked = gate.now(&project.name.unit(), project.port);
    let ms = millis(start);
    let healthy = asked.is_ok();
    let said = asked.map_or_else(|why| why, |()| "as it should".into());
    Ok(Some(Check { what: "answers".into(), healthy, said, ms: Some(ms) }))
}

/// What a visitor gets.
fn site(cx: &Context, project: &Project) -> Result<Check> {
    let domain = cx.config.base_domain.below(&project.name)?;
    let start = Instant::now();
    let (healthy, said) = match http::get(&domain, "/", PATIENCE) {
        Ok(answer) => (answer.status < 500, format!("http://{domain}/ answers {}", answer.status)),
        Err(error) => (false, error.to_string()),
    };
    Ok(Check { what: "site".into(), healthy, said, ms: Some(millis(start)) })
}

fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
