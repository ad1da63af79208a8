//! Puts a project's database, and its environment if asked for, back to a checkpoint.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{find, take};
use crate::{
    commands::{Context, confirm, db::mysql, secrets},
    envfile::EnvFile,
    error::{Error, Result},
    names::{CheckpointId, ProjectName},
    projects::{self, Comes, ManagedEnv},
    registry::{Checkpoint, NewOperation, Project, Way},
    steps::{AnyStep, MysqlRestored, Restored},
    ui::{ago, bytes},
};

/// Put a project's database back to a checkpoint
///
/// The dump is read into a new database, which takes the place of the present one when it is
/// whole: connections end, and the present one becomes a checkpoint with its last row. If
/// anything fails, the present one stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit checkpoint restore my-shop 20261121-093012
  hostkit checkpoint restore my-shop 20261121-093012 --env --yes")]
pub struct Args {
    /// Project whose state to put back
    pub name: String,

    /// The checkpoint: `hostkit checkpoint list` names them
    id: String,

    /// Put the environment back, too
    #[arg(long)]
    env: bool,

    /// Put back the environment alone
    #[arg(long, conflicts_with = "env")]
    env_only: bool,

    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

#[derive(Serialize)]
struct Done<'a> {
    checkpoint: &'a CheckpointId,
    /// The state that was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a CheckpointId>,
    database: bool,
    env: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let id = args.id.parse::<CheckpointId>()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, "checkpoint restore")?;
    let project = cx.registry()?.living_project(&name)?;
    let checkpoint = find(cx, &name, &id)?;
    let with_env = args.env || args.env_only;
    let with_database = checkpoint.bytes().is_some() && !args.env_only;
    if !with_database && !with_env {
        return Err(Error::usage("no_dump", format!("{id} holds no database"))
            .hint("to put its environment back: `--env`"));
    }
    confirm::ask(&question(&project, &checkpoint, with_database), args.yes, |why| {
        refused(&name, why, &format!("hostkit checkpoint restore {name} {id} --yes"))
    })?;
    let env = with_env.then(|| env_of(cx, &name, &id)).transpose()?;
    let env = env.map(|env| secrets::as_today(cx, &name, &env)).transpose()?;
    let dumps = if with_database { Dumps::of(&name, &checkpoint) } else { Dumps::default() };
    let settled = put_back(cx, &project, "checkpoint restore", dumps, env.as_deref())?;
    let data =
        Done { checkpoint: &id, before: Some(&settled.id), database: with_database, env: with_env };
    let text = format!(
        "{name} is back at {id}; what was there before is {}\n{}",
        settled.id,
        if with_env { format!("Next:  hostkit project restart {name}\n") } else { String::new() }
    );
    cx.ui.result("checkpoint restore", Some(name.as_str()), &data, &text);
    Ok(())
}

/// What a project's databases are put back to.
#[derive(Default)]
pub struct Dumps {
    pub postgres: Option<PathBuf>,
    pub mysql: Option<PathBuf>,
}

impl Dumps {
    /// Those of a checkpoint.
    pub fn of(name: &ProjectName, checkpoint: &Checkpoint) -> Self {
        Self {
            postgres: checkpoint.dump.map(|_| take::dump_path(name, &checkpoint.id)),
            mysql: checkpoint.mysql.map(|_| take::mysql_path(name, &checkpoint.id)),
        }
    }

    /// The changes of the databases alone, which fail before they begin where there is no room.
    pub fn steps(
        self,
        cx: &Context,
        project: &Project,
        before: &CheckpointId,
    ) -> Result<Vec<AnyStep>> {
        let mut steps = Vec::new();
        if let Some(dump) = self.postgres {
            steps.push(from_dump(cx, project, dump, before)?.into());
        }
        if let Some(dump) = self.mysql {
            steps.push(from_mysql(cx, project, dump, before)?.into());
        }
        Ok(steps)
    }
}

/// Reads a dump into a new database that takes the place of the present one, which becomes a
/// checkpoint: the way in which any of them comes back. An environment goes back with it.
pub fn put_back(
    cx: &mut Context,
    project: &Project,
    verb: &'static str,
    dumps: Dumps,
    env: Option<&str>,
) -> Result<Checkpoint> {
    let name = &project.name;
    take::settle(cx, project)?;
    let before = take::announce(cx, project)?;
    let restored = dumps.steps(cx, project, &before.id);
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(name), verb, actor: &actor, way: Way::Undo };
    let done = restored.and_then(|restored| {
        cx.carry_out(&new, None, |_, _| {
            let comes = (!restored.is_empty()).then_some(Comes::Back(restored));
            Ok((projects::data_plan(project, comes, env), Vec::new()))
        })
    });
    if let Err(error) = done {
        take::forget_failed(cx, name, &before.id, &error)?;
        return Err(error);
    }
    let settled = settle_after(cx, project)?.unwrap_or(before);
    take::prune(cx, name)?;
    Ok(settled)
}

/// After a restoration that held: if this fails, only the tidying up is left.
pub fn settle_after(cx: &mut Context, project: &Project) -> Result<Option<Checkpoint>> {
    take::settle(cx, project).map_err(|error| {
        let kept = crate::steps::aside(&project.name.database());
        error.hint(format!(
            "the restoration itself is done; what was there before is the database `{kept}`, and `hostkit recover` makes a checkpoint of it"
        ))
    })
}

/// What will be restored, in a person's words.
pub fn told(checkpoint: &Checkpoint) -> String {
    let size = checkpoint.bytes().map_or("no database".into(), bytes);
    let at = checkpoint.made_at.strftime("%-d %b %Y, %H:%M UTC");
    format!("{at} ({}, {size})", ago(checkpoint.made_at))
}

fn question(project: &Project, checkpoint: &Checkpoint, with_database: bool) -> String {
    let what = if with_database { "database" } else { "environment" };
    format!(
        "This puts the {what} of {} back to {}. What is there now becomes a checkpoint. Go on? [y/N]",
        project.name,
        told(checkpoint)
    )
}

pub fn refused(name: &ProjectName, why: &str, again: &str) -> Error {
    Error::usage("not_confirmed", format!("{name} was not put back"))
        .caused_by(why)
        .hint(format!("answer `y`, or: `{again}`"))
}

fn check_dump(cx: &Context, dump: &Path) -> Result<()> {
    if cx.host.meta(dump)?.is_none() {
        return Err(Error::missing("no_dump", "the dump is gone")
            .caused_by(format!("there is no `{}`", dump.display())));
    }
    Ok(())
}

fn from_mysql(
    cx: &Context,
    project: &Project,
    dump: PathBuf,
    before: &CheckpointId,
) -> Result<MysqlRestored> {
    let name = &project.name;
    if !project.mysql {
        return Err(Error::conflict("no_database", format!("{name} has no database in MariaDB"))
            .hint(format!("make one first: `hostkit db create {name} --mysql`")));
    }
    check_dump(cx, &dump)?;
    mysql::entry(cx, project)?;
    take::check_mysql_room(cx, name, 2)?;
    let kept = take::mysql_path(name, before);
    Ok(projects::mysql_restored(project, dump, kept, before))
}

fn from_dump(
    cx: &Context,
    project: &Project,
    dump: PathBuf,
    before: &CheckpointId,
) -> Result<Restored> {
    let name = &project.name;
    if !project.postgres {
        return Err(Error::conflict("no_database", format!("{name} has no database"))
            .hint(format!("make one first: `hostkit db create {name}`")));
    }
    check_dump(cx, &dump)?;
    take::check_room(cx, &name.database(), 2)?;
    restored(cx, project, dump, before)
}

/// The database as a dump has it: filled by the project's own login.
pub fn restored(
    cx: &Context,
    project: &Project,
    dump: PathBuf,
    before: &CheckpointId,
) -> Result<Restored> {
    let name = &project.name;
    let login = take::login(cx, project)?;
    Ok(Restored {
        database: name.database(),
        role: name.role(),
        login: login.role,
        comment: format!("hostkit project {name}"),
        dump,
        before: before.clone(),
        user: login.user,
        password: Some(login.password),
    })
}

/// The environment of a checkpoint, with what hostkit sets as it is today.
pub fn env_of(cx: &Context, name: &ProjectName, id: &CheckpointId) -> Result<String> {
    let read =
        |path: std::path::PathBuf| EnvFile::parse(&cx.host.read_text(&path)?.unwrap_or_default());
    let now = read(name.env_file())?;
    let mut then = read(take::env_path(name, id))?;
    let bucket = name.bucket();
    let keys: Vec<&str> =
        ManagedEnv::keys_in(&now, &bucket).chain(ManagedEnv::keys_in(&then, &bucket)).collect();
    for key in keys {
        match now.get(key) {
            Some(value) => then.set(key, value)?,
            None => drop(then.unset(key)),
        }
    }
    Ok(then.to_string())
}
