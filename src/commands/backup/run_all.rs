//! All projects and the server, one after the other: what a timer runs.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{create, drill, host, offsite, repository, rotate};
use crate::{
    commands::Context,
    config::Drill,
    error::{Error, Kind, Result},
    names::ProjectName,
    registry::{Backup, BackupKind, BackupOrigin},
    sys::restic::Repository,
    ui::elapsed,
};

/// Who has it waits for a backup that somebody else makes.
const WAIT: std::time::Duration = std::time::Duration::from_hours(6);

/// Back all projects up, prove it, and take away what has outlived its use
///
/// Each project by itself: one that fails is told, fails the command, and is in nobody's way. With
/// --quiet it says nothing unless something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup run-all
  hostkit backup run-all --quiet
  hostkit backup run-all --no-drill")]
pub struct Args {
    /// Prove none of them, whatever `backup.drill` says
    #[arg(long)]
    no_drill: bool,
}

#[derive(Default, Serialize)]
struct All {
    complete: Vec<String>,
    proven: Vec<String>,
    removed: usize,
    failed: Vec<Failed>,
    milliseconds: u128,
}

#[derive(Serialize)]
struct Failed {
    what: String,
    why: String,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = Instant::now();
    cx.wait = cx.wait.max(WAIT);
    let names: Vec<ProjectName> = cx
        .registry()?
        .projects()?
        .into_iter()
        .filter(|project| !project.deleting)
        .map(|project| project.name)
        .collect();
    let open = repository::open(cx, "backup run-all")?;
    let mut all = All::default();
    for name in &names {
        one(args, cx, &open.repository, name, &mut all)?;
    }
    let made = host::make(cx, &open.repository, BackupOrigin::Scheduled);
    let kept = made.and_then(|backup| elsewhere(cx, backup));
    all.note("the server", kept.map(|backup| backup.id.to_string()))?;
    match rotate::all(cx, false) {
        Ok(rotated) => all.removed = rotated.removed.len(),
        Err(error) => all.fail("rotate", error)?,
    }
    drop(open);
    all.milliseconds = start.elapsed().as_millis();
    report(cx, &all)
}

fn one(
    args: &Args,
    cx: &mut Context,
    at: &Repository,
    name: &ProjectName,
    all: &mut All,
) -> Result<()> {
    let made = create::make(cx, at, name, BackupKind::Full, BackupOrigin::Scheduled);
    let backup = match made {
        Ok(backup) => backup,
        Err(error) => return all.fail(name.as_str(), error),
    };
    all.complete.push(format!("{name} {}", backup.id));
    let copied = elsewhere(cx, backup.clone()).map(|_| ());
    if let Err(error) = copied {
        let noted = cx.record(Some(name), "backup copy", Err(Error::failed(error.to_string())));
        drop(noted);
        all.fail(&format!("{name}, elsewhere"), error)?;
    }
    if args.no_drill || !is_due(cx, name)? {
        return Ok(());
    }
    match drill::prove(cx, name, &backup) {
        Ok(proof) if proof.proven => all.proven.push(format!("{name} {}", backup.id)),
        Ok(proof) => all.fail(name.as_str(), drill::unproven(name, &backup.id, &proof))?,
        Err(error) => all.fail(&format!("{name}, drill"), error)?,
    }
    Ok(())
}

fn elsewhere(cx: &mut Context, mut backup: Backup) -> Result<Backup> {
    if offsite::of(cx)?.is_some() {
        offsite::copy(cx, &mut backup)?;
    }
    Ok(backup)
}

/// Whether it is time to prove one: a week after the last, and at once where the last one failed.
fn is_due(cx: &mut Context, name: &ProjectName) -> Result<bool> {
    let drill = cx.config.backup.drill;
    let judged = cx.registry()?.backups(Some(name))?.into_iter().find(|b| b.proven.is_some());
    Ok(match (drill, judged) {
        (Drill::Never, _) => false,
        (Drill::Always, _) | (_, None) => true,
        (Drill::Weekly, Some(last)) => {
            // Half a day less than a week, so that it does not slip from day to day.
            let week = SignedDuration::from_hours(7 * 24 - 12);
            let age = last.proven_at.map(|then| Timestamp::now().duration_since(then).abs());
            last.proven == Some(false) || age.is_none_or(|age| age > week)
        }
    })
}

impl All {
    fn note(&mut self, what: &str, done: Result<String>) -> Result<()> {
        match done {
            Ok(id) => {
                self.complete.push(format!("{what} {id}"));
                Ok(())
            }
            Err(error) => self.fail(what, error),
        }
    }

    /// One project's trouble is not another's; a signal is everybody's.
    fn fail(&mut self, what: &str, error: Error) -> Result<()> {
        if matches!(error.kind, Kind::Interrupted(_)) {
            return Err(error);
        }
        self.failed.push(Failed { what: what.to_owned(), why: error.to_string() });
        Ok(())
    }
}

fn report(cx: &Context, all: &All) -> Result<()> {
    if !all.failed.is_empty() {
        let why: Vec<String> =
            all.failed.iter().map(|Failed { what, why }| format!("{what}: {why}")).collect();
        return Err(Error::failed(format!(
            "{} of the backups went wrong, and {} are complete",
            all.failed.len(),
            all.complete.len()
        ))
        .coded("backup_failed")
        .caused_by(why.join("\n"))
        .hint("earlier backups are as they were: `hostkit backup evidence`"));
    }
    let took = std::time::Duration::from_millis(u64::try_from(all.milliseconds).unwrap_or(0));
    let mut text: String = all.complete.iter().map(|line| format!("  {line}\n")).collect();
    text.push_str(&format!(
        "{} complete, {} proven, {} old ones gone ({})\n",
        all.complete.len(),
        all.proven.len(),
        all.removed,
        elapsed(took)
    ));
    if cx.ui.voice.quiet {
        text.clear();
    }
    cx.ui.result("backup run-all", None, all, &text);
    Ok(())
}
