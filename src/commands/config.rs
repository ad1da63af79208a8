//! `hostkit config`: the configuration that holds, and one key of it changed.

use std::path::Path;

use serde::Serialize;
use toml_edit::{DocumentMut, Item, Table, value};

use super::Context;
use crate::{
    config::{COMMENTED, Config, PATH},
    error::{Error, Result},
    names::nearest,
    sys::Owner,
    ui::Paint,
};

/// Show the configuration, or change a key of it
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  hostkit config
  hostkit config get base_domain
  hostkit config set base_domain apps.example.com
  hostkit config set redis.databases 64"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show one key
    Get {
        /// Key, as `hostkit config` lists it
        key: String,
    },
    /// Change one key; comments in the file stay
    Set {
        /// Key, as `hostkit config` lists it
        key: String,
        /// Its value
        value: String,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show all keys
    Show,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    match &args.command {
        None | Some(Command::Show) => {
            show(cx);
            Ok(())
        }
        Some(Command::Get { key }) => get(key, cx),
        Some(Command::Set { key, value, dry_run }) => set(key, value, *dry_run, cx),
    }
}

#[derive(Serialize)]
struct Setting {
    key: String,
    value: toml::Value,
    is_default: bool,
}

fn show(cx: &Context) {
    let paint = Paint::of(&std::io::stdout());
    let defaults = Config::default().keys();
    let mut text = String::new();
    let mut settings = Vec::new();
    for ((key, value), (_, default)) in cx.config.keys().into_iter().zip(defaults) {
        let is_default = value == default;
        let line = format!("{key:<22} {value}");
        text.push_str(&if is_default { paint.dim(&line) } else { paint.bold(&line) });
        text.push('\n');
        settings.push(Setting { key, value, is_default });
    }
    text.push_str(&format!("\n{}\n", paint.dim(&format!("from {PATH}; dim is the default"))));
    cx.ui.result("config", None, &settings, &text);
}

fn get(key: &str, cx: &Context) -> Result<()> {
    let found = cx.config.keys().into_iter().find(|(k, _)| k == key);
    let (key, value) = found.ok_or_else(|| unknown(key))?;
    let text = match &value {
        toml::Value::String(text) => format!("{text}\n"),
        other => format!("{other}\n"),
    };
    cx.ui.result("config", None, &Setting { key, value, is_default: false }, &text);
    Ok(())
}

fn unknown(key: &str) -> Error {
    let known = Config::default().keys();
    let error = Error::missing("no_key", format!("there is no key `{}`", key.escape_debug()));
    match nearest(key, known.iter().map(|(k, _)| k.as_str())) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("`hostkit config` lists the keys"),
    }
}

fn set(key: &str, given: &str, dry_run: bool, cx: &mut Context) -> Result<()> {
    let _held = if dry_run { None } else { Some(cx.take_host("config set")?) };
    let text = cx.host.read_text(Path::new(PATH))?.unwrap_or_else(|| COMMENTED.to_owned());
    let text = changed(&text, key, given)?;
    let config = Config::parse(&text)?;
    if !dry_run {
        let written = cx.host.write(Path::new(PATH), text.as_bytes(), Owner::ROOT, 0o644);
        cx.record(None, "config set", written)?;
    }
    let found = config.keys().into_iter().find(|(k, _)| k == key);
    let (key, value) = found.ok_or_else(|| unknown(key))?;
    let done = if dry_run { "would be" } else { "is" };
    let text = format!("{key} {done} {value}{}\n", next_step(&key));
    cx.ui.result("config", None, &Setting { key, value, is_default: false }, &text);
    Ok(())
}

/// The file with one key set; everything else in it stays.
pub fn changed(text: &str, key: &str, given: &str) -> Result<String> {
    let known = Config::default().keys().into_iter().find(|(k, _)| k == key);
    let (_, default) = known.ok_or_else(|| unknown(key))?;
    let refused =
        |e: String| Error::usage("bad_config", format!("`{key}` can't be set")).caused_by(e);
    let mut document: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| refused(e.to_string()))?;
    let new = match default {
        toml::Value::Integer(_) => {
            value(given.parse::<i64>().map_err(|_| refused(format!("`{given}` is no number")))?)
        }
        toml::Value::Boolean(_) => {
            let why = |_| refused(format!("`{given}` is neither true nor false"));
            value(given.parse::<bool>().map_err(why)?)
        }
        toml::Value::Array(_) => list(given).map_err(refused)?,
        _ => value(given),
    };
    match key.split_once('.') {
        Some((table, inner)) => {
            let table = document.entry(table).or_insert_with(|| Item::Table(Table::new()));
            table[inner] = new;
        }
        None => document[key] = new,
    }
    Ok(document.to_string())
}

/// What has to be run for a key to take effect on what there is already.
fn next_step(key: &str) -> &'static str {
    match key {
        "base_domain" | "proxy.trusted" => "\nnow: hostkit init && hostkit repair --all",
        "operators" | "redis.databases" => "\nnow: hostkit init",
        "limits.cpu"
        | "limits.memory"
        | "limits.tasks"
        | "mysql.connections"
        | "ports.first"
        | "ports.last"
        | "postgres.connections"
        | "proxy.header"
        | "ssh_keys" => "\nnow: hostkit repair --all",
        _ => "",
    }
}

/// A list of strings: in brackets as in the file, or one alone.
fn list(given: &str) -> Result<Item, String> {
    if given.trim_start().starts_with('[') {
        let text = format!("x = {given}");
        let document: DocumentMut =
            text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
        return Ok(document["x"].clone());
    }
    let mut array = toml_edit::Array::new();
    array.push(given);
    Ok(value(array))
}
