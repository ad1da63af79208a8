//! Who is told: channels come, go, and are tried.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use serde::Serialize;

use super::{TIMER, memory, mute};
use crate::{
    commands::{Context, secrets},
    error::{Error, Result},
    projects::alerts::{self, Channel, ChannelKind, Channels},
    registry::{Alert, Mute},
    sys::{Owner, https, signals::Changing, system},
    ui::{Column, Paint, Table, ago},
};

/// Root's alone: whoever knows an address can write to it.
pub(super) const FILE: &str = "/etc/hostkit/alerts.toml";

/// Tell somebody from now on
///
/// Asks for the address, or reads it from standard input. With the first channel a timer begins to
/// look every minute: at nginx and the databases, processes, answers, errors and waits of sites,
/// disks, certificates and backups. What has been wrong for two minutes is told once, all in one
/// message, and so is its end. `hostkit config` has the limits, as `alerts.*`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit alert add ops
  hostkit alert add ops --kind slack < address-file
  hostkit alert add phone --kind ntfy < address-file && hostkit alert test phone")]
pub struct AddArgs {
    /// What to call it
    channel: String,

    /// What the other side understands; known by the address of some
    #[arg(long, value_enum)]
    kind: Option<ChannelKind>,
}

/// Show who is told, and what is wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit alert list
  hostkit alert list --json | jq '.data.problems[].key'")]
pub struct ListArgs {}

/// Tell somebody no more
///
/// With the last channel the timer goes, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit alert remove ops")]
pub struct RemoveArgs {
    /// Whom
    channel: String,
}

/// Send a test message
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit alert test
  hostkit alert test ops")]
pub struct TestArgs {
    /// To whom; without it to all
    channel: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    kind: ChannelKind,
    /// Without what is secret of it.
    url: String,
}

#[derive(Serialize)]
struct Listed<'a> {
    channels: Vec<Shown<'a>>,
    problems: Vec<Alert>,
    /// Of what nobody is told for now.
    muted: Vec<Mute>,
}

#[derive(Serialize)]
struct Tested {
    told: Vec<String>,
}

pub(super) fn read(cx: &Context) -> Result<Channels> {
    let Some(text) = cx.host.read_text(Path::new(FILE))? else { return Ok(Channels::new()) };
    toml::from_str(&text).map_err(|_| {
        // What the parser says may hold an address.
        Error::failed(format!("`{FILE}` can't be read"))
            .coded("bad_config")
            .hint("mend it, or take it away and add the channels again: `hostkit alert add`")
    })
}

/// The file, and a timer where there is anybody to be told. Whoever is killed in between leaves a
/// timer too many, which goes by itself, and never one too few.
fn write(cx: &Context, channels: &Channels) -> Result<()> {
    let path = Path::new(FILE);
    if channels.is_empty() {
        cx.host.remove_file(path)?;
        return TIMER.remove(cx);
    }
    let text = toml::to_string(channels).map_err(|e| Error::failed(e.to_string()))?;
    set_timer(cx)?;
    cx.host.write(path, text.as_bytes(), Owner::ROOT, 0o600)
}

pub(super) fn set_timer(cx: &Context) -> Result<()> {
    TIMER.set(cx, &BTreeMap::<&str, &str>::new())
}

pub(super) fn add(args: &AddArgs, cx: &mut Context) -> Result<()> {
    let name = &args.channel;
    alerts::check_name(name)?;
    cx.registry()?;
    let url = secrets::asked_for("address")?;
    let url: alerts::Address = url.expose().trim().parse()?;
    let kind = args.kind.unwrap_or_else(|| ChannelKind::of(&url));
    let held = cx.take_host("alert add")?;
    let _changing = Changing::begin();
    let before = read(cx)?;
    let mut channels = before.clone();
    let was = channels.insert(name.clone(), Channel { kind, url: url.clone() });
    let written = write(cx, &channels);
    if written.is_err() {
        let _ = write(cx, &before);
    }
    cx.record(None, "alert add", written)?;
    drop(held);
    let data = Shown { name, kind, url: url.to_string() };
    let again = if was.is_some() { "now " } else { "" };
    let text = format!(
        "{name} is {again}told by {} at {url}\nNext:  hostkit alert test {name}\n",
        kind.as_str()
    );
    cx.ui.result("alert add", None, &data, &text);
    Ok(())
}

pub(super) fn remove(args: &RemoveArgs, cx: &mut Context) -> Result<()> {
    let name = &args.channel;
    cx.registry()?;
    let _held = cx.take_host("alert remove")?;
    let _changing = Changing::begin();
    let before = read(cx)?;
    alerts::find(&before, name)?;
    let mut channels = before.clone();
    let gone = channels.remove(name);
    let written = write(cx, &channels);
    if written.is_err() {
        let _ = write(cx, &before);
    }
    cx.record(None, "alert remove", written)?;
    let data = gone.as_ref().map(|c| Shown { name, kind: c.kind, url: c.url.to_string() });
    cx.ui.result("alert remove", None, &data, &format!("{name} is told no more\n"));
    Ok(())
}

/// Sends the news to a channel.
pub(super) fn send(channel: &Channel, news: &[&Alert]) -> Result<()> {
    let (kind, text) = alerts::message(channel.kind, &system::hostname(), news);
    let status = https::post(channel.url.expose(), kind, text)?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    Err(Error::failed(format!("`{}` did not take the message", channel.url.host()))
        .coded("not_sent")
        .caused_by(format!("it answered {status}"))
        .hint("see whether the address still holds, and set it again: `hostkit alert add`"))
}

pub(super) fn test(args: &TestArgs, cx: &mut Context) -> Result<()> {
    let channels = read(cx)?;
    let chosen: Vec<(&String, &Channel)> = match &args.channel {
        Some(name) => vec![(name, alerts::find(&channels, name)?)],
        None => channels.iter().collect(),
    };
    if chosen.is_empty() {
        return Err(Error::missing("no_channel", "nobody is told yet")
            .hint("add somebody: `hostkit alert add ops`"));
    }
    let mut told = Vec::new();
    for (name, channel) in chosen {
        let sent = send(channel, &[]).map_err(|mut error| {
            error.message = format!("{name} was not told: {}", error.message);
            error
        });
        cx.record(None, "alert test", sent)?;
        told.push(name.clone());
    }
    let text = format!("told: {}\n", told.join(", "));
    cx.ui.result("alert test", None, &Tested { told }, &text);
    Ok(())
}

pub(super) fn list(_: &ListArgs, cx: &mut Context) -> Result<()> {
    let channels = read(cx)?;
    let problems: Vec<Alert> =
        memory::known(cx)?.into_iter().filter(|alert| alert.over_at.is_none()).collect();
    let shown = channels.iter().map(|(name, channel)| Shown {
        name,
        kind: channel.kind,
        url: channel.url.to_string(),
    });
    let muted = cx.registry()?.mutes(Timestamp::now())?;
    let listed = Listed { channels: shown.collect(), problems, muted };
    let text = render(&listed, Paint::of(&std::io::stdout()));
    cx.ui.result("alert list", None, &listed, &text);
    Ok(())
}

fn render(listed: &Listed<'_>, paint: Paint) -> String {
    if listed.channels.is_empty() {
        return "nobody is told yet  →  hostkit alert add ops\n".into();
    }
    let mut table =
        Table::new(vec![Column::left("CHANNEL"), Column::left("KIND"), Column::left("ADDRESS")]);
    for Shown { name, kind, url } in &listed.channels {
        table.row(vec![paint.bold(name), kind.as_str().into(), url.clone()]);
    }
    let mut text = table.render(paint, None);
    if listed.problems.is_empty() {
        text.push_str("\nnothing is wrong\n");
    }
    for Alert { key, text: what, since, told, .. } in &listed.problems {
        let heard = if told.is_empty() { ", not told yet" } else { "" };
        let since = format!("since {}{heard}", ago(*since));
        text.push_str(&format!("\n{} {key}: {what} ({since})", paint.cross()));
    }
    if !listed.problems.is_empty() {
        text.push('\n');
    }
    for muted in &listed.muted {
        text.push_str(&format!("\n{}", mute::line(muted)));
    }
    if !listed.muted.is_empty() {
        text.push('\n');
    }
    text
}
