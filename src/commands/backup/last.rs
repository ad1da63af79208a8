//! The last backup of a project that is about to go: home, `.env`, database, registry row.

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    commands::{Context, checkpoint::take, db::mysql, storage},
    error::{Context as _, Error, Result},
    registry::Project,
    sys::{Cmd, Output, Owner},
};

const ROOT: &str = "/srv/backups/hostkit";

/// Long enough for a home of many gigabytes.
const LIMIT: Duration = Duration::from_hours(6);

/// Backs the project up into a directory of its own, complete or not there at all.
pub fn last(cx: &Context, project: &Project) -> Result<PathBuf> {
    whole(cx, project, "last", |part| fill(cx, project, part))
}

fn whole(
    cx: &Context,
    project: &Project,
    of: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let dir = Path::new(ROOT).join(project.name.as_str());
    let part = dir.join(".last.part");
    if cx.host.meta(&dir)?.is_none() {
        cx.host.make_dir(&dir, Owner::ROOT, 0o700)?;
    }
    let done = free_name(cx, &dir, of)?;
    // What an earlier one left that did not live to complete it.
    cx.host.remove_tree(&part)?;
    cx.host.make_dir(&part, Owner::ROOT, 0o700)?;
    let made = fill(&part).and_then(|()| cx.host.rename(&part, &done));
    if made.is_err() {
        let _ = cx.host.remove_tree(&part);
        let _ = cx.host.remove_empty_dir(&dir);
    }
    made.map(|()| done)
}

/// A name by the time, and a number where that second was taken.
fn free_name(cx: &Context, dir: &Path, of: &str) -> Result<PathBuf> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let mut name = dir.join(format!("{stamp}-{of}"));
    let mut n = 1;
    while cx.host.meta(&name)?.is_some() {
        n += 1;
        name = dir.join(format!("{stamp}-{n}-{of}"));
    }
    Ok(name)
}

fn fill(cx: &Context, project: &Project, dir: &Path) -> Result<()> {
    let row = serde_json::to_vec_pretty(project)
        .map_err(|e| Error::failed("could not write down the project").caused_by(e))?;
    cx.host.write(&dir.join("project.json"), &row, Owner::ROOT, 0o600)?;
    let env = cx.host.read(&project.name.env_file())?;
    if let Some(env) = &env {
        cx.host.write(&dir.join("env"), env, Owner::ROOT, 0o600)?;
    }
    home(cx, project, dir)?;
    if project.postgres && cx.host.database(&project.name.database())?.is_some() {
        database(cx, project, dir)?;
    }
    if project.mysql && cx.host.mysql_database(&project.name.database())? {
        let entry = mysql::entry(cx, project)?;
        cx.host.dump_mysql(&project.name.database(), &entry, &dir.join("mysql.sql.gz"))?;
    }
    bucket(cx, project, dir)
}

/// The bucket alone, before it goes without its project. Nothing where there is nothing in it.
pub fn of_bucket(cx: &Context, project: &Project) -> Result<Option<PathBuf>> {
    let Some(store) = storage::store(cx, project)? else { return Ok(None) };
    if store.is_empty()? {
        return Ok(None);
    }
    whole(cx, project, "bucket", |part| bucket(cx, project, part)).map(Some)
}

fn bucket(cx: &Context, project: &Project, dir: &Path) -> Result<()> {
    if project.storage.is_none() {
        return Ok(());
    }
    let path = dir.join("bucket.tar");
    let failed = || format!("could not write `{}`", path.display());
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(&path).context(failed)?;
    super::bucket::pack(cx, project, &mut file)?;
    file.sync_all().context(failed)
}

/// The home as its own user sees it: no link, no pipe and no race leads anywhere else.
fn home(cx: &Context, project: &Project, dir: &Path) -> Result<()> {
    let home = project.name.home();
    if cx.host.meta(&home)?.is_none() {
        return Ok(());
    }
    let tar = Cmd::new("/usr/bin/tar")
        .args(["--create", "--zstd", "--one-file-system", "--numeric-owner", "--exclude=./.cache"])
        .args(["--warning=no-file-changed", "--file=-", "--directory"])
        .arg(&home)
        .arg(".")
        .user(Owner::new(project.uid, project.uid))
        .limit(LIMIT);
    let out = into_file(cx, &tar, &dir.join("home.tar.zst"))?;
    // Status 1 means that a file changed while it was read, which is no loss of another.
    if out.status.code() == Some(1) {
        return Ok(());
    }
    out.success().map(|_| ())
}

/// The database, dumped as the project's own role: nothing in it runs with more rights.
fn database(cx: &Context, project: &Project, dir: &Path) -> Result<()> {
    let login = take::login(cx, project)?;
    let into = dir.join("database.dump");
    cx.host.dump_database(&project.name.database(), &login, &into).map(|_| ())
}

/// Runs a program with its output into a new file, which is on the disk when this returns.
fn into_file(cx: &Context, cmd: &Cmd, path: &Path) -> Result<Output> {
    let failed = || format!("could not write `{}`", path.display());
    let file =
        File::options().write(true).create_new(true).mode(0o600).open(path).context(failed)?;
    let out = cx.host.ask_into(cmd, file.try_clone().context(failed)?)?;
    file.sync_all().context(failed)?;
    Ok(out)
}
