//! `hostkit metrics remove`: no Prometheus of hostkit's any more, with what it stored if asked.

use std::path::Path;

use serde::Serialize;

use crate::{
    commands::{Context, config, facts, init, show},
    config::{COMMENTED, Config, PATH},
    error::{Error, Result},
    plan::{Plan, differences},
    projects::{self, METRICS_HOME, METRICS_TARGETS, MetricsFacts},
    registry::{NewOperation, Way},
    sys::{prometheus, signals::Changing},
    ui::count,
};

/// Stop reading the figures of projects
///
/// Prometheus ends, and its unit, its settings and the files that lead to projects go. What it has
/// stored stays unless --data is given, and so does the package, whose own unit stays switched off.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit metrics remove
  hostkit metrics remove --data
  hostkit metrics remove --dry-run")]
pub struct Args {
    /// Remove what it has stored, too
    #[arg(long)]
    data: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Removed {
    changed: usize,
    data_removed: bool,
    /// Where what was stored still is.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'static str>,
    package: &'static str,
}

const VERB: &str = "metrics remove";

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let held = (!args.dry_run).then(|| cx.take_host(VERB)).transpose()?;
    if !init::is_ready(&cx.host) || !is_there(cx, args.data)? {
        return Err(Error::missing("no_metrics", "this server keeps no figures of projects")
            .hint("set it up: `hostkit metrics setup`"));
    }
    let plan = plan(cx)?;
    if args.dry_run {
        let differences = differences(&plan, &cx.host)?;
        show::preview(cx, VERB, None, &differences);
        return Ok(());
    }
    let actor = cx.caller.actor();
    let new = NewOperation { project: None, verb: VERB, actor: &actor, way: Way::Undo };
    let changed = cx.carry_out(&new, None, |_, _| Ok((plan, Vec::new())))?;
    sweep(cx, args.data)?;
    drop(held);
    report(cx, changed, args.data)
}

/// Whether there is anything to take away, of a command that was interrupted, too.
fn is_there(cx: &Context, data: bool) -> Result<bool> {
    if cx.config.metrics.enabled || !matches!(super::facts(cx)?, MetricsFacts::Off) {
        return Ok(true);
    }
    let is = |path: &str| Ok(cx.host.meta(Path::new(path))?.is_some());
    Ok(is(METRICS_TARGETS)? || data && is(METRICS_HOME)?)
}

fn plan(cx: &mut Context) -> Result<Plan> {
    let text = cx.host.read_text(Path::new(PATH))?.unwrap_or_else(|| COMMENTED.to_owned());
    let text = config::changed(&text, "metrics.enabled", "false")?;
    cx.config = Config::parse(&text)?;
    let (facts, secret) = facts::of_ready_host(cx)?;
    projects::host_plan(&facts, &cx.config, &cx.templates()?, &secret, Some(&text))
}

/// What no undo could bring back goes last: if this stops half-way, the same command goes on.
fn sweep(cx: &Context, data: bool) -> Result<()> {
    let _changing = Changing::begin();
    if cx.host.meta(Path::new(METRICS_TARGETS))?.is_some() {
        cx.host.remove_empty_dir(Path::new(METRICS_TARGETS))?;
    }
    if data { cx.host.remove_tree(Path::new(METRICS_HOME)) } else { Ok(()) }
}

fn report(cx: &Context, changed: usize, data: bool) -> Result<()> {
    let stays = cx.host.meta(Path::new(METRICS_HOME))?.is_some();
    let package = prometheus::PACKAGE;
    let mut text = format!("figures are no longer read: {} changed\n", count(changed, "thing"));
    if stays {
        text.push_str(&format!(
            "what was stored stays in {METRICS_HOME}, until --data removes it\n"
        ));
    }
    text.push_str(&format!(
        "the package {package} stays, switched off; without it: apt-get purge {package}\n"
    ));
    let stored = stays.then_some(METRICS_HOME);
    let removed = Removed { changed, data_removed: data, data: stored, package };
    cx.ui.result(VERB, None, &removed, &text);
    Ok(())
}
