//! What hostkit wants: pure functions from what there is and what was asked for to a plan.

mod access;
pub mod alerts;
mod aliases;
mod app_gate;
pub mod backup;
mod detect;
mod env;
mod exec;
mod expose;
mod garage;
mod git;
mod host;
mod manifest;
mod metrics;
mod mysql;
mod own_redis;
mod php;
mod processes;
mod redis_rules;
mod rights;
mod routes;
mod secrets;
mod services;
mod site;
mod spec;
mod storage;
mod switch;
mod tls;
mod unit;
mod upkeep;
mod words;

use std::{collections::BTreeMap, path::PathBuf};

pub use access::{USER_COMMANDS, parse_request};
pub use aliases::{check_aliases, drop_aliases, names_unit, unit_of};
pub use app_gate::{app_socket, grant, grants_plan, is_granted, with_grant};
pub use detect::{
    BuildStep, FoundRoute, Fpm, HOME, Phase, Recipe, Serves, Tools, Tree, USUAL_LIMITS, recipe,
    wanted_texts,
};
pub use env::{ManagedEnv, database_login, passwords, with_next_login};
pub use exec::{
    ExecUnit, REQUEST, Streams, exec_request, exec_unit, exec_unit_name, exec_units,
    read_exec_request,
};
pub use expose::is_reachable;
pub use garage::{GARAGE_RPC, GARAGE_UNIT, GARAGE_USER, Garage, StorageFacts};
pub use git::{FetchUnit, fetch_unit};
pub use host::{HostFacts, plan as host_plan};
pub use manifest::{
    Build, Install, MANIFEST, Manifest, Migrate, Services, manifest_text, mistakes, parse_manifest,
    schema,
};
pub use metrics::{
    METRICS_HOME, METRICS_TARGETS, MetricsFacts, metrics_mask, metrics_target, metrics_targets,
};
pub use mysql::{
    MysqlFacts, mysql_entry, mysql_given_up, mysql_plan, mysql_restored, no_mysql_plan, own_mysql,
    with_mysql_password,
};
pub use own_redis::{redis_socket, redis_unit};
pub use php::{pool_file, served};
pub use processes::{
    check_own, cron, environment_plan, own_plan, release_environment, whole, worker,
};
pub use rights::{granted, read_grants};
pub use secrets::{Credentials, build_secrets_dir, credentials_dir};
pub use services::{DbLogin, database_plan, doomed, handover, handover_plan, no_database_plan};
pub use spec::{FoundUnit, read_unit};
pub use storage::{key_name, storage_keys, storage_place, storage_plan, without_storage};
pub use switch::{
    Comes, From, data_plan, env_and_release_plan, env_plan, gate, release_file, switch_plan,
    unit_names,
};
pub use tls::{
    CERTIFICATES, Held, TlsFacts, certificate_file, closed_site, covers, domains, site_text,
    tls_plan, url,
};
use unit::Which;
pub use unit::{BuildUnit, build_unit, process_unit, standby_env, timer_unit};
pub use words::{check_command, split_command};

use crate::{
    config::Config,
    error::Result,
    names::{Domain, ReleaseId, Runtime},
    plan::{Ground, Lane, Plan},
    registry::{OFFSETS, Project},
    release::{Kind, Process, Spec},
    secret::{Keys, Secret},
    steps::{
        Account, Contents, Dir, Entry, File, Judge, Leftovers, Link, Log, Owner, Probe, Reach,
        Running, Service, Text, Trigger, User, Version, Wall,
    },
    templates::Templates,
};

/// What a plan must know of the host. It decides; it does not look.
#[derive(Clone, Debug)]
pub struct Facts {
    pub has_ipv6: bool,
    /// The user that nginx serves as, and the group that reads its logs.
    pub web: Owner,
    pub log_group: u32,
    pub redis_version: Version,
    /// The project's `.env` as it stands.
    pub env: Option<String>,
    /// Secrets that processes were given; `None` where nobody can open them.
    pub secrets: Option<BTreeMap<String, Secret>>,
    /// The release that `app` points to, if it is complete.
    pub release: Option<ReleaseId>,
    /// Whether `app` points to some release, complete or not.
    pub app: Option<PathBuf>,
    pub tls: TlsFacts,
}

impl Facts {
    /// Where nothing was looked up: enough to name what there is.
    pub fn unknown() -> Self {
        Self {
            has_ipv6: false,
            web: Owner::ROOT,
            log_group: 0,
            redis_version: Version { major: 7, minor: 0 },
            env: None,
            secrets: None,
            release: None,
            app: None,
            tls: TlsFacts::default(),
        }
    }
}

/// Passwords of a project: read from its `.env`, or made new.
#[derive(Clone, Debug)]
pub struct Passwords {
    pub redis: Secret,
    pub postgres: Secret,
    pub mysql: Secret,
    /// Whose password that of the database is.
    pub login: DbLogin,
    pub storage: Option<Keys>,
}

const MAP: &str = "/etc/nginx/conf.d/hostkit-map.conf";
const WALL_DIR: &str = "/etc/hostkit/wall.d";

impl Passwords {
    /// For plans that change nothing that needs one.
    fn none() -> Self {
        Self {
            redis: Secret::new(""),
            postgres: Secret::new(""),
            mysql: Secret::new(""),
            login: DbLogin::Owner,
            storage: None,
        }
    }
}

/// Everything that a project is on the host: the one list behind provisioning, dry-run, drift,
/// repair and delete.
pub fn plan(
    project: &Project,
    facts: &Facts,
    passwords: &Passwords,
    config: &Config,
    templates: &Templates,
    ground: Ground,
) -> Result<Plan> {
    let project = &processes::whole_project(project);
    let maker = Maker { project, facts, passwords, config, templates };
    let mut plan = Plan::new(ground);
    maker.home(&mut plan)?;
    maker.ports(&mut plan, ground == Ground::Fresh);
    maker.redis(&mut plan)?;
    maker.postgres(&mut plan, ground);
    maker.mysql(&mut plan);
    maker.storage(&mut plan);
    maker.unit(&mut plan)?;
    maker.access(&mut plan)?;
    maker.app_gate(&mut plan)?;
    maker.metrics(&mut plan);
    maker.site(&mut plan, Lane::Site)?;
    Ok(plan)
}

/// The plan of who gets in, alone.
pub fn access_plan(project: &Project, config: &Config, templates: &Templates) -> Result<Plan> {
    let facts = Facts::unknown();
    let passwords = Passwords::none();
    let maker = Maker { project, facts: &facts, passwords: &passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.access(&mut plan)?;
    Ok(plan)
}

struct Maker<'a> {
    project: &'a Project,
    facts: &'a Facts,
    passwords: &'a Passwords,
    config: &'a Config,
    templates: &'a Templates,
}

impl Maker<'_> {
    fn spec(&self) -> Option<&Spec> {
        self.project.live.as_ref().map(|live| &live.spec)
    }

    fn user(&self) -> Owner {
        Owner::new(self.project.uid, self.project.uid)
    }

    /// Root's, and readable by the project: what it may see and never change.
    fn shown(&self) -> Owner {
        Owner::new(0, self.project.uid)
    }

    fn dir(&self, path: PathBuf, owner: Owner, mode: u32) -> Dir {
        Dir { path, owner, mode, contents: Contents::GoesToo }
    }

    fn home(&self, plan: &mut Plan) -> Result<()> {
        let name = &self.project.name;
        let home = name.home();
        plan.part("user and home", home.display().to_string());
        plan.step(
            Lane::Accounts,
            Account {
                user: User {
                    name: name.to_string(),
                    owner: self.user(),
                    home: home.display().to_string(),
                    shell: "/bin/bash".into(),
                    comment: format!("hostkit project {name}"),
                },
            },
        );
        plan.step(Lane::Files, self.dir(home.clone(), self.shown(), 0o750));
        plan.step(Lane::Files, self.dir(home.join("releases"), self.shown(), 0o750));
        plan.step(Lane::Files, self.dir(home.join("releases/empty"), self.shown(), 0o750));
        plan.step(Lane::Files, self.dir(home.join("shared"), self.user(), 0o750));
        plan.step(Lane::Files, self.dir(home.join(".cache"), self.user(), 0o700));
        plan.step(Lane::Files, self.dir(home.join("push"), self.user(), 0o700));
        let live = self.project.live.as_ref().map(|live| format!("releases/{}", live.id).into());
        let app =
            live.or_else(|| self.facts.app.clone()).unwrap_or_else(|| "releases/empty".into());
        plan.step(Lane::Files, Link { at: home.join("app"), to: app });
        self.reach(plan);
        if self.project.runtime == Runtime::Python {
            plan.step(Lane::Files, Link { at: home.join("venv"), to: "app/venv".into() });
        }
        self.env_file(plan)?;
        for of in ["deploys", "checkpoints"] {
            let path = format!("/var/lib/hostkit/{of}/{name}").into();
            plan.step(Lane::Files, self.dir(path, Owner::ROOT, 0o700));
        }
        let logs = name.logs();
        plan.step(Lane::Files, self.dir(logs.clone(), self.shown(), 0o2750));
        for log in ["app.log", "error.log"] {
            plan.step(Lane::Files, Log { path: logs.join(log), owner: self.shown(), mode: 0o640 });
        }
        Ok(())
    }

    /// The web server's way to the files of a static site.
    fn reach(&self, plan: &mut Plan) {
        if !self.spec().is_some_and(Spec::has_files) {
            return;
        }
        let home = self.project.name.home();
        for path in [home.clone(), home.join("releases")] {
            plan.step(Lane::Files, Reach { path, user: "www-data".into() });
        }
    }

    fn ports(&self, plan: &mut Plan, is_new: bool) {
        let Self { project, .. } = self;
        let ports: Vec<u16> = OFFSETS.iter().map(|(_, offset)| project.port + offset).collect();
        plan.part("port", project.port.to_string());
        let wall = Wall { uid: project.uid, ports, is_new };
        let rules =
            format!("# Made by hostkit for the project {}.\n{}", project.name, wall.rules());
        plan.step(
            Lane::Kernel,
            File {
                path: format!("{WALL_DIR}/{}.nft", project.name).into(),
                owner: Owner::ROOT,
                mode: 0o644,
                text: Text::Exactly(rules),
                judge: Judge::Nobody,
            },
        );
        plan.step(Lane::Kernel, wall);
    }

    fn unit(&self, plan: &mut Plan) -> Result<()> {
        let Self { project, config, templates, .. } = self;
        let name = &project.name;
        plan.part("unit", name.unit());
        let runtime = self.spec().map_or(project.runtime, |spec| spec.runtime);
        if runtime == Runtime::Php {
            let contents = Contents::Stays;
            let pools = php::POOLS.into();
            plan.step(Lane::Files, Dir { path: pools, owner: Owner::ROOT, mode: 0o755, contents });
            plan.step(Lane::Files, php::pool(name, self.spec(), config, templates)?);
        }
        let text = unit::render(project, self.spec(), Which::Main, config, templates)?;
        self.unit_file(plan, &name.unit(), text);
        let wants = format!("/etc/systemd/system/multi-user.target.wants/{}", name.unit());
        plan.step(Lane::Files, Link { at: wants.into(), to: name.unit_file() });
        plan.step(Lane::Files, Service { unit: name.unit() });
        for process in self.spec().iter().flat_map(|spec| &spec.processes) {
            self.process(plan, process)?;
        }
        self.aliases(plan);
        plan.step(Lane::Files, Leftovers { user: name.to_string(), uid: project.uid });
        Ok(())
    }

    /// A process of the live release besides the main one.
    fn process(&self, plan: &mut Plan, process: &Process) -> Result<()> {
        let Self { project, config, templates, .. } = self;
        let name = &project.name;
        let (starter, target) = match &process.kind {
            Kind::Worker => (process_unit(name, &process.name), "multi-user"),
            Kind::Scheduled(_) => (unit::timer_unit(name, &process.name), "timers"),
            Kind::Release | Kind::Web => return Ok(()),
        };
        let log = Log {
            path: name.logs().join(format!("{}.log", process.name)),
            owner: self.shown(),
            mode: 0o640,
        };
        plan.step(Lane::Files, log);
        let text = unit::render(project, self.spec(), Which::Process(process), config, templates)?;
        self.unit_file(plan, &process_unit(name, &process.name), text);
        if let Kind::Scheduled(schedule) = &process.kind {
            self.unit_file(plan, &starter, unit::timer(project, process, schedule, templates)?);
        }
        let at = format!("/etc/systemd/system/{target}.target.wants/{starter}").into();
        let to = format!("/etc/systemd/system/{starter}").into();
        plan.step(Lane::Files, Link { at, to });
        if let Kind::Scheduled(_) = process.kind {
            plan.step(Lane::Files, Running { unit: starter });
        }
        plan.step(Lane::Files, Service { unit: process_unit(name, &process.name) });
        Ok(())
    }

    fn unit_file(&self, plan: &mut Plan, unit: &str, text: String) {
        let file = File {
            path: format!("/etc/systemd/system/{unit}").into(),
            owner: Owner::ROOT,
            mode: 0o644,
            text: Text::Exactly(text),
            judge: Judge::Nobody,
        };
        plan.notifying(Lane::Files, file, [Trigger::DaemonReload(unit.to_owned())]);
    }

    fn access(&self, plan: &mut Plan) -> Result<()> {
        let Self { project, config, .. } = self;
        let keys = access::keys(project, config);
        plan.part("access", access::told(keys.len() + project.ci_keys.len()));
        let ssh = project.name.home().join(".ssh");
        plan.step(Lane::Files, self.dir(ssh.clone(), self.shown(), 0o750));
        plan.step(
            Lane::Files,
            File {
                path: ssh.join("authorized_keys"),
                owner: self.shown(),
                mode: 0o640,
                text: Text::Exactly(access::authorized_keys(
                    &project.name,
                    &keys,
                    &project.ci_keys,
                )),
                judge: Judge::Nobody,
            },
        );
        plan.step(
            Lane::Files,
            File {
                path: project.name.sudoers(),
                owner: Owner::ROOT,
                mode: 0o440,
                text: Text::Exactly(access::sudoers(&project.name, self.templates)?),
                judge: Judge::Sudo,
            },
        );
        Ok(())
    }

    /// The site, and with which mark it answers.
    fn site_file(&self, place: site::Place) -> Result<(File, Probe)> {
        let Self { project, facts, config, templates, .. } = self;
        let domains = site::domains(project, config)?;
        let site = site::render(project, &domains, place, (facts, config), templates)?;
        let file = File {
            path: project.name.site(),
            owner: Owner::ROOT,
            mode: 0o644,
            text: Text::Exactly(site.text),
            judge: Judge::Nginx,
        };
        Ok((file, Probe { domain: domains[0].clone(), mark: site.mark }))
    }

    fn site(&self, plan: &mut Plan, lane: Lane) -> Result<()> {
        let Self { project, facts, config, .. } = self;
        let name = &project.name;
        let domains = site::domains(project, config)?;
        let all: Vec<&str> = domains.iter().map(Domain::as_str).collect();
        plan.part("site", all.join(", "));
        let (file, probe) = self.site_file(site::Place::Link)?;
        for kind in ["access", "error"] {
            let path = format!("/var/log/nginx/hostkit-{name}.{kind}.log").into();
            let owner = Owner::new(facts.web.uid, facts.log_group);
            plan.step(lane, Log { path, owner, mode: 0o640 });
        }
        let reload = Trigger::NginxReload(Some(probe));
        self.certificate(plan, lane, &reload);
        plan.notifying(lane, file, [reload.clone()]);
        let link = Link { at: name.site_link(), to: name.site() };
        plan.notifying(lane, link, [reload.clone()]);
        if let Some(domain) = domains.first() {
            plan.notifying(
                lane,
                Entry {
                    path: MAP.into(),
                    whose: name.to_string(),
                    line: format!("{domain} {};", project.port),
                },
                [reload],
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        names::Runtime,
        registry::Storage,
        secret::{Keys, Secret},
    };

    pub(super) fn shop() -> Project {
        Project {
            runtime: Runtime::Python,
            redis: Some(1),
            postgres: true,
            created_at: "2026-11-21T09:30:12Z".parse().unwrap(),
            ..Project::plain("my-shop")
        }
    }

    pub(super) fn facts() -> Facts {
        Facts { has_ipv6: true, web: Owner::new(33, 33), log_group: 4, ..Facts::unknown() }
    }

    #[test]
    fn a_plan_never_holds_a_password_in_what_the_journal_writes() {
        let passwords = Passwords {
            redis: Secret::new("r3d1s"),
            postgres: Secret::new("p0stgr3s"),
            mysql: Secret::new("mar1a"),
            storage: Some(Keys { id: "GK1".into(), secret: Secret::new("s3cr3t") }),
            login: DbLogin::Second,
        };
        let plan = plan(
            &Project { storage: Some(Storage::default()), mysql: true, ..shop() },
            &facts(),
            &passwords,
            &storage::tests::with_garage(),
            &Templates::default(),
            Ground::Fresh,
        )
        .unwrap();
        for planned in &plan.steps {
            let text = serde_json::to_string(&planned.step).unwrap();
            for secret in ["r3d1s", "p0stgr3s", "s3cr3t", "mar1a"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}
