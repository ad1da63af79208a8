//! What must hold of backups where they are made by themselves, or were made once.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::Check;
use crate::{
    commands::{
        Context,
        backup::{
            repository::{KEY, PLACE},
            timer,
        },
    },
    config::Drill,
    error::Result,
    registry::{Backup, BackupState, Project},
    ui::ago,
};

/// A day's backup may be late, and not two.
const STALE: SignedDuration = SignedDuration::from_hours(48);
/// A week's proof may be late.
const UNPROVEN: SignedDuration = SignedDuration::from_hours(9 * 24);

pub fn checks(cx: &mut Context, projects: &[Project]) -> Vec<Check> {
    match look(cx, projects) {
        Ok(checks) => checks,
        Err(error) => vec![Check::error("backups", &error)],
    }
}

fn look(cx: &mut Context, projects: &[Project]) -> Result<Vec<Check>> {
    let (has_timer, mut checks) = (timer::is_on(cx)?, Vec::new());
    let is_made = cx.host.meta(&Path::new(PLACE).join("config"))?.is_some();
    if is_made && cx.host.meta(Path::new(KEY))?.is_none() {
        let why = format!("there is no `{KEY}`: nobody can read the backups on this server");
        checks.push(
            Check::wrong("key of the backups", why)
                .fix("write the recovery key there; it was printed when the repository was made"),
        );
    }
    for project in projects.iter().filter(|project| !project.deleting) {
        let all = cx.registry()?.backups(Some(&project.name))?;
        checks.extend(of(cx, project, &all, has_timer));
    }
    Ok(checks)
}

/// Why there is nothing of use in the second place.
fn far(all: &[Backup], project: &Project) -> Option<String> {
    let is_there = |b: &&Backup| b.state == BackupState::Complete && b.copied_at.is_some();
    let newest = all.iter().find(is_there);
    let since = newest.map_or(project.created_at, |newest| newest.made_at);
    let is_stale = Timestamp::now().duration_since(since) > STALE;
    let of =
        newest.map_or("there is none".into(), |b| format!("the newest is of {}", ago(b.made_at)));
    is_stale.then(|| format!("no copy elsewhere for two days: {of}"))
}

fn of(cx: &Context, project: &Project, all: &[Backup], has_timer: bool) -> Option<Check> {
    let name = &project.name;
    let title = format!("{name}: backup");
    let newest = all.iter().find(|backup| backup.state == BackupState::Complete);
    let judged = all.iter().find(|backup| backup.proven.is_some());
    let again = format!("hostkit backup create {name}");
    if let Some(failed) = all.first().filter(|backup| backup.state == BackupState::Failed) {
        let why = failed.error.as_deref().unwrap_or_default();
        let why = why.lines().next().unwrap_or_default();
        return Some(Check::wrong(title, format!("the last one failed: {why}")).fix(again));
    }
    if let Some(bad) = judged.filter(|backup| backup.proven == Some(false)) {
        let why = format!("{} does not come back as it was", bad.id);
        return Some(
            Check::wrong(title, why).fix(format!("{again} && hostkit backup drill {name}")),
        );
    }
    if !has_timer {
        return newest.map(|newest| Check::fine(title, format!("made {}", ago(newest.made_at))));
    }
    let since = newest.map_or(project.created_at, |newest| newest.made_at);
    if Timestamp::now().duration_since(since) > STALE {
        let made =
            newest.map_or("none was ever made".into(), |b| format!("made {}", ago(b.made_at)));
        return Some(
            Check::wrong(title, format!("no complete one for two days: {made}"))
                .fix("journalctl -u hostkit-backup.service"),
        );
    }
    if !cx.config.backup.offsite.is_empty()
        && let Some(why) = far(all, project)
    {
        return Some(Check::wrong(title, why).fix("hostkit backup run-all"));
    }
    let proven = all.iter().find(|backup| backup.proven == Some(true));
    let proven_at = proven.and_then(|backup| backup.proven_at);
    let first = all.last().map_or_else(Timestamp::now, |backup| backup.made_at);
    let unproven = Timestamp::now().duration_since(proven_at.unwrap_or(first));
    if cx.config.backup.drill != Drill::Never && unproven > UNPROVEN {
        return Some(
            Check::wrong(title, "none was proven for nine days")
                .fix(format!("hostkit backup drill {name}")),
        );
    }
    let proof = proven_at.map_or("not yet".into(), ago);
    let made = newest.map_or("none yet".into(), |newest| ago(newest.made_at));
    Some(Check::fine(title, format!("made {made}, proven {proof}")))
}
