//! Secrets set, taken over and taken away; and processes that get them at once.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Read},
    path::Path,
};

use serde::Serialize;
use zeroize::Zeroizing;

use super::{check_name, check_number, keys};
use crate::{
    commands::{
        Context, confirm,
        deploy::{may_name_paths, switch},
    },
    envfile::EnvFile,
    error::{Context as _, Error, Result},
    names::ProjectName,
    projects::ManagedEnv,
    registry::{NewValue, Project, SecretRow, Use},
    secret::{Format, Kind, Secret},
    sys::terminal,
    ui::count,
};

/// The longest value, as the longest variable of an environment.
const LONGEST: usize = 32 << 10;
/// The longest file of them.
const LONGEST_FILE: usize = 1 << 20;

/// Set a secret, its value by standard input
///
/// On a terminal it asks, and shows nothing of what is typed. The value lies sealed until the next
/// deploy brings it to the processes, or until now with `--restart`. Former versions stay as long
/// as a release had them, and the last ten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets set my-shop SMTP_PASSWORD
  hostkit secrets set my-shop SMTP_PASSWORD --restart < password-file
  hostkit secrets set my-shop SECRET_KEY --generate
  hostkit secrets set my-shop SMTP_PASSWORD --version 3
  ssh my-shop@server hostkit secrets set SMTP_PASSWORD < password-file")]
pub struct SetArgs {
    /// Project that it is of
    pub name: String,
    /// The secret, as the variable or the file that processes see
    secret: String,
    /// Make a random value: hex:32, base64:32, fernet, words:4 or code:12
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "hex:32")]
    generate: Option<Kind>,
    /// Go back to this version instead
    #[arg(long, value_name = "N", conflicts_with = "generate")]
    version: Option<i64>,
    #[command(flatten)]
    how: How,
}

/// Set the secrets of a file
///
/// Variables of `.env` that are set so are secrets from then on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets import my-shop secrets.env
  hostkit secrets import my-shop /home/my-shop/.env --known
  ssh my-shop@server hostkit secrets import - < secrets.env")]
pub struct ImportArgs {
    /// Project that they are of
    pub name: String,
    /// A file of variables; `-` is standard input
    file: String,
    /// Only those that `secrets list` names
    #[arg(long)]
    known: bool,
    #[command(flatten)]
    how: How,
}

/// Take secrets away
///
/// Processes have them until the next deploy. What a release had stays as long as the release.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets delete my-shop OLD_KEY --restart")]
pub struct DeleteArgs {
    /// Project that they are of
    pub name: String,
    /// The secrets
    #[arg(required = true, value_name = "SECRET")]
    secrets: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// Take all values of a project away, with all that former releases had
///
/// Definitions stay. Processes have their values until the next deploy.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets clear my-shop
  hostkit secrets clear my-shop --confirm my-shop")]
pub struct ClearArgs {
    /// Project whose values to take away
    pub name: String,
    /// Name the project once more instead of being asked
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Let the processes have it now, through the gate and without a failed request
    #[arg(long)]
    restart: bool,
}

#[derive(Serialize)]
struct Changed {
    changed: BTreeMap<String, Option<i64>>,
    restarted: bool,
    /// Names of the file that were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

pub(super) fn set(args: &SetArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    check_name(&args.secret)?;
    cx.registry()?.project(&name)?;
    let key = args.secret.as_str();
    if let Some(version) = args.version {
        return change(cx, &name, "secrets set", &args.how, Vec::new(), |cx| {
            cx.registry()?.secret(&name, key)?;
            let actor = cx.caller.actor();
            let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
            cx.host.journaling("choose a version", || {
                registry.choose_secret(&name, key, version, &Use::of("choose", &actor))
            })?;
            Ok([(key.to_owned(), Some(version))].into())
        });
    }
    let (value, what) = match args.generate {
        Some(kind) => (kind.make()?, "generate"),
        None => (asked_for(key)?, "set"),
    };
    change(cx, &name, "secrets set", &args.how, Vec::new(), |cx| {
        put(cx, &name, &[(key.to_owned(), value)], what)
    })
}

pub(super) fn import(args: &ImportArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let text = read_file(cx, &args.file)?;
    // A line that is no variable may be part of a value.
    let file = EnvFile::parse(text.expose()).map_err(|error| {
        let line = error.cause.as_deref().and_then(|cause| cause.split(':').next());
        let line = line.filter(|line| line.starts_with("line ")).unwrap_or("it").to_owned();
        Error { cause: Some(format!("{line} is no KEY=value that can be taken")), ..error }
    })?;
    let rows = cx.registry()?.secrets(&name)?;
    let is_known = |key: &str| rows.iter().any(|row| row.name == key);
    let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
    for (key, value) in file.variables() {
        let is_ours = ManagedEnv::KEYS.contains(&key);
        if is_ours || value.is_empty() || args.known && !is_known(key) {
            left_out.push(key.to_owned());
        } else {
            wanted.push((key.to_owned(), Secret::new(value)));
        }
    }
    if wanted.is_empty() {
        return Err(Error::usage("nothing_to_import", "the file has no value to set").caused_by(
            match left_out.len() {
                0 => "it holds no variable".to_owned(),
                n => format!("{} left out: hostkit's own, empty, or not known", count(n, "name")),
            },
        ));
    }
    change(cx, &name, "secrets import", &args.how, left_out, |cx| put(cx, &name, &wanted, "import"))
}

pub(super) fn delete(args: &DeleteArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    change(cx, &name, "secrets delete", &args.how, Vec::new(), |cx| {
        for secret in &args.secrets {
            let row = cx.registry()?.secret(&name, secret)?;
            if row.version.is_none() {
                return Err(super::values::not_set(&name, &row.name));
            }
        }
        let names: Vec<&str> = args.secrets.iter().map(String::as_str).collect();
        let actor = cx.caller.actor();
        let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
        cx.host.journaling("take secrets away", || {
            registry.unset_secrets(&name, &names, &Use::of("delete", &actor))
        })?;
        Ok(names.into_iter().map(|key| (key.to_owned(), None)).collect())
    })
}

pub(super) fn clear(args: &ClearArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let refused = |why: &str| {
        Error::usage("not_confirmed", format!("the secrets of {name} are still there"))
            .caused_by(why.to_owned())
            .hint(format!(
                "answer with its name, or: `hostkit secrets clear {name} --confirm {name}`"
            ))
    };
    match &args.confirm {
        Some(confirmed) if confirmed == name.as_str() => {}
        Some(_) => return Err(refused("--confirm names another project")),
        None => confirm::answer(
            &format!(
                "This takes all secrets of {name} away, also from former releases. Type its name:"
            ),
            |answer| answer == name.as_str(),
            refused,
        )?,
    }
    change(cx, &name, "secrets clear", &args.how, Vec::new(), |cx| {
        let rows = cx.registry()?.secrets(&name)?;
        let names: Vec<&str> =
            rows.iter().filter(|row| row.version.is_some()).map(|row| row.name.as_str()).collect();
        let actor = cx.caller.actor();
        let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
        cx.host.journaling("clear secrets", || {
            registry.clear_secrets(&name, &names, &Use::of("clear", &actor))
        })?;
        Ok(names.into_iter().map(|key| (key.to_owned(), None)).collect())
    })
}

/// Seals values and writes them down, all or none; those that are no value of their kind first.
pub(super) fn put(
    cx: &mut Context,
    name: &ProjectName,
    wanted: &[(String, Secret)],
    what: &str,
) -> Result<BTreeMap<String, Option<i64>>> {
    let rows = cx.registry()?.secrets(name)?;
    check_number(&rows, wanted.iter().map(|(key, _)| key.as_str()))?;
    for (key, value) in wanted {
        check_name(key)?;
        let row = rows.iter().find(|row| row.name == *key);
        check_value(key, value, row.map_or(Format::Text, |row| row.kind))?;
    }
    let (ring, _) = keys::ring_or_new(cx)?;
    let actor = cx.caller.actor();
    let values: Vec<NewValue<'_>> =
        wanted.iter().map(|(name, value)| NewValue { name, value, is_live: false }).collect();
    let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
    let versions = cx.host.journaling("set secrets", || {
        registry.set_secrets(name, &values, &ring.current, &Use::of(what, &actor))
    })?;
    let keys = wanted.iter().map(|(key, _)| key.clone());
    Ok(keys.zip(versions.into_iter().map(Some)).collect())
}

fn check_value(key: &str, value: &Secret, format: Format) -> Result<()> {
    let refused = |why: String| {
        Error::usage("bad_value", format!("the value of `{key}` was not taken")).caused_by(why)
    };
    let text = value.expose();
    if text.is_empty() {
        return Err(refused("there is none".into())
            .hint("send it by standard input, or type it when you are asked"));
    }
    if text.contains('\0') {
        return Err(refused("it holds a zero byte".into()));
    }
    if text.len() > LONGEST {
        return Err(refused(format!("it has more than {LONGEST} bytes")));
    }
    let wrong = |why: &str| refused(format!("it is to be of the kind {format}, and {why}"));
    format.check(text).map_err(wrong)
}

/// The value that somebody types or sends.
pub(in crate::commands) fn asked_for(key: &str) -> Result<Secret> {
    if std::io::stdin().is_terminal() {
        return typed(key);
    }
    let text = read_all(std::io::stdin().lock(), LONGEST, "standard input")?;
    Ok(Secret::new(text.expose().trim_end_matches(['\n', '\r'])))
}

fn typed(key: &str) -> Result<Secret> {
    use std::io::Write;
    let mut err = std::io::stderr();
    let _ = write!(err, "{key}: ");
    let _ = err.flush();
    let line = terminal::hidden_line(LONGEST + 1)?;
    let _ = writeln!(err);
    line.ok_or_else(|| Error::usage("not_confirmed", format!("`{key}` is as it was")))
}

fn read_file(cx: &Context, file: &str) -> Result<Secret> {
    if file == "-" {
        return read_all(std::io::stdin().lock(), LONGEST_FILE, "standard input");
    }
    may_name_paths(&cx.caller, "send it by standard input: `hostkit secrets import - < FILE`")?;
    let opened = std::fs::File::open(cx.started_in.join(Path::new(file)))
        .context(|| format!("could not read `{file}`"))?;
    read_all(opened, LONGEST_FILE, file)
}

/// All of it, in memory that is overwritten and that never moves.
fn read_all(from: impl Read, longest: usize, what: &str) -> Result<Secret> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(longest + 3));
    from.take(longest as u64 + 3)
        .read_to_end(&mut bytes)
        .context(|| format!("could not read {what}"))?;
    let too_long = || Error::usage("bad_value", format!("{what} is too long"));
    if bytes.len() > longest + 2 {
        return Err(too_long().caused_by(format!("{longest} bytes are the most")));
    }
    let text = std::str::from_utf8(&bytes);
    text.map(Secret::new)
        .map_err(|_| Error::usage("bad_value", format!("{what} is no text (UTF-8)")))
}

/// The one way in which secrets change; with `--restart` all the way to the processes, or not at
/// all.
fn change(
    cx: &mut Context,
    name: &ProjectName,
    verb: &'static str,
    how: &How,
    left_out: Vec<String>,
    change: impl FnOnce(&mut Context) -> Result<BTreeMap<String, Option<i64>>>,
) -> Result<()> {
    let _held = cx.take_project(name, verb)?;
    let project = cx.registry()?.living_project(name)?;
    let before = cx.registry()?.secrets(name)?;
    let changed = change(cx)?;
    let is_up = cx.host.unit(&name.unit())?.is_active();
    let mut restarted = false;
    if let (true, true, Some(live)) = (how.restart, is_up, &project.live) {
        if let Err(error) = switch::again(cx, &project, live, verb, None, None) {
            put_back(cx, name, &before, &changed)?;
            let _ = cx.record(Some(name), verb, Err(Error::failed(error.to_string())));
            return Err(error.hint(format!("{name} still runs with the secrets that it had")));
        }
        restarted = true;
    }
    cx.record(Some(name), verb, Ok(()))?;
    let text = told(name, &project, &changed, restarted);
    let data = Changed { changed, restarted, left_out };
    cx.ui.result(verb, Some(name.as_str()), &data, &text);
    Ok(())
}

/// What processes did not come up with is not what the next deploy is to bring. A value that was
/// cleared is gone.
fn put_back(
    cx: &mut Context,
    name: &ProjectName,
    before: &[SecretRow],
    changed: &BTreeMap<String, Option<i64>>,
) -> Result<()> {
    let actor = cx.caller.actor();
    let what = Use::of("put back", &actor);
    for key in changed.keys() {
        let version = before.iter().find(|row| row.name == *key).and_then(|row| row.version);
        let registry = cx.registry()?;
        let done = match version {
            Some(version) => registry.choose_secret(name, key, version, &what),
            None => registry.unset_secrets(name, &[key], &what),
        };
        match done {
            Err(error) if error.code == "no_version" => {}
            other => other?,
        }
    }
    Ok(())
}

fn told(
    name: &ProjectName,
    project: &Project,
    changed: &BTreeMap<String, Option<i64>>,
    restarted: bool,
) -> String {
    let one = |(key, version): (&String, &Option<i64>)| match version {
        Some(version) => format!("{key} is set (version {version})\n"),
        None => format!("{key} is taken away\n"),
    };
    let mut text: String = changed.iter().map(one).collect();
    if changed.is_empty() {
        text.push_str("there was nothing to take away\n");
    } else if restarted {
        text.push_str(&format!("{name} runs with it\n"));
    } else if project.live.is_some() {
        text.push_str(&format!(
            "processes learn of it with the next deploy, or now: hostkit service restart {name}\n"
        ));
    }
    text
}
