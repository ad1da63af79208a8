//! `hostkit redis`: what a project keeps in Redis.

use serde::Serialize;

use super::{Context, confirm};
use crate::{
    error::{Error, Result},
    names::ProjectName,
    projects,
    registry::Project,
    sys::{
        Owner,
        redis_keys::{Key, Keys, KeysInfo},
    },
    ui::{Column, Paint, Table, bytes, count, width},
};

/// Look into what a project keeps in Redis, and empty it
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Flush(FlushArgs),
    Info(InfoArgs),
    Keys(KeysArgs),
}

/// Delete all that a project keeps in Redis
///
/// Its own keys and nobody else's: sessions, caches, and jobs that wait in a queue. Redis is in no
/// checkpoint, so nothing brings them back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit redis flush my-shop --confirm my-shop")]
pub struct FlushArgs {
    /// Project whose keys to delete
    pub name: String,

    /// Name the project once more instead of being asked
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

/// Show what a project keeps in Redis: how many keys, and how much memory
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit redis info my-shop")]
pub struct InfoArgs {
    /// Project whose Redis to show
    pub name: String,
}

/// List a project's keys in Redis, their values hidden
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit redis keys my-shop
  hostkit redis keys my-shop --pattern 'session:*' --limit 1000")]
pub struct KeysArgs {
    /// Project whose keys to list
    pub name: String,

    /// Only those that fit, as Redis matches: * ? [abc]
    #[arg(long, short = 'p', value_name = "PATTERN", default_value = "*")]
    pattern: String,

    /// So many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

#[derive(Serialize)]
struct Info {
    /// The number of its database; an instance of its own has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<u32>,
    dedicated: bool,
    #[serde(flatten)]
    info: KeysInfo,
}

#[derive(Serialize)]
struct Listed {
    keys: Vec<Key>,
    /// Whether there may be more.
    more: bool,
}

#[derive(Serialize)]
struct Flushed {
    deleted: u64,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Flush(args) => ("redis flush", Some(&args.name)),
            Self::Info(args) => ("redis info", Some(&args.name)),
            Self::Keys(args) => ("redis keys", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Flush(args) => flush(args, cx),
            Self::Info(args) => info(args, cx),
            Self::Keys(args) => keys(args, cx),
        }
    }
}

pub fn keys_of(project: &Project) -> Result<Keys> {
    let name = &project.name;
    match project.redis {
        Some(number) => Ok(Keys::Shared(number)),
        None if project.own_redis => Ok(Keys::Own {
            socket: projects::redis_socket(name).into(),
            user: Owner::new(project.uid, project.uid),
        }),
        None => Err(Error::missing("no_redis", format!("{name} has no Redis"))
            .caused_by("it was made without one")),
    }
}

fn info(args: &InfoArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    let info = cx.host.keys_info(&keys_of(&project)?).map_err(|e| down(&project, e))?;
    let info = Info { database: project.redis, dedicated: project.own_redis, info };
    let told = |what: &str, value: String| format!("{what:<12} {value}\n");
    let place = info.database.map_or("an instance of its own".into(), |n| format!("database {n}"));
    let Info { info: of, .. } = &info;
    let limit = if of.limit == 0 { "no limit".into() } else { bytes(of.limit) };
    let whose = if info.dedicated { "" } else { " (of all projects)" };
    let mut text = told("redis", format!("{place}, version {}", of.version));
    text += &told("keys", format!("{}, {} with an end", of.keys, of.expiring));
    text += &told("memory", format!("{} of {limit}{whose}", bytes(of.used)));
    text += &told("clients", format!("{}{whose}", of.clients));
    cx.ui.result("redis info", Some(name.as_str()), &info, &text);
    Ok(())
}

/// A Redis of the project's own is its own unit to start.
fn down(project: &Project, error: Error) -> Error {
    if !project.own_redis || error.code != "redis_down" {
        return error;
    }
    let unit = projects::redis_unit(&project.name);
    error.hint(format!("start it: `systemctl start {unit}`, and see `journalctl -u {unit}`"))
}

fn keys(args: &KeysArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    let most = args.limit as usize;
    let found = cx.host.keys_like(&keys_of(&project)?, &args.pattern, most);
    let (keys, more) = found.map_err(|e| down(&project, e))?;
    let mut table = Table::new(vec![
        Column::left("KEY").gives_way_to(20),
        Column::left("TYPE"),
        Column::right("EXPIRES IN"),
        Column::right("SIZE"),
    ]);
    for key in &keys {
        table.row(vec![
            key.name.clone(),
            key.kind.clone(),
            key.expires_in.map_or("-".into(), |n| format!("{n} s")),
            key.bytes.map_or("-".into(), bytes),
        ]);
    }
    let mut text = if keys.is_empty() {
        format!("{name} has no such key\n")
    } else {
        table.render(Paint::of(&std::io::stdout()), width())
    };
    if more {
        text.push_str(&format!("and more: --limit shows more than {most}\n"));
    }
    cx.ui.result("redis keys", Some(name.as_str()), &Listed { keys, more }, &text);
    Ok(())
}

fn flush(args: &FlushArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    let place = keys_of(&project)?;
    let deleted = cx.host.keys_info(&place).map_err(|e| down(&project, e))?.keys;
    agree(args, &name, deleted)?;
    let held = cx.take_project(&name, "redis flush")?;
    let done = cx.host.flush_keys(&place);
    let told = done.as_ref().copied().map_err(|e| Error::failed(e.to_string()));
    cx.record(Some(&name), "redis flush", told)?;
    drop(held);
    done?;
    let text =
        format!("{} of {name} deleted\n", count(usize::try_from(deleted).unwrap_or(0), "key"));
    cx.ui.result("redis flush", Some(name.as_str()), &Flushed { deleted }, &text);
    Ok(())
}

fn agree(args: &FlushArgs, name: &ProjectName, keys: u64) -> Result<()> {
    let lost = format!("{keys} keys would be lost for good: sessions, caches, jobs that wait");
    let refused = |why: &str| {
        Error::usage("not_confirmed", format!("the Redis of {name} was not emptied"))
            .caused_by(format!("{why}; {lost}"))
            .hint(format!("`hostkit redis flush {name} --confirm {name}`"))
    };
    match &args.confirm {
        Some(confirmed) if confirmed == name.as_str() => Ok(()),
        Some(_) => Err(refused("--confirm names another project")),
        None => confirm::answer(
            &format!("This empties the Redis of {name}: {lost}. Type {name}:"),
            |answer| answer == name.as_str(),
            refused,
        ),
    }
}
