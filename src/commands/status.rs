//! `hostkit status`: how everything is, on one page.

use serde::Serialize;

use super::{
    Context,
    state::{self, State},
};
use crate::{
    error::Result,
    names::{ProjectName, ReleaseId},
    projects,
    registry::{Of, Project},
    sys::systemd::Unit,
    ui::{Column, Paint, Table, ago, bytes, count},
};

/// Show how the projects are
///
/// Each one that is up is asked what a deploy asks it. One that does not answer as it should is
/// `sick`: `hostkit health` says more.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit status
  hostkit status my-shop
  hostkit status --json | jq '.data.projects[] | select(.state != \"up\")'")]
pub struct Args {
    /// Only this project
    pub name: Option<String>,
}

#[derive(Serialize)]
struct Status {
    projects: Vec<Row>,
    /// Operations that a crash interrupted.
    interrupted: usize,
}

#[derive(Serialize)]
struct Row {
    name: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseId>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    memory_limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_since: Option<jiff::Timestamp>,
    restarts: u32,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// So many are asked at once: one that keeps silent holds up nobody but those beside it.
const AT_ONCE: usize = 64;

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let all = match &args.name {
        Some(name) => vec![cx.registry()?.project(&name.parse()?)?],
        None => cx.registry()?.projects()?,
    };
    let units = state::units(cx, true);
    let mut rows = all
        .iter()
        .map(|project| row(cx, project, units.get(&project.name.unit())))
        .collect::<Result<Vec<_>>>()?;
    for (projects, rows) in all.chunks(AT_ONCE).zip(rows.chunks_mut(AT_ONCE)) {
        ask(cx, projects, rows)?;
    }
    let open = cx.registry()?.open_operations(Of::All)?;
    let interrupted = open.iter().filter(|operation| !is_running(operation.pid)).count();
    let text = render(&rows, interrupted, Paint::of(&std::io::stdout()));
    let name = args.name.as_deref().and_then(|name| name.parse::<ProjectName>().ok());
    let data = Status { projects: rows, interrupted };
    cx.ui.result("status", name.as_ref().map(ProjectName::as_str), &data, &text);
    Ok(())
}

fn is_running(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Asks those that are up whether they do their work.
fn ask(cx: &Context, all: &[Project], rows: &mut [Row]) -> Result<()> {
    let gates = all
        .iter()
        .map(|project| projects::gate(project, &cx.config))
        .collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        for ((project, row), gate) in all.iter().zip(rows).zip(&gates) {
            let Some(gate) = gate.as_ref().filter(|_| row.state == State::Up) else { continue };
            scope.spawn(|| {
                if let Err(why) = gate.now(&project.name.unit(), project.port) {
                    (row.state, row.problem) = (State::Sick, Some(why));
                }
            });
        }
    });
    Ok(())
}

fn row(cx: &Context, project: &Project, unit: Option<&Unit>) -> Result<Row> {
    let release = state::release(cx, project)?;
    let state = State::of(project, release.as_ref(), unit);
    let problem = unit.filter(|_| state == State::Failing).map(|unit| {
        format!(
            "exited with status {}, {}",
            unit.exit_status,
            count(unit.restarts as usize, "restart")
        )
    });
    let since = unit.filter(|unit| unit.is_active()).and_then(|unit| unit.active_since);
    Ok(Row {
        name: project.name.to_string(),
        state,
        release,
        port: project.port,
        memory: unit.filter(|unit| unit.is_active()).and_then(memory),
        memory_limit: cx.config.limits.memory.0,
        up_since: since
            .and_then(|us| jiff::Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()),
        restarts: unit.map_or(0, |unit| unit.restarts),
        url: format!("http://{}", cx.config.base_domain.below(&project.name)?),
        problem,
    })
}

/// As the kernel's account of the unit has it, else as its main process does.
fn memory(unit: &Unit) -> Option<u64> {
    unit.memory.or_else(|| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", unit.main_pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? << 10)
    })
}

fn render(rows: &[Row], interrupted: usize, paint: Paint) -> String {
    if rows.is_empty() {
        return "no projects yet  →  hostkit provision my-app\n".to_owned();
    }
    let mut table = Table::new(vec![
        Column::left("PROJECT").gives_way_to(10),
        Column::left("STATE"),
        Column::left("RELEASE").gives_way_to(8),
        Column::right("PORT"),
        Column::right("MEM"),
        Column::left("SITE").gives_way_to(12),
    ]);
    for row in rows {
        let limit = bytes(row.memory_limit);
        table.row(vec![
            paint.bold(&row.name),
            row.state.painted(paint),
            match (&row.release, row.up_since) {
                (Some(release), Some(since)) => {
                    format!("{release}, up {}", ago(since).replace(" ago", ""))
                }
                (Some(release), None) => release.to_string(),
                (None, _) => paint.dim("none yet"),
            },
            row.port.to_string(),
            row.memory.map_or_else(|| "-".into(), |n| format!("{}/{limit}", bytes(n))),
            row.url.clone(),
        ]);
    }
    let mut text = table.render(paint, crate::ui::width());
    for row in rows.iter().filter(|row| row.problem.is_some()) {
        let (name, problem) = (&row.name, row.problem.as_deref().unwrap_or_default());
        let more = match row.state {
            State::Sick => format!("hostkit health {name}"),
            _ => format!("journalctl -u hostkit-{name}"),
        };
        text.push_str(&format!("\n{} {name}: {problem}  →  {more}\n", paint.red(paint.dot())));
    }
    if interrupted > 0 {
        text.push_str(&format!(
            "\n{} was interrupted  →  hostkit recover\n",
            count(interrupted, "operation")
        ));
    }
    text
}
