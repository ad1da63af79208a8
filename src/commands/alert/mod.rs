//! `hostkit alert`: somebody is told when something is wrong, and when it is well again.

mod channels;
mod check;
mod look;
mod memory;
mod mute;

use std::path::Path;

use crate::{
    commands::{Context, timer::Timer},
    error::Result,
};

/// Tell somebody when something is wrong
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Add(channels::AddArgs),
    Check(check::Args),
    List(channels::ListArgs),
    Mute(mute::MuteArgs),
    Remove(channels::RemoveArgs),
    Test(channels::TestArgs),
    Unmute(mute::UnmuteArgs),
}

/// Looks every minute, where there is anybody to be told.
const TIMER: Timer =
    Timer { name: "hostkit-alert", service: "systemd/alert.service", timer: "systemd/alert.timer" };

/// Sees to it that somebody looks where there is anybody to be told, and nobody where not. Whether
/// that had to be mended.
pub fn settle(cx: &Context) -> Result<bool> {
    let is_wanted = !channels::read(cx)?.is_empty();
    if TIMER.is_on(cx)? == is_wanted {
        return Ok(false);
    }
    let done = if is_wanted { channels::set_timer(cx) } else { TIMER.remove(cx) };
    done.map(|()| true)
}

/// How many channels there are, and whether anybody looks.
pub fn state(cx: &Context) -> Result<(usize, bool)> {
    Ok((channels::read(cx)?.len(), TIMER.is_on(cx)?))
}

/// For a server that is hostkit's no more.
pub fn forget(cx: &Context) -> Result<()> {
    cx.host.remove_file(Path::new(channels::FILE))?;
    TIMER.remove(cx)
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Add(_) => ("alert add", None),
            Self::Check(_) => ("alert check", None),
            Self::List(_) => ("alert list", None),
            Self::Mute(args) => ("alert mute", args.project.as_deref()),
            Self::Remove(_) => ("alert remove", None),
            Self::Test(_) => ("alert test", None),
            Self::Unmute(args) => ("alert unmute", args.project.as_deref()),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Add(args) => channels::add(args, cx),
            Self::Check(args) => check::run(args, cx),
            Self::List(args) => channels::list(args, cx),
            Self::Mute(args) => mute::mute(args, cx),
            Self::Remove(args) => channels::remove(args, cx),
            Self::Test(args) => channels::test(args, cx),
            Self::Unmute(args) => mute::unmute(args, cx),
        }
    }
}
