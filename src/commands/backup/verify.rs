//! Reads what is kept to its last byte.

use serde::Serialize;

use super::{bring::Source, find, offsite, repository, restore, tag, whereabouts};
use crate::{
    commands::Context,
    error::{Context as _, Error, Result},
    names::{BackupId, ProjectName},
    projects::backup::{TREE_PART, Witness, tags},
    registry::Backup,
    ui::elapsed,
};

/// Read a backup to its last byte, and check it
///
/// Without a name the whole repository is read. That finds damage; that a backup also comes back
/// is for `hostkit backup drill` to say.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup verify
  hostkit backup verify my-shop
  hostkit backup verify my-shop 20261121-093012
  hostkit backup verify --offsite")]
pub struct Args {
    /// Project whose backup to read
    pub name: Option<String>,

    /// The backup; the newest unless it is named
    id: Option<String>,

    /// Read the repository elsewhere
    #[arg(long, conflicts_with = "name")]
    offsite: bool,
}

#[derive(Serialize)]
struct Sound {
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<BackupId>,
    parts: usize,
    milliseconds: u128,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = std::time::Instant::now();
    let name = args.name.as_deref().map(str::parse::<ProjectName>).transpose()?;
    let backup = match &name {
        Some(name) => Some(find(cx, Some(name), args.id.as_deref())?),
        None => None,
    };
    let _open = repository::open(cx, "backup verify")?;
    let verified = match &backup {
        Some(backup) => one(cx, backup),
        None => all(cx, args.offsite),
    };
    if let (Err(error), Some(backup)) = (&verified, &backup)
        && error.code == "damaged"
    {
        let proof = serde_json::json!({ "proven": false, "checks": [{ "what": "verify", "ok": false, "found": error.to_string() }], "milliseconds": 0 });
        cx.registry()?.judge_backup(backup, false, &proof.to_string())?;
    }
    let noted = verified.as_ref().map(|_| ()).map_err(|e| Error::failed(e.to_string()));
    let noted = cx.record(name.as_ref(), "backup verify", noted);
    let parts = verified?;
    noted?;
    let sound = Sound {
        backup: backup.map(|backup| backup.id),
        parts,
        milliseconds: start.elapsed().as_millis(),
    };
    let what = sound.backup.as_ref().map_or("the repository".into(), ToString::to_string);
    let text = format!("{what} is sound ({})\n", elapsed(start.elapsed()));
    cx.ui.result("backup verify", name.as_ref().map(ProjectName::as_str), &sound, &text);
    Ok(())
}

fn all(cx: &Context, elsewhere: bool) -> Result<usize> {
    let at = if elsewhere {
        offsite::of(cx)?.ok_or_else(|| {
            Error::usage("no_offsite", "no second place for backups is set up")
                .hint("hostkit config set backup.offsite sftp:user@host:/path")
        })?
    } else {
        repository::here()
    };
    cx.host.check_repository(&at, true).map_err(damaged)?;
    Ok(cx.host.snapshots(&at, &[])?.len())
}

/// Whatever keeps restic from reading its own repository, but for what we know better.
fn damaged(error: Error) -> Error {
    if error.code != "failed" {
        return error;
    }
    let cause = error.cause.clone().unwrap_or_default();
    Error::failed("the repository of backups is damaged")
        .coded("damaged")
        .caused_by(cause)
        .hint("a new backup keeps what is still on the server; what is lost elsewhere stays lost")
}

/// Every stream with its hash, and every block of the files.
pub fn one(cx: &Context, backup: &Backup) -> Result<usize> {
    let at = whereabouts(cx, backup)?;
    let of = tag(backup.project.as_ref());
    let record = restore::record(cx, &at, of, &backup.id).map_err(damaged)?;
    let source = Source { at: &at, of: of.to_owned(), record: &record };
    for part in &record.parts {
        let sink = |from: &mut dyn std::io::Read| {
            std::io::copy(from, &mut std::io::sink()).context(|| "could not read it".into())
        };
        source.read(cx, part, sink).map_err(damaged)?;
        if matches!(part.witness, Witness::Files { .. }) {
            let tags = tags(of, &record.id, TREE_PART);
            cx.host
                .read_tree(&at, &tags, "/", |mut archive| {
                    std::io::copy(&mut archive, &mut std::io::sink())
                        .context(|| "could not read it".into())
                        .map(|_| ())
                })
                .map_err(damaged)?;
        }
    }
    Ok(record.parts.len())
}
