//! A project's processes, one by one: `hostkit service`, `worker` and `cron`.

pub mod cron;
pub mod follow;
pub mod service;
pub mod worker;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Context;
use crate::{
    error::{Error, Kind as Failure, Result},
    names::{ProjectName, nearest},
    projects,
    registry::{Change, NewOperation, Project, Way},
    release::{Kind, Process},
    sys::{
        Cmd,
        systemd::{Unit, Verb},
    },
    ui::{Paint, count},
};

/// How long a process is watched after its start: long enough for what can't work to fail.
const WATCH: Duration = Duration::from_millis(1500);

/// A process as it is shown.
#[derive(Serialize)]
struct Shown {
    name: String,
    kind: &'static str,
    /// Who brought it: the release, or an operator.
    from: &'static str,
    unit: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// When its timer starts it next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<jiff::Timestamp>,
    restarts: u32,
    exit_status: i32,
    command: String,
}

/// All processes of a project, also those that are off or wait for a first release.
fn all(project: &Project) -> Vec<(Process, &'static str)> {
    let release = project.live.iter().flat_map(|live| &live.spec.processes);
    let own = project.own.iter().map(|process| (process.clone(), "operator"));
    let mut all: Vec<_> = release
        .filter(|process| process.kind != Kind::Release)
        .map(|process| (process.clone(), "release"))
        .chain(own)
        .collect();
    all.sort_by(|(a, _), (b, _)| (a.name != "web", &a.name).cmp(&(b.name != "web", &b.name)));
    all
}

/// The process of that name, or an error that lists those that there are.
fn find(
    project: &Project,
    name: &str,
    what: &str,
    is: impl Fn(&Process) -> bool,
) -> Result<(Process, &'static str)> {
    let all: Vec<_> = all(project).into_iter().filter(|(process, _)| is(process)).collect();
    let names: Vec<&str> = all.iter().map(|(process, _)| process.name.as_str()).collect();
    if let Some(found) = all.iter().find(|(process, _)| process.name == name) {
        return Ok(found.clone());
    }
    let error = Error::missing(
        "no_process",
        format!("{} has no {what} `{}`", project.name, name.escape_debug()),
    );
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let error = error.caused_by(format!("there is: {there}"));
    Err(match nearest(name, names.iter().copied()) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint(format!("see `hostkit service list {}`", project.name)),
    })
}

/// The unit that starts and stops a process: its own, or the timer.
fn handle(name: &ProjectName, process: &Process) -> String {
    match process.kind {
        Kind::Scheduled(_) => projects::timer_unit(name, &process.name),
        _ => runner(name, process),
    }
}

/// The unit that the process itself runs in.
fn runner(name: &ProjectName, process: &Process) -> String {
    match process.kind {
        Kind::Web => name.unit(),
        _ => projects::process_unit(name, &process.name),
    }
}

fn show(cx: &Context, project: &Project, process: &Process, from: &'static str) -> Result<Shown> {
    let name = &project.name;
    let unit = cx.host.unit(&runner(name, process))?;
    let (kind, schedule) = match &process.kind {
        Kind::Web => ("web", None),
        Kind::Worker => ("worker", None),
        Kind::Release => ("release", None),
        Kind::Scheduled(schedule) => ("timer", Some(schedule.clone())),
    };
    let next = match &process.kind {
        Kind::Scheduled(_) => cx.host.next_run(&projects::timer_unit(name, &process.name))?,
        _ => None,
    };
    let time = |us: u64| jiff::Timestamp::from_microsecond(i64::try_from(us).ok()?).ok();
    Ok(Shown {
        name: process.name.clone(),
        kind,
        from,
        state: state(project, process, &unit, next.is_some()),
        unit: runner(name, process),
        schedule,
        next: next.and_then(time),
        memory: unit.memory.filter(|_| unit.is_active()),
        since: unit.active_since.filter(|_| unit.is_active()).and_then(time),
        restarts: unit.restarts,
        exit_status: unit.exit_status,
        command: process.command.join(" "),
    })
}

/// The processes of a project that last: each one's name, how it is, and whether that is well.
pub fn states(cx: &Context, project: &Project) -> Result<Vec<(String, String, bool)>> {
    let lasting = all(project).into_iter().filter(|(process, _)| process.kind != Kind::Release);
    lasting
        .map(|(process, from)| {
            let shown = show(cx, project, &process, from)?;
            let is_well = matches!(shown.state.as_str(), "up" | "running" | "waits" | "off");
            let restarts = match shown.restarts {
                0 => String::new(),
                n => format!(", {}", count(n as usize, "restart")),
            };
            Ok((process.name, format!("{}{restarts}", shown.state), is_well))
        })
        .collect()
}

fn state(project: &Project, process: &Process, unit: &Unit, waits: bool) -> String {
    let word = match &process.kind {
        _ if project.live.is_none() => "waits for a release",
        Kind::Scheduled(_) if project.off.contains(&process.name) => "off",
        Kind::Scheduled(_) if unit.active == "activating" => "running",
        Kind::Scheduled(_) if unit.active == "failed" => "failed",
        Kind::Scheduled(_) if waits => "waits",
        _ if unit.is_failing() => "failing",
        _ if unit.is_active() => "up",
        _ if unit.active == "activating" => "starting",
        _ => "stopped",
    };
    word.to_owned()
}

fn painted(state: &str, paint: Paint) -> String {
    match state {
        "up" | "running" | "waits" => paint.green(&format!("{} {state}", paint.dot())),
        "failing" | "failed" => paint.red(&format!("{} {state}", paint.dot())),
        "starting" => paint.yellow(&format!("{} {state}", paint.half())),
        other => paint.dim(&format!("{} {other}", paint.ring())),
    }
}

/// Starts, stops or restarts one unit; what is started has to stay up for a moment.
fn act(cx: &Context, project: &Project, process: &Process, verb: Verb) -> Result<()> {
    let unit = handle(&project.name, process);
    if verb != Verb::Stop {
        cx.host.reset_failed(&unit)?;
    }
    let asked = cx.host.unit_job(verb, &unit);
    if verb == Verb::Stop {
        return asked;
    }
    asked.map_err(|e| unhealthy(cx, project, process, e.cause.unwrap_or(e.message)))?;
    if matches!(process.kind, Kind::Scheduled(_)) { Ok(()) } else { watch(cx, project, process) }
}

/// Fails as soon as the process does; content when it has been up for a while.
fn watch(cx: &Context, project: &Project, process: &Process) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < WATCH {
        let unit = cx.host.unit(&runner(&project.name, process))?;
        if unit.is_failing() || unit.restarts > 0 && !unit.is_active() {
            return Err(unhealthy(cx, project, process, unit.why()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn unhealthy(cx: &Context, project: &Project, process: &Process, why: String) -> Error {
    let logs = follow::paths(&project.name, process);
    let log = logs.last().map(|(_, path)| path.clone()).unwrap_or_default();
    let tail = cx.host.ask(&Cmd::new("/usr/bin/tail").args(["-n", "20"]).arg(&log));
    let lines = tail.map(|out| out.stdout_text().trim_end().to_owned()).unwrap_or_default();
    let cause = if lines.is_empty() { why } else { format!("{why}; the end of its log:\n{lines}") };
    let what = format!("{} of {} does not stay up", process.name, project.name);
    Error::new(Failure::Unhealthy, "unhealthy", what)
        .caused_by(cause)
        .hint(format!("see more: `hostkit service logs {} {}`", project.name, process.name))
}

/// Shows what a process said, or all of them.
pub fn logs(
    cx: &mut Context,
    command: &str,
    name: &ProjectName,
    process: Option<&str>,
    how: &follow::Lines,
) -> Result<()> {
    let project = cx.registry()?.project(name)?;
    let processes: Vec<Process> = match process {
        Some(process) => vec![find(&project, process, "process", |_| true)?.0],
        None => all(&project).into_iter().map(|(process, _)| process).collect(),
    };
    follow::run(cx, command, name, &processes, how)
}

/// The one way in which an operator's processes change: journaled, and all of it or nothing.
fn change(cx: &mut Context, before: &Project, after: &Project, verb: &str) -> Result<()> {
    if let Some(live) = &after.live {
        projects::check_own(after, &live.spec)?;
        super::deploy::switch::check_units(cx, after, &live.spec)?;
    }
    let plan = projects::own_plan(before, after, &cx.config, &cx.templates()?)?;
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(&after.name), verb, actor: &actor, way: Way::Undo };
    let change = Change::Processes(Box::new(after.clone()));
    cx.carry_out(&new, None, |_, _| Ok((plan, vec![change])))?;
    Ok(())
}

/// Adds a process of the operator's; what does not stay up is taken away again.
fn add(cx: &mut Context, name: &str, process: &Process, verb: &str) -> Result<Project> {
    let name: ProjectName = name.parse()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, verb)?;
    let before = cx.registry()?.living_project(&name)?;
    let mut after = before.clone();
    if let Some((_, from)) = all(&before).iter().find(|(known, _)| known.name == process.name) {
        let message = format!("{name} has a process `{}` already", process.name);
        let hint = match *from {
            "release" => "its release brings it: choose another name".to_owned(),
            _ => format!(
                "take that away first: `hostkit {} remove {name} {}`",
                verb.split(' ').next().unwrap_or(verb),
                process.name
            ),
        };
        return Err(Error::conflict("process_taken", message).hint(hint));
    }
    after.own.push(process.clone());
    after.own.sort_by(|a, b| a.name.cmp(&b.name));
    let unit = runner(&name, process);
    let refused = format!("could not start `{unit}`");
    change(cx, &before, &after, verb).map_err(|error| {
        if error.message != refused {
            return error;
        }
        unhealthy(cx, &after, process, error.cause.unwrap_or_default())
    })?;
    if process.kind == Kind::Worker
        && after.live.is_some()
        && let Err(error) = watch(cx, &after, process)
    {
        change(cx, &after, &before, verb)?;
        return Err(error);
    }
    Ok(after)
}

/// Takes a process of the operator's away.
fn remove(
    cx: &mut Context,
    name: &str,
    process: &str,
    verb: &str,
    is: fn(&Process) -> bool,
) -> Result<Project> {
    let name: ProjectName = name.parse()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, verb)?;
    let before = cx.registry()?.living_project(&name)?;
    let what = verb.split(' ').next().unwrap_or(verb);
    let (_, from) = find(&before, process, what, is)?;
    if from == "release" {
        let message = format!("`{process}` is no process of the operator's");
        return Err(Error::conflict("of_release", message)
            .caused_by("the release brings it, by its hostkit.toml")
            .hint("take it out there, and deploy"));
    }
    let mut after = before.clone();
    after.own.retain(|own| own.name != process);
    after.off.retain(|off| off != process);
    change(cx, &before, &after, verb)?;
    Ok(after)
}
