//! `hostkit recover`: ends what a crash left open, or builds a lost registry anew.

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;

use super::{
    Context, checkpoint::take, db, deploy::stage::DEPLOYS, facts, secrets::keys, ssl, state,
};
use crate::{
    error::{Error, Kind, Result},
    journal::KEPT,
    names::{ProjectName, PublicKey},
    projects,
    registry::{self, Change, Live, NewOperation, Of, Outcome, Project, Registry, Way},
    steps::{aside, mysql_aside},
    sys::{Owner, users},
    ui::count,
};

/// Finish or undo what was interrupted
///
/// Every command does this for the project that it works on; this does it for all of them. With
/// --from-host it builds a lost or damaged registry anew, from units, homes, keys and users.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit recover
  hostkit recover --from-host")]
pub struct Args {
    /// Build a lost registry anew from what is on the server
    #[arg(long)]
    from_host: bool,

    /// Show what would be found, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Recovered {
    operations: Vec<Ended>,
}

#[derive(Serialize)]
struct Ended {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    verb: String,
    /// finished, undone, running or interrupted (of a dry run).
    outcome: &'static str,
}

#[derive(Serialize)]
struct Rebuilt {
    projects: Vec<String>,
    not_understood: Vec<String>,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    if args.from_host { from_host(args, cx) } else { interrupted(args, cx) }
}

fn interrupted(args: &Args, cx: &mut Context) -> Result<()> {
    let open = cx.registry()?.open_operations(Of::All)?;
    let wait = cx.wait;
    let mut operations = Vec::new();
    let mut failed = None;
    for operation in &open {
        // One whose process is gone is only waited for until its last program has ended.
        let is_running = Path::new(&format!("/proc/{}", operation.pid)).exists();
        cx.wait = if is_running { std::time::Duration::ZERO } else { wait };
        let outcome = if args.dry_run {
            Ok("interrupted")
        } else {
            end(cx, operation.project.as_ref(), operation.way)
        };
        let outcome = outcome.unwrap_or_else(|error| {
            let of = operation.project.as_ref().map_or("the server", ProjectName::as_str);
            cx.ui.note(format!("{of}: {error}"));
            failed = Some(error);
            "failed"
        });
        operations.push(Ended {
            project: operation.project.as_ref().map(ToString::to_string),
            verb: operation.verb.clone(),
            outcome,
        });
    }
    cx.wait = wait;
    for name in unsettled(cx)? {
        let settled = if args.dry_run { Ok("interrupted") } else { settle(cx, &name) };
        // One project's trouble is not another's.
        let outcome = settled.unwrap_or_else(|error| {
            cx.ui.note(format!("{name}: {error}"));
            failed = Some(error);
            "failed"
        });
        let verb = "change of the database".to_owned();
        operations.push(Ended { project: Some(name.to_string()), verb, outcome });
    }
    if keys::is_rotating(cx) {
        let ended = if args.dry_run { Ok("interrupted") } else { finish_rotation(cx) };
        let outcome = ended.unwrap_or_else(|error| {
            cx.ui.note(format!("the server: {error}"));
            failed = Some(error);
            "failed"
        });
        operations.push(Ended { project: None, verb: "secrets rotate-key".into(), outcome });
    }
    let mut text = String::new();
    for Ended { project, verb, outcome } in &operations {
        let of = project.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        text.push_str(&format!("`{verb}`{of}: {outcome}\n"));
    }
    if operations.is_empty() {
        text.push_str("nothing was interrupted\n");
    }
    if let Some(error) = failed {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        return Err(error);
    }
    cx.ui.result("recover", None, &Recovered { operations }, &text);
    Ok(())
}

fn finish_rotation(cx: &mut Context) -> Result<&'static str> {
    let _held = match cx.take_host("recover") {
        Err(error) if error.kind == Kind::Locked => return Ok("running"),
        taken => taken?,
    };
    if keys::is_rotating(cx) {
        keys::rotate(cx)?;
        cx.record(None, "secrets rotate-key", Ok(()))?;
    }
    Ok("finished")
}

/// For `doctor --fix`: ends all that was interrupted.
pub fn all(cx: &mut Context) -> Result<()> {
    for operation in cx.registry()?.open_operations(Of::All)? {
        end(cx, operation.project.as_ref(), operation.way)?;
    }
    for name in unsettled(cx)? {
        settle(cx, &name)?;
    }
    Ok(())
}

/// Projects whose database was put back, and what it replaced has no checkpoint yet; or was given
/// up, and is not gone yet.
pub fn unsettled(cx: &mut Context) -> Result<Vec<ProjectName>> {
    let mut projects = cx.registry()?.projects()?;
    let mut names = unsettled_in_mysql(cx, &projects)?;
    if projects.is_empty() || cx.host.postgres_version().is_err() {
        return Ok(names);
    }
    let rows = cx.host.query("SELECT datname::text FROM pg_database", &[])?;
    let databases: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut waiting = Vec::new();
    for project in &projects {
        let waits = if project.postgres {
            databases.contains(&aside(&project.name.database()))
        } else {
            projects::doomed(&project.name).is_marked(&cx.host)?
        };
        waiting.push(waits);
    }
    let mut waiting = waiting.into_iter();
    projects.retain(|_| waiting.next().unwrap_or(false));
    names.extend(projects.into_iter().map(|project| project.name));
    names.sort();
    names.dedup();
    Ok(names)
}

/// The same of databases in MariaDB.
fn unsettled_in_mysql(cx: &Context, projects: &[Project]) -> Result<Vec<ProjectName>> {
    let mut names = Vec::new();
    if projects.is_empty() || !cx.config.mysql.enabled || cx.host.mysql_version().is_err() {
        return Ok(names);
    }
    let databases = cx.host.mysql_databases()?;
    for project in projects {
        let waits = if project.mysql {
            databases.contains(&mysql_aside(&project.name.database()))
        } else {
            projects::mysql_given_up(&project.name).is_marked(&cx.host)?
        };
        if waits {
            names.push(project.name.clone());
        }
    }
    Ok(names)
}

fn settle(cx: &mut Context, name: &ProjectName) -> Result<&'static str> {
    let _held = match cx.take_project(name, "recover") {
        Err(error) if error.kind == Kind::Locked => return Ok("running"),
        taken => taken?,
    };
    let project = cx.registry()?.project(name)?;
    db::finish_removal(cx, &project)?;
    take::settle(cx, &project).map(|_| "finished")
}

/// Taking the lock is what ends an operation whose process is gone.
fn end(cx: &mut Context, project: Option<&ProjectName>, way: Way) -> Result<&'static str> {
    let taken = match project {
        Some(name) => cx.take_project(name, "recover"),
        None => cx.take_host("recover"),
    };
    match (taken, way) {
        (Ok(_), Way::Finish) => Ok("finished"),
        (Ok(_), Way::Undo) => Ok("undone"),
        (Err(error), _) if error.kind == Kind::Locked => Ok("running"),
        (Err(error), _) => Err(error),
    }
}

fn from_host(args: &Args, cx: &mut Context) -> Result<()> {
    let path = Path::new(registry::PATH);
    let sound = Registry::open(path).and_then(|registry| registry.check());
    if sound.is_ok() {
        return Err(Error::conflict(
            "registry_sound",
            "the registry is sound, so it is not built anew",
        )
        .hint("`hostkit doctor` says what is wrong, if something is"));
    }
    let (projects, not_understood) = find(cx)?;
    let data = Rebuilt {
        projects: projects.iter().map(|project| project.name.to_string()).collect(),
        not_understood,
    };
    let mut text: String = data.projects.iter().map(|name| format!("  {name}\n")).collect();
    for odd in &data.not_understood {
        cx.ui.note(format!("not understood: {odd}"));
    }
    if args.dry_run {
        text.push_str(&format!(
            "{} would be recorded; nothing is done yet\n",
            count(data.projects.len(), "project")
        ));
        cx.ui.result("recover", None, &data, &text);
        return Ok(());
    }
    cx.registry = None;
    let _held = crate::sys::lock::take(crate::sys::lock::HOST, "hostkit recover", cx.wait, |_| {})?;
    set_aside(cx)?;
    write(cx, &projects)?;
    for root in [Path::new(DEPLOYS), Path::new(take::ROOT)] {
        let own = projects.iter().map(|project| root.join(project.name.as_str()));
        for dir in std::iter::once(root.to_owned()).chain(own) {
            cx.host.make_dir(&dir, Owner::ROOT, 0o700)?;
        }
    }
    for project in &projects {
        take::find_again(cx, &project.name)?;
    }
    text.push_str(&format!(
        "the registry is built anew with {}\nnow: hostkit doctor\n",
        count(data.projects.len(), "project")
    ));
    cx.ui.result("recover", None, &data, &text);
    Ok(())
}

/// Projects as their units tell, checked against what else is there.
fn find(cx: &Context) -> Result<(Vec<Project>, Vec<String>)> {
    let units = Path::new("/etc/systemd/system");
    let mut projects: Vec<Project> = Vec::new();
    let mut odd = Vec::new();
    for name in cx.host.list(units)? {
        let name = name.to_string_lossy().into_owned();
        let is_ours = name.starts_with("hostkit-") && name.ends_with(".service");
        if !is_ours
            || matches!(
                name.as_str(),
                "hostkit-wall.service"
                    | "hostkit-recover.service"
                    | "hostkit-backup.service"
                    | "hostkit-ssl.service"
                    | "hostkit-nginx-guard.service"
            )
        {
            continue;
        }
        let Some(text) = cx.host.read_text(&units.join(&name))? else { continue };
        match projects::read_unit(&text).and_then(|found| complete(cx, found, &name)) {
            Ok(project) => projects.push(project),
            Err(error) => odd.push(format!("{name}: {error}")),
        }
    }
    let mut seen = BTreeSet::new();
    for project in &projects {
        if !seen.insert(project.port) {
            odd.push(format!("{}: another project has port {} too", project.name, project.port));
        }
    }
    Ok((projects, odd))
}

fn complete(cx: &Context, mut project: Project, unit: &str) -> Result<Project> {
    let wrong =
        |why: String| Error::failed("it does not fit the rest of the server").caused_by(why);
    if project.name.unit() != unit {
        return Err(wrong(format!("it says that it is of `{}`", project.name)));
    }
    match users::find(project.name.as_str())? {
        Some(user) if user.owner.uid == project.uid => {}
        Some(user) => return Err(wrong(format!("the user has the number {}", user.owner.uid))),
        None => cx.ui.note(format!(
            "{}: its user is missing; `hostkit repair` makes it again",
            project.name
        )),
    }
    project.live = live(cx, &project)?;
    let path = project.name.home().join(".ssh/authorized_keys");
    let text = cx.host.read_text(&path)?.unwrap_or_default();
    project.keys = text
        .lines()
        .filter_map(|line| line.parse::<PublicKey>().ok())
        .filter(|key| !cx.config.ssh_keys.contains(key))
        .collect();
    project.tls = ssl::files::found(cx, &project.name);
    project.ci_keys = text.lines().filter_map(|line| line.parse().ok()).collect();
    Ok(project)
}

/// The release that `app` points to, as it says itself what it runs.
fn live(cx: &Context, project: &Project) -> Result<Option<Live>> {
    let Some(id) = state::release(cx, project)? else { return Ok(None) };
    let marker = project.name.home().join("releases").join(id.as_str()).join(".complete");
    let spec = cx.host.read_text(&marker)?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(spec.map(|spec| Live { id, spec }))
}

/// Keeps what is left of the old registry, and what it had kept.
fn set_aside(cx: &Context) -> Result<()> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    if cx.host.meta(Path::new("/var/lib/hostkit"))?.is_none() {
        cx.host.make_dir(Path::new("/var/lib/hostkit"), Owner::ROOT, 0o700)?;
    }
    for suffix in ["-wal", "-shm", ""] {
        let path = format!("{}{suffix}", registry::PATH);
        if cx.host.meta(Path::new(&path))?.is_some() {
            cx.host.rename(Path::new(&path), Path::new(&format!("{path}.lost-{stamp}")))?;
        }
    }
    if cx.host.meta(Path::new(KEPT))?.is_some() {
        cx.host.move_tree(Path::new(KEPT), Path::new(&format!("{KEPT}.lost-{stamp}")))?;
    }
    Ok(())
}

fn write(cx: &mut Context, projects: &[Project]) -> Result<()> {
    let actor = cx.caller.actor();
    let floor = cx.host.read_text(Path::new(facts::UID_FLOOR))?;
    let floor = floor.and_then(|text| text.trim().parse::<u32>().ok());
    cx.make_registry(|registry| {
        let new = NewOperation { project: None, verb: "recover", actor: &actor, way: Way::Undo };
        let (id, _) = registry.begin(&new, None)?;
        let changes: Vec<Change> =
            projects.iter().cloned().map(|project| Change::Add(Box::new(project))).collect();
        registry.close(id, Outcome::Done, Some("the registry was built anew"), &changes)?;
        floor.map_or(Ok(()), |floor| registry.burn_uid(floor.saturating_sub(1)))
    })
}
