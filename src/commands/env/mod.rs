//! `hostkit env`: the variables that a project's processes start with.

mod generate;
mod history;

use std::{collections::BTreeMap, io::Read, path::Path};

use generate::Asked;
pub use generate::{Secret, Shown, add};
use serde::Serialize;

use super::{
    Context,
    checkpoint::take,
    deploy::{may_name_paths, switch},
    secrets, show,
};
use crate::{
    envfile::{EnvFile, check_key},
    error::{Context as _, Error, Result},
    names::ProjectName,
    plan::differences,
    projects::{self, ManagedEnv},
    registry::{CheckpointKind, NewOperation, Project, Way},
    secret::Secret as Value,
    ui::count,
};

/// Show and change a project's environment
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Diff(DiffArgs),
    Get(GetArgs),
    History(history::HistoryArgs),
    Import(ImportArgs),
    List(ListArgs),
    Restore(history::RestoreArgs),
    Set(SetArgs),
    Sync(SyncArgs),
    Unset(UnsetArgs),
}

/// Show how a file differs from a project's environment
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env diff my-shop .env.production
  hostkit env diff my-shop - < .env.production")]
pub struct DiffArgs {
    /// Project whose environment to compare
    pub name: String,
    /// A file of variables; `-` is standard input
    file: String,
}

/// Print the value of a variable
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env get my-shop DATABASE_URL")]
pub struct GetArgs {
    /// Project whose environment to read
    pub name: String,
    /// The variable
    key: String,
}

/// Set the variables of a file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env import my-shop .env.production --restart
  ssh my-shop@server hostkit env import my-shop - < .env.production")]
pub struct ImportArgs {
    /// Project whose environment to change
    pub name: String,
    /// A file of variables; `-` is standard input
    file: String,
    #[command(flatten)]
    how: How,
}

/// Show a project's variables, their values hidden
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env list my-shop
  hostkit env list my-shop --show-secrets")]
pub struct ListArgs {
    /// Project whose environment to show
    pub name: String,
    /// Show the values too
    #[arg(long)]
    show_secrets: bool,
}

/// Set variables
///
/// A value that nobody else on the server may see goes in by standard input: name the key alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env set my-shop LOG_LEVEL=info --restart
  hostkit env set my-shop SECRET_KEY --generate --restart
  hostkit env set my-shop ACCESS_CODE --generate words:4
  hostkit env set my-shop SMTP_PASSWORD < password-file")]
pub struct SetArgs {
    /// Project whose environment to change
    pub name: String,
    /// Variables; of a key alone the value is read from standard input
    #[arg(required = true, value_name = "KEY[=VALUE]")]
    variables: Vec<String>,
    /// Make a random value for each key that has none: hex:32, base64:32, fernet, words:4 or
    /// code:12, else as hostkit.toml says
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "")]
    generate: Option<Asked>,
    #[command(flatten)]
    how: How,
}

/// Make the environment what a file says
///
/// Sets the file's variables and takes all others away, but for those that hostkit sets or makes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env sync my-shop .env.production --dry-run
  hostkit env sync my-shop .env.production --restart")]
pub struct SyncArgs {
    #[command(flatten)]
    import: ImportArgs,
}

/// Take variables away
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit env unset my-shop LOG_LEVEL --restart")]
pub struct UnsetArgs {
    /// Project whose environment to change
    pub name: String,
    /// Variables
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Let the processes take it up now, through the gate and without a failed request
    #[arg(long)]
    restart: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Changed<'a> {
    changed: Vec<String>,
    restarted: bool,
    /// What was made, for operators alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<BTreeMap<&'a str, &'a str>>,
}

/// The longest that is read from a file or from standard input.
const LONGEST: u64 = 1 << 20;

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Diff(args) => ("env diff", Some(&args.name)),
            Self::Get(args) => ("env get", Some(&args.name)),
            Self::History(args) => ("env history", Some(&args.name)),
            Self::Import(args) => ("env import", Some(&args.name)),
            Self::Restore(args) => ("env restore", Some(&args.name)),
            Self::Sync(args) => ("env sync", Some(&args.import.name)),
            Self::List(args) => ("env list", Some(&args.name)),
            Self::Set(args) => ("env set", Some(&args.name)),
            Self::Unset(args) => ("env unset", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Diff(args) => diff(args, cx),
            Self::Get(args) => get(args, cx),
            Self::History(args) => history::history(args, cx),
            Self::Import(args) => import(args, cx),
            Self::List(args) => list(args, cx),
            Self::Restore(args) => history::restore(args, cx),
            Self::Set(args) => set(args, cx),
            Self::Sync(args) => sync(args, cx),
            Self::Unset(args) => unset(args, cx),
        }
    }
}

fn file_of(cx: &Context, project: &Project) -> Result<EnvFile> {
    let text = cx.host.read_text(&project.name.env_file())?.unwrap_or_default();
    EnvFile::parse(&text)
}

fn list(args: &ListArgs, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let file = file_of(cx, &project)?;
    let value = |value: &str| if args.show_secrets { value.to_owned() } else { "***".to_owned() };
    let all: BTreeMap<String, String> =
        file.variables().map(|(key, v)| (key.to_owned(), value(v))).collect();
    let line = |(key, value): (&str, &str)| format!("{key}={value}\n");
    let text: String = file.variables().map(|(key, v)| line((key, &value(v)))).collect();
    cx.ui.result("env list", Some(project.name.as_str()), &all, &text);
    Ok(())
}

fn get(args: &GetArgs, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let file = file_of(cx, &project)?;
    let value = file.get(&args.key).ok_or_else(|| not_set(&project.name, &args.key))?;
    cx.ui.result("env get", Some(project.name.as_str()), &value, &format!("{value}\n"));
    Ok(())
}

fn not_set(name: &ProjectName, key: &str) -> Error {
    Error::missing("no_variable", format!("{name} has no variable `{}`", key.escape_debug()))
        .hint(format!("see `hostkit env list {name}`"))
}

fn read(cx: &Context, file: &str) -> Result<String> {
    let mut text = String::new();
    let failed = || format!("could not read `{file}`");
    if file == "-" {
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).context(failed)?;
        return Ok(text);
    }
    may_name_paths(&cx.caller, "send it by standard input: `hostkit env import - < FILE`")?;
    let path = cx.started_in.join(Path::new(file));
    let file = std::fs::File::open(path).context(failed)?;
    file.take(LONGEST).read_to_string(&mut text).context(failed)?;
    Ok(text)
}

fn diff(args: &DiffArgs, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let theirs = EnvFile::parse(&read(cx, &args.file)?)?;
    let ours = file_of(cx, &project)?;
    let mut differs: BTreeMap<String, &str> = BTreeMap::new();
    for (key, value) in theirs.variables() {
        match ours.get(key) {
            None => drop(differs.insert(key.to_owned(), "only in the file")),
            Some(own) if own != value => drop(differs.insert(key.to_owned(), "another value")),
            Some(_) => {}
        }
    }
    for (key, _) in ours.variables().filter(|(key, _)| !ManagedEnv::holds(&project, key)) {
        if theirs.get(key).is_none() {
            differs.insert(key.to_owned(), "only on the server");
        }
    }
    let mut text: String = differs.iter().map(|(key, how)| format!("{key}: {how}\n")).collect();
    if text.is_empty() {
        text.push_str("they are alike\n");
    }
    cx.ui.result("env diff", Some(project.name.as_str()), &differs, &text);
    Ok(())
}

/// The variables of a file, but for those that hostkit sets.
fn owners_variables(cx: &mut Context, args: &ImportArgs) -> Result<Vec<(String, Value)>> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let file = EnvFile::parse(&read(cx, &args.file)?)?;
    let sealed = secrets::is_sealed(cx, &args.name.parse()?)?;
    Ok(file
        .variables()
        .filter(|(key, _)| !ManagedEnv::holds(&project, key) && !sealed.iter().any(|s| s == key))
        .map(|(key, value)| (key.to_owned(), Value::new(value)))
        .collect())
}

fn import(args: &ImportArgs, cx: &mut Context) -> Result<()> {
    let wanted = owners_variables(cx, args)?;
    change(cx, &args.name, "env import", &args.how, &[], |file| {
        wanted.iter().try_for_each(|(key, value)| file.set(key, value.expose()))
    })
}

/// Like an import, but what the file does not name is taken away.
fn sync(args: &SyncArgs, cx: &mut Context) -> Result<()> {
    let wanted = owners_variables(cx, &args.import)?;
    let project = cx.registry()?.project(&args.import.name.parse()?)?;
    let sealed = secrets::is_sealed(cx, &project.name)?;
    let made = project.live.as_ref().map(|live| live.spec.generated.clone()).unwrap_or_default();
    change(cx, &args.import.name, "env sync", &args.import.how, &[], |file| {
        let stays = |key: &str| {
            ManagedEnv::holds(&project, key)
                || made.contains_key(key)
                || sealed.iter().any(|sealed| sealed == key)
                || wanted.iter().any(|(named, _)| named == key)
        };
        let gone: Vec<String> =
            file.variables().map(|(key, _)| key.to_owned()).filter(|key| !stays(key)).collect();
        for key in &gone {
            file.unset(key);
        }
        wanted.iter().try_for_each(|(key, value)| file.set(key, value.expose()))
    })
}

fn set(args: &SetArgs, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let of_release = |key: &str| project.live.as_ref()?.spec.generated.get(key).copied();
    let kind_of = |key: &str| match args.generate {
        Some(Asked::For(kind)) => kind,
        _ => of_release(key).unwrap_or_default(),
    };
    let mut wanted: Vec<(&str, Value)> = Vec::new();
    let mut made: Vec<&str> = Vec::new();
    let mut has_read = false;
    for variable in &args.variables {
        let (key, value) = match variable.split_once('=') {
            Some((key, value)) => (key, Value::new(value)),
            None if args.generate.is_some() => {
                made.push(variable.as_str());
                (variable.as_str(), kind_of(variable).make()?)
            }
            None if has_read => {
                return Err(Error::usage("bad_value", "only one value can come on standard input")
                    .hint("set the others one by one, or by `hostkit env import`"));
            }
            None => {
                has_read = true;
                check_key(variable)?;
                (variable.as_str(), Value::new(read(cx, "-")?.trim_end_matches(['\n', '\r'])))
            }
        };
        check_key(key)?;
        secrets::refuse_sealed(cx, &project.name, key)?;
        refuse_managed(&project, key)?;
        wanted.push((key, value));
    }
    change(cx, &args.name, "env set", &args.how, &made, |file| {
        wanted.iter().try_for_each(|(key, value)| file.set(key, value.expose()))
    })
}

fn refuse_managed(project: &Project, key: &str) -> Result<()> {
    if !ManagedEnv::holds(project, key) {
        return Ok(());
    }
    Err(Error::usage("managed", format!("`{key}` is hostkit's own to set"))
        .caused_by("it names what hostkit made: a port, a database, a password"))
}

fn unset(args: &UnsetArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    args.keys.iter().try_for_each(|key| secrets::refuse_sealed(cx, &name, key))?;
    let project = cx.registry()?.project(&name)?;
    args.keys.iter().try_for_each(|key| refuse_managed(&project, key))?;
    change(cx, &args.name, "env unset", &args.how, &[], |file| {
        let absent = args.keys.iter().find(|key| !file.unset(key));
        absent.map_or(Ok(()), |key| Err(not_set(&name, key)))
    })
}

/// The one way in which an environment changes: journaled, and gated where it restarts.
fn change(
    cx: &mut Context,
    name: &str,
    verb: &'static str,
    how: &How,
    made: &[&str],
    edit: impl FnOnce(&mut EnvFile) -> Result<()>,
) -> Result<()> {
    let name: ProjectName = name.parse()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, verb)?;
    let project = cx.registry()?.living_project(&name)?;
    let before = file_of(cx, &project)?;
    let mut after = before.clone();
    edit(&mut after)?;
    let changed = changed(&before, &after);
    let text = after.to_string();
    if how.dry_run {
        let plan = projects::env_plan(&project, &text);
        show::preview(cx, verb, Some(&name), &differences(&plan, &cx.host)?);
        return Ok(());
    }
    let is_up = cx.host.unit(&name.unit())?.is_active();
    let restarts = how.restart && is_up && !changed.is_empty();
    if !changed.is_empty() {
        let note = format!("{verb}: {}", changed.join(", "));
        let before = take::take(cx, &project, CheckpointKind::Env, Some(&note))?;
        let done = match (&project.live, restarts) {
            (Some(live), true) => restart(cx, &project, live, verb, &text),
            _ => write(cx, &project, verb, &text),
        };
        if done.is_err() {
            take::forget(cx, &name, &before.id)?;
        }
        done?;
        take::prune(cx, &name)?;
    }
    let told = match (changed.len(), restarts, is_up) {
        (0, ..) => "nothing had to change\n".to_owned(),
        (n, true, _) => format!("{} changed, and {name} runs with it\n", count(n, "variable")),
        (n, false, true) => format!(
            "{} changed; {name} takes it up when it restarts: hostkit project restart {name}\n",
            count(n, "variable")
        ),
        (n, false, false) => format!("{} changed\n", count(n, "variable")),
    };
    let values: Vec<(&str, Value)> =
        made.iter().filter_map(|key| Some((*key, Value::new(after.get(key)?)))).collect();
    let secrets = values.iter().map(|(key, value)| Secret { key, value, about: "" });
    let shown = Shown::of(cx, secrets);
    let data = Changed { changed, restarted: restarts, secrets: shown.values() };
    cx.ui.result(verb, Some(name.as_str()), &data, &(told + &shown.text(&name)));
    Ok(())
}

fn changed(before: &EnvFile, after: &EnvFile) -> Vec<String> {
    let mut keys: Vec<String> = after
        .variables()
        .filter(|(key, value)| before.get(key) != Some(*value))
        .map(|(key, _)| key.to_owned())
        .collect();
    keys.extend(
        before.variables().map(|(k, _)| k).filter(|k| after.get(k).is_none()).map(str::to_owned),
    );
    keys
}

fn write(cx: &mut Context, project: &Project, verb: &str, text: &str) -> Result<()> {
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(&project.name), verb, actor: &actor, way: Way::Undo };
    let live = match &project.live {
        Some(live) if switch::is_complete(cx, &project.name, &live.id)? => Some(live),
        _ => None,
    };
    cx.carry_out(&new, None, |_, _| {
        Ok((projects::env_and_release_plan(project, live, text)?, Vec::new()))
    })?;
    Ok(())
}

/// The same release again, with another environment: if it does not come up, the old one holds.
fn restart(
    cx: &mut Context,
    project: &Project,
    live: &crate::registry::Live,
    verb: &'static str,
    text: &str,
) -> Result<()> {
    switch::again(cx, project, live, verb, Some(text), None).map_err(|error| {
        error.hint(format!("{} still runs with the environment that it had", project.name))
    })
}
