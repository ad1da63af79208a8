//! The timer that makes backups by itself.

use serde::Serialize;

use super::repository;
use crate::{
    commands::{Context, timer::Timer},
    error::{Error, Result},
    sys::signals::Changing,
};

const TIMER: Timer = Timer {
    name: "hostkit-backup",
    service: "systemd/backup-all.service",
    timer: "systemd/backup-all.timer",
};

/// Back all projects up every day
///
/// Sets a timer that runs `hostkit backup run-all`, with little of the processor and the disk. If
/// the server was off at that time it runs when it is on again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup setup-timer
  hostkit backup setup-timer --time 04:30
  hostkit backup setup-timer --off

With cron instead, which sends a mail when something is wrong and is silent otherwise:
  30 3 * * * root hostkit backup run-all --quiet")]
pub struct Args {
    /// When to run, by the server's clock
    #[arg(long, value_name = "HH:MM", default_value = "03:30")]
    time: String,

    /// Take the timer away
    #[arg(long, conflicts_with = "time")]
    off: bool,
}

#[derive(Serialize)]
struct Set<'a> {
    on: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    cx.registry()?;
    let time = check(&args.time)?;
    if !args.off {
        // What the timer needs is made now, where somebody sees the key.
        drop(repository::open(cx, "backup setup-timer")?);
    }
    let _held = cx.take_host("backup setup-timer")?;
    let _changing = Changing::begin();
    if args.off {
        remove(cx)?;
    } else {
        TIMER.set(cx, &Values { time })?;
    }
    cx.record(None, "backup setup-timer", Ok(()))?;
    let data = Set { on: !args.off, time: (!args.off).then_some(time) };
    let text = if args.off {
        "no backup is made by itself any more\n".to_owned()
    } else {
        format!(
            "all projects are backed up every day at {time}\nNext:  hostkit backup run-all  ·  hostkit backup evidence\n"
        )
    };
    cx.ui.result("backup setup-timer", None, &data, &text);
    Ok(())
}

fn check(time: &str) -> Result<&str> {
    let number = |text: &str, below: u8| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|n| n < below)
    };
    match time.split_once(':') {
        Some((hours, minutes)) if number(hours, 24) && number(minutes, 60) => Ok(time),
        _ => Err(Error::usage("bad_time", format!("`{}` is no time of day", time.escape_debug()))
            .hint("write it like `03:30`")),
    }
}

#[derive(Serialize)]
struct Values<'a> {
    time: &'a str,
}

/// Takes the timer away, if there is one.
pub fn remove(cx: &Context) -> Result<()> {
    TIMER.remove(cx)
}

pub fn is_on(cx: &Context) -> Result<bool> {
    TIMER.is_on(cx)
}
