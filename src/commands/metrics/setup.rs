//! `hostkit metrics setup`: the package, its own unit kept still, and ours in its place.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    commands::{Context, config, facts, init, show},
    config::{COMMENTED, Config, PATH, Retention, Size},
    error::{Error, Result},
    plan::{Ground, Lane, Plan, differences},
    projects::{self, METRICS_TARGETS, MetricsFacts},
    registry::{NewOperation, Way},
    steps::{Package, Step},
    sys::{Owner, net, prometheus, users},
    ui::{count, elapsed},
};

/// Let a Prometheus on this server read the figures of projects
///
/// Installs Debian's package where it is missing, keeps the package's own unit from starting, which
/// would listen on all addresses, and runs one on loopback that root alone can ask. It reads the page
/// that `metrics` in a project's manifest names, and follows the live release.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit metrics setup
  hostkit metrics setup --retention 30d --size 2G
  hostkit metrics setup --dry-run")]
pub struct Args {
    /// How long figures stay, usually 15d
    #[arg(long, value_name = "TIME")]
    retention: Option<Retention>,

    /// How much they may take on the disk, usually 1G
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Ready {
    unit: &'static str,
    port: u16,
    retention: Retention,
    size: Size,
    /// Projects whose live release has something to read.
    projects: Vec<String>,
    changed: usize,
    milliseconds: u128,
}

const VERB: &str = "metrics setup";

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = Instant::now();
    init::check_ready(&cx.host)?;
    let held = (!args.dry_run).then(|| cx.take_host(VERB)).transpose()?;
    let text = configure(args, cx)?;
    check(cx)?;
    if args.dry_run {
        if !prometheus::is_installed() {
            cx.ui.note(format!("the package {} would be installed", prometheus::PACKAGE));
        }
        let plan = plan(cx, &text)?;
        let differences = differences(&plan, &cx.host)?;
        show::preview(cx, VERB, None, &differences);
        return Ok(());
    }
    facts::check_room(cx)?;
    cx.ui.head("figures of projects");
    let mut changed = install(cx)?;
    let plan = plan(cx, &text)?;
    let actor = cx.caller.actor();
    let new = NewOperation { project: None, verb: VERB, actor: &actor, way: Way::Undo };
    changed += cx.carry_out(&new, None, |_, _| Ok((plan, Vec::new())))?;
    drop(held);
    report(cx, changed, start.elapsed())
}

fn report(cx: &mut Context, changed: usize, took: Duration) -> Result<()> {
    let read: Vec<String> = super::status::read(cx)?.into_iter().map(|(name, _)| name).collect();
    let next = if read.is_empty() {
        "metrics = \"/metrics\" in [process.web] of a manifest, then deploy"
    } else {
        "hostkit metrics status"
    };
    let text = match changed {
        0 => format!("figures are kept; nothing had to change\nNext:  {next}\n"),
        n => {
            format!("\nReady in {}: {} changed\nNext:  {next}\n", elapsed(took), count(n, "thing"))
        }
    };
    let data = Ready {
        unit: prometheus::UNIT,
        port: prometheus::PORT,
        retention: cx.config.metrics.retention,
        size: cx.config.metrics.size,
        projects: read,
        changed,
        milliseconds: took.as_millis(),
    };
    cx.ui.result(VERB, None, &data, &text);
    Ok(())
}

/// The configuration as it will be, in force from here on.
fn configure(args: &Args, cx: &mut Context) -> Result<String> {
    let mut text = cx.host.read_text(Path::new(PATH))?.unwrap_or_else(|| COMMENTED.to_owned());
    let settings = [
        ("metrics.enabled", Some("true".to_owned())),
        ("metrics.retention", args.retention.map(|retention| retention.to_string())),
        ("metrics.size", args.size.map(|size| size.to_string())),
    ];
    for (key, value) in settings {
        if let Some(value) = value {
            text = config::changed(&text, key, &value)?;
        }
    }
    cx.config = Config::parse(&text)?;
    Ok(text)
}

/// What can be refused before anything changes.
fn check(cx: &Context) -> Result<()> {
    let theirs = cx.host.unit(prometheus::PACKAGES_UNIT)?;
    if !matches!(theirs.active.as_str(), "inactive" | "failed") {
        let unit = prometheus::PACKAGES_UNIT;
        return Err(Error::conflict("prometheus_in_use", "another Prometheus runs on this server")
            .caused_by(format!(
                "`{unit}` is {}, and hostkit would keep it from starting",
                theirs.active
            ))
            .hint(format!(
                "if it may go: `systemctl disable --now {unit}`; what it stored stays"
            )));
    }
    if cx.host.unit(prometheus::UNIT)?.is_active() {
        return Ok(());
    }
    let port = prometheus::PORT;
    if net::listeners()?.contains_key(&port) {
        return Err(Error::conflict("port_taken", format!("port {port} is taken"))
            .caused_by("something else listens there, and Prometheus would")
            .hint(format!("see what: `ss -ltnp sport = :{port}`")));
    }
    Ok(())
}

fn package() -> Package {
    Package {
        name: prometheus::PACKAGE.into(),
        program: prometheus::PROGRAM.into(),
        unit: prometheus::PACKAGES_UNIT.into(),
    }
}

/// An operation of its own, since the package stays whatever becomes of the next one.
fn install(cx: &mut Context) -> Result<usize> {
    if prometheus::is_installed() {
        return Ok(0);
    }
    let mut plan = Plan::new(Ground::Known);
    plan.part("package", prometheus::PACKAGE);
    plan.step(Lane::Files, package());
    let actor = cx.caller.actor();
    let verb = "metrics package";
    let new = NewOperation { project: None, verb, actor: &actor, way: Way::Undo };
    cx.carry_out(&new, None, |_, _| Ok((plan, Vec::new())))
}

/// For a server that is about to become one that had it.
pub fn bring(cx: &Context) -> Result<()> {
    if !cx.config.metrics.enabled || prometheus::is_installed() {
        return Ok(());
    }
    package().apply(&cx.host)
}

fn plan(cx: &mut Context, text: &str) -> Result<Plan> {
    // What a dry run shows of a package that is not there yet lacks the number of its user.
    let is_there = users::find(prometheus::USER)?.is_some();
    cx.config.metrics.enabled = is_there;
    let ready = facts::of_ready_host(cx);
    cx.config.metrics.enabled = true;
    let (mut facts, secret) = ready?;
    if !is_there {
        facts.metrics = MetricsFacts::Runs(Owner::ROOT);
    }
    let mut plan = projects::host_plan(&facts, &cx.config, &cx.templates()?, &secret, Some(text))?;
    projects::metrics_targets(&mut plan, &facts.projects);
    Ok(plan)
}

/// What the plan of the server must know of it.
pub fn facts(cx: &Context) -> Result<MetricsFacts> {
    if cx.config.metrics.enabled {
        let found = users::find(prometheus::USER)?.filter(|_| prometheus::is_installed());
        return found.map(|user| MetricsFacts::Runs(user.owner)).ok_or_else(|| {
            Error::not_ready("no_prometheus", "Prometheus is not installed")
                .caused_by("the configuration says that it reads the figures of projects")
                .hint("put it back: `hostkit metrics setup`")
        });
    }
    let unit = format!("/etc/systemd/system/{}", prometheus::UNIT);
    if cx.host.meta(Path::new(&unit))?.is_none() {
        return Ok(MetricsFacts::Off);
    }
    let targets = Path::new(METRICS_TARGETS);
    let mut paths: Vec<_> =
        cx.host.list(targets)?.into_iter().map(|name| targets.join(name)).collect();
    let mask = projects::metrics_mask();
    if cx.host.read_link(&mask)?.is_some_and(|to| to == Path::new("/dev/null")) {
        paths.push(mask);
    }
    paths.sort();
    Ok(MetricsFacts::GivenUp(paths))
}
