//! All projects and the server, one after the other: what a timer runs.

use std::{collections::BTreeSet, time::Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{create, drill, host, offsite, repository, rotate, tag};
use crate::{
    commands::Context,
    config::Drill,
    error::{Error, Kind, Result},
    names::ProjectName,
    registry::{BackupKind, BackupOrigin},
    sys::restic::{Repository, UNREACHABLE},
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
    /// What went to the second place, what had failed to go there before included.
    copied: Vec<String>,
    removed: usize,
    failed: Vec<Failed>,
    milliseconds: u128,
    /// Nobody answers there: the others need not find that out by themselves.
    #[serde(skip)]
    is_cut_off: bool,
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
    all.note("the server", made.map(|backup| backup.id.to_string()))?;
    elsewhere(cx, None, &mut all)?;
    // Projects that are gone have left some, too.
    let left = cx.registry()?.all_backups()?.into_iter().filter_map(|backup| backup.project);
    for name in left.filter(|name| !names.contains(name)).collect::<BTreeSet<_>>() {
        elsewhere(cx, Some(&name), &mut all)?;
    }
    match rotate::all(cx, false, !all.is_cut_off) {
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
    elsewhere(cx, Some(name), all)?;
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

/// What it lacks goes to the second place.
fn elsewhere(cx: &mut Context, name: Option<&ProjectName>, all: &mut All) -> Result<()> {
    if all.is_cut_off {
        return Ok(());
    }
    let of = tag(name);
    let sent = match offsite::send(cx, name) {
        Ok(sent) => sent,
        Err(error) => return all.fail(&format!("{of}, elsewhere"), error),
    };
    all.copied.extend(sent.copied.iter().map(|id| format!("{of} {id}")));
    let Some((id, error)) = sent.failed else { return Ok(()) };
    all.is_cut_off = error.code == UNREACHABLE;
    all.fail(&format!("{of} {id}, elsewhere"), error)
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
        "{} complete, {} proven, {} copied, {} old ones gone ({})\n",
        all.complete.len(),
        all.proven.len(),
        all.copied.len(),
        all.removed,
        elapsed(took)
    ));
    if cx.ui.voice.quiet {
        text.clear();
    }
    cx.ui.result("backup run-all", None, all, &text);
    Ok(())
}
