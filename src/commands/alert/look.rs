//! What is wrong on this server now: only what can be seen within seconds, since it is looked at
//! every minute.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::{
    commands::{
        Context,
        doctor::{self, Check},
        process, status,
    },
    error::{Error, Result},
    projects::alerts::{Problem, Traffic},
    registry::Project,
};

/// Where what grows lies.
const DISKS: [&str; 6] =
    ["/", "/home", "/var", "/var/lib/postgresql", "/var/lib/mysql", "/srv/backups"];
/// So much of a log is read, and more where that does not reach back far enough.
const ENDS: [u64; 3] = [64 << 10, 512 << 10, 4 << 20];

/// What can't be looked at is a problem like any other: nobody would hear of the rest.
pub(super) fn look(cx: &mut Context, now: Timestamp) -> Vec<Problem> {
    let mut problems = Vec::new();
    let all = living(cx).unwrap_or_else(|error| {
        problems.push(unseen("projects", &error));
        Vec::new()
    });
    let mut note = |what: &str, found: Result<Vec<Problem>>| match found {
        Ok(found) => problems.extend(found),
        Err(error) => problems.push(unseen(what, &error)),
    };
    note("disks", disks(cx));
    let mut checks = doctor::host::services(cx);
    if !all.is_empty() {
        checks.extend(doctor::backups::checks(cx, &all));
        checks.extend(doctor::tls::checks(cx, &all));
        note("answers", sick(cx));
    }
    note("services", Ok(checks.into_iter().filter_map(of_check).collect()));
    for project in all.iter().filter(|project| project.live.is_some()) {
        note(project.name.as_str(), processes(cx, project));
        note(&format!("{}: log", project.name), traffic(cx, project, now));
    }
    problems
}

fn unseen(what: &str, error: &Error) -> Problem {
    let text = error.to_string();
    let text = format!("can't be looked at: {}", text.lines().next().unwrap_or_default());
    Problem { key: what.to_owned(), text }
}

fn living(cx: &mut Context) -> Result<Vec<Project>> {
    let all = cx.registry()?.projects()?;
    Ok(all.into_iter().filter(|project| !project.deleting).collect())
}

fn of_check(check: Check) -> Option<Problem> {
    let fix = check.fix.map(|fix| format!(" → {fix}")).unwrap_or_default();
    let text = format!("{}{fix}", check.finding.lines().next().unwrap_or_default());
    (!check.ok).then_some(Problem { key: check.name, text })
}

fn disks(cx: &Context) -> Result<Vec<Problem>> {
    let limit = u64::from(cx.config.alerts.disk.0);
    let (mut seen, mut problems) = (Vec::new(), Vec::new());
    for dir in DISKS {
        let Some((disk, percent)) = cx.host.disk_use(Path::new(dir))? else { continue };
        if seen.contains(&disk) {
            continue;
        }
        seen.push(disk);
        if limit > 0 && percent >= limit {
            problems.push(Problem { key: format!("disk {dir}"), text: format!("{percent}% full") });
        }
    }
    Ok(problems)
}

/// Those that run, and do not answer as they should.
fn sick(cx: &mut Context) -> Result<Vec<Problem>> {
    let told = status::sick(cx)?.into_iter();
    Ok(told.map(|(name, text)| Problem { key: format!("{name}: answers"), text }).collect())
}

fn processes(cx: &Context, project: &Project) -> Result<Vec<Problem>> {
    let ill = process::states(cx, project)?.into_iter().filter(|(_, _, is_well)| !is_well);
    let key = |process: &str| format!("{}: {process}", project.name);
    Ok(ill.map(|(process, text, _)| Problem { key: key(&process), text }).collect())
}

fn traffic(cx: &Context, project: &Project, now: Timestamp) -> Result<Vec<Problem>> {
    let log = PathBuf::from(format!("/var/log/nginx/hostkit-{}.access.log", project.name));
    let mut traffic = Traffic::default();
    for long in ENDS {
        let end = cx.host.read_end(&log, long)?;
        traffic = Traffic::read(&end, now);
        if traffic.is_whole || (end.len() as u64) < long {
            break;
        }
    }
    let faults = traffic.faults(&cx.config.alerts).into_iter();
    let key = |what: &str| format!("{}: {what}", project.name);
    Ok(faults.map(|(what, text)| Problem { key: key(what), text }).collect())
}
