//! `hostkit ratelimit` and `hostkit autopause`: limits of deploys that one project has of its own.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    commands::Context,
    error::{Error, Kind, Result},
    names::ProjectName,
    registry::DeployLimits,
};

/// Show or set how often a project may be deployed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ratelimit my-shop
  hostkit ratelimit my-shop --per-hour 30
  hostkit ratelimit my-shop --off
  hostkit ratelimit my-shop --reset")]
pub struct RatelimitArgs {
    /// Project that the limit is of
    pub name: String,

    /// Deploys within an hour
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with_all = ["reset", "off"])]
    per_hour: Option<u32>,

    /// As the configuration says again
    #[arg(long, conflicts_with = "off")]
    reset: bool,

    /// No limit
    #[arg(long)]
    off: bool,
}

/// Show or set after how many failures in a row deploys of a project are paused
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit autopause my-shop
  hostkit autopause my-shop --after 5
  hostkit autopause my-shop --off
  hostkit autopause my-shop --reset")]
pub struct AutopauseArgs {
    /// Project that the limit is of
    pub name: String,

    /// Failures in a row
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000), conflicts_with_all = ["reset", "off"])]
    after: Option<u32>,

    /// As the configuration says again
    #[arg(long, conflicts_with = "off")]
    reset: bool,

    /// Never
    #[arg(long)]
    off: bool,
}

#[derive(Serialize)]
struct Shown {
    /// 0 is no limit.
    limit: u32,
    /// configuration, or project.
    from: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    within_the_last_hour: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<String>,
}

/// What holds for a project: its own limits, where it has any, else the configuration's.
pub fn of(cx: &mut Context, name: &ProjectName) -> Result<(u32, u32)> {
    let own = cx.registry()?.deploy_limits(name)?;
    let usual = &cx.config.deploys;
    Ok((own.per_hour.unwrap_or(usual.per_hour), own.pause_after.unwrap_or(usual.pause_after)))
}

#[derive(Clone, Copy)]
enum Asked {
    ToLook,
    /// As the configuration says.
    Usual,
    Own(u32),
}

fn asked(value: Option<u32>, reset: bool, off: bool) -> Asked {
    match (value, reset, off) {
        (Some(value), ..) => Asked::Own(value),
        (None, true, _) => Asked::Usual,
        (None, false, true) => Asked::Own(0),
        (None, false, false) => Asked::ToLook,
    }
}

pub fn ratelimit(args: &RatelimitArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let asked = asked(args.per_hour, args.reset, args.off);
    let own = set(cx, &name, "ratelimit", asked, |limits, value| limits.per_hour = value)?;
    let (limit, _) = of(cx, &name)?;
    let recent = recent(cx, &name, limit.max(1000))?;
    let told = match limit {
        0 => format!("{name} may be deployed as often as anybody likes"),
        n => format!("{name} may be deployed {n} times an hour, and was {recent} times"),
    };
    let from = from(own.per_hour);
    let data = Shown { limit, from, within_the_last_hour: Some(recent), paused: None };
    cx.ui.result("ratelimit", Some(name.as_str()), &data, &format!("{told} ({from})\n"));
    Ok(())
}

pub fn autopause(args: &AutopauseArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let asked = asked(args.after, args.reset, args.off);
    let own = set(cx, &name, "autopause", asked, |limits, value| limits.pause_after = value)?;
    let (_, limit) = of(cx, &name)?;
    let paused = cx.registry()?.paused(&name)?;
    let from = from(own.pause_after);
    let mut told = match limit {
        0 => format!("deploys of {name} are never paused ({from})\n"),
        n => format!("deploys of {name} are paused after {n} failures in a row ({from})\n"),
    };
    if let Some(reason) = &paused {
        told.push_str(&format!("they are paused now: {reason}  →  hostkit resume {name}\n"));
    }
    let data = Shown { limit, from, within_the_last_hour: None, paused };
    cx.ui.result("autopause", Some(name.as_str()), &data, &told);
    Ok(())
}

fn from(own: Option<u32>) -> &'static str {
    if own.is_some() { "project" } else { "configuration" }
}

fn set(
    cx: &mut Context,
    name: &ProjectName,
    verb: &str,
    asked: Asked,
    write: impl FnOnce(&mut DeployLimits, Option<u32>),
) -> Result<DeployLimits> {
    cx.registry()?.project(name)?;
    let value = match asked {
        Asked::ToLook => return cx.registry()?.deploy_limits(name),
        Asked::Usual => None,
        Asked::Own(value) => Some(value),
    };
    let _held = cx.take_project(name, verb)?;
    cx.registry()?.living_project(name)?;
    let mut limits = cx.registry()?.deploy_limits(name)?;
    write(&mut limits, value);
    cx.registry()?.set_deploy_limits(name, limits)?;
    cx.record(Some(name), verb, Ok(()))?;
    Ok(limits)
}

/// Whoever is held to a limit does not lift it.
pub fn may_override(cx: &Context) -> Result<()> {
    use crate::caller::Caller;
    if matches!(cx.caller, Caller::Root | Caller::Operator { .. }) {
        return Ok(());
    }
    Err(Error::new(Kind::Forbidden, "forbidden", "the limit of deploys is not yours to override")
        .caused_by("it holds for whoever deploys by the project's own keys")
        .hint("ask an operator: `hostkit ratelimit NAME --per-hour COUNT`"))
}

/// How often a project was deployed within the last hour, counted up to a limit.
pub(super) fn recent(cx: &mut Context, name: &ProjectName, limit: u32) -> Result<usize> {
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    // Rollbacks and restarts stand among them, and count for nothing.
    let newest = cx.registry()?.deploys(name, limit.saturating_mul(4).max(100))?;
    Ok(newest.iter().filter(|d| d.verb == "deploy" && d.started_at > hour_ago).count())
}
