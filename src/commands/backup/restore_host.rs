//! `hostkit restore-host`: an empty server becomes the one that was kept.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;

use super::{
    bring::{Chosen, Source},
    repository::{self, KEY, STATE},
    restore,
};
use crate::{
    commands::{Context, alert, init, operator, repair},
    config::{Config, PATH},
    error::{Context as _, Error, Result},
    names::{BackupId, ProjectName},
    plan::{Ground, Plan},
    projects::backup::{HOST, What},
    registry::{Backup, BackupState, Change, NewOperation, Project, Registry, Way},
    sys::{
        Cmd, Owner,
        restic::{Key, Repository},
        signals::{self, Changing},
    },
    ui::{count, elapsed},
};

/// Make an empty server the one that was backed up
///
/// Brings back configuration, certificates, operators and what hostkit knew of its projects, makes
/// each project as it was recorded, and fills it from its newest backup. It can be run again after
/// a failure: what is back already stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit restore-host --repository /mnt/restic --key-file /root/key
  hostkit restore-host --repository sftp:backup@vault:/srv/hostkit --key-file - < key

Next: point the names of your sites to this server.")]
pub struct Args {
    /// The repository: a directory, `sftp:…` or `s3:…`
    #[arg(long, value_name = "PLACE")]
    repository: String,

    /// The file that holds the recovery key; `-` is standard input
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// A backup of the server: the newest unless it is named
    #[arg(long, value_name = "BACKUP")]
    id: Option<String>,
}

#[derive(Serialize)]
struct Back {
    backup: BackupId,
    projects: Vec<Of>,
    /// Without a backup of their own: they are made, and empty.
    empty: Vec<ProjectName>,
    operators: usize,
    milliseconds: u128,
}

#[derive(Serialize)]
struct Of {
    project: ProjectName,
    backup: BackupId,
    milliseconds: u128,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = Instant::now();
    let wanted = args.id.as_deref().map(str::parse::<BackupId>).transpose()?;
    let at = repository::named(cx, &args.repository, args.key_file.as_deref())?;
    let id = restore::newest(cx, &at, HOST, wanted.as_ref())?;
    let record = restore::record(cx, &at, HOST, &id)?;
    let source = Source { at: &at, of: HOST.into(), record: &record };
    let _alone = repository::alone(cx, "restore-host")?;
    signals::outlive_the_terminal();
    let _changing = Changing::begin();
    if cx.host.meta(Path::new(STATE))?.is_none() {
        for dir in ["/var/lib/hostkit", STATE] {
            cx.host.make_dir(Path::new(dir), Owner::ROOT, 0o700)?;
        }
    }
    let old = registry(cx, &source)?;
    check_empty(cx, &old)?;
    super::phase(cx, "settings", |cx| settings(cx, &source).map(|()| ((), String::new())))?;
    adopt_key(cx, &at)?;
    init::prepare(cx)?;
    let people = source.text(cx, What::People)?;
    let operators = super::phase(cx, "operators", |cx| {
        let n = operator::bring_back(cx, &people)?;
        Ok((n, n.to_string()))
    })?;
    let (projects, empty) = projects(cx, &at, &old)?;
    remember(cx, &old)?;
    alert::settle(cx)?;
    let back =
        Back { backup: id, projects, empty, operators, milliseconds: start.elapsed().as_millis() };
    report(cx, &back, start);
    Ok(())
}

fn report(cx: &Context, back: &Back, start: Instant) {
    let mut text = String::new();
    for of in &back.projects {
        text.push_str(&format!(
            "  {:<24} as of {} ({} ms)\n",
            of.project, of.backup, of.milliseconds
        ));
    }
    for name in &back.empty {
        text.push_str(&format!("  {name:<24} empty: it has no backup\n"));
    }
    text.push_str(&format!(
        "this server is the one of {} again: {} and {} in {}\nNext:  hostkit drift  ·  hostkit doctor  ·  hostkit backup setup-timer\n",
        back.backup,
        count(back.projects.len() + back.empty.len(), "project"),
        count(back.operators, "operator"),
        elapsed(start.elapsed())
    ));
    cx.ui.result("restore-host", None, back, &text);
}

/// What hostkit knew, out of the copy that was kept.
struct Old {
    projects: Vec<Project>,
    backups: Vec<Backup>,
    registry: Registry,
}

fn registry(cx: &Context, source: &Source<'_>) -> Result<Old> {
    let part = source.record.part(What::Registry);
    let part = part.ok_or_else(|| Error::failed("the backup holds no registry"))?;
    let path = Path::new(STATE).join("registry.old");
    for suffix in ["", "-wal", "-shm"] {
        cx.host.remove_file(Path::new(&format!("{}{suffix}", path.display())))?;
    }
    source.into_file(cx, part, &path)?;
    let registry = Registry::open(&path)?;
    let mut projects = registry.projects()?;
    projects.retain(|project| !project.deleting);
    let backups = registry.all_backups()?;
    Ok(Old { projects, backups, registry })
}

/// A server with other projects is somebody's.
fn check_empty(cx: &mut Context, old: &Old) -> Result<()> {
    if !Path::new(crate::registry::PATH).exists() {
        return Ok(());
    }
    let is_ours = |project: &Project| {
        old.projects.iter().any(|old| (&old.name, old.uid) == (&project.name, project.uid))
    };
    let others: Vec<String> = cx
        .registry()?
        .projects()?
        .into_iter()
        .filter(|project| !is_ours(project))
        .map(|project| project.name.to_string())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::conflict("not_empty", "this server has projects of its own")
        .caused_by(others.join(", "))
        .hint("bring projects back one by one: `hostkit backup restore NAME --repository …`"))
}

/// The files below `/etc` that were kept, and no other.
fn settings(cx: &mut Context, source: &Source<'_>) -> Result<()> {
    let part = source.record.part(What::Settings);
    let part = part.ok_or_else(|| Error::failed("the backup holds no settings"))?;
    let archive = Path::new(STATE).join("settings.tar");
    source.into_file(cx, part, &archive)?;
    let file = || {
        std::fs::File::open(&archive).context(|| format!("could not read `{}`", archive.display()))
    };
    let tar = |path: &str| -> Result<Cmd> {
        Ok(Cmd::new("/usr/bin/tar")
            .args(["--extract", "--file=-", "--directory=/", "--same-owner", "--same-permissions"])
            .args(["--no-overwrite-dir", "--exclude=etc/hostkit/redis.secret", path])
            .input(file()?))
    };
    cx.host.run(&tar("etc/hostkit")?, "put the settings back")?.success()?;
    // There may have been none.
    let _ = cx.host.run(&tar("etc/letsencrypt")?, "put the certificates back")?;
    cx.host.remove_file(&archive)?;
    if let Some(text) = cx.host.read_text(Path::new(PATH))? {
        cx.config = Config::parse(&text)?;
    }
    Ok(())
}

/// The key opens what this server keeps from now on, too.
fn adopt_key(cx: &Context, at: &Repository) -> Result<()> {
    if cx.host.meta(Path::new(KEY))?.is_some() {
        return Ok(());
    }
    let key = match &at.key {
        Key::Text(key) => key.expose().to_owned(),
        Key::File(path) => cx.host.read_text(path)?.unwrap_or_default(),
    };
    cx.host.write(Path::new(KEY), format!("{}\n", key.trim()).as_bytes(), Owner::ROOT, 0o600)
}

fn projects(cx: &mut Context, at: &Repository, old: &Old) -> Result<(Vec<Of>, Vec<ProjectName>)> {
    let (mut back, mut empty) = (Vec::new(), Vec::new());
    for project in &old.projects {
        let start = Instant::now();
        let name = &project.name;
        cx.ui.note(format!("{name} comes back"));
        record(cx, project)?;
        repair::one(cx, name)?;
        let known = cx.registry()?.living_project(name)?;
        let newest = match restore::newest(cx, at, name.as_str(), None) {
            Ok(id) => id,
            Err(error) if error.code == "no_backup" => {
                empty.push(name.clone());
                continue;
            }
            Err(error) => return Err(error),
        };
        // One that is back from an earlier attempt stays as it is.
        if known.live.is_none() {
            let record = restore::record(cx, at, name.as_str(), &newest)?;
            let source = Source { at, of: name.to_string(), record: &record };
            let held = cx.take_project(name, "restore-host")?;
            source.give_extensions(cx, &known)?;
            let all = Chosen { data: true, files: true, env: true };
            restore::put_back(cx, &source, &known, all)?;
            drop(held);
            repair::one(cx, name)?;
        }
        let milliseconds = start.elapsed().as_millis();
        back.push(Of { project: name.clone(), backup: newest, milliseconds });
    }
    Ok((back, empty))
}

/// The project's rows, with the numbers that it had. What answers for it comes with its backup.
fn record(cx: &mut Context, project: &Project) -> Result<()> {
    let name = &project.name;
    if cx.registry()?.find_project(name)?.is_some() {
        return Ok(());
    }
    let held = cx.take_project(name, "restore-host")?;
    let actor = cx.caller.actor();
    let new =
        NewOperation { project: Some(name), verb: "restore-host", actor: &actor, way: Way::Undo };
    let row = Project { live: None, ..project.clone() };
    cx.carry_out(&new, None, |_, _| {
        Ok((Plan::new(Ground::Known), vec![Change::Add(Box::new(row))]))
    })?;
    drop(held);
    Ok(())
}

/// What is known besides of projects, and which backups there are.
fn remember(cx: &mut Context, old: &Old) -> Result<()> {
    for project in &old.projects {
        let name = &project.name;
        let (limits, paused) = (old.registry.deploy_limits(name)?, old.registry.paused(name)?);
        cx.registry()?.set_deploy_limits(name, limits)?;
        if let Some(why) = paused {
            cx.registry()?.pause(name, Some(&why))?;
        }
        if let Some(source) = old.registry.git_source(name)? {
            cx.registry()?.remember_git(name, &source)?;
        }
    }
    let here = cx.host.meta(&Path::new(repository::PLACE).join("config"))?.is_some();
    for backup in old.backups.iter().rev() {
        let known = cx.registry()?.backups(backup.project.as_ref())?;
        let is_known = known.iter().any(|known| known.id == backup.id);
        if is_known || backup.state != BackupState::Complete {
            continue;
        }
        let is_local = here && backup.is_local;
        if is_local || backup.copied_at.is_some() {
            cx.registry()?.add_backup(&Backup { is_local, ..backup.clone() })?;
        }
    }
    let old = Path::new(STATE).join("registry.old");
    for suffix in ["", "-wal", "-shm"] {
        cx.host.remove_file(Path::new(&format!("{}{suffix}", old.display())))?;
    }
    Ok(())
}
