//! Figures of projects: a Prometheus that hostkit runs on loopback, and the pages that it reads.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::{Maker, garage::Served, host::HostFacts, switch::no_unit};
use crate::{
    config::Config,
    error::Result,
    names::ProjectName,
    plan::{Lane, Plan},
    registry::Project,
    steps::{
        Answering, Asked, Contents, Dir, FOREIGN_PROMETHEUS, File, Gone, Judge, Link, METRICS_PORT,
        METRICS_PROGRAM, METRICS_UNIT, METRICS_USER, Owner, Stopped, Text, Trigger,
    },
    templates::Templates,
};

/// What Prometheus has written.
pub const METRICS_HOME: &str = "/var/lib/hostkit-prometheus";
/// Whom it asks: a file for each project that has something to read.
pub const METRICS_TARGETS: &str = "/etc/hostkit/metrics.d";
const CONFIG: &str = "/etc/hostkit/prometheus.yml";

/// What the plan of the server must know of it.
#[derive(Clone, Debug)]
pub enum MetricsFacts {
    /// It was there before, and is to be no longer; with what stands there of it.
    GivenUp(Vec<PathBuf>),
    Off,
    /// As that user.
    Runs(Owner),
}

#[derive(Serialize)]
struct Values<'a> {
    user: &'a str,
    home: &'a str,
    program: &'a str,
    config: &'a str,
    targets: &'a str,
    port: u16,
    retention: String,
    size: u64,
}

/// Who has to be let to the ports of projects.
pub(super) fn scraper(facts: &HostFacts) -> Option<u32> {
    match facts.metrics {
        MetricsFacts::Runs(user) => Some(user.uid),
        MetricsFacts::GivenUp(_) | MetricsFacts::Off => None,
    }
}

/// Its port: all figures of all projects are behind it, and no password.
pub(super) fn served(facts: &HostFacts) -> Option<Served> {
    scraper(facts).map(|uid| Served::closed(METRICS_PORT, uid, vec![0]))
}

/// Where the unit of the package is kept from starting.
pub fn metrics_mask() -> PathBuf {
    format!("/etc/systemd/system/{FOREIGN_PROMETHEUS}").into()
}

pub(super) fn plan(
    plan: &mut Plan,
    facts: &HostFacts,
    config: &Config,
    templates: &Templates,
) -> Result<()> {
    match &facts.metrics {
        MetricsFacts::GivenUp(paths) => given_up(plan, paths),
        MetricsFacts::Off => {}
        MetricsFacts::Runs(user) => made(plan, *user, config, templates)?,
    }
    Ok(())
}

fn given_up(plan: &mut Plan, paths: &[PathBuf]) {
    plan.part("metrics stopped", format!("what was read stays in {METRICS_HOME}"));
    plan.step(Lane::Files, Stopped { unit: METRICS_UNIT.into() });
    no_unit(plan, METRICS_UNIT);
    for path in paths {
        let reload = [Trigger::DaemonReload(FOREIGN_PROMETHEUS.into())];
        plan.notifying(Lane::Files, Gone { path: path.clone() }, reload);
    }
    plan.step(Lane::Files, Gone { path: CONFIG.into() });
}

fn made(plan: &mut Plan, user: Owner, config: &Config, templates: &Templates) -> Result<()> {
    plan.part("metrics", format!("Prometheus, {METRICS_HOME}"));
    let mask = Link { at: metrics_mask(), to: "/dev/null".into() };
    plan.notifying(Lane::Files, mask, [Trigger::DaemonReload(FOREIGN_PROMETHEUS.into())]);
    let contents = Contents::GoesToo;
    let readers = Owner::new(0, user.gid);
    for (path, owner, mode) in [(METRICS_HOME, user, 0o700), (METRICS_TARGETS, readers, 0o750)] {
        plan.step(Lane::Files, Dir { path: path.into(), owner, mode, contents });
    }
    let values = Values {
        user: METRICS_USER,
        home: METRICS_HOME,
        program: METRICS_PROGRAM,
        config: CONFIG,
        targets: METRICS_TARGETS,
        port: METRICS_PORT,
        retention: config.metrics.retention.to_string(),
        size: config.metrics.size.0,
    };
    let restart = Trigger::RestartAnswering(answering());
    let conf = shown(CONFIG.into(), templates.render("prometheus.yml", &values)?);
    plan.notifying(Lane::Files, conf, [restart.clone()]);
    let path = format!("/etc/systemd/system/{METRICS_UNIT}");
    let unit = shown(path.clone().into(), templates.render("systemd/prometheus.service", &values)?);
    let reload = Trigger::DaemonReload(METRICS_UNIT.into());
    plan.notifying(Lane::Files, unit, [reload, restart]);
    let at = format!("/etc/systemd/system/multi-user.target.wants/{METRICS_UNIT}").into();
    plan.step(Lane::Files, Link { at, to: path.into() });
    Ok(())
}

/// What comes last: by then the wall stands around its port.
pub(super) fn running(plan: &mut Plan, facts: &HostFacts) {
    if let MetricsFacts::Runs(_) = facts.metrics {
        plan.part("metrics running", METRICS_UNIT);
        plan.step(Lane::Files, answering());
    }
}

fn answering() -> Answering {
    let asked = Asked::Page { port: METRICS_PORT, path: "/-/ready".into() };
    Answering { unit: METRICS_UNIT.into(), asked }
}

fn shown(path: PathBuf, text: String) -> File {
    let text = Text::Exactly(text);
    File { path, owner: Owner::ROOT, mode: 0o644, text, judge: Judge::Nobody }
}

/// Where the file stands by which a project's figures are found.
pub fn metrics_target(name: &ProjectName) -> PathBuf {
    format!("{METRICS_TARGETS}/{name}.json").into()
}

/// That file, where the live release has a page to read.
fn target(project: &Project) -> Option<File> {
    let web = project.live.as_ref()?.spec.web()?;
    let page = web.metrics.as_ref()?;
    let targets = json!([{
        "targets": [format!("127.0.0.1:{}", project.port)],
        "labels": { "project": project.name.as_str(), "process": web.name, "__metrics_path__": page },
    }]);
    Some(shown(metrics_target(&project.name), format!("{targets}\n")))
}

/// The files of all projects, for a server that begins to read them.
pub fn metrics_targets(plan: &mut Plan, projects: &[Project]) {
    let files: Vec<File> = projects.iter().filter_map(target).collect();
    if files.is_empty() {
        return;
    }
    plan.part("targets", METRICS_TARGETS);
    for file in files {
        plan.step(Lane::Files, file);
    }
}

impl Maker<'_> {
    /// What Prometheus reads of it, where the server has one.
    pub(super) fn metrics(&self, plan: &mut Plan) {
        if !self.config.metrics.enabled {
            return;
        }
        if let Some(file) = target(self.project) {
            plan.part("metrics", file.path.display().to_string());
            plan.step(Lane::Files, file);
        }
    }

    /// The same as one with a release, which may have nothing to read.
    pub(super) fn metrics_of_release(&self, plan: &mut Plan) {
        if !self.config.metrics.enabled {
            return;
        }
        if target(self.project).is_some() {
            return self.metrics(plan);
        }
        plan.part("metrics", "no longer read");
        plan.step(Lane::Files, Gone { path: metrics_target(&self.project.name) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Metrics,
        plan::Ground,
        projects::{Facts, Passwords, processes::tests::spec, tests::shop},
        registry::Live,
        release::Kind,
        steps::{AnyStep, Step},
    };

    fn project(page: Option<&str>) -> Project {
        let mut spec = spec(&[("web", Kind::Web), ("queue", Kind::Worker)]);
        spec.processes[0].metrics = page.map(str::to_owned);
        let id = "20261121-093012".parse().unwrap();
        Project { live: Some(Live { id, spec }), ..shop() }
    }

    #[test]
    fn a_project_is_found_by_its_own_file() {
        assert!(target(&project(None)).is_none() && target(&shop()).is_none());
        let file = target(&project(Some("/metrics"))).unwrap();
        assert_eq!(file.path, PathBuf::from("/etc/hostkit/metrics.d/my-shop.json"));
        let Text::Exactly(text) = file.text else { panic!() };
        let labels = r#"{"__metrics_path__":"/metrics","process":"web","project":"my-shop"}"#;
        let port = shop().port;
        assert_eq!(text, format!("[{{\"labels\":{labels},\"targets\":[\"127.0.0.1:{port}\"]}}]\n"));
    }

    #[test]
    fn only_a_server_that_reads_has_such_files() {
        let (passwords, templates) = (Passwords::none(), Templates::default());
        let facts = Facts::unknown();
        let steps = |page, enabled| -> Vec<String> {
            let config =
                Config { metrics: Metrics { enabled, ..Metrics::default() }, ..Config::default() };
            let project = &project(page);
            let maker = Maker {
                project,
                facts: &facts,
                passwords: &passwords,
                config: &config,
                templates: &templates,
            };
            let mut plan = Plan::new(Ground::Known);
            maker.metrics(&mut plan);
            maker.metrics_of_release(&mut plan);
            plan.steps.iter().map(|planned| AnyStep::title(&planned.step)).collect()
        };
        let path = "/etc/hostkit/metrics.d/my-shop.json";
        assert!(steps(Some("/metrics"), false).is_empty());
        assert_eq!(steps(Some("/metrics"), true), [format!("file {path}"), format!("file {path}")]);
        assert_eq!(steps(None, true), [format!("no {path}")]);
    }
}
