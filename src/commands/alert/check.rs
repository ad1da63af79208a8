//! `hostkit alert check`: what the timer runs every minute.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    channels::{read, send},
    look::look,
    memory, mute,
};
use crate::{
    commands::Context,
    config::Wait,
    error::{Error, Result},
    projects::alerts::{self, Channels, Problem},
    registry::{Alert, Mute},
    sys::lock,
};

/// Look whether something is wrong, and tell what is news
///
/// What the timer runs every minute. Whom a message does not reach is told by the next look.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit alert check
  hostkit alert check --dry-run")]
pub struct Args {
    /// Show what is wrong, and tell nobody
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Checked {
    problems: Vec<Problem>,
    /// Of what nobody is told for now.
    muted: Vec<Mute>,
    /// Who was told of how much.
    told: Vec<(String, usize)>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let channels = read(cx)?;
    // One that takes longer than a minute is not overtaken.
    let _held = lock::take(lock::ALERTS, "alert check", Duration::ZERO, |_| {})?;
    if !args.dry_run && super::settle(cx)? {
        cx.ui.note("the timer that runs this was not as it should be");
    }
    let now = Timestamp::now();
    let problems = look(cx, now);
    // Better told once too often than not at all.
    let muted = cx.registry().and_then(|registry| registry.mutes(now)).unwrap_or_default();
    let mut checked = Checked { problems, muted, told: Vec::new() };
    let mut failed = None;
    if !args.dry_run {
        let known = memory::known(cx)?;
        let names: BTreeSet<&str> = channels.keys().map(String::as_str).collect();
        let mut all = alerts::settle(known.clone(), &checked.problems, &names, now);
        (checked.told, failed) = tell(cx, &channels, &mut all, &checked.muted, now);
        all.retain(|alert| alert.over_at.is_none() || !alert.told.is_empty());
        if all != known {
            memory::keep(cx, &all)?;
        }
    }
    let text = render(&checked, cx.ui.voice.quiet);
    cx.ui.result("alert check", None, &checked, &text);
    failed.map_or(Ok(()), Err)
}

/// Each channel its own news, in one message. One that fails is in nobody's way.
fn tell(
    cx: &mut Context,
    channels: &Channels,
    all: &mut [Alert],
    muted: &[Mute],
    now: Timestamp,
) -> (Vec<(String, usize)>, Option<Error>) {
    let span = |wait: Wait| SignedDuration::try_from(wait.0).unwrap_or(SignedDuration::MAX);
    let times = (span(cx.config.alerts.after), span(cx.config.alerts.again));
    let is_news = |alert: &Alert, channel: &str| {
        !mute::covers(muted, &alert.key) && alerts::is_news(alert, channel, now, times)
    };
    let (mut heard, mut failed) = (Vec::new(), None);
    for (name, channel) in channels {
        let news: Vec<&Alert> = all.iter().filter(|alert| is_news(alert, name)).collect();
        if news.is_empty() {
            continue;
        }
        let (sent, count) = (send(channel, &news), news.len());
        let is_sent = sent.is_ok();
        // Told is told, also where no note can be made of it.
        let noted = cx.record(None, "alert", sent);
        if !is_sent {
            failed = noted.err();
            continue;
        }
        heard.push((name.clone(), count));
        for alert in all.iter_mut().filter(|alert| is_news(alert, name)) {
            alerts::told(alert, name, now);
        }
    }
    (heard, failed)
}

fn render(checked: &Checked, is_quiet: bool) -> String {
    if is_quiet {
        return String::new();
    }
    let mut text = String::new();
    for Problem { key, text: what } in &checked.problems {
        text.push_str(&format!("{key}: {what}\n"));
    }
    if checked.problems.is_empty() {
        text.push_str("nothing is wrong\n");
    }
    for muted in &checked.muted {
        text.push_str(&format!("{}\n", mute::line(muted)));
    }
    for (name, count) in &checked.told {
        text.push_str(&format!("told {name}: {count}\n"));
    }
    text
}
