//! `hostkit project start|stop|restart`: a project's unit, and whether it stays up.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    commands::{Context, state},
    error::{Error, Kind, Result},
    names::{ProjectName, Runtime},
    registry::Project,
    sys::{
        Cmd,
        systemd::{Unit, Verb},
    },
};

/// Start a project
///
/// Waits until it has been up for a moment; if it does not stay up, says why and shows the end
/// of its log.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project start my-shop")]
pub struct StartArgs {
    /// Project to start
    pub name: String,
}

/// Stop a project until it is started again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project stop my-shop")]
pub struct StopArgs {
    /// Project to stop
    pub name: String,
}

/// Restart a project
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project restart my-shop")]
pub struct RestartArgs {
    /// Project to restart
    pub name: String,
}

#[derive(Serialize)]
struct Power {
    unit: String,
    active: String,
}

/// How long a unit is watched after its start: long enough for what can't work to fail.
const WATCH: Duration = Duration::from_millis(1500);

pub fn start(args: &StartArgs, cx: &mut Context) -> Result<()> {
    act(&args.name, Verb::Start, cx)
}

pub fn stop(args: &StopArgs, cx: &mut Context) -> Result<()> {
    act(&args.name, Verb::Stop, cx)
}

pub fn restart(args: &RestartArgs, cx: &mut Context) -> Result<()> {
    act(&args.name, Verb::Restart, cx)
}

fn act(name: &str, verb: Verb, cx: &mut Context) -> Result<()> {
    let name: ProjectName = name.parse()?;
    let command = match verb {
        Verb::Stop => "project stop",
        Verb::Restart => "project restart",
        Verb::Start => "project start",
    };
    cx.registry()?.project(&name)?;
    let held = cx.take_project(&name, command)?;
    let project = cx.registry()?.living_project(&name)?;
    let done = switch(&project, verb, cx);
    let result =
        done.as_ref().map(|_| ()).map_err(|e| Error::new(e.kind, e.code, e.message.clone()));
    let _ = cx.record(Some(&name), command, result);
    drop(held);
    let unit = done?;
    let word = match verb {
        Verb::Stop => "stopped",
        Verb::Restart => "restarted",
        Verb::Start => "started",
    };
    let data = Power { unit: name.unit(), active: unit.active };
    cx.ui.result(command, Some(name.as_str()), &data, &format!("{name} is {word}\n"));
    Ok(())
}

fn switch(project: &Project, verb: Verb, cx: &Context) -> Result<Unit> {
    let unit = project.name.unit();
    if verb != Verb::Stop {
        if state::release(cx, project)?.is_none() {
            return Err(Error::missing(
                "no_release",
                format!("nothing is deployed to {} yet", project.name),
            )
            .caused_by("there is no complete release to start")
            .hint(format!("hostkit deploy {}", project.name)));
        }
        // What failed often enough is not started again until somebody says so; this is that.
        cx.host.reset_failed(&unit)?;
    }
    let asked = cx.host.unit_job(verb, &unit);
    if verb == Verb::Stop {
        asked?;
        return cx.host.unit(&unit);
    }
    asked.map_err(|error| unhealthy(project, cx, error.cause.unwrap_or(error.message)))?;
    watch(project, cx)
}

/// Fails as soon as the unit does; content when it has been up for a while.
fn watch(project: &Project, cx: &Context) -> Result<Unit> {
    let name = project.name.unit();
    let start = Instant::now();
    loop {
        let unit = cx.host.unit(&name)?;
        if unit.is_failing() || unit.restarts > 0 && !unit.is_active() {
            return Err(unhealthy(
                project,
                cx,
                format!("it exited with status {}", unit.exit_status),
            ));
        }
        if project.runtime == Runtime::Static || start.elapsed() > WATCH {
            return Ok(unit);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn unhealthy(project: &Project, cx: &Context, why: String) -> Error {
    let log = project.name.logs().join("error.log");
    let tail = cx.host.ask(&Cmd::new("/usr/bin/tail").args(["-n", "20"]).arg(&log));
    let lines = tail.map(|out| out.stdout_text().trim_end().to_owned()).unwrap_or_default();
    let cause = if lines.is_empty() { why } else { format!("{why}; the end of its log:\n{lines}") };
    Error::new(Kind::Unhealthy, "unhealthy", format!("{} does not stay up", project.name))
        .caused_by(cause)
        .hint(format!(
            "see more: `less {}`, `journalctl -u {}`",
            log.display(),
            project.name.unit()
        ))
}
