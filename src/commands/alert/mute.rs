//! `hostkit alert mute` and `unmute`: work that is planned wakes nobody.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    commands::Context,
    config::Wait,
    error::{Error, Result},
    names::ProjectName,
    registry::Mute,
};

/// Longer is forgotten.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// Tell nobody for a while
///
/// For work that is planned. It is looked at all the same: what is still wrong at the end is told
/// then, and what was over by then is not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit alert mute my-shop
  hostkit alert mute my-shop --for 3h
  hostkit alert mute --for 20m")]
pub struct MuteArgs {
    /// Of this project; without it of nothing at all
    pub project: Option<String>,

    /// For so long
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    time: Wait,
}

/// Tell again what is wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit alert unmute my-shop
  hostkit alert unmute")]
pub struct UnmuteArgs {
    /// What `mute` was told
    pub project: Option<String>,
}

#[derive(Serialize)]
struct Unmuted {
    project: Option<ProjectName>,
    was_muted: bool,
}

/// Whether nobody is told of this.
pub(super) fn covers(mutes: &[Mute], key: &str) -> bool {
    mutes.iter().any(|mute| {
        let of = |name: &ProjectName| {
            key.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
        };
        mute.project.as_ref().is_none_or(of)
    })
}

/// `my-shop is muted until 22 Nov 08:15 UTC`
pub(super) fn line(mute: &Mute) -> String {
    let what = mute.project.as_ref().map_or("everything", ProjectName::as_str);
    format!("{what} is muted until {}", mute.until.strftime("%-d %b %H:%M UTC"))
}

pub(super) fn mute(args: &MuteArgs, cx: &mut Context) -> Result<()> {
    if args.time.0 > LONGEST || args.time.0.is_zero() {
        return Err(Error::usage("bad_time", "nobody is muted for so long")
            .caused_by(format!("`--for` is {}, and a second to 30 days may be", args.time))
            .hint("hostkit alert mute --for 2h"));
    }
    let project = named(args.project.as_deref(), cx)?;
    let since = Timestamp::now();
    let long = SignedDuration::try_from(args.time.0).unwrap_or(SignedDuration::ZERO);
    let mute = Mute { project, since, until: since + long, actor: cx.caller.actor() };
    let kept = cx.registry()?.mute(&mute);
    cx.record(mute.project.as_ref(), "alert mute", kept)?;
    let subject = mute.project.as_ref().map(ProjectName::as_str);
    cx.ui.result("alert mute", subject, &mute, &format!("{}\n", line(&mute)));
    Ok(())
}

pub(super) fn unmute(args: &UnmuteArgs, cx: &mut Context) -> Result<()> {
    let project = named(args.project.as_deref(), cx)?;
    let was_muted = cx.registry()?.unmute(project.as_ref())?;
    if was_muted {
        cx.record(project.as_ref(), "alert unmute", Ok(()))?;
    }
    let what = project.as_ref().map_or("everything", ProjectName::as_str);
    let said = if was_muted { "is told again" } else { "was not muted" };
    let text = format!("{what} {said}\n");
    let subject = project.as_ref().map(ToString::to_string);
    let data = Unmuted { project, was_muted };
    cx.ui.result("alert unmute", subject.as_deref(), &data, &text);
    Ok(())
}

fn named(name: Option<&str>, cx: &mut Context) -> Result<Option<ProjectName>> {
    let Some(name) = name else { return Ok(None) };
    let name: ProjectName = name.parse()?;
    cx.registry()?.project(&name)?;
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_muted_and_its_neighbour_is_not() {
        let mute = |name: Option<&str>| Mute {
            project: name.map(|name| name.parse().unwrap()),
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            actor: "root".into(),
        };
        let shop = [mute(Some("shop"))];
        assert!(covers(&shop, "shop: web") && covers(&shop, "shop"));
        assert!(!covers(&shop, "shop-two: web") && !covers(&shop, "nginx"));
        assert!(covers(&[mute(None)], "nginx") && !covers(&[], "nginx"));
    }
}
