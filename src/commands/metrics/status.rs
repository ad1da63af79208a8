//! `hostkit metrics status`: whose figures are read, and how that goes.

use jiff::Timestamp;
use serde::Serialize;

use super::check_set_up;
use crate::{
    commands::Context,
    config::{Retention, Size},
    error::Result,
    names::ProjectName,
    sys::prometheus::{self, Target},
    ui::{Column, Paint, Table, ago, width},
};

/// Show whose figures are read, and how that goes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit metrics status
  hostkit metrics status my-shop
  hostkit metrics status --json")]
pub struct Args {
    /// Project whose page to look at
    pub name: Option<String>,
}

#[derive(Serialize)]
struct Status {
    answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    retention: Retention,
    size: Size,
    targets: Vec<Of>,
}

#[derive(Serialize)]
struct Of {
    project: String,
    process: String,
    page: String,
    /// up, down, or unknown as long as it was not read yet.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_scrape: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Projects whose live release has something to read, and its page.
pub(super) fn read(cx: &mut Context) -> Result<Vec<(String, String)>> {
    let projects = cx.registry()?.projects()?;
    let page = |project: crate::registry::Project| {
        let page = project.live?.spec.web()?.metrics.clone()?;
        Some((project.name.to_string(), page))
    };
    Ok(projects.into_iter().filter_map(page).collect())
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name = args.name.as_ref().map(|name| name.parse::<ProjectName>()).transpose()?;
    if let Some(name) = &name {
        cx.registry()?.project(name)?;
    }
    check_set_up(cx)?;
    let is_wanted = |of: &str| name.as_ref().is_none_or(|name| name.as_str() == of);
    let asked = prometheus::targets();
    let found: &[Target] = asked.as_deref().unwrap_or_default();
    let mut targets: Vec<Of> = found.iter().map(of).filter(|of| is_wanted(&of.project)).collect();
    for (project, page) in read(cx)?.into_iter().filter(|(project, _)| is_wanted(project)) {
        if !targets.iter().any(|of| of.project == project) {
            targets.push(not_yet(project, page));
        }
    }
    targets.sort_by(|one, other| one.project.cmp(&other.project));
    let metrics = &cx.config.metrics;
    let status = Status {
        answers: asked.is_ok(),
        error: asked.err().map(|error| error.to_string()),
        retention: metrics.retention,
        size: metrics.size,
        targets,
    };
    let text = told(&status, Paint::of(&std::io::stdout()));
    cx.ui.result("metrics status", args.name.as_deref(), &status, &text);
    Ok(())
}

fn of(target: &Target) -> Of {
    let label = |key: &str| target.labels.get(key).cloned().unwrap_or_default();
    let path = target.scrape_url.splitn(4, '/').nth(3).unwrap_or_default();
    let at = target.last_scrape.parse::<Timestamp>().ok();
    let was_read = target.health != "unknown";
    Of {
        project: label("project"),
        process: label("process"),
        page: format!("/{path}"),
        state: target.health.clone(),
        last_scrape: at.filter(|_| was_read),
        milliseconds: was_read.then(|| (target.last_scrape_duration * 1e4).round() / 10.0),
        error: (!target.last_error.is_empty()).then(|| target.last_error.clone()),
    }
}

/// Prometheus takes up a file some seconds after it came.
fn not_yet(project: String, page: String) -> Of {
    let (process, state) = ("web".into(), "unknown".into());
    Of { project, process, page, state, last_scrape: None, milliseconds: None, error: None }
}

fn told(status: &Status, paint: Paint) -> String {
    let Status { error, retention, size, targets, .. } = status;
    let is = match error {
        None => paint.green(&format!("{} answers", paint.dot())),
        Some(error) => paint.red(&format!("{} {error}", paint.dot())),
    };
    let mut text =
        format!("Prometheus, run by hostkit; figures of {retention}, {size} at most\n{is}\n");
    if targets.is_empty() {
        text.push_str("nothing to read: `metrics` in [process.web] of a manifest names the page\n");
        return text;
    }
    let mut table = Table::new(vec![
        Column::left("PROJECT"),
        Column::left("PAGE"),
        Column::left("STATE"),
        Column::left("READ"),
        Column::right("TOOK"),
        Column::left("ERROR").gives_way_to(12),
    ]);
    for of in targets {
        let state = match of.state.as_str() {
            "up" => paint.green("up"),
            "down" => paint.red("down"),
            _ => paint.dim("not yet"),
        };
        let took = of.milliseconds.map_or_else(|| "-".into(), |ms| format!("{ms} ms"));
        // Part of it is what the project answered.
        let error = of.error.as_deref().unwrap_or("-").escape_debug().to_string();
        let at = of.last_scrape.map_or_else(|| "-".into(), ago);
        table.row(vec![of.project.clone(), of.page.clone(), state, at, took, error]);
    }
    text.push_str(&format!("\n{}", table.render(paint, width())));
    text
}
