//! The store itself: its key, made, made anew and changed.

use serde::Serialize;

use super::keys;
use crate::{
    commands::{Context, confirm},
    error::{Error, Result},
    ui::count,
};

/// Make the master key of all secrets
///
/// The first secret that is set makes it, too. A key that is there stays. With `--new-key` a lost
/// key is given up: values that only it opens are forgotten, and what `.env` holds is not touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets init
  hostkit secrets init --new-key --yes")]
pub struct InitArgs {
    /// Give a lost key up: forget what nobody can open, and begin anew
    #[arg(long)]
    new_key: bool,

    /// Do not ask
    #[arg(long, short = 'y', requires = "new_key")]
    yes: bool,
}

/// Seal all secrets under a new master key
///
/// All of them or none. If it is interrupted, either key opens what is sealed under it, and the
/// same command goes on. It waits for deploys that are under way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets rotate-key")]
pub struct RotateArgs {}

#[derive(Serialize)]
struct Store<'a> {
    path: &'static str,
    /// A name of the key, which tells nothing of it.
    key: &'a str,
    made: bool,
    values: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<usize>,
}

pub(super) fn init(args: &InitArgs, cx: &mut Context) -> Result<()> {
    if args.new_key {
        return renew(args, cx);
    }
    cx.registry()?;
    let (ring, made) = keys::ring_or_new(cx)?;
    let values = sealed(cx)?;
    let key = ring.current.id();
    let data = Store { path: keys::PATH, key, made, values, forgotten: None };
    let word = if made { "made" } else { "is there" };
    let mut text =
        format!("the master key {key} {word}: {}; {} sealed\n", keys::PATH, count(values, "value"));
    if keys::is_rotating(cx) {
        text.push_str("a change of keys was interrupted: hostkit secrets rotate-key goes on\n");
    }
    cx.ui.result("secrets init", None, &data, &text);
    Ok(())
}

fn renew(args: &InitArgs, cx: &mut Context) -> Result<()> {
    let lost = keys::lost(cx)?;
    let question = format!(
        "This forgets {} that no key on this server opens. If there is a copy of the key, put it back \
         instead. Go on? [y/N]",
        count(usize::try_from(lost).unwrap_or(usize::MAX), "value")
    );
    confirm::ask(&question, args.yes, |why| {
        Error::usage("not_confirmed", "no value was forgotten")
            .caused_by(why)
            .hint("answer `y`, or: `hostkit secrets init --new-key --yes`")
    })?;
    let held = cx.take_host("secrets init")?;
    let (key, forgotten) = keys::renew(cx)?;
    cx.record(None, "secrets init", Ok(()))?;
    drop(held);
    let values = sealed(cx)?;
    let id = key.id();
    let data = Store { path: keys::PATH, key: id, made: true, values, forgotten: Some(forgotten) };
    let text = format!(
        "the master key is {id} now: {}; {} forgotten\nNext:  hostkit secrets import NAME /home/NAME/.env --known\n",
        keys::PATH,
        count(forgotten, "value")
    );
    cx.ui.result("secrets init", None, &data, &text);
    Ok(())
}

pub(super) fn rotate(_args: &RotateArgs, cx: &mut Context) -> Result<()> {
    let held = cx.take_host("secrets rotate-key")?;
    let rotated = keys::rotate(cx)?;
    cx.record(None, "secrets rotate-key", Ok(()))?;
    drop(held);
    let data = Store {
        path: keys::PATH,
        key: &rotated.id,
        made: true,
        values: rotated.values,
        forgotten: None,
    };
    let went_on = if rotated.went_on { ", as an earlier run had begun it" } else { "" };
    let text = format!(
        "{} sealed under the key {}{went_on}\nkeep a copy of {} apart from the server's backups; copies of the old key open old backups alone\n",
        count(rotated.values, "value"),
        rotated.id,
        keys::PATH
    );
    cx.ui.result("secrets rotate-key", None, &data, &text);
    Ok(())
}

fn sealed(cx: &mut Context) -> Result<usize> {
    let all: u64 = cx.registry()?.sealing_keys()?.values().sum();
    Ok(usize::try_from(all).unwrap_or(usize::MAX))
}
