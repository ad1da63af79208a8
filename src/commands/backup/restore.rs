//! Brings a backup back: to its project, to a new one, or to a server that knows neither.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use super::{
    Record,
    bring::{self, Brought, Chosen, Source},
    create, fresh, repository,
};
use crate::{
    commands::{
        Context,
        checkpoint::{restore::settle_after, take},
        confirm,
        deploy::{
            stage,
            switch::{self, Move},
        },
        facts, repair,
    },
    error::{Context as _, Error, Kind, Result},
    names::{BackupId, ProjectName},
    projects::{
        self, Comes,
        backup::{RECORD, RECORD_PART, What, named_by, tags},
    },
    registry::{BackupKind, BackupOrigin, Live, NewDeploy, NewOperation, Project, Way},
    sys::{
        restic::Repository,
        signals::{self, Changing},
    },
    ui::elapsed,
};

/// Bring a backup back
///
/// First what is there now is backed up itself. Then all is brought beside it and checked, and put
/// in its place in one operation, which moves requests to the release that was kept once that
/// answers. If anything fails, all stays as it was. A project that this server does not have is made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup restore my-shop
  hostkit backup restore my-shop 20261121-093012 --db --yes
  hostkit backup restore my-shop --to-new my-shop-copy
  hostkit backup restore my-shop --repository /mnt/restic --key-file -")]
pub struct Args {
    /// Project whose backup to bring back
    pub name: String,

    /// The backup: `hostkit backup list` names them; the newest unless it is named
    pub id: Option<String>,

    /// Only databases
    #[arg(long)]
    db: bool,

    /// Only files: `shared/` and the release that was live
    #[arg(long)]
    files: bool,

    /// Only the environment
    #[arg(long)]
    env: bool,

    /// Make a project of this name from it
    #[arg(long, value_name = "NAME")]
    to_new: Option<String>,

    /// Read it in this repository: a directory, `sftp:…` or `s3:…`
    #[arg(long, value_name = "PLACE")]
    repository: Option<String>,

    /// The file that holds the repository's key; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "repository")]
    key_file: Option<PathBuf>,

    /// Do not back up first what is there now
    #[arg(long)]
    no_backup: bool,

    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

#[derive(Serialize)]
struct Done<'a> {
    backup: &'a BackupId,
    of: &'a str,
    restored: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// A backup of what was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<BackupId>,
    created: bool,
    milliseconds: u128,
}

impl Args {
    fn chosen(&self) -> Chosen {
        let all = !self.db && !self.files && !self.env;
        Chosen { data: all || self.db, files: all || self.files, env: all || self.env }
    }
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = std::time::Instant::now();
    let of: ProjectName = args.name.parse()?;
    let wanted = args.id.as_deref().map(str::parse::<BackupId>).transpose()?;
    let to = args.to_new.as_deref().map_or_else(|| Ok(of.clone()), str::parse::<ProjectName>)?;
    let is_there = cx.registry()?.find_project(&to)?.is_some();
    if args.to_new.is_some() && is_there {
        return Err(Error::conflict(
            "project_exists",
            format!("there is a project `{to}` already"),
        )
        .hint("choose another name"));
    }
    let named = args.repository.as_deref();
    let named = named.map(|at| repository::named(cx, at, args.key_file.as_deref())).transpose()?;
    if is_there {
        ask(args, &of)?;
    }
    let verb = format!("backup restore {of}");
    // Who reads elsewhere and keeps nothing needs no repository here.
    let is_elsewhere = named.is_some() && (!is_there || args.no_backup);
    let (open, _alone) = if is_elsewhere {
        (None, Some(repository::alone(cx, &verb)?))
    } else {
        (Some(repository::open(cx, &verb)?), None)
    };
    let (at, wanted) = match named {
        Some(named) => (named, wanted),
        None => whereabouts(cx, &of, wanted)?,
    };
    let id = newest(cx, &at, of.as_str(), wanted.as_ref())?;
    let record = record(cx, &at, of.as_str(), &id)?;
    let source = Source { at: &at, of: of.to_string(), record: &record };
    check_holds(args, &record)?;
    signals::outlive_the_terminal();
    let done = if is_there {
        let first = open.as_ref().filter(|_| !args.no_backup);
        let first = first.map(|open| (&open.repository, kind_of(args.chosen())));
        in_place(cx, first, &source, &to, args.chosen())
    } else {
        fresh::make(cx, &source, &to).map(|outcome| (outcome, None))
    };
    drop(open);
    let (Outcome { names, live }, before) = done?;
    let data = Done {
        backup: &id,
        of: of.as_str(),
        restored: names.clone(),
        release: live.map(|live| live.id.to_string()),
        before: before.clone(),
        created: !is_there,
        milliseconds: start.elapsed().as_millis(),
    };
    let was = before.map_or(String::new(), |id| format!("; what was there before is {id}"));
    let text = format!(
        "{to} is back as of {id}: {} ({}){was}\nNext:  hostkit status {to}  ·  hostkit drift {to}\n",
        names.join(", "),
        elapsed(start.elapsed())
    );
    cx.ui.result("backup restore", Some(to.as_str()), &data, &text);
    Ok(())
}

fn ask(args: &Args, name: &ProjectName) -> Result<()> {
    let id = args.id.as_deref().unwrap_or("its newest backup");
    let chosen = args.chosen();
    let mut what = Vec::new();
    for (is, word) in
        [(chosen.data, "databases"), (chosen.files, "files"), (chosen.env, "environment")]
    {
        if is {
            what.push(word);
        }
    }
    let question = format!(
        "This puts {} of {name} back to {}. Go on? [y/N]",
        what.join(", "),
        id.escape_debug()
    );
    confirm::ask(&question, args.yes, |why| {
        Error::usage("not_confirmed", format!("{name} was not put back"))
            .caused_by(why)
            .hint(format!("answer `y`, or: `hostkit backup restore {name} … --yes`"))
    })
}

fn kind_of(chosen: Chosen) -> BackupKind {
    match (chosen.data, chosen.files, chosen.env) {
        (true, false, false) => BackupKind::Db,
        (false, true, false) => BackupKind::Files,
        (false, false, true) => BackupKind::Credentials,
        _ => BackupKind::Full,
    }
}

fn check_holds(args: &Args, record: &Record) -> Result<()> {
    let lacks = |what: &str| {
        Err(Error::usage("not_in_it", format!("{} holds no {what}", record.id))
            .caused_by(format!("it is of the type {}", record.kind.as_str())))
    };
    let databases = [What::Database, What::Mysql, What::Redis];
    if args.db && databases.into_iter().all(|what| record.part(what).is_none()) {
        return lacks("database");
    }
    if args.files && record.part(What::Files).is_none() {
        return lacks("files");
    }
    if args.env && record.part(What::Environment).is_none() {
        return lacks("environment");
    }
    Ok(())
}

/// Where the registry says that it is; here where it says nothing. Which one is the newest is for
/// the registry to say, too: it knows the order, and a repository but the times of a clock.
fn whereabouts(
    cx: &mut Context,
    of: &ProjectName,
    wanted: Option<BackupId>,
) -> Result<(Repository, Option<BackupId>)> {
    match super::find(cx, Some(of), wanted.as_ref().map(BackupId::as_str)) {
        Ok(backup) => Ok((super::whereabouts(cx, &backup)?, Some(backup.id))),
        Err(error) if error.code == "no_backup" => Ok((repository::here(), wanted)),
        Err(error) => Err(error),
    }
}

/// The backup of that name in a repository, or the newest: one that has its record.
pub fn newest(
    cx: &Context,
    at: &Repository,
    of: &str,
    wanted: Option<&BackupId>,
) -> Result<BackupId> {
    let of_project = [format!("project={of}"), format!("part={RECORD_PART}")];
    let mut kept = cx.host.snapshots(at, &of_project)?;
    kept.sort_by(|one, other| one.time.cmp(&other.time));
    let ids: Vec<BackupId> =
        kept.iter().filter_map(|snapshot| Some(named_by(&snapshot.tags)?.1)).collect();
    let found = match wanted {
        Some(id) => ids.into_iter().find(|known| known == id),
        None => ids.into_iter().next_back(),
    };
    found.ok_or_else(|| {
        let what = wanted.map_or("no backup".into(), |id| format!("no backup {id}"));
        Error::missing("no_backup", format!("there is {what} of {of} in `{}`", at.place))
            .hint(format!("see `hostkit backup list {of}`"))
    })
}

pub fn record(cx: &Context, at: &Repository, of: &str, id: &BackupId) -> Result<Record> {
    let mut text = Vec::new();
    cx.host.read_stream(at, &tags(of, id, RECORD_PART), RECORD, |from| {
        std::io::Read::read_to_end(&mut std::io::Read::take(from, 16 << 20), &mut text)
            .context(|| "could not read the record".into())
    })?;
    Record::read(&text, of, id)
}

pub struct Outcome {
    pub names: Vec<&'static str>,
    pub live: Option<Live>,
}

fn in_place(
    cx: &mut Context,
    first: Option<(&Repository, BackupKind)>,
    source: &Source<'_>,
    name: &ProjectName,
    chosen: Chosen,
) -> Result<(Outcome, Option<BackupId>)> {
    let before = match first {
        Some((here, kind)) => {
            let made = create::make(cx, here, name, kind, BackupOrigin::PreRestore);
            let made = made.map_err(|error| {
                let error = Error {
                    message: format!("{name} was not put back: {}", error.message),
                    ..error
                };
                error.hint("mend that, or go without a backup of what is there now: `--no-backup`")
            })?;
            Some(made.id)
        }
        None => None,
    };
    if chosen.env {
        let held = cx.take_project(name, "backup restore")?;
        let project = cx.registry()?.living_project(name)?;
        let lacked = source.lend(cx, &project)?;
        drop(held);
        if lacked {
            repair::one(cx, name)?;
        }
    }
    let held = cx.take_project(name, "backup restore")?;
    let project = cx.registry()?.living_project(name)?;
    let outcome = put_back(cx, source, &project, chosen)?;
    drop(held);
    if outcome.names.iter().any(|name| matches!(*name, "environment" | "secrets")) {
        // Secrets that are files, and services that go by another password than the environment.
        let changed = repair::one(cx, name)?;
        if changed > 0 && outcome.names.contains(&"secrets") {
            restart_readers(cx, name)?;
        }
    }
    Ok((outcome, before))
}

/// Processes read secrets that are files as they start: those that have others now start again,
/// and the old ones go on until the new ones answer.
fn restart_readers(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let _held = cx.take_project(name, "backup restore")?;
    let project = cx.registry()?.living_project(name)?;
    let is_up = cx.host.unit(&name.unit())?.is_active();
    let reads = |live: &Live| is_up && !live.spec.secret_files.is_empty();
    let Some(live) = project.live.clone().filter(reads) else { return Ok(()) };
    switch::again(cx, &project, &live, "backup restore", None, None).map_err(|error| {
        error.hint(format!(
            "all of it is back, and {name} still runs with the secrets that it had: `hostkit project restart {name}`"
        ))
    })
}

/// Puts what was chosen back in a project. Whoever calls holds it.
pub fn put_back(
    cx: &mut Context,
    source: &Source<'_>,
    project: &Project,
    chosen: Chosen,
) -> Result<Outcome> {
    let name = &project.name;
    stage::check_user(project)?;
    facts::check_room(cx)?;
    let _changing = Changing::begin();
    let holds = |what: What| source.record.part(what).is_some();
    let has_database = chosen.data
        && (project.postgres && holds(What::Database) || project.mysql && holds(What::Mysql));
    let before = if has_database {
        take::settle(cx, project)?;
        Some(take::announce(cx, project)?)
    } else {
        None
    };
    let done = source
        .bring(cx, project, chosen, before.as_ref().map(|before| &before.id))
        .and_then(|brought| carry_out(cx, project, brought));
    // An undo that is still to come needs what was brought, and what was there before.
    let is_stuck = done.as_ref().is_err_and(|error| error.kind == Kind::Stuck);
    let swept = if is_stuck {
        Ok(())
    } else {
        bring::sweep(cx, name).and_then(|()| stage::sweep(cx, name))
    };
    if let (Err(error), Some(before)) = (&done, &before) {
        take::forget_failed(cx, name, &before.id, error)?;
    }
    let noted = |cx: &mut Context, error: &Error| {
        let _ = cx.record(Some(name), "backup restore", Err(Error::failed(error.to_string())));
    };
    let mut outcome = done.inspect_err(|error| noted(cx, error))?;
    swept?;
    if has_database {
        settle_after(cx, project)?;
        take::prune(cx, name)?;
    }
    let more = source.bring_after(cx, project, chosen).inspect_err(|error| noted(cx, error));
    outcome.names.extend(more.map_err(|error| {
        let is_back = outcome.names.join(", ");
        error.hint(format!("back by now: {is_back}; mend that and run the same command again"))
    })?);
    Ok(outcome)
}

/// All in one operation. With files comes the release that was live then, by the road of a deploy.
fn carry_out(cx: &mut Context, project: &Project, brought: Brought) -> Result<Outcome> {
    let name = &project.name;
    let Brought { steps, env, live, names } = brought;
    let restarts = names.contains(&"files");
    let live = live.or_else(|| project.live.clone()).filter(|_| restarts);
    let actor = cx.caller.actor();
    let Some(live) = live else {
        let new = NewOperation {
            project: Some(name),
            verb: "backup restore",
            actor: &actor,
            way: Way::Undo,
        };
        cx.carry_out(&new, None, |_, _| {
            Ok((projects::data_plan(project, Some(Comes::Back(steps)), env.as_deref()), Vec::new()))
        })?;
        return Ok(Outcome { names, live: None });
    };
    let mut from = project.clone();
    if let Some(old) = &project.live
        && !switch::is_complete(cx, name, &old.id)?
    {
        // Nothing can stand in for a release that is no longer there.
        from.live = None;
    }
    let project = &from;
    let previous = project.live.as_ref().map(|live| live.id.clone());
    let deploy = cx.registry()?.begin_deploy(&NewDeploy {
        project: name,
        verb: "restore",
        release: &live.id,
        previous: previous.as_ref(),
        source: "a backup",
        revision: None,
        actor: &actor,
    })?;
    let to = Move {
        project,
        live: live.clone(),
        verb: "backup restore",
        deploy,
        phases: BTreeMap::new(),
        env: env.as_deref(),
        secrets: None,
        data: Some(Comes::Back(steps)),
    };
    if let Err(error) = switch::carry_out(cx, to, 0) {
        cx.registry()?.fail_deploy(deploy, &error.to_string(), &BTreeMap::new())?;
        return Err(error);
    }
    Ok(Outcome { names, live: Some(live) })
}
