//! `hostkit status`: how everything is, on one page.

use serde::Serialize;

use super::{
    Context,
    state::{self, State},
    watch,
};
use crate::{
    config::Wait,
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
  hostkit status --watch --every 5s
  hostkit status --json | jq '.data.projects[] | select(.state != \"up\")'")]
pub struct Args {
    /// Only this project
    pub name: Option<String>,

    /// Show it again and again, until `q` or Ctrl-C; with `--json` one line each time
    #[arg(long)]
    watch: bool,

    /// How often, with --watch
    #[arg(long, value_name = "TIME", requires = "watch")]
    pub(super) every: Option<Wait>,
}

#[derive(Serialize)]
pub(super) struct Status {
    pub(super) projects: Vec<Row>,
    /// Operations that a crash interrupted.
    interrupted: usize,
    #[serde(skip)]
    is_watched: bool,
}

#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseId>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    memory_limit: u64,
    /// Percent of one processor, since the last look.
    #[serde(rename = "cpu_percent", skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<f64>,
    /// A second, since the last look.
    #[serde(rename = "requests_per_second", skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<f64>,
    /// Nanoseconds of a processor that its main unit has had.
    #[serde(skip)]
    pub(super) used: Option<u64>,
    #[serde(skip)]
    pub(super) main_pid: u32,
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
    if args.watch {
        return watch::run(args, cx);
    }
    let data = gather(args, cx)?;
    let text = render(&data, Paint::of(&std::io::stdout()));
    let name = args.name.as_deref().and_then(|name| name.parse::<ProjectName>().ok());
    cx.ui.result("status", name.as_ref().map(ProjectName::as_str), &data, &text);
    Ok(())
}

pub(super) fn gather(args: &Args, cx: &mut Context) -> Result<Status> {
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
    Ok(Status { projects: rows, interrupted, is_watched: args.watch })
}

/// Those that run and do not answer as they should: which, and why.
pub(super) fn sick(cx: &mut Context) -> Result<Vec<(String, String)>> {
    let rows = gather(&Args { name: None, watch: false, every: None }, cx)?.projects;
    let sick = rows.into_iter().filter(|row| row.state == State::Sick);
    Ok(sick.map(|row| (row.name, row.problem.unwrap_or_default())).collect())
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
        cpu: None,
        requests: None,
        used: unit.filter(|unit| unit.is_active()).and_then(used),
        main_pid: unit.map_or(0, |unit| unit.main_pid),
        up_since: since
            .and_then(|us| jiff::Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()),
        restarts: unit.map_or(0, |unit| unit.restarts),
        url: projects::url(project, &cx.config)?,
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

/// What it has had of a processor, by the same two accounts.
fn used(unit: &Unit) -> Option<u64> {
    const TICK: u64 = 10_000_000;
    unit.cpu.or_else(|| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", unit.main_pid)).ok()?;
        let mut after = stat.rsplit_once(") ")?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || after.next()?.parse::<u64>().ok();
        Some((ticks()? + ticks()?) * TICK)
    })
}

pub(super) fn render(status: &Status, paint: Paint) -> String {
    let Status { projects: rows, interrupted, is_watched } = status;
    let (interrupted, is_watched) = (*interrupted, *is_watched);
    if rows.is_empty() {
        return "no projects yet  →  hostkit provision my-app\n".to_owned();
    }
    let mut columns = vec![
        Column::left("PROJECT").gives_way_to(10),
        Column::left("STATE"),
        Column::left("RELEASE").gives_way_to(8),
        Column::right("PORT"),
        Column::right("MEM"),
        Column::left("SITE").gives_way_to(12),
    ];
    if is_watched {
        let more = [Column::right("CPU").extra(), Column::right("REQ/S").extra()];
        columns.splice(5..5, more);
    }
    let mut table = Table::new(columns);
    for row in rows {
        let limit = bytes(row.memory_limit);
        let mut cells = vec![
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
        ];
        if is_watched {
            let cpu = row.cpu.map_or_else(|| "-".into(), |cpu| format!("{cpu:.1}%"));
            let requests = row.requests.map_or_else(|| "-".into(), |n| format!("{n:.1}"));
            cells.splice(5..5, [cpu, requests]);
        }
        table.row(cells);
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
