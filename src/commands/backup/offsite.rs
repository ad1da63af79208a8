//! The repository elsewhere: how it is reached, and what is copied there.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    repository::{KEY, STATE, here},
    rotate,
};
use crate::{
    commands::Context,
    envfile::EnvFile,
    error::{Error, Result},
    names::{BackupId, ProjectName},
    projects::backup::{HOST, Kept, backup_tags, surplus},
    registry::{Backup, BackupState},
    secret::Secret,
    sys::{
        Owner,
        restic::{Key, Repository, UNREACHABLE},
    },
};

/// What a storage service wants to know of us: root's alone.
const ACCESS: &str = "/etc/hostkit/offsite.env";

/// By which a host lets us in, and how we know it.
const SSH_KEY: &str = "/etc/hostkit/offsite.ssh";
const KNOWN_HOSTS: &str = "/etc/hostkit/offsite.known_hosts";

const VARIABLES: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "RESTIC_CACERT",
];

/// The repository that the configuration names, if it does.
pub fn of(cx: &Context) -> Result<Option<Repository>> {
    let place = &cx.config.backup.offsite;
    if place.is_empty() { Ok(None) } else { reached(cx, place).map(Some) }
}

/// A repository at a place, with the way to it.
pub fn reached(cx: &Context, place: &str) -> Result<Repository> {
    let mut repository = Repository {
        place: place.into(),
        key: Key::File(KEY.into()),
        access: Vec::new(),
        ssh: None,
    };
    if place.starts_with("s3:") {
        check_mode(cx, ACCESS)?;
        let text = cx.host.read_text(Path::new(ACCESS))?.unwrap_or_default();
        let file = EnvFile::parse(&text)?;
        for name in VARIABLES {
            if let Some(value) = file.get(name) {
                repository.access.push((name, Secret::new(value)));
            }
        }
    } else if let Some(rest) = place.strip_prefix("sftp:") {
        let bad = || {
            Error::usage("bad_place", format!("`{place}` is no place for backups")).hint(
                "write it so: `sftp:user@host:/path`, `s3:https://host/bucket`, or a directory",
            )
        };
        let (login, path) = rest.split_once(':').ok_or_else(bad)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if login.starts_with('-')
            || login.is_empty()
            || !login.chars().all(plain)
            || path.is_empty()
        {
            return Err(bad());
        }
        check_mode(cx, SSH_KEY)?;
        repository.ssh = Some(format!(
            "ssh -i {SSH_KEY} -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o UserKnownHostsFile={KNOWN_HOSTS} -o StrictHostKeyChecking=yes {login} -s sftp"
        ));
    } else if !Path::new(place).is_absolute() {
        return Err(Error::usage("bad_place", format!("`{place}` is no place for backups"))
            .hint("write it so: `sftp:user@host:/path`, `s3:https://host/bucket`, or a directory from `/`"));
    }
    Ok(repository)
}

/// What lets somebody in is for root's eyes.
fn check_mode(cx: &Context, path: &str) -> Result<()> {
    let meta = cx.host.meta(Path::new(path))?.ok_or_else(|| {
        Error::not_ready("no_access", format!("`{path}` is missing"))
            .caused_by("it holds what the repository elsewhere wants to know of us")
            .hint("see the chapter on a second place in docs/backups.md")
    })?;
    if meta.owner.uid == 0 && meta.mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    Err(Error::not_ready("bad_mode", format!("others than root may read `{path}`"))
        .hint(format!("chown root:root {path}; chmod 600 {path}")))
}

/// What went there, and what did not.
#[derive(Default)]
pub struct Sent {
    pub copied: Vec<BackupId>,
    pub failed: Option<(BackupId, Error)>,
}

/// Sends what is missing there of a project or of the server, the newest first: what is on this
/// server, and would stay there. So a copy that failed is made by the next run.
pub fn send(cx: &mut Context, of: Option<&ProjectName>) -> Result<Sent> {
    let mut sent = Sent::default();
    if self::of(cx)?.is_none() {
        return Ok(sent);
    }
    let backups = cx.registry()?.backups(of)?;
    for mut backup in missing(cx, &backups) {
        let copied = copy(cx, &mut backup);
        let failure = copied.as_ref().err().map(|error| Error::failed(error.to_string()));
        let _ = cx.record(of, "backup copy", failure.map_or(Ok(()), Err));
        match copied {
            Ok(()) => sent.copied.push(backup.id),
            Err(error) => {
                let is_cut_off = error.code == UNREACHABLE;
                sent.failed.get_or_insert((backup.id, error));
                if is_cut_off {
                    break;
                }
            }
        }
    }
    Ok(sent)
}

fn missing(cx: &Context, backups: &[Backup]) -> Vec<Backup> {
    let config = &cx.config.backup;
    let kept = Kept { days: config.offsite_days, weeks: config.offsite_weeks };
    let is_there = |backup: &Backup| backup.copied_at.is_some();
    let mut missing = Vec::new();
    for group in rotate::groups(backups) {
        let candidates = rotate::candidates(&group, |b| is_there(b) || b.is_local);
        let gone = surplus(&candidates, kept);
        let stays = |(place, backup): &(usize, &Backup)| {
            let is_whole = backup.state == BackupState::Complete && backup.is_local;
            is_whole && !is_there(backup) && !gone.contains(place)
        };
        missing.extend(group.into_iter().enumerate().filter(stays).map(|(_, b)| b.clone()));
    }
    missing.sort_by_key(|backup| std::cmp::Reverse(backup.seq));
    missing
}

/// The place that has copies.
fn known_file() -> PathBuf {
    Path::new(STATE).join("offsite.place")
}

fn known(cx: &Context) -> Result<Option<String>> {
    cx.host.read_text(&known_file())
}

/// Where copies were there must not be a new repository beside them: nothing may be mounted there.
fn check_is_new(cx: &mut Context, there: &Repository) -> Result<()> {
    let is_known = known(cx)?.as_deref() == Some(&there.place);
    if !is_known || !cx.registry()?.all_backups()?.iter().any(|b| b.copied_at.is_some()) {
        return Ok(());
    }
    let what = format!("there is no repository at `{}`", there.place);
    Err(Error::not_ready("no_repository", what)
        .caused_by("it was there before: is it mounted?")
        .hint(format!("to begin there anew: `rm {}`", known_file().display())))
}

/// Copies a backup there, and makes the repository there where there is none.
pub fn copy(cx: &mut Context, backup: &mut Backup) -> Result<()> {
    let Some(there) = of(cx)? else {
        return Err(Error::usage("no_offsite", "no second place for backups is set up")
            .hint("hostkit config set backup.offsite sftp:user@host:/path"));
    };
    let here = here();
    if cx.host.has_repository(&there)? {
        // Of one who was cut off. Who is at work keeps them.
        cx.host.unlock_repository(&there)?;
    } else {
        check_is_new(cx, &there)?;
        cx.host.make_repository(&there, Some(&here))?;
    }
    let project = backup.project.as_ref().map_or(HOST, ProjectName::as_str);
    let kept = cx.host.snapshots(&here, &backup_tags(project, &backup.id))?;
    if kept.is_empty() {
        return Err(Error::missing("no_backup", format!("{} is not on this server", backup.id)));
    }
    // The record comes last: without it the rest is no backup.
    let (last, first): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|s| s.tags.iter().any(|tag| tag == "part=record"));
    for some in [first, last] {
        let ids: Vec<String> = some.into_iter().map(|snapshot| snapshot.id).collect();
        if !ids.is_empty() {
            cx.host.copy_snapshots(&here, &there, &ids)?;
        }
    }
    backup.copied_at = Some(Timestamp::now());
    cx.registry()?.place_backup(backup)?;
    if known(cx)?.as_deref() != Some(&there.place) {
        cx.host.write(&known_file(), there.place.as_bytes(), Owner::ROOT, 0o600)?;
    }
    Ok(())
}
