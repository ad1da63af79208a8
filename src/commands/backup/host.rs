//! A backup of the server itself: what it knows of projects, its settings, and its operators.

use std::{io::Write, path::Path};

use jiff::Timestamp;

use super::{Record, create, offsite, repository};
use crate::{
    commands::{Context, operator},
    error::{Context as _, Error, Result},
    projects::backup::{self, HOST, Part, RECORD, RECORD_PART, What, Witness, tags},
    registry::{Backup, BackupKind, BackupOrigin, BackupState},
    sys::{Cmd, moment::Shape, pipe::Ours, restic::IDLE, restic::Repository, signals::Changing},
};

/// What makes this server what it is, from `/`. A key of one server alone is not for another.
const SETTINGS: [&str; 2] = ["etc/hostkit", "etc/letsencrypt"];
const NOT_KEPT: [&str; 6] = [
    "etc/hostkit/backup.key",
    "etc/hostkit/redis.secret",
    "etc/hostkit/metrics.d",
    "etc/hostkit/wall.d",
    "etc/hostkit/wall.nft",
    "etc/hostkit/offsite.ssh",
];

pub fn create(elsewhere: bool, cx: &mut Context) -> Result<()> {
    let start = std::time::Instant::now();
    cx.registry()?;
    let open = repository::open(cx, "backup create --host")?;
    let mut made = make(cx, &open.repository, BackupOrigin::Manual)?;
    if elsewhere {
        offsite::copy(cx, &mut made)?;
    }
    drop(open);
    create::report(cx, &made, start.elapsed());
    Ok(())
}

/// One backup of the server. Whoever calls holds the repository.
pub fn make(cx: &mut Context, at: &Repository, origin: BackupOrigin) -> Result<Backup> {
    let _changing = Changing::begin();
    create::check_room(cx, at)?;
    create::end_interrupted(cx, at, None)?;
    let mut backup = Backup {
        kind: BackupKind::Host,
        id: cx.registry()?.next_backup(None)?,
        ..create::blank(cx, origin)
    };
    cx.registry()?.add_backup(&backup)?;
    let kept = keep(cx, at, &backup);
    let ended = kept.and_then(|(record, stored)| {
        backup.bytes = record.parts.iter().map(|part| part.bytes).sum::<u64>();
        backup.stored = stored;
        backup.record = Some(record.text()?);
        backup.state = BackupState::Complete;
        backup.ended_at = Some(Timestamp::now());
        cx.registry()?.complete_backup(&backup)
    });
    let ended = match ended {
        Ok(()) => Ok(()),
        Err(error) => {
            repository::forget(cx, at, HOST, &backup.id)?;
            cx.registry()?.fail_backup(&backup, &error.to_string())?;
            Err(error.coded("backup_failed"))
        }
    };
    cx.record(None, "backup create", ended)?;
    Ok(backup)
}

fn keep(cx: &mut Context, at: &Repository, backup: &Backup) -> Result<(Record, u64)> {
    let (mut parts, mut stored) = (Vec::new(), 0);
    for what in [What::Registry, What::Settings, What::People] {
        let people = operator::known(cx)?;
        let copy = Path::new(repository::STATE).join("registry.copy");
        if what == What::Registry {
            cx.host.remove_file(&copy)?;
            cx.registry()?.copy_into(&copy)?;
        }
        let tags = tags(HOST, &backup.id, what.as_str());
        let kept = cx.host.keep_stream(at, &tags, what.stream(), |to| match what {
            What::Registry => {
                let bytes = cx.host.read_long(&copy)?;
                to.write_all(&bytes).context(|| "could not hand on the registry".into())
            }
            What::Settings => settings(cx, to),
            _ => serde_json::to_writer(to, &people)
                .map_err(|e| Error::failed("could not hand on the operators").caused_by(e)),
        });
        cx.host.remove_file(&copy)?;
        let kept = kept?;
        stored += kept.stored;
        let part: Part<Shape> =
            Part { what, bytes: kept.bytes, sha256: kept.sha256, witness: Witness::Bytes };
        parts.push(part);
    }
    let record = Record {
        version: backup::VERSION,
        hostkit: env!("CARGO_PKG_VERSION").into(),
        id: backup.id.clone(),
        kind: BackupKind::Host,
        made_at: backup.made_at,
        project: None,
        release: None,
        parts,
    };
    let text = record.text()?;
    let tags = tags(HOST, &backup.id, RECORD_PART);
    let kept = cx.host.keep_stream(at, &tags, RECORD, |to| {
        to.write_all(text.as_bytes()).context(|| "could not write the record".into())
    })?;
    Ok((record, stored + kept.stored))
}

fn settings(cx: &Context, to: &mut dyn Write) -> Result<()> {
    let mut tar = Cmd::new("/usr/bin/tar").args([
        "--create",
        "--file=-",
        "--directory=/",
        "--one-file-system",
        "--sort=name",
    ]);
    tar = tar.args(NOT_KEPT.map(|path| format!("--exclude={path}")));
    for path in SETTINGS {
        if cx.host.meta(&Path::new("/").join(path))?.is_some() {
            tar = tar.arg(path);
        }
    }
    let mut tar = cx.host.start(&tar, Ours::Output)?;
    tar.drain(to, IDLE)?;
    tar.finish()?.success().map(|_| ())
}
