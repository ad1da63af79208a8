//! `hostkit cron`: processes that run when their time comes, the release's and an operator's.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{add, change, find, follow, remove, runner, service};
use crate::{
    commands::{Context, state},
    error::{Error, Result},
    names::ProjectName,
    projects,
    registry::Project,
    release::{Kind, Process},
    sys::{
        signals::{self, Changing},
        systemd::Ended,
    },
    ui::elapsed,
};

/// Processes that run when their time comes
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Add(AddArgs),
    Disable(DisableArgs),
    Enable(EnableArgs),
    List(ListArgs),
    Logs(LogsArgs),
    Remove(RemoveArgs),
    Run(RunArgs),
}

/// Add a process that runs when its time comes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit cron add my-shop cleanup --schedule '0 3 * * 1-5' -- venv/bin/python -m app.cleanup
  hostkit cron add my-shop report --schedule 'Mon *-*-* 08:00' -- venv/bin/python report.py")]
pub struct AddArgs {
    /// Project to add it to
    pub name: String,

    /// What to call it
    process: String,

    /// When: cron's five fields, @daily, or a time of systemd's
    #[arg(long, value_name = "TIME")]
    schedule: String,

    /// The program, below the release or absolute, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Switch a timer off until it is switched on again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit cron disable my-shop cleanup")]
pub struct DisableArgs {
    /// Project that it is of
    pub name: String,

    /// The timer
    process: String,
}

/// Switch a timer on again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit cron enable my-shop cleanup")]
pub struct EnableArgs {
    /// Project that it is of
    pub name: String,

    /// The timer
    process: String,
}

/// Show a project's timers, and when they run next
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit cron list my-shop")]
pub struct ListArgs {
    /// Project whose timers to show
    pub name: String,
}

/// Show what a timer's process said
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit cron logs my-shop cleanup
  hostkit cron logs my-shop cleanup -n 200")]
pub struct LogsArgs {
    /// Project that it is of
    pub name: String,

    /// The timer
    process: String,

    #[command(flatten)]
    how: follow::Lines,
}

/// Take a timer away that was added
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit cron remove my-shop cleanup")]
pub struct RemoveArgs {
    /// Project that it is of
    pub name: String,

    /// The timer
    process: String,
}

/// Run a timer's process now, and show what it says
///
/// It runs as its timer would run it; where it runs already, this waits for nothing and says so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit cron run my-shop cleanup

Exit code: 0 where it ended well, 1 where it did not; --json has its own")]
pub struct RunArgs {
    /// Project that it is of
    pub name: String,

    /// The timer
    process: String,
}

#[derive(Serialize)]
struct Done<'a> {
    process: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<&'a str>,
}

#[derive(Serialize)]
struct Ran<'a> {
    process: &'a str,
    result: String,
    exit_status: i32,
    output: Vec<String>,
    milliseconds: u128,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Add(args) => ("cron add", Some(&args.name)),
            Self::Disable(args) => ("cron disable", Some(&args.name)),
            Self::Enable(args) => ("cron enable", Some(&args.name)),
            Self::List(args) => ("cron list", Some(&args.name)),
            Self::Logs(args) => ("cron logs", Some(&args.name)),
            Self::Remove(args) => ("cron remove", Some(&args.name)),
            Self::Run(args) => ("cron run", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<ExitCode> {
        match self {
            Self::Add(args) => run_add(args, cx)?,
            Self::Disable(args) => switch(&args.name, &args.process, false, cx)?,
            Self::Enable(args) => switch(&args.name, &args.process, true, cx)?,
            Self::List(args) => {
                let project = cx.registry()?.project(&args.name.parse()?)?;
                service::list_of(cx, "cron list", &project, is_timer)?;
            }
            Self::Logs(args) => {
                let project = cx.registry()?.project(&args.name.parse()?)?;
                let (process, _) = find(&project, &args.process, "timer", is_timer)?;
                follow::run(cx, "cron logs", &project.name, &[process], &args.how)?;
            }
            Self::Remove(args) => run_remove(args, cx)?,
            Self::Run(args) => return run_now(args, cx),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn is_timer(process: &Process) -> bool {
    matches!(process.kind, Kind::Scheduled(_))
}

fn run_add(args: &AddArgs, cx: &mut Context) -> Result<()> {
    let process = projects::cron(&args.process, &args.schedule, &args.command)?;
    let Kind::Scheduled(schedule) = process.kind.clone() else { return Ok(()) };
    let project = add(cx, &args.name, &process, "cron add")?;
    let name = &project.name;
    let when = if project.live.is_some() { "" } else { ", from the first release on" };
    let text = format!(
        "{} of {name} runs at {schedule}{when}\nNext:  hostkit cron run {name} {}\n",
        args.process, args.process
    );
    let data = Done { process: &args.process, schedule: Some(&schedule) };
    cx.ui.result("cron add", Some(name.as_str()), &data, &text);
    Ok(())
}

fn run_remove(args: &RemoveArgs, cx: &mut Context) -> Result<()> {
    let process = &args.process;
    let project = remove(cx, &args.name, process, "cron remove", is_timer)?;
    let text = format!("{process} of {} is gone\n", project.name);
    let data = Done { process, schedule: None };
    cx.ui.result("cron remove", Some(project.name.as_str()), &data, &text);
    Ok(())
}

fn switch(name: &str, process: &str, on: bool, cx: &mut Context) -> Result<()> {
    let name: ProjectName = name.parse()?;
    let (verb, word) = if on { ("cron enable", "on") } else { ("cron disable", "off") };
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, verb)?;
    let before = cx.registry()?.living_project(&name)?;
    find(&before, process, "timer", is_timer)?;
    let mut after = before.clone();
    after.off.retain(|off| off != process);
    if !on {
        after.off.push(process.to_owned());
        after.off.sort();
    }
    let had = if before.off == after.off { "already " } else { "" };
    change(cx, &before, &after, verb)?;
    let text = format!("{process} of {name} is {had}{word}\n");
    cx.ui.result(verb, Some(name.as_str()), &Done { process, schedule: None }, &text);
    Ok(())
}

/// Of a process that never stops talking the beginning is told in JSON.
const MOST_LINES: usize = 100_000;

fn run_now(args: &RunArgs, cx: &mut Context) -> Result<ExitCode> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    let (process, _) = find(&project, &args.process, "timer", is_timer)?;
    check(cx, &project, &process)?;
    let unit = runner(&name, &process);
    if matches!(cx.host.unit(&unit)?.active.as_str(), "activating" | "active") {
        return Err(Error::conflict(
            "is_running",
            format!("{} of {name} runs already", args.process),
        )
        .hint(format!("see what it says: `hostkit cron logs {name} {} -f`", args.process)));
    }
    // No lock: what runs for an hour must not keep a deploy waiting. Nor does Ctrl-C end it
    // half-way, unless it is asked to.
    let _changing = Changing::begin();
    let start = Instant::now();
    let mut log = follow::Tail::new(&name, &process);
    let mut output = Vec::new();
    let live = !cx.ui.voice.json;
    let ended = cx.host.attend(&unit, || {
        for line in log.lines()? {
            if live {
                cx.ui.say(&format!("{line}\n"));
            } else if output.len() < MOST_LINES {
                output.push(line);
            }
        }
        signals::check()
    })?;
    for line in log.lines()? {
        if live {
            cx.ui.say(&format!("{line}\n"));
        } else {
            output.push(line);
        }
    }
    let fine = ended.result == "success";
    let result = if fine {
        Ok(())
    } else {
        Err(Error::failed(format!("it ended with {} ({})", ended.result, ended.status)))
    };
    let _ = cx.record(Some(&name), "cron run", result);
    let took = start.elapsed();
    let text = told(&name, &args.process, &ended, took);
    let data = Ran {
        process: &args.process,
        result: ended.result,
        exit_status: ended.status,
        output,
        milliseconds: took.as_millis(),
    };
    cx.ui.result("cron run", Some(name.as_str()), &data, &text);
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn told(name: &ProjectName, process: &str, ended: &Ended, took: Duration) -> String {
    let how = match (ended.result.as_str(), ended.status) {
        ("success", _) => "well".to_owned(),
        ("exit-code", status) => format!("with status {status}"),
        ("signal" | "core-dump", signal) => format!("by signal {signal}"),
        (other, _) => format!("as {other}"),
    };
    format!("{process} of {name} ended {how} after {}\n", elapsed(took))
}

fn check(cx: &Context, project: &Project, process: &Process) -> Result<()> {
    let name = &project.name;
    if state::release(cx, project)?.is_none() {
        return Err(Error::missing("no_release", format!("nothing is deployed to {name} yet"))
            .hint(format!("hostkit deploy {name}")));
    }
    if project.off.contains(&process.name) {
        let message = format!("the timer `{}` of {name} is switched off", process.name);
        return Err(Error::conflict("timer_off", message)
            .hint(format!("switch it on: `hostkit cron enable {name} {}`", process.name)));
    }
    Ok(())
}
