//! The repository elsewhere: how it is reached, and what is copied there.

use std::path::Path;

use jiff::Timestamp;

use super::repository::{KEY, here};
use crate::{
    commands::Context,
    envfile::EnvFile,
    error::{Error, Result},
    names::ProjectName,
    projects::backup::{HOST, backup_tags},
    registry::Backup,
    secret::Secret,
    sys::restic::{Key, Repository},
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

/// Copies a backup there, and makes the repository there where there is none.
pub fn copy(cx: &mut Context, backup: &mut Backup) -> Result<()> {
    let Some(there) = of(cx)? else {
        return Err(Error::usage("no_offsite", "no second place for backups is set up")
            .hint("hostkit config set backup.offsite sftp:user@host:/path"));
    };
    let here = here();
    if !cx.host.has_repository(&there)? {
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
    cx.registry()?.place_backup(backup)
}
