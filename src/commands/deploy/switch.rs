//! Moves requests to a release that is complete, watches it, and takes old ones away.

use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::stage;
use crate::{
    commands::{
        Context, facts,
        secrets::deliver::{self, Delivery},
    },
    error::{Error, Kind, Result},
    names::{ProjectName, ReleaseId},
    projects::{self, Comes, From},
    registry::{Change, Live, NewDeploy, NewOperation, Project, Release, ReleaseState, Way},
    release::Spec,
    secret::Secret,
    steps::check_free,
    sys::signals,
};

pub struct Move<'a> {
    pub project: &'a Project,
    pub live: Live,
    pub verb: &'a str,
    pub deploy: i64,
    /// What happened before, in milliseconds.
    pub phases: BTreeMap<String, u64>,
    /// Text of the `.env` that it starts with, where that changes too and no secret does.
    pub env: Option<&'a str>,
    /// What processes get of the project's secrets.
    pub secrets: Option<Delivery>,
    /// What becomes of the database, where the release comes with its data.
    pub data: Option<Comes>,
}

/// So many attempts are remembered, with what their builds said.
const KEPT_DEPLOYS: u32 = 200;

/// A failed release is kept so long, to look at.
const KEPT_FAILED: i64 = 24;

/// Moves there, and stays there for as long as it is watched; else back, with an error. Gives
/// back the phases with its own.
pub fn carry_out(cx: &mut Context, mut to: Move<'_>, watch: u64) -> Result<BTreeMap<String, u64>> {
    let logs = Logs::of(to.project, &to.live);
    let start = Instant::now();
    let mut phases = to.phases.clone();
    let had = match &to.secrets {
        Some(_) => deliver::as_is(cx, to.project, &to.live)?,
        None => None,
    };
    let data = to.data.take();
    let to = &to;
    let error = match apply(cx, to, data) {
        Ok(()) => {
            let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            phases.insert("switch".into(), took);
            if watch == 0 || to.live.spec.web().is_none() {
                return Ok(phases);
            }
            match watched(cx, to.project, watch) {
                Ok(()) => return Ok(phases),
                Err(why) => why,
            }
        }
        Err(error) => return Err(explain(error, to, &logs)),
    };
    let error = explain(error, to, &logs);
    go_back(cx, to, had)?;
    Err(error)
}

/// The same release once more, perhaps with another environment, by the same road.
pub fn again(
    cx: &mut Context,
    project: &Project,
    live: &Live,
    verb: &str,
    env: Option<&str>,
    data: Option<Comes>,
) -> Result<()> {
    let actor = cx.caller.actor();
    let secrets = deliver::pending(cx, project, live, verb, env)?;
    let deploy = cx.registry()?.begin_deploy(&NewDeploy {
        project: &project.name,
        verb,
        release: &live.id,
        previous: Some(&live.id),
        source: "the same release",
        revision: None,
        actor: &actor,
    })?;
    let phases = BTreeMap::new();
    let live = live.clone();
    let to = Move { project, live, verb, deploy, phases, env, secrets, data };
    let switched = carry_out(cx, to, 0);
    if let Err(error) = &switched {
        cx.registry()?.fail_deploy(deploy, &error.to_string(), &BTreeMap::new())?;
    }
    switched.map(|_| ())
}

fn apply(cx: &mut Context, to: &Move<'_>, data: Option<Comes>) -> Result<()> {
    let Move { project, verb, deploy, phases, secrets, .. } = to;
    let live = &with_its_names(cx, project, &to.live)?;
    let written = secrets.as_ref().and_then(|secrets| secrets.env.as_ref());
    let env = written.map(Secret::expose).or(to.env);
    projects::check_own(project, &live.spec)?;
    check_units(cx, project, &live.spec)?;
    let mut facts = facts::of_switch(&cx.host, project)?;
    if live.spec.reads_env() {
        let is = cx.host.read_text(&project.name.env_file())?;
        facts.env = env.map(str::to_owned).or(is);
        facts.release = is_complete(cx, &project.name, &live.id)?.then(|| live.id.clone());
    }
    let unit = cx.host.unit(&project.name.unit())?;
    let mut wanted = (*project).clone();
    wanted.runtime = live.spec.runtime;
    wanted.live = Some(live.clone());
    let now = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0);
    let credentials = secrets.as_ref().map(|secrets| &secrets.credentials);
    let from =
        From { old: project.live.as_ref(), is_up: unit.is_active(), env, credentials, data, now };
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(&project.name), verb, actor: &actor, way: Way::Undo };
    let live_now = Change::Live {
        project: project.name.clone(),
        live: Box::new(live.clone()),
        deploy: *deploy,
        phases: phases.clone(),
    };
    let was = cx.registry()?.project(&project.name)?.environment;
    let is = project.environment;
    let moved = (was != is).then(|| Change::Environment(project.name.clone(), is));
    cx.carry_out(&new, None, |cx, _| {
        let templates = cx.templates()?;
        let plan = projects::switch_plan(&wanted, live, from, &facts, &cx.config, &templates)?;
        let arrived = secrets.as_ref().map(|secrets| Change::Secrets(secrets.arrived.clone()));
        Ok((plan, std::iter::once(live_now).chain(arrived).chain(moved).collect()))
    })?;
    Ok(())
}

/// Fails where a release gives a unit another name that it can't have.
pub fn check_names(cx: &mut Context, project: &Project, spec: &Spec) -> Result<()> {
    let others = cx.registry()?.projects()?;
    projects::check_aliases(project, spec, &others, &cx.config.units)?;
    for (alias, process) in &spec.aliases {
        check_free(&cx.host, alias, &projects::unit_of(&project.name, process))?;
    }
    Ok(())
}

/// The release without names that came to be somebody else's since it was made: no way back may
/// end at that.
fn with_its_names(cx: &mut Context, project: &Project, live: &Live) -> Result<Live> {
    let mut live = live.clone();
    if live.spec.aliases.is_empty() {
        return Ok(live);
    }
    let others = cx.registry()?.projects()?;
    for error in projects::drop_aliases(project, &mut live.spec, &others, &cx.config.units) {
        let why = error.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        cx.ui.note(format!("{}{why}", error.message));
    }
    Ok(live)
}

/// Fails where a process would have a unit of another project: `shop` with a process `stage`, and
/// a project `shop-stage`.
pub fn check_units(cx: &mut Context, project: &Project, spec: &Spec) -> Result<()> {
    let wanted = projects::unit_names(project, Some(spec));
    for other in cx.registry()?.projects()?.iter().filter(|other| other.name != project.name) {
        let spec = other.live.as_ref().map(|live| &live.spec);
        let theirs = projects::unit_names(other, spec);
        if let Some(unit) = wanted.iter().find(|unit| theirs.contains(unit)) {
            return Err(Error::conflict(
                "unit_taken",
                format!("`{unit}` is a unit of {}", other.name),
            )
            .caused_by("a process of this release would be called so")
            .hint("give that process another name in hostkit.toml"));
        }
    }
    Ok(())
}

/// Fails when the new release does: restarts, or every tenth request and more.
fn watched(cx: &Context, project: &Project, seconds: u64) -> Result<()> {
    let start = Instant::now();
    let access = PathBuf::from(format!("/var/log/nginx/hostkit-{}.access.log", project.name));
    let mut at = std::fs::metadata(&access).map_or(0, |meta| meta.len());
    let (mut asked, mut failed) = (0_u32, 0_u32);
    let tell = cx.ui.listener();
    while start.elapsed() < Duration::from_secs(seconds) {
        let unit = cx.host.unit(&project.name.unit())?;
        if unit.is_failing() || unit.restarts > 0 || !unit.is_active() {
            return Err(unhealthy(format!(
                "within {} s: {}",
                start.elapsed().as_secs() + 1,
                unit.why()
            )));
        }
        let (more, bad) = answers(&access, &mut at);
        asked += more;
        failed += bad;
        if failed >= 5 && failed * 10 >= asked {
            return Err(unhealthy(format!("{failed} of {asked} requests were answered with 5xx")));
        }
        let left = seconds - start.elapsed().as_secs().min(seconds);
        let what = format!("watching: {left} s left · {failed} of {asked} requests failed");
        tell(crate::plan::Progress::Settling { what });
        // Whoever stops to look does not want it undone.
        if signals::check().is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

fn unhealthy(why: String) -> Error {
    Error::new(Kind::Unhealthy, "unhealthy", "the new release does not stay up").caused_by(why)
}

/// Requests that were logged since, and how many of them failed on the server's side.
fn answers(log: &std::path::Path, at: &mut u64) -> (u32, u32) {
    let mut text = String::new();
    let read = std::fs::File::open(log).and_then(|mut file| {
        if file.metadata()?.len() < *at {
            *at = 0;
        }
        file.seek(SeekFrom::Start(*at))?;
        file.take(4 << 20).read_to_string(&mut text)
    });
    *at += read.unwrap_or(0) as u64;
    let status = |line: &str| line.split('"').nth(2)?.split_ascii_whitespace().next()?.parse().ok();
    let all: Vec<u16> = text.lines().filter_map(status).collect();
    let bad = all.iter().filter(|status| **status >= 500).count();
    (u32::try_from(all.len()).unwrap_or(0), u32::try_from(bad).unwrap_or(0))
}

/// To the release that answered before, the same way.
fn go_back(cx: &mut Context, failed: &Move<'_>, secrets: Option<Delivery>) -> Result<()> {
    let name = &failed.project.name;
    cx.ui.note(format!("{} does not stay up: back to the one before", failed.live.id));
    let Some(old) = &failed.project.live else { return Ok(()) };
    let now = cx.registry()?.living_project(name)?;
    let actor = cx.caller.actor();
    let deploy = cx.registry()?.begin_deploy(&NewDeploy {
        project: name,
        verb: "rollback",
        release: &old.id,
        previous: Some(&failed.live.id),
        source: "automatic",
        revision: None,
        actor: &actor,
    })?;
    let back = Move {
        project: &now,
        live: old.clone(),
        verb: "rollback",
        deploy,
        phases: BTreeMap::new(),
        env: None,
        secrets,
        data: None,
    };
    apply(cx, &back, None)?;
    cx.registry()?.condemn_release(name, &failed.live.id)
}

/// Where the logs of a project ended before the switch.
struct Logs(Vec<(PathBuf, u64)>);

impl Logs {
    fn of(project: &Project, live: &Live) -> Self {
        let dir = project.name.logs();
        let names = ["error".to_owned(), "app".to_owned()];
        let workers = live.spec.workers().map(|worker| worker.name.clone());
        let paths = names.into_iter().chain(workers).map(|n| dir.join(format!("{n}.log")));
        Self(paths.map(|p| (p.clone(), std::fs::metadata(p).map_or(0, |m| m.len()))).collect())
    }

    /// The last lines that came since.
    fn since(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (path, at) in &self.0 {
            let mut bytes = Vec::new();
            let _ = std::fs::File::open(path).and_then(|mut file| {
                let from = (*at).max(file.metadata()?.len().saturating_sub(64 << 10));
                file.seek(SeekFrom::Start(from))?;
                file.take(64 << 10).read_to_end(&mut bytes)
            });
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let new: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let from = new.len().saturating_sub(20);
            lines.extend(new[from..].iter().map(|line| {
                console::strip_ansi_codes(line).chars().filter(|c| !c.is_control()).collect()
            }));
        }
        let from = lines.len().saturating_sub(20);
        lines[from..].join("\n")
    }
}

fn explain(mut error: Error, to: &Move<'_>, logs: &Logs) -> Error {
    if error.kind != Kind::Unhealthy {
        return error;
    }
    let said = logs.since();
    if !said.is_empty() {
        let cause = error.cause.take().unwrap_or_default();
        error.cause = Some(format!("{cause}; the end of its log:\n{said}"));
    }
    let log = to.project.name.logs().join("error.log");
    error.hint(format!("see more: `less {}`", log.display()))
}

/// Takes away releases that nobody will go back to: all but the newest good ones, the live one and
/// the one before it; and failed ones after a day.
pub fn prune(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let project = cx.registry()?.project(name)?;
    let releases = cx.registry()?.releases(name)?;
    let live = project.live.as_ref().map(|live| &live.id);
    let before = live.and_then(|id| previous(&releases, id)).map(|release| release.id.clone());
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(KEPT_FAILED);
    let keep = cx.config.deploys.keep as usize;
    let mut good = 0;
    for release in &releases {
        let is_kept = match release.state {
            ReleaseState::Good => {
                good += 1;
                good <= keep
            }
            ReleaseState::Failed | ReleaseState::Staged => release.made_at > old,
        };
        if is_kept || Some(&release.id) == live || Some(&release.id) == before.as_ref() {
            continue;
        }
        cx.host.remove_tree(&name.home().join("releases").join(release.id.as_str()))?;
        cx.registry()?.forget_release(name, &release.id)?;
    }
    for id in cx.registry()?.forget_deploys(name, KEPT_DEPLOYS)? {
        cx.host.remove_file(&stage::log_path(name, &id))?;
    }
    Ok(())
}

/// The good release before one, in the order in which they were made.
pub fn previous<'a>(releases: &'a [Release], id: &ReleaseId) -> Option<&'a Release> {
    let at = releases.iter().position(|release| release.id == *id)?;
    releases[at + 1..].iter().find(|release| release.state == ReleaseState::Good)
}

/// Whether a release is whole on the disk.
pub fn is_complete(cx: &Context, name: &ProjectName, id: &ReleaseId) -> Result<bool> {
    let marker = name.home().join("releases").join(id.as_str()).join(".complete");
    Ok(cx.host.meta(&marker)?.is_some())
}
