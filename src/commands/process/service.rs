//! `hostkit service`: the processes of a project, whoever brought them.

use serde::Serialize;

use super::{Shown, act, all, find, follow, painted, show};
use crate::{
    commands::{Context, deploy::switch, state},
    error::{Error, Result},
    names::ProjectName,
    registry::Project,
    release::{Kind, Process},
    sys::systemd::Verb,
    ui::{Column, Paint, Table, ago, bytes},
};

/// Show, start and stop the processes of a project
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(ListArgs),
    Logs(LogsArgs),
    Restart(RestartArgs),
    Start(StartArgs),
    Status(StatusArgs),
    Stop(StopArgs),
}

/// Show a project's processes, and how they are
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit service list my-shop
  hostkit service list my-shop --json | jq -r '.data[] | select(.state != \"up\").name'")]
pub struct ListArgs {
    /// Project whose processes to show
    pub name: String,
}

/// Show what processes said
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit service logs my-shop
  hostkit service logs my-shop worker -n 200
  hostkit service logs my-shop web --follow")]
pub struct LogsArgs {
    /// Project whose logs to show
    pub name: String,

    /// One process; without it all that run
    process: Option<String>,

    #[command(flatten)]
    how: follow::Lines,
}

/// Restart a project's processes, or one of them
///
/// The web process goes through the gate, as at a deploy: no request fails, and if it does not
/// come up again, the error says so. The other processes of the release start anew with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit service restart my-shop
  hostkit service restart my-shop worker")]
pub struct RestartArgs {
    /// Project whose processes to restart
    pub name: String,

    /// One process; without it all of them
    process: Option<String>,
}

/// Start a project's processes, or one of them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit service start my-shop
  hostkit service start my-shop worker")]
pub struct StartArgs {
    /// Project whose processes to start
    pub name: String,

    /// One process; without it all of them
    process: Option<String>,
}

/// Show how one process is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit service status my-shop
  hostkit service status my-shop worker --json")]
pub struct StatusArgs {
    /// Project whose process to show
    pub name: String,

    /// The process
    #[arg(default_value = "web")]
    process: String,
}

/// Stop a project's processes, or one of them
///
/// A process that is stopped stays so until it is started, the project is deployed, or the server
/// boots. Without its web process a project answers no visitor.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit service stop my-shop
  hostkit service stop my-shop worker")]
pub struct StopArgs {
    /// Project whose processes to stop
    pub name: String,

    /// One process; without it all of them
    process: Option<String>,
}

#[derive(Serialize)]
struct Done {
    processes: Vec<String>,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::List(args) => ("service list", Some(&args.name)),
            Self::Logs(args) => ("service logs", Some(&args.name)),
            Self::Restart(args) => ("service restart", Some(&args.name)),
            Self::Start(args) => ("service start", Some(&args.name)),
            Self::Status(args) => ("service status", Some(&args.name)),
            Self::Stop(args) => ("service stop", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::List(args) => list(args, cx),
            Self::Logs(args) => logs(args, cx),
            Self::Restart(args) => power(&args.name, args.process.as_deref(), Verb::Restart, cx),
            Self::Start(args) => power(&args.name, args.process.as_deref(), Verb::Start, cx),
            Self::Status(args) => status(args, cx),
            Self::Stop(args) => power(&args.name, args.process.as_deref(), Verb::Stop, cx),
        }
    }
}

fn list(args: &ListArgs, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    list_of(cx, "service list", &project, |_| true)
}

/// The processes that are of a kind.
pub(super) fn list_of(
    cx: &Context,
    command: &str,
    project: &Project,
    is: impl Fn(&Process) -> bool,
) -> Result<()> {
    let shown = all(project)
        .iter()
        .filter(|(process, _)| is(process))
        .map(|(process, from)| show(cx, project, process, from))
        .collect::<Result<Vec<Shown>>>()?;
    let paint = Paint::of(&std::io::stdout());
    let mut table = Table::new(vec![
        Column::left("PROCESS"),
        Column::left("STATE"),
        Column::left("WHEN").gives_way_to(10),
        Column::right("MEM"),
        Column::left("FROM"),
        Column::left("COMMAND").gives_way_to(10),
    ]);
    for process in &shown {
        let when = match (&process.schedule, process.next, process.since) {
            (Some(schedule), Some(next), _) => format!("{schedule} (next {})", at(next)),
            (Some(schedule), None, _) => schedule.clone(),
            (None, _, Some(since)) => format!("up {}", ago(since).replace(" ago", "")),
            _ => "-".into(),
        };
        table.row(vec![
            paint.bold(&process.name),
            painted(&process.state, paint),
            when,
            process.memory.map_or_else(|| "-".into(), bytes),
            process.from.into(),
            process.command.clone(),
        ]);
    }
    let text = if shown.is_empty() {
        format!("{} has none\n", project.name)
    } else {
        table.render(paint, crate::ui::width())
    };
    cx.ui.result(command, Some(project.name.as_str()), &shown, &text);
    Ok(())
}

/// A time as people here read it.
fn at(time: jiff::Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %d %b %H:%M").to_string()
}

fn logs(args: &LogsArgs, cx: &mut Context) -> Result<()> {
    super::logs(cx, "service logs", &args.name.parse()?, args.process.as_deref(), &args.how)
}

fn status(args: &StatusArgs, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let (process, from) = find(&project, &args.process, "process", |_| true)?;
    let shown = show(cx, &project, &process, from)?;
    let paint = Paint::of(&std::io::stdout());
    let mut text = format!(
        "{} of {}  {}  {}\n\n",
        paint.bold(&shown.name),
        project.name,
        painted(&shown.state, paint),
        shown.kind
    );
    let mut line = |what: &str, value: String| {
        text.push_str(&format!("  {}  {value}\n", paint.dim(&format!("{what:<9}"))));
    };
    line("unit", shown.unit.clone());
    line("command", shown.command.clone());
    line("from", shown.from.to_owned());
    if let Some(schedule) = &shown.schedule {
        line("when", schedule.clone());
        line("next", shown.next.map_or_else(|| "never".into(), at));
    }
    if let Some(since) = shown.since {
        line("up", ago(since).replace(" ago", ""));
    }
    if let Some(memory) = shown.memory {
        line("memory", bytes(memory));
    }
    if matches!(shown.state.as_str(), "failed" | "failing") {
        line("ended", format!("status {}, {} restarts", shown.exit_status, shown.restarts));
    }
    line("log", format!("hostkit service logs {} {}", project.name, shown.name));
    cx.ui.result("service status", Some(project.name.as_str()), &shown, &text);
    Ok(())
}

fn power(name: &str, process: Option<&str>, verb: Verb, cx: &mut Context) -> Result<()> {
    let name: ProjectName = name.parse()?;
    let (command, word) = match verb {
        Verb::Restart => ("service restart", "restarted"),
        Verb::Start => ("service start", "started"),
        Verb::Stop => ("service stop", "stopped"),
    };
    let known = cx.registry()?.project(&name)?;
    if let Some(process) = process {
        find(&known, process, "process", |_| true)?;
    }
    let held = cx.take_project(&name, command)?;
    let project = cx.registry()?.living_project(&name)?;
    if verb != Verb::Stop && state::release(cx, &project)?.is_none() {
        return Err(Error::missing("no_release", format!("nothing is deployed to {name} yet"))
            .hint(format!("hostkit deploy {name}")));
    }
    let wanted: Vec<Process> = match process {
        Some(process) => vec![find(&project, process, "process", |_| true)?.0],
        None => all(&project).into_iter().map(|(process, _)| process).collect(),
    };
    if let (Some(off), Some(_)) = (wanted.iter().find(|p| project.off.contains(&p.name)), process) {
        let message = format!("the timer `{}` of {name} is switched off", off.name);
        return Err(Error::conflict("timer_off", message)
            .hint(format!("switch it on: `hostkit cron enable {name} {}`", off.name)));
    }
    let done = carry_out(cx, &project, &wanted, verb);
    let result = done.as_ref().copied().map_err(|e| Error::new(e.kind, e.code, e.message.clone()));
    let _ = cx.record(Some(&name), command, result);
    drop(held);
    done?;
    let names: Vec<String> = wanted.into_iter().map(|process| process.name).collect();
    let mut text = format!("{} of {name}: {word}\n", names.join(", "));
    if verb == Verb::Stop && names.iter().any(|name| name == "web") {
        text.push_str(&format!(
            "{name} answers no visitor now (502), until: hostkit service start {name} web\n"
        ));
    }
    cx.ui.result(command, Some(name.as_str()), &Done { processes: names }, &text);
    Ok(())
}

fn carry_out(cx: &mut Context, project: &Project, wanted: &[Process], verb: Verb) -> Result<()> {
    let has_web = wanted.iter().any(|process| process.kind == Kind::Web);
    let is_up = cx.host.unit(&project.name.unit())?.is_active();
    if verb == Verb::Restart && has_web && is_up {
        return through_the_gate(cx, project);
    }
    let is_on = |process: &&Process| !project.off.contains(&process.name);
    for process in wanted.iter().filter(is_on) {
        act(cx, project, process, verb)?;
    }
    Ok(())
}

/// The same release once more: beside the old processes first, and requests move when it answers.
fn through_the_gate(cx: &mut Context, project: &Project) -> Result<()> {
    let Some(live) = &project.live else { return Ok(()) };
    switch::again(cx, project, live, "service restart", None, None)
        .map_err(|error| error.hint(format!("see `hostkit service logs {}`", project.name)))
}
