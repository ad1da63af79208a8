//! Where backups are kept: the repository on this server, its key, and the sheet for a bad day.

use std::{io::IsTerminal, path::Path};

use crate::{
    commands::Context,
    error::{Error, Result},
    projects::backup::backup_tags,
    secret::Secret,
    sys::{
        Owner,
        lock::{self, Lock},
        restic::{self, Key, Repository},
        system,
    },
};

pub const ROOT: &str = "/srv/backups/hostkit";
pub const PLACE: &str = "/srv/backups/hostkit/restic";
pub const KEY: &str = "/etc/hostkit/backup.key";
pub const SHEET: &str = "/root/hostkit-recovery.txt";

/// What is written down between two backups, and what one that is under way needs.
pub const STATE: &str = "/var/lib/hostkit/backups";

/// The repository on this server, while nobody else of us writes to it.
pub struct Open {
    pub repository: Repository,
    _alone: Lock,
}

pub fn here() -> Repository {
    Repository::local(PLACE, KEY)
}

/// Waits until nobody else of us works on it, and makes it where there is none yet.
pub fn open(cx: &mut Context, verb: &str) -> Result<Open> {
    let alone = alone(cx, verb)?;
    let repository = here();
    make(cx, &repository)?;
    tidy_locks(cx, &repository)?;
    Ok(Open { repository, _alone: alone })
}

pub fn alone(cx: &Context, verb: &str) -> Result<Lock> {
    let waiting = |holder: &str| cx.ui.note(format!("waiting for `{holder}`"));
    lock::take(lock::BACKUPS, &format!("hostkit {verb}"), cx.wait, waiting)
}

fn make(cx: &mut Context, repository: &Repository) -> Result<()> {
    check_program(cx)?;
    let is_there = cx.host.meta(&Path::new(PLACE).join("config"))?.is_some();
    let has_key = cx.host.meta(Path::new(KEY))?.is_some();
    for dir in [restic::CACHE, STATE] {
        if cx.host.meta(Path::new(dir))?.is_none() {
            cx.host.make_dir(Path::new(dir), Owner::ROOT, 0o700)?;
        }
    }
    if is_there && has_key {
        return Ok(());
    }
    if is_there {
        return Err(Error::not_ready("no_key", "the key of the backups on this server is gone")
            .caused_by(format!("there is no `{KEY}`, and without it nobody can read `{PLACE}`"))
            .hint(format!("write the recovery key to `{KEY}` (mode 0600); if nobody kept it, move `{PLACE}` away and begin anew")));
    }
    for dir in ["/srv/backups", ROOT] {
        if cx.host.meta(Path::new(dir))?.is_none() {
            cx.host.make_dir(Path::new(dir), Owner::ROOT, 0o700)?;
        }
    }
    cx.host.make_dir(Path::new(PLACE), Owner::ROOT, 0o700)?;
    let key = if has_key {
        Secret::new(cx.host.read_text(Path::new(KEY))?.unwrap_or_default().trim())
    } else {
        let key = Secret::generate()?;
        cx.host.write(
            Path::new(KEY),
            format!("{}\n", key.expose()).as_bytes(),
            Owner::ROOT,
            0o600,
        )?;
        key
    };
    if let Err(error) = cx.host.make_repository(repository, None) {
        cx.host.remove_tree(Path::new(PLACE))?;
        return Err(error);
    }
    hand_out(cx, &key)
}

pub fn check_program(cx: &Context) -> Result<()> {
    if cx.host.meta(Path::new(restic::PROGRAM))?.is_some() {
        return Ok(());
    }
    Err(Error::not_ready("package_missing", "the server lacks what keeps backups")
        .caused_by("not installed: restic")
        .hint("install it: `apt-get install restic`"))
}

/// The key is shown to a person once; a log never sees it.
fn hand_out(cx: &Context, key: &Secret) -> Result<()> {
    let sheet = sheet(&system::hostname(), key);
    cx.host.write(Path::new(SHEET), sheet.as_bytes(), Owner::ROOT, 0o600)?;
    let is_seen = std::io::stderr().is_terminal() && !cx.ui.voice.json;
    cx.ui.note(if is_seen {
        format!("the repository of backups is made; print this and keep it elsewhere:\n\n{sheet}\n(also in `{SHEET}`)")
    } else {
        format!("the repository of backups is made; its recovery key is in `{SHEET}`: keep a copy elsewhere")
    });
    Ok(())
}

fn sheet(host: &str, key: &Secret) -> String {
    format!(
        "Backups of {host}: the sheet for a bad day
=========================================

Recovery key:  {key}

Whoever has this key and the repository can read everything; without it nobody can.
Keep it apart from both.

With hostkit, on an empty server:
  hostkit init
  hostkit restore-host --repository PLACE --key-file KEYFILE
One project alone:
  hostkit backup restore NAME --repository PLACE --key-file KEYFILE

Without hostkit, by restic alone (apt-get install restic):
  export RESTIC_REPOSITORY={PLACE}     # or wherever it was copied to
  export RESTIC_PASSWORD=...           # the key above
  restic snapshots                     # each backup has parts, told by their tags
  restic dump --tag project=NAME,part=record latest /record.json
  restic dump --tag project=NAME,part=environment latest /environment.env > env
  restic dump --tag project=NAME,part=database latest /database.dump | pg_restore --no-owner -d NEWDB
  restic dump --tag project=NAME,part=mysql latest /mysql.sql | mariadb NEWDB
  restic restore --tag project=NAME,part=tree latest --target /somewhere
To take parts of one and the same backup, add its tag: --tag project=NAME,part=tree,backup=ID
",
        key = key.expose()
    )
}

/// Whoever held one of restic's locks on this server held ours, too, and is gone.
fn tidy_locks(cx: &Context, at: &Repository) -> Result<()> {
    let locks = Path::new(&at.place).join("locks");
    if locks.is_absolute() && cx.host.list(&locks)?.is_empty() {
        return Ok(());
    }
    cx.host.unlock_repository(at)
}

/// Takes all parts of a backup out of a repository.
pub fn forget(
    cx: &Context,
    at: &Repository,
    project: &str,
    id: &crate::names::BackupId,
) -> Result<()> {
    tidy_locks(cx, at)?;
    let kept = cx.host.snapshots(at, &backup_tags(project, id))?;
    let ids: Vec<String> = kept.into_iter().map(|snapshot| snapshot.id).collect();
    cx.host.forget(at, &ids, false)
}

/// A repository that somebody names, with its key from a file or from standard input.
pub fn named(cx: &Context, place: &str, key_file: Option<&Path>) -> Result<Repository> {
    check_program(cx)?;
    let key = match key_file {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            std::io::Read::read_to_string(
                &mut std::io::Read::take(std::io::stdin().lock(), 4096),
                &mut text,
            )
            .map_err(|e| Error::failed("could not read the key").caused_by(e))?;
            Key::Text(Secret::new(text.trim()))
        }
        Some(path) => {
            let path = cx.started_in.join(path);
            if !path.is_file() {
                return Err(Error::usage(
                    "no_key",
                    format!("there is no file `{}`", path.display()),
                ));
            }
            Key::File(path)
        }
        None => Key::File(KEY.into()),
    };
    let mut repository = super::offsite::reached(cx, place)?;
    repository.key = key;
    if cx.host.meta(Path::new(restic::CACHE))?.is_none() {
        cx.host.make_dir(Path::new(restic::CACHE), Owner::ROOT, 0o700)?;
    }
    if !cx.host.has_repository(&repository)? {
        return Err(Error::missing(
            "no_repository",
            format!("there is no repository at `{place}`"),
        ));
    }
    Ok(repository)
}
