//! `hostkit init`: makes a bare server ready, and can take all of it back.

use std::path::Path;

use serde::Serialize;

use super::{Context, confirm, db, facts, metrics, show};
use crate::{
    config::{COMMENTED, Config, PATH},
    error::{Error, Kind, Result},
    journal,
    names::Domain,
    plan::{Plan, differences, take_back},
    projects,
    registry::{self, NewOperation, Way},
    secret::Secret,
    sys::{
        Host, Owner, mysql,
        redis::{self, Version},
        signals::Changing,
    },
    ui::{count, elapsed},
};

/// Make the server ready for projects
///
/// Checks the system, then sets up directories, nginx, Redis users, PostgreSQL's access rules,
/// the wall around projects' ports, log rotation and the operators' group. What is in place is
/// not touched; what of yours has to change is kept, and comes back with --undo.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit init
  hostkit init --base-domain apps.example.com
  hostkit init --with-mysql
  hostkit init --dry-run
  hostkit init --undo")]
pub struct Args {
    /// Let projects answer below this domain
    #[arg(long, value_name = "DOMAIN")]
    base_domain: Option<String>,

    /// Install MariaDB, where it is missing, and set it up for projects
    #[arg(long)]
    with_mysql: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Take back all that init has done
    #[arg(long, conflicts_with_all = ["base_domain", "dry_run", "with_mysql"])]
    undo: bool,

    /// Do not ask, also where something else uses Redis without a password, or MariaDB
    #[arg(long, short = 'y')]
    yes: bool,
}

#[derive(Serialize)]
struct Ready {
    system: String,
    changed: usize,
    base_domain: String,
    milliseconds: u128,
}

#[derive(Serialize)]
struct Undone {
    undone: usize,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = std::time::Instant::now();
    let system = facts::check_system(&cx.host)?;
    if args.undo {
        return undo(cx);
    }
    let config_text = with_settings(args, cx)?;
    if args.dry_run {
        if Path::new(registry::PATH).exists() {
            cx.registry()?;
        }
        if args.with_mysql && !mysql::is_installed() {
            cx.ui.note("the package mariadb-server would be installed, and set up");
            cx.config.mysql.enabled = false;
        }
        let plan = plan(cx, config_text.as_deref())?;
        let differences = differences(&plan, &cx.host)?;
        show::preview(cx, "init", None, &differences);
        return Ok(());
    }
    let held = cx.take_host("init")?;
    facts::check_nginx(&cx.host)?;
    check_redis(args, cx)?;
    facts::check_room(cx)?;
    if args.with_mysql {
        db::mysql::install(cx, args.yes)?;
    }
    let plan = plan(cx, config_text.as_deref())?;
    cx.ui.head(format!("{}  →  ready for projects", system.name));
    let is_first = !Path::new(registry::PATH).exists();
    let applied = apply(cx, plan, is_first);
    drop(held);
    let changed = applied?;
    report(cx, system.name, changed, start.elapsed());
    Ok(())
}

fn report(cx: &Context, system: String, changed: usize, took: std::time::Duration) {
    let base = &cx.config.base_domain;
    let mut text = match changed {
        0 => "the server is ready; nothing had to change\n".to_owned(),
        n => format!("\nReady in {}: {} changed\n", elapsed(took), count(n, "thing")),
    };
    if *base == Config::default().base_domain {
        text.push_str("Projects answer as NAME.localhost until you name a domain:  hostkit init --base-domain apps.example.com\n");
    }
    text.push_str("Next:  hostkit provision my-app  ·  hostkit doctor\n");
    if cx.ui.voice.quiet {
        text.clear();
    }
    let data =
        Ready { system, changed, base_domain: base.to_string(), milliseconds: took.as_millis() };
    cx.ui.result("init", None, &data, &text);
}

/// The first init makes the registry before it can write anything down, and takes it away again
/// if it fails.
fn apply(cx: &mut Context, plan: Plan, is_first: bool) -> Result<usize> {
    let _changing = Changing::begin();
    if is_first {
        let made = make_registry(cx);
        if made.is_err() {
            remove_registry(cx)?;
        }
        made?;
    }
    let actor = cx.caller.actor();
    let new = NewOperation { project: None, verb: "init", actor: &actor, way: Way::Undo };
    let applied = cx.carry_out(&new, None, |_, _| Ok((plan, Vec::new())));
    match applied {
        Err(error) if is_first && error.kind != Kind::Stuck => {
            remove_registry(cx)?;
            Err(error)
        }
        other => other,
    }
}

fn make_registry(cx: &mut Context) -> Result<()> {
    cx.host.make_dir(Path::new("/var/lib/hostkit"), Owner::ROOT, 0o700)?;
    cx.make_registry(|_| Ok(()))
}

fn remove_registry(cx: &mut Context) -> Result<()> {
    cx.registry = None;
    cx.host.remove_tree(Path::new("/var/lib/hostkit"))
}

fn plan(cx: &mut Context, config_text: Option<&str>) -> Result<Plan> {
    let dump = match cx.host.nginx_dump()? {
        Ok(dump) => dump,
        Err(broken) => return Err(broken.error()),
    };
    let facts = facts::of_host(cx, &dump)?;
    if let Some(file) = &facts.foreign_default {
        cx.ui.note(format!(
            "`{}` keeps answering for unknown hosts, since it did before",
            file.display()
        ));
    }
    let secret = facts.redis_secret.clone().map_or_else(Secret::generate, Ok)?;
    projects::host_plan(&facts, &cx.config, &cx.templates()?, &secret, config_text)
}

/// The configuration file with what was asked for, if anything was.
fn with_settings(args: &Args, cx: &mut Context) -> Result<Option<String>> {
    let domain = args.base_domain.as_ref().map(|domain| domain.parse::<Domain>()).transpose()?;
    if domain.is_none() && !args.with_mysql {
        return Ok(None);
    }
    let mut text = cx.host.read_text(Path::new(PATH))?.unwrap_or_else(|| COMMENTED.to_owned());
    if let Some(domain) = domain {
        text = super::config::changed(&text, "base_domain", domain.as_str())?;
    }
    if args.with_mysql {
        text = super::config::changed(&text, "mysql.enabled", "true")?;
    }
    cx.config = Config::parse(&text)?;
    Ok(Some(text))
}

/// Refuses a Redis that hostkit can't confine, and asks before it locks somebody out.
fn check_redis(args: &Args, cx: &Context) -> Result<()> {
    let is_ours = cx.host.meta(Path::new(redis::SECRET))?.is_some();
    if is_ours {
        return check_version(cx.host.redis_version()?);
    }
    let conf = cx.host.read_text(Path::new("/etc/redis/redis.conf"))?.unwrap_or_default();
    let sets =
        |key: &str| conf.lines().any(|line| line.trim_start().starts_with(&format!("{key} ")));
    if let Some(key) =
        ["aclfile", "user", "requirepass", "unixsocket"].into_iter().find(|key| sets(key))
    {
        return Err(Error::not_ready("redis_in_use", "Redis is set up for something else already")
            .caused_by(format!("`/etc/redis/redis.conf` sets `{key}`, which hostkit has to set"))
            .hint("take that line out, or move what uses it to an instance of its own (`redis-server@.service`)"));
    }
    let info = redis::info_before_init()?;
    check_version(Version::of(&info))?;
    let keys: u64 = redis::keyspace(&info).values().sum();
    if keys > 0 && !args.yes {
        return ask_about_redis(keys);
    }
    if keys > 0 {
        // The server is about to restart, and may be set up to forget.
        redis::save_before_init()?;
    }
    Ok(())
}

fn check_version(version: Version) -> Result<()> {
    if version >= (Version { major: 7, minor: 0 }) {
        return Ok(());
    }
    Err(Error::not_ready("unsupported", "this Redis can't keep projects apart")
        .caused_by(format!(
            "it is version {}.{}, and users can be confined since 7.0",
            version.major, version.minor
        ))
        .hint("install a newer redis-server"))
}

fn ask_about_redis(keys: u64) -> Result<()> {
    let refused = |_: &str| {
        Error::not_ready("redis_in_use", "something else uses Redis on this server")
            .caused_by(format!(
                "it holds {keys} keys, and who has no password will be locked out (nothing is deleted)"
            ))
            .hint("go on all the same: `hostkit init --yes`")
    };
    let question = format!(
        "Redis holds {keys} keys of something else. hostkit will switch off access without a password. Go on? [y/N]"
    );
    confirm::ask(&question, false, refused)
}

/// Takes back every init, the newest first, then the registry itself.
fn undo(cx: &mut Context) -> Result<()> {
    let held = cx.take_host("init --undo")?;
    let projects = cx.registry()?.projects()?;
    if !projects.is_empty() {
        let names: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
        return Err(Error::conflict(
            "projects_exist",
            "the server has projects, so init can't be undone",
        )
        .caused_by(names.join(", "))
        .hint("delete them first: `hostkit project delete NAME`"));
    }
    let _changing = Changing::begin();
    super::backup::timer::remove(cx)?;
    super::alert::forget(cx)?;
    super::ssl::files::forget(cx)?;
    let mut operations = cx.registry()?.done_operations("init")?;
    operations.extend(cx.registry()?.done_operations("storage setup")?);
    operations.extend(cx.registry()?.standing_operations("metrics setup", "metrics remove")?);
    operations.sort_unstable_by(|one, other| other.cmp(one));
    let mut undone = 0;
    for operation in operations {
        let begun = journal::read(cx.registry()?, operation)?;
        undone += begun.len();
        take_back(&cx.host, &begun)?;
    }
    remove_registry(cx)?;
    drop(held);
    let text = format!("init is undone: {} taken back\n", count(undone, "thing"));
    cx.ui.result("init", None, &Undone { undone }, &text);
    Ok(())
}

/// For `doctor`: what differs from what init made.
pub fn drift(cx: &mut Context) -> Result<Vec<crate::plan::Difference>> {
    let plan = plan(cx, None)?;
    differences(&plan, &cx.host)
}

/// For a server that is about to become another one: all that init makes, and nobody is asked.
pub fn prepare(cx: &mut Context) -> Result<usize> {
    let _held = cx.take_host("init")?;
    facts::check_system(&cx.host)?;
    facts::check_nginx(&cx.host)?;
    facts::check_room(cx)?;
    let args =
        Args { base_domain: None, with_mysql: false, dry_run: false, undo: false, yes: true };
    check_redis(&args, cx)?;
    if cx.config.mysql.enabled {
        db::mysql::install(cx, true)?;
    }
    metrics::bring(cx)?;
    let plan = plan(cx, None)?;
    let is_first = !Path::new(registry::PATH).exists();
    apply(cx, plan, is_first)
}

/// For `doctor --fix`: init once more.
pub fn again(cx: &mut Context) -> Result<usize> {
    let _held = cx.take_host("init")?;
    let plan = plan(cx, None)?;
    apply(cx, plan, false)
}

/// Whether this host was made ready.
pub fn is_ready(host: &Host) -> bool {
    host.meta(Path::new(redis::SECRET)).is_ok_and(|meta| meta.is_some())
}

pub fn check_ready(host: &Host) -> Result<()> {
    if is_ready(host) {
        return Ok(());
    }
    Err(Error::not_ready("not_initialised", "the server is not prepared for hostkit")
        .hint("prepare it: `hostkit init`"))
}
