//! Takes checkpoints, and takes away those that nobody will go back to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    commands::{Context, db::mysql},
    error::{Error, Kind, Result},
    names::{CheckpointId, ProjectName},
    registry::{Checkpoint, CheckpointKind, Project},
    steps::{aside, mysql_aside, mysql_next, waits_for},
    sys::{Owner, databases::Login},
};

pub const ROOT: &str = "/var/lib/hostkit/checkpoints";

/// So many stay of a kind; of those that end a release, one for each release that stays.
const KEPT_ENV: usize = 50;
const KEPT_OTHERS: usize = 7;

/// How long one stays that nothing needs. The newest of its kind stays all the same.
pub fn days_of(kind: CheckpointKind) -> Option<i64> {
    match kind {
        CheckpointKind::Auto => Some(7),
        CheckpointKind::PreRestore => Some(30),
        _ => None,
    }
}

pub fn env_path(name: &ProjectName, id: &CheckpointId) -> PathBuf {
    Path::new(ROOT).join(name.as_str()).join(format!("{id}.env"))
}

pub fn dump_path(name: &ProjectName, id: &CheckpointId) -> PathBuf {
    Path::new(ROOT).join(name.as_str()).join(format!("{id}.dump"))
}

/// That of the database in MariaDB.
pub fn mysql_path(name: &ProjectName, id: &CheckpointId) -> PathBuf {
    env_path(name, id).with_extension("mysql")
}

/// Where a dump lies that comes from elsewhere, until it is read.
pub fn incoming_path(name: &ProjectName) -> PathBuf {
    Path::new(ROOT).join(format!("{name}.incoming"))
}

fn new_path(name: &ProjectName, id: &CheckpointId) -> PathBuf {
    env_path(name, id).with_extension("new")
}

fn part_path(name: &ProjectName, id: &CheckpointId) -> PathBuf {
    dump_path(name, id).with_extension("part")
}

/// Keeps the environment, and the database unless the kind is of the environment alone.
pub fn take(
    cx: &mut Context,
    project: &Project,
    kind: CheckpointKind,
    note: Option<&str>,
) -> Result<Checkpoint> {
    let mut new = begin(cx, project, kind, note)?;
    if kind != CheckpointKind::Env {
        fill(cx, project, &mut new)?;
    }
    record(cx, &project.name, &new)?;
    Ok(new)
}

/// The row and the environment of a checkpoint whose dump comes later, by [`settle`].
pub fn announce(cx: &mut Context, project: &Project) -> Result<Checkpoint> {
    let new = begin(cx, project, CheckpointKind::PreRestore, None)?;
    record(cx, &project.name, &new)?;
    Ok(new)
}

/// A checkpoint that holds the environment, and that nobody knows of yet: what comes to nothing
/// is swept away by the next one.
pub fn begin(
    cx: &mut Context,
    project: &Project,
    kind: CheckpointKind,
    note: Option<&str>,
) -> Result<Checkpoint> {
    sweep(cx, &project.name)?;
    let new = Checkpoint {
        id: cx.registry()?.next_checkpoint(&project.name)?,
        kind,
        release: project.live.as_ref().map(|live| live.id.clone()),
        dump: None,
        mysql: None,
        note: note.map(str::to_owned),
        actor: cx.caller.actor(),
        made_at: Timestamp::now(),
    };
    keep_env(cx, &project.name, &new.id)?;
    Ok(new)
}

/// Adds the database, where the project has one.
pub fn fill(cx: &Context, project: &Project, new: &mut Checkpoint) -> Result<()> {
    if project.postgres {
        let dumped = dump(cx, project, &new.id, &project.name.database());
        if dumped.is_err() {
            remove_files(cx, &project.name, &new.id)?;
        }
        new.dump = Some(dumped?);
    }
    if project.mysql {
        let dumped = dump_mysql(cx, project, &new.id);
        if dumped.is_err() {
            remove_files(cx, &project.name, &new.id)?;
        }
        new.mysql = Some(dumped?);
    }
    Ok(())
}

/// From here on it is whole, whatever becomes of the registry.
pub fn record(cx: &mut Context, name: &ProjectName, new: &Checkpoint) -> Result<()> {
    cx.host.rename(&new_path(name, &new.id), &env_path(name, &new.id))?;
    cx.registry()?.add_checkpoint(name, new)
}

fn keep_env(cx: &Context, name: &ProjectName, id: &CheckpointId) -> Result<()> {
    let dir = Path::new(ROOT).join(name.as_str());
    if cx.host.meta(&dir)?.is_none() {
        cx.host.make_dir(&dir, Owner::ROOT, 0o700)?;
    }
    let env = cx.host.read(&name.env_file())?.unwrap_or_default();
    cx.host.write(&new_path(name, id), &env, Owner::ROOT, 0o600)
}

fn dump(cx: &Context, project: &Project, id: &CheckpointId, database: &str) -> Result<u64> {
    check_room(cx, database, 1)?;
    let login = login(cx, project)?;
    // Under its name it is whole, whoever finds it.
    let (whole, part) = (dump_path(&project.name, id), part_path(&project.name, id));
    cx.host.remove_file(&part)?;
    let bytes = cx.host.dump_database(database, &login, &part).map_err(|error| {
        let what = format!("could not take a checkpoint of the database `{database}`");
        Error { message: what, ..error }.coded("no_checkpoint")
    })?;
    cx.host.rename(&part, &whole)?;
    Ok(bytes)
}

fn dump_mysql(cx: &Context, project: &Project, id: &CheckpointId) -> Result<u64> {
    check_mysql_room(cx, &project.name, 1)?;
    let entry = mysql::entry(cx, project)?;
    let whole = mysql_path(&project.name, id);
    let part = whole.with_extension("part");
    cx.host.remove_file(&part)?;
    let bytes = cx.host.dump_mysql(&project.name.database(), &entry, &part).map_err(|error| {
        let what = format!("could not take a checkpoint of the database of {}", project.name);
        Error { message: what, ..error }.coded("no_checkpoint")
    })?;
    cx.host.rename(&part, &whole)?;
    Ok(bytes)
}

/// As [`check_room`], of a database in MariaDB.
pub fn check_mysql_room(cx: &Context, name: &ProjectName, copies: u64) -> Result<()> {
    let size = cx.host.mysql_size(&name.database())?;
    let wanted = size.saturating_mul(copies).saturating_add(cx.config.disk.reserve.0);
    let what = format!("the database `{}` takes {}", name.database(), crate::ui::bytes(size));
    for dir in [ROOT, "/var/lib/mysql"] {
        check_space(cx, Path::new(dir), wanted, &what)?;
    }
    Ok(())
}

/// As the project's own role, by the password in its `.env`.
pub fn login(cx: &Context, project: &Project) -> Result<Login> {
    let text = cx.host.read_text(&project.name.env_file())?.unwrap_or_default();
    let found = crate::projects::database_login(&project.name, &text);
    let (role, password) = found.ok_or_else(|| {
        Error::failed("could not open the database")
            .caused_by(format!(
                "`{}` has no password for it in DATABASE_URL",
                project.name.env_file().display()
            ))
            .hint(format!("make it right: `hostkit repair {}`", project.name))
    })?;
    let user = Owner::new(project.uid, project.uid);
    Ok(Login { role, owner: project.name.role(), password, user })
}

/// Fails unless there is room for so many copies of a database beside the reserve.
pub fn check_room(cx: &Context, database: &str, copies: u64) -> Result<()> {
    let size = cx.host.database_size(database)?.unwrap_or(0);
    let wanted = size.saturating_mul(copies).saturating_add(cx.config.disk.reserve.0);
    let what = format!("the database `{database}` takes {}", crate::ui::bytes(size));
    for dir in [ROOT, "/var/lib/postgresql"] {
        check_space(cx, Path::new(dir), wanted, &what)?;
    }
    Ok(())
}

/// Fails unless so much is free there, and the reserve in any case.
pub fn check_space(cx: &Context, dir: &Path, wanted: u64, what: &str) -> Result<()> {
    let reserve = cx.config.disk.reserve;
    let Some((free, _)) = cx.host.free_space(dir)? else { return Ok(()) };
    if free >= wanted.max(reserve.0) {
        return Ok(());
    }
    let message = format!("the file system of `{}` has too little room", dir.display());
    Err(Error::not_ready("disk_full", message)
        .caused_by(format!(
            "{what}, {} are free, and {reserve} stay so (`disk.reserve`)",
            crate::ui::bytes(free)
        ))
        .hint("make room: `df -h`, `hostkit checkpoint list`"))
}

/// Makes a checkpoint of what a restoration has put aside, and lets go of it.
pub fn settle(cx: &mut Context, project: &Project) -> Result<Option<Checkpoint>> {
    settle_mysql(cx, project)?;
    let name = &project.name;
    let aside = aside(&name.database());
    let Some(waiting) = project.postgres.then(|| cx.host.database(&aside)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    let is_meant = |checkpoint: &Checkpoint| {
        waiting.comment.as_deref() == Some(waits_for(&checkpoint.id).as_str())
    };
    let announced = cx.registry()?.checkpoints(name)?.into_iter().find(is_meant);
    let mut checkpoint = match announced {
        Some(checkpoint) => checkpoint,
        // The registry that knew of it is gone.
        None => announce(cx, project)?,
    };
    if checkpoint.dump.is_none() {
        cx.host.name_database(&aside, &waits_for(&checkpoint.id))?;
        let bytes = dump(cx, project, &checkpoint.id, &aside)?;
        cx.registry()?.add_dump(name, &checkpoint.id, bytes)?;
        checkpoint.dump = Some(bytes);
    }
    cx.host.drop_database(&aside)?;
    Ok(Some(checkpoint))
}

/// Lets go of what a restoration in MariaDB has put aside: a dump of it was kept before.
fn settle_mysql(cx: &mut Context, project: &Project) -> Result<()> {
    let name = &project.name;
    if !project.mysql {
        return Ok(());
    }
    for checkpoint in cx.registry()?.checkpoints(name)? {
        let kept = mysql_path(name, &checkpoint.id);
        if checkpoint.mysql.is_none() && cx.host.meta(&kept)?.is_some() {
            let bytes = std::fs::metadata(&kept).map_or(0, |meta| meta.len());
            cx.registry()?.add_mysql_dump(name, &checkpoint.id, bytes)?;
        }
        cx.host.remove_file(&kept.with_extension("programs"))?;
    }
    for beside in [mysql_aside(&name.database()), mysql_next(&name.database())] {
        cx.host.end_mysql_filler(&beside)?;
        cx.host.drop_mysql_database(&beside)?;
    }
    Ok(())
}

/// Takes away those that have outlived their use. What a person took stays.
pub fn prune(cx: &mut Context, name: &ProjectName) -> Result<Vec<CheckpointId>> {
    // Of a restoration that did not live to end.
    cx.host.remove_file(&incoming_path(name))?;
    let releases: Vec<_> =
        cx.registry()?.releases(name)?.into_iter().map(|release| release.id).collect();
    let (mut ended, mut env) = (Vec::new(), 0);
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    let mut gone = Vec::new();
    for checkpoint in cx.registry()?.checkpoints(name)? {
        let stays = match checkpoint.kind {
            CheckpointKind::Manual => true,
            CheckpointKind::Env => {
                env += 1;
                env <= KEPT_ENV
            }
            CheckpointKind::PreDeploy | CheckpointKind::PreMigration => {
                let is_first = !ended.contains(&checkpoint.release);
                ended.push(checkpoint.release.clone());
                is_first && checkpoint.release.is_some_and(|id| releases.contains(&id))
            }
            CheckpointKind::Auto | CheckpointKind::PreRestore => {
                let newer = others.entry(checkpoint.kind.as_str()).or_default();
                *newer += 1;
                *newer == 1 || *newer <= KEPT_OTHERS && !is_over(&checkpoint)
            }
        };
        if !stays {
            forget(cx, name, &checkpoint.id)?;
            gone.push(checkpoint.id);
        }
    }
    Ok(gone)
}

fn is_over(checkpoint: &Checkpoint) -> bool {
    let age = Timestamp::now().duration_since(checkpoint.made_at);
    days_of(checkpoint.kind).is_some_and(|days| age > SignedDuration::from_hours(24 * days))
}

/// The row first: a checkpoint that is listed is whole.
pub fn forget(cx: &mut Context, name: &ProjectName, id: &CheckpointId) -> Result<()> {
    cx.registry()?.forget_checkpoint(name, id)?;
    remove_files(cx, name, id)
}

/// Forgets one that was announced for what has failed, unless its files are what an undo needs that
/// is still to come.
pub fn forget_failed(
    cx: &mut Context,
    name: &ProjectName,
    id: &CheckpointId,
    error: &Error,
) -> Result<()> {
    if error.kind == Kind::Stuck { Ok(()) } else { forget(cx, name, id) }
}

fn remove_files(cx: &Context, name: &ProjectName, id: &CheckpointId) -> Result<()> {
    cx.host.remove_file(&dump_path(name, id))?;
    cx.host.remove_file(&mysql_path(name, id))?;
    cx.host.remove_file(&env_path(name, id).with_extension("programs"))?;
    cx.host.remove_file(&part_path(name, id))?;
    cx.host.remove_file(&new_path(name, id))?;
    cx.host.remove_file(&env_path(name, id))
}

/// What somebody who was stopped half-way has left goes. What is whole and that no row speaks of,
/// since an older registry has come back, is written down.
fn sweep(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let dir = Path::new(ROOT).join(name.as_str());
    if cx.host.meta(&dir)?.is_none() {
        return Ok(());
    }
    let files = cx.host.list(&dir)?;
    for file in &files {
        let path = dir.join(file);
        let whole = path.with_extension("env");
        let is_part = path.extension().is_some_and(|ext| ext == "part" || ext == "new");
        if is_part || cx.host.meta(&whole)?.is_none() {
            cx.host.remove_file(&path)?;
        }
    }
    find_again(cx, name)
}

/// Writes down what is there of a project whose registry was lost. Nobody knows any more why each
/// was taken, so they stay until a person takes them away.
pub fn find_again(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let dir = Path::new(ROOT).join(name.as_str());
    let mut ids: Vec<CheckpointId> = cx
        .host
        .list(&dir)?
        .iter()
        .filter_map(|file| file.to_str()?.strip_suffix(".env")?.parse().ok())
        .collect();
    let known = cx.registry()?.checkpoints(name)?;
    ids.retain(|id| !known.iter().any(|checkpoint| checkpoint.id == *id));
    ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    for id in ids {
        let length = |path: PathBuf| std::fs::metadata(path).ok().map(|meta| meta.len());
        let (dump, mysql) = (length(dump_path(name, &id)), length(mysql_path(name, &id)));
        let found = Checkpoint {
            made_at: taken_at(&id).unwrap_or_else(Timestamp::now),
            id,
            kind: if dump.or(mysql).is_some() {
                CheckpointKind::Manual
            } else {
                CheckpointKind::Env
            },
            release: None,
            dump,
            mysql,
            note: Some("found on the server".into()),
            actor: cx.caller.actor(),
        };
        cx.registry()?.add_checkpoint(name, &found)?;
    }
    Ok(())
}

/// The second that a checkpoint is named by.
fn taken_at(id: &CheckpointId) -> Option<Timestamp> {
    let stamp = id.as_str().get(..15)?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", stamp).ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
