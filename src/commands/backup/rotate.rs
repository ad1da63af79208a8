//! Takes away what has outlived its use, here and elsewhere.

use serde::Serialize;

use super::{offsite, repository, tag};
use crate::{
    commands::Context,
    error::Result,
    projects::backup::{Candidate, Kept, surplus},
    registry::{Backup, BackupState},
    ui::count,
};

/// So many failures of a kind are remembered.
const KEPT_FAILED: usize = 20;

/// Take away backups that have outlived their use
///
/// Of each project, and of each type, the newest of the last seven days and of the last four weeks
/// stay (`backup.days`, `backup.weeks`), and thirty and twelve elsewhere. The newest that was proven
/// stays, however old.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup rotate
  hostkit backup rotate --dry-run")]
pub struct Args {
    /// Show what would go, and let it stay
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Default, Serialize)]
pub struct Rotated {
    pub removed: Vec<String>,
    pub dry_run: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let _open = repository::open(cx, "backup rotate")?;
    let rotated = all(cx, args.dry_run, true)?;
    let n = rotated.removed.len();
    let done = if args.dry_run { "would go" } else { "gone" };
    let mut text: String = rotated.removed.iter().map(|line| format!("  - {line}\n")).collect();
    text.push_str(&format!("{} {done}\n", count(n, "backup")));
    cx.ui.result("backup rotate", None, &rotated, &text);
    Ok(())
}

/// Whoever calls holds the repository. What is elsewhere stays as it is where nobody answers.
pub fn all(cx: &mut Context, dry_run: bool, elsewhere: bool) -> Result<Rotated> {
    let mut rotated = Rotated { removed: Vec::new(), dry_run };
    let backups = cx.registry()?.all_backups()?;
    let mut there = if elsewhere { offsite::of(cx)? } else { None };
    let mut cut_off = None;
    if let Some(place) = there.as_ref().filter(|_| !dry_run)
        && backups.iter().any(|backup| backup.copied_at.is_some())
        && let Err(error) = cx.host.unlock_repository(place)
    {
        (there, cut_off) = (None, Some(error));
    }
    let config = cx.config.backup.clone();
    let (here_keeps, there_keeps) = (
        Kept { days: config.days, weeks: config.weeks },
        Kept { days: config.offsite_days, weeks: config.offsite_weeks },
    );
    for group in groups(&backups) {
        let gone_here = surplus(&candidates(&group, |b| b.is_local), here_keeps);
        let gone_there = surplus(&candidates(&group, |b| b.copied_at.is_some()), there_keeps);
        for (place, backup) in group.iter().enumerate() {
            let mut left = (*backup).clone();
            left.is_local &= !gone_here.contains(&place);
            if gone_there.contains(&place) && there.is_some() {
                left.copied_at = None;
            }
            let is_changed = (left.is_local, left.copied_at) != (backup.is_local, backup.copied_at);
            if !is_changed {
                continue;
            }
            let of = tag(backup.project.as_ref());
            rotated.removed.push(format!("{of} {}{}", backup.id, where_from(backup, &left)));
            if !dry_run {
                leave(cx, backup, &left)?;
            }
        }
    }
    if !dry_run {
        forget_failed(cx, &backups)?;
        // What failed has left pieces, too, that nothing refers to.
        cx.host.forget(&repository::here(), &[], true)?;
        if let (Some(there), false) = (&there, rotated.removed.is_empty()) {
            cx.host.forget(there, &[], true)?;
        }
    }
    cut_off.map_or(Ok(rotated), Err)
}

fn where_from(was: &Backup, left: &Backup) -> &'static str {
    match (left.is_local, left.copied_at.is_some()) {
        (true, _) if was.copied_at.is_some() => " (elsewhere)",
        (_, true) => " (here)",
        _ => "",
    }
}

/// Backups of one thing and one type, the newest first.
pub fn groups(backups: &[Backup]) -> Vec<Vec<&Backup>> {
    let mut groups: Vec<Vec<&Backup>> = Vec::new();
    for backup in backups {
        let of = |other: &Backup| (&other.project, other.kind) == (&backup.project, backup.kind);
        match groups.iter_mut().find(|group| of(group[0])) {
            Some(group) => group.push(backup),
            None => groups.push(vec![backup]),
        }
    }
    groups
}

pub fn candidates(group: &[&Backup], is_there: impl Fn(&Backup) -> bool) -> Vec<Candidate> {
    let candidate = |backup: &&Backup| Candidate {
        made_at: backup.made_at,
        is_complete: backup.state == BackupState::Complete && is_there(backup),
        is_proven: backup.proven == Some(true) && is_there(backup),
    };
    group.iter().map(candidate).collect()
}

/// Lets go of it in one place or in both. The row goes first: what is listed is whole.
fn leave(cx: &mut Context, was: &Backup, left: &Backup) -> Result<()> {
    if !left.is_local && left.copied_at.is_none() {
        return take_away(cx, was);
    }
    cx.registry()?.place_backup(left)?;
    let of = tag(was.project.as_ref());
    if was.is_local && !left.is_local {
        repository::forget(cx, &repository::here(), of, &was.id)?;
    }
    if was.copied_at.is_some()
        && left.copied_at.is_none()
        && let Some(there) = offsite::of(cx)?
    {
        repository::forget(cx, &there, of, &was.id)?;
    }
    Ok(())
}

/// Takes a backup away, wherever it is.
pub fn take_away(cx: &mut Context, gone: &Backup) -> Result<()> {
    let of = tag(gone.project.as_ref());
    cx.registry()?.forget_backup(gone)?;
    if gone.is_local {
        repository::forget(cx, &repository::here(), of, &gone.id)?;
    }
    if gone.copied_at.is_some()
        && let Some(there) = offsite::of(cx)?
    {
        repository::forget(cx, &there, of, &gone.id)?;
    }
    Ok(())
}

/// The newest failures stay, to look at.
fn forget_failed(cx: &mut Context, backups: &[Backup]) -> Result<()> {
    for group in groups(backups) {
        let failed = group.into_iter().filter(|backup| backup.state == BackupState::Failed);
        for backup in failed.skip(KEPT_FAILED) {
            cx.registry()?.forget_backup(backup)?;
        }
    }
    Ok(())
}
