//! All that a project runs: what its release brings, and what its operator added. Here alone the
//! two become one.

use std::collections::BTreeMap;

use super::{
    Facts, Maker, Passwords, aliases, manifest,
    switch::{no_unit, retired},
    unit::ENVIRONMENT,
    words::join_command,
};
use crate::{
    config::Config,
    error::{Error, Result},
    plan::{Ground, Lane, Plan},
    registry::{Live, Project},
    release::{Kind, Process, Spec},
    steps::{Running, Stopped},
    templates::Templates,
};

/// A release's spec with the operator's processes, without timers that are off, and with the
/// variables of the project's environment.
pub fn whole(project: &Project, spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    if let Some(overlay) = spec.overlays.get(&project.environment) {
        spec.environment.extend(overlay.clone());
    }
    for own in &project.own {
        if !spec.processes.iter().any(|process| process.name == own.name) {
            spec.processes.push(own.clone());
        }
    }
    spec.processes.retain(|process| {
        !matches!(process.kind, Kind::Scheduled(_)) || !project.off.contains(&process.name)
    });
    let is_there = |of: &str| spec.processes.iter().any(|process| process.name == of);
    spec.aliases.retain(|_, of| of == "web" || is_there(of));
    spec.processes.sort_by(|a, b| (a.name != "web", &a.name).cmp(&(b.name != "web", &b.name)));
    spec
}

/// What a step of a release that runs once starts with.
pub fn release_environment(project: &Project, spec: &Spec) -> BTreeMap<String, String> {
    let mut variables = whole(project, spec).environment;
    variables.insert(ENVIRONMENT.into(), project.environment.to_string());
    variables
}

pub(super) fn whole_live(project: &Project, live: &Live) -> Live {
    Live { id: live.id.clone(), spec: whole(project, &live.spec) }
}

pub(super) fn whole_project(project: &Project) -> Project {
    let live = project.live.as_ref().map(|live| whole_live(project, live));
    Project { live, ..project.clone() }
}

/// Fails where a release brings a process of a name that the operator gave to one.
pub fn check_own(project: &Project, spec: &Spec) -> Result<()> {
    let taken = |own: &&Process| spec.processes.iter().any(|process| process.name == own.name);
    let Some(own) = project.own.iter().find(taken) else { return Ok(()) };
    let (name, verb) = (&own.name, verb_of(own));
    Err(Error::conflict("process_taken", format!("{} has a process `{name}` already", project.name))
        .caused_by("an operator added it, and the release brings one of that name too")
        .hint(format!(
            "name it otherwise in hostkit.toml, or take the operator's away: `hostkit {verb} remove {} {name}`",
            project.name
        )))
}

/// The verb that a process is added and removed by.
fn verb_of(process: &Process) -> &'static str {
    if matches!(process.kind, Kind::Scheduled(_)) { "cron" } else { "worker" }
}

/// A process of the operator's that runs all the time.
pub fn worker(name: &str, command: &[String]) -> Result<Process> {
    own(name, command, Kind::Worker)
}

/// A process of the operator's that runs when its time comes.
pub fn cron(name: &str, schedule: &str, command: &[String]) -> Result<Process> {
    let calendar = manifest::on_calendar(schedule).map_err(|why| {
        Error::usage("bad_schedule", "there is no such time")
            .caused_by(why)
            .hint("five fields as of cron, or a time that `systemd-analyze calendar '…'` takes")
    })?;
    own(name, command, Kind::Scheduled(calendar))
}

fn own(name: &str, command: &[String], kind: Kind) -> Result<Process> {
    if let Some((why, hint)) = manifest::name_fault(name) {
        return Err(Error::usage("bad_name", why).hint(hint));
    }
    if name == "web" {
        return Err(Error::usage("bad_name", "`web` is the process that the release brings")
            .hint("say in hostkit.toml how it starts: [process.web] command = \"…\""));
    }
    let command = manifest::words(&join_command(command)).map_err(|refused| {
        let error = Error::usage("bad_command", "the command can't be used").caused_by(refused.why);
        refused.hint.into_iter().fold(error, Error::hint)
    })?;
    Ok(Process {
        name: name.into(),
        command,
        directory: String::new(),
        kind,
        health: None,
        metrics: None,
    })
}

/// Another environment, for a project that does not run: its units and its site say so, and nothing
/// starts.
pub fn environment_plan(
    project: &Project,
    facts: &Facts,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let project = &whole_project(project);
    let passwords = Passwords::none();
    let maker = Maker { project, facts, passwords: &passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.unit(&mut plan)?;
    maker.site(&mut plan, Lane::Site)?;
    Ok(plan)
}

/// From a project's processes to other ones of the same release: what is new starts, what is gone
/// ends, and the rest does not notice.
pub fn own_plan(
    before: &Project,
    after: &Project,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let (before, after) = (&whole_project(before), &whole_project(after));
    let mut plan = Plan::new(Ground::Known);
    let (Some(old), Some(new)) = (&before.live, &after.live) else {
        // Its units come with the first release; the main one tells of them already.
        plan.part("processes", "with the first release");
        maker(after, config, templates, |maker| maker.unit(&mut plan))?;
        return Ok(plan);
    };
    maker(after, config, templates, |maker| maker.unit(&mut plan))?;
    for unit in retired(after, &old.spec, &new.spec) {
        plan.step(Lane::Files, Stopped { unit: unit.clone() });
        no_unit(&mut plan, &unit);
    }
    aliases::retire(&mut plan, &after.name, &old.spec, &new.spec);
    for worker in new.spec.workers() {
        if !old.spec.processes.contains(worker) {
            let unit = super::process_unit(&after.name, &worker.name);
            plan.step(Lane::Files, Running { unit });
        }
    }
    Ok(plan)
}

pub(super) fn maker(
    project: &Project,
    config: &Config,
    templates: &Templates,
    make: impl FnOnce(&Maker<'_>) -> Result<()>,
) -> Result<()> {
    let (facts, passwords) = (Facts::unknown(), Passwords::none());
    make(&Maker { project, facts: &facts, passwords: &passwords, config, templates })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{names::Runtime, projects::tests::shop};

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    pub(in crate::projects) fn spec(names: &[(&str, Kind)]) -> Spec {
        let process = |(name, kind): &(&str, Kind)| Process {
            name: (*name).into(),
            command: words("/bin/true"),
            directory: String::new(),
            kind: kind.clone(),
            health: None,
            metrics: None,
        };
        Spec {
            runtime: Runtime::Custom,
            processes: names.iter().map(process).collect(),
            public: None,
            routes: Vec::new(),
            shared: Vec::new(),
            environment: BTreeMap::new(),
            installs: None,
            switch: crate::release::Switch::default(),
            generated: BTreeMap::new(),
            url_scheme: None,
            variables: std::collections::BTreeMap::new(),
            aliases: std::collections::BTreeMap::new(),
            secret_files: Vec::new(),
            overlays: std::collections::BTreeMap::new(),
            expose: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn the_operators_processes_stand_among_the_releases_own() {
        let mut project = shop();
        project.own = vec![
            worker("mail", &words("venv/bin/python worker.py")).unwrap(),
            cron("alarm", "0 9-17 * * 1-5", &words("/bin/true")).unwrap(),
        ];
        let release = spec(&[
            ("web", Kind::Web),
            ("tidy", Kind::Scheduled("daily".into())),
            ("queue", Kind::Worker),
        ]);
        let names = |project: &Project| -> Vec<String> {
            whole(project, &release).processes.into_iter().map(|process| process.name).collect()
        };
        assert_eq!(names(&project), ["web", "alarm", "mail", "queue", "tidy"]);
        // Whoever is off: a timer is, and no other process can be.
        project.off = vec!["tidy".into(), "queue".into(), "alarm".into()];
        assert_eq!(names(&project), ["web", "mail", "queue"]);
        let alarm = &project.own[1];
        assert_eq!(alarm.kind, Kind::Scheduled("Mon..Fri *-*-* 09..17:00:00".into()));
        assert!(check_own(&project, &release).is_ok());
        let error = check_own(&project, &spec(&[("mail", Kind::Worker)])).unwrap_err();
        assert_eq!(error.kind.exit_code(), 4);
        assert!(error.hint.unwrap().contains("hostkit worker remove my-shop mail"));
    }

    #[test]
    fn what_an_operator_adds_is_held_to_the_same_rules() {
        for name in ["web", "Mail", "", "next", "a b", "x/y", &"x".repeat(32)] {
            assert!(worker(name, &words("/bin/true")).is_err(), "{name}");
        }
        for command in ["", "../x", "$X y", "A=1 node", "a/"] {
            assert!(worker("mail", &words(command)).is_err(), "{command}");
        }
        assert!(cron("tidy", "0 3 * *", &words("/bin/true")).is_err());
        // A word of the operator's shell stays one, whatever it holds.
        let odd = vec!["/bin/sh".to_owned(), "-c".into(), "a && b 'c' > \"$D\"".into()];
        assert_eq!(worker("mail", &odd).unwrap().command, odd);
    }

    #[test]
    fn a_change_of_processes_touches_no_other() {
        let mut before = shop();
        let id = "20261121-093012".parse().unwrap();
        before.live = Some(Live { id, spec: spec(&[("web", Kind::Web), ("queue", Kind::Worker)]) });
        let mut after = before.clone();
        after.own = vec![worker("mail", &words("/bin/true")).unwrap()];
        let titles = |a: &Project, b: &Project| -> Vec<String> {
            let plan = own_plan(a, b, &Config::default(), &Templates::default()).unwrap();
            plan.steps.iter().map(|planned| crate::steps::Step::title(&planned.step)).collect()
        };
        let there = titles(&before, &after);
        assert!(
            there.contains(&"unit hostkit-my-shop-mail.service running".to_owned()),
            "{there:?}"
        );
        assert!(!there.iter().any(|title| title.contains("queue.service running")), "{there:?}");
        assert!(!there.iter().any(|title| title.contains("stopped")), "{there:?}");
        let back = titles(&after, &before);
        assert!(back.contains(&"unit hostkit-my-shop-mail.service stopped".to_owned()), "{back:?}");
        assert!(
            back.contains(&"no /etc/systemd/system/hostkit-my-shop-mail.service".to_owned()),
            "{back:?}"
        );
    }
}
