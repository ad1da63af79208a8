//! From one release to another: the steps, and what has to be up afterwards.

mod detour;

use super::{
    Credentials, Facts, Maker, Passwords, aliases, pool_file, process_unit,
    processes::{whole, whole_live, whole_project},
    redis_unit, routes, secrets,
    services::hand_over,
    site, standby_env, unit,
};
use crate::{
    config::Config,
    envfile::EnvFile,
    error::Result,
    names::{ReleaseId, Runtime},
    plan::{Ground, Lane, Plan},
    registry::{Live, Project, port_of},
    release::{Kind, Spec, Strategy},
    steps::{
        Again, AnyStep, File, Gate, Gone, Handover, Judge, Link, MysqlPassword, Owner, Standby,
        Step, Switch, Target, Text, Trigger,
    },
    templates::Templates,
};

/// What a switch goes from, besides the project as it shall be.
pub struct From<'a> {
    pub old: Option<&'a Live>,
    /// Whether the main process runs: what stands still needs no standby.
    pub is_up: bool,
    /// Text of the `.env` that it starts with, where that changes too.
    pub env: Option<&'a str>,
    /// Secrets that are files, where those change.
    pub credentials: Option<&'a Credentials>,
    /// What becomes of the database before the release comes.
    pub data: Option<Comes>,
    /// When the plan is made, in microseconds: what started later is no longer the old.
    pub now: u64,
}

/// A change of the database that comes with a release.
pub enum Comes {
    /// It is put back to what belongs to the release, and other data with it.
    Back(Vec<AnyStep>),
    /// Its processes log in by another role.
    Anew(Handover),
    /// They log in with another password.
    AnewInMysql(MysqlPassword),
}

/// The plan that moves requests to the release that `project` says is live.
pub fn switch_plan(
    project: &Project,
    live: &Live,
    from: From<'_>,
    facts: &Facts,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let passwords = Passwords::none();
    // With what the operator added: both releases run it.
    let project = &whole_project(project);
    let live = &whole_live(project, live);
    let old = from.old.map(|old| whole_live(project, old));
    let from = From { old: old.as_ref(), ..from };
    let maker = Maker { project, facts, passwords: &passwords, config, templates };
    let mut switch = switch(project, live, &from, config)?;
    let detour = detour::of(&maker, from.old, &switch)?;
    switch.keeps_standby = detour.is_some() && switch.standby.is_some();
    let goes = switch.keeps_standby.then(|| Trigger::StandbyGoes(Box::new(switch.clone())));
    let moves: Vec<Trigger> =
        std::iter::once(Trigger::Switch(Box::new(switch.clone()))).chain(goes).collect();
    let mut plan = data_plan(project, from.data, from.env);
    secrets::add(&mut plan, &project.name, from.credentials);
    if let Some(standby) = standby(&maker, live, from.old, &switch)? {
        let pages = standby.gate.pages.as_ref();
        let place = pages.map_or(format!(":{}", standby.port), |_| "php-fpm".into());
        plan.part("standby healthy", place);
        plan.notifying(Lane::Files, standby, moves.clone());
    }
    maker.release_file(&mut plan, facts.env.as_deref().unwrap_or_default())?;
    maker.unit(&mut plan)?;
    for unit in from.old.map(|old| retired(project, &old.spec, &live.spec)).unwrap_or_default() {
        no_unit(&mut plan, &unit);
    }
    if let Some(old) = from.old {
        aliases::retire(&mut plan, &project.name, &old.spec, &live.spec);
    }
    let was_php = from.old.is_some_and(|old| old.spec.runtime == Runtime::Php);
    if was_php && live.spec.runtime != Runtime::Php {
        plan.step(Lane::Files, Gone { path: pool_file(&project.name) });
    }
    maker.reach(&mut plan);
    maker.metrics_of_release(&mut plan);
    // The site comes last then, and not at the same time as the rest.
    let lane = if detour.is_some() { Lane::Files } else { Lane::Site };
    if let Some(old) = from.old.filter(|old| old.id != live.id && routes::looks_back(&live.spec)) {
        let link = Link { at: routes::before(&project.name), to: old.id.to_string().into() };
        plan.step(Lane::Files, link);
    }
    if let Some((detour, reload)) = detour {
        plan.part("routes", "as one with the release");
        plan.notifying(Lane::Files, detour, [reload]);
    }
    plan.part("switched", format!("to {}", live.id));
    let link =
        Link { at: project.name.home().join("app"), to: format!("releases/{}", live.id).into() };
    plan.notifying(Lane::Files, link, moves.clone());
    if from.old.is_some_and(|old| old.id == live.id) {
        // The link stays, and the processes start anew all the same.
        plan.notifying(Lane::Files, Again { unit: project.name.unit() }, moves);
    }
    secrets::add_gone(&mut plan, &project.name, from.credentials);
    maker.site(&mut plan, lane)?;
    Ok(plan)
}

/// What answers while the main process restarts.
fn standby(
    maker: &Maker<'_>,
    live: &Live,
    old: Option<&Live>,
    switch: &Switch,
) -> Result<Option<Standby>> {
    let Maker { project, config, templates, .. } = *maker;
    let (Some((unit, environment, port)), Some(gate), Some(old)) =
        (&switch.standby, &switch.new.gate, old)
    else {
        return Ok(None);
    };
    let which = unit::Which::Standby(&live.id, &old.id);
    Ok(Some(Standby {
        unit: unit.clone(),
        text: unit::render(project, Some(&live.spec), which, config, templates)?,
        environment: (environment.clone(), format!("PORT={port}\n")),
        port: *port,
        gate: gate.clone(),
    }))
}

/// The plan that changes a project's database and environment, as far as they are given.
pub fn data_plan(project: &Project, data: Option<Comes>, env: Option<&str>) -> Plan {
    let mut plan = Plan::new(Ground::Known);
    let restored = match data {
        Some(Comes::Anew(handover)) => {
            hand_over(&mut plan, handover);
            Vec::new()
        }
        Some(Comes::AnewInMysql(next)) => {
            let ends = Trigger::MysqlPasswordEnds(next.both());
            plan.part("login", next.account.clone());
            plan.notifying(Lane::Files, next, [ends]);
            Vec::new()
        }
        Some(Comes::Back(restored)) => restored,
        None => Vec::new(),
    };
    if let Some(text) = env {
        write_env(&mut plan, project, text);
    }
    for step in restored {
        plan.part("put back", step.title());
        plan.step(Lane::Files, step);
    }
    plan
}

/// No file of a unit, nor a link that starts it.
pub(super) fn no_unit(plan: &mut Plan, unit: &str) {
    for path in [
        format!("/etc/systemd/system/multi-user.target.wants/{unit}"),
        format!("/etc/systemd/system/sockets.target.wants/{unit}"),
        format!("/etc/systemd/system/timers.target.wants/{unit}"),
        format!("/etc/systemd/system/{unit}"),
    ] {
        let reload = [Trigger::DaemonReload(unit.to_owned())];
        plan.notifying(Lane::Files, Gone { path: path.into() }, reload);
    }
}

/// The plan of a project's environment alone.
pub fn env_plan(project: &Project, text: &str) -> Plan {
    let mut plan = Plan::new(Ground::Known);
    write_env(&mut plan, project, text);
    plan
}

fn write_env(plan: &mut Plan, project: &Project, text: &str) {
    plan.part("environment", project.name.env_file().display().to_string());
    plan.step(
        Lane::Files,
        File {
            path: project.name.env_file(),
            owner: Owner::new(0, project.uid),
            mode: 0o640,
            text: Text::Secret(text.to_owned()),
            judge: Judge::Nobody,
        },
    );
}

/// The same, with what the live release makes of it. `live` is that, if it is complete.
pub fn env_and_release_plan(project: &Project, live: Option<&Live>, text: &str) -> Result<Plan> {
    let mut plan = env_plan(project, text);
    if let Some(live) = live.filter(|live| live.spec.reads_env()) {
        plan.step(Lane::Files, release_step(project, live, text)?);
    }
    Ok(plan)
}

fn switch(project: &Project, live: &Live, from: &From<'_>, config: &Config) -> Result<Switch> {
    let name = &project.name;
    let new = target(project, live, config)?;
    let old =
        from.old.filter(|_| from.is_up).map(|old| target(project, old, config)).transpose()?;
    let with_standby = live.spec.switch.strategy == Strategy::Standby
        && new.gate.is_some()
        && old.as_ref().is_some_and(|old| {
            // A site that finds the one on a port and the other on a socket there is not.
            let is_php = |target: &Target| target.gate.as_ref().map(|gate| gate.pages.is_some());
            old.gate.is_some() && is_php(old) == is_php(&new)
        });
    Ok(Switch {
        unit: name.unit(),
        port: project.port,
        standby: with_standby.then(|| {
            let port = port_of(project.port, "standby");
            (process_unit(name, "next"), standby_env(name).into(), port)
        }),
        keeps_standby: false,
        drain: live.spec.switch.drain,
        began: from.now,
        new,
        old,
    })
}

/// How to tell that the web process of the live release answers, if there is one.
pub fn gate(project: &Project, config: &Config) -> Result<Option<Gate>> {
    let Some(live) = &project.live else { return Ok(None) };
    Ok(target(project, live, config)?.gate)
}

fn target(project: &Project, live: &Live, config: &Config) -> Result<Target> {
    let spec = &live.spec;
    let domains = site::domains(project, config)?;
    let gate =
        spec.web().map(|web| Gate {
            domain: domains[0].clone(),
            health: web.health.clone(),
            timeout: web.health.as_ref().map_or(spec.switch.timeout, |health| health.timeout),
            pages: spec.public.as_ref().filter(|_| spec.runtime == Runtime::Php).map(|public| {
                project.name.home().join("releases").join(live.id.as_str()).join(public)
            }),
        });
    Ok(Target {
        release: live.id.clone(),
        gate,
        workers: spec.workers().map(|w| process_unit(&project.name, &w.name)).collect(),
        timers: timers(project, spec),
    })
}

fn timers(project: &Project, spec: &Spec) -> Vec<String> {
    let scheduled = spec.processes.iter().filter(|p| matches!(p.kind, Kind::Scheduled(_)));
    scheduled.map(|process| unit::timer_unit(&project.name, &process.name)).collect()
}

/// Units of the old release that the new one does not have.
pub(super) fn retired(project: &Project, old: &Spec, new: &Spec) -> Vec<String> {
    let units = |spec: &Spec| -> Vec<String> {
        let of = |p: &crate::release::Process| match p.kind {
            Kind::Worker => vec![process_unit(&project.name, &p.name)],
            Kind::Scheduled(_) => {
                vec![unit::timer_unit(&project.name, &p.name), process_unit(&project.name, &p.name)]
            }
            Kind::Release | Kind::Web => Vec::new(),
        };
        spec.processes.iter().flat_map(of).collect()
    };
    let kept = units(new);
    units(old).into_iter().filter(|unit| !kept.contains(unit)).collect()
}

/// The names of all units that a project has, or would have with that release.
pub fn unit_names(project: &Project, spec: Option<&Spec>) -> Vec<String> {
    let name = &project.name;
    let spec = spec.map(|spec| whole(project, spec));
    let own = spec.iter().flat_map(|spec| &spec.processes).filter(|p| p.kind != Kind::Web);
    let redis = project.own_redis.then(|| redis_unit(name));
    let processes = own.map(|p| process_unit(name, &p.name));
    std::iter::once(name.unit()).chain(redis).chain(processes).collect()
}

/// Text of the file by which a process learns of which release it is, and how that wants the
/// address of its database, and other variables, called. It wins over `.env`.
pub fn release_file(id: &ReleaseId, spec: &Spec, env: &str) -> Result<String> {
    let mut file = EnvFile::default();
    file.set("HOSTKIT_RELEASE", id.as_str())?;
    let env = EnvFile::parse(env)?;
    if let (Some(scheme), Some(url)) = (&spec.url_scheme, env.get("DATABASE_URL"))
        && let Some((_, rest)) = url.split_once("://")
    {
        file.set("DATABASE_URL", &format!("{scheme}://{rest}"))?;
    }
    let addresses = file.clone();
    // What the owner sets by that name himself holds.
    for (key, source) in spec.variables.iter().filter(|(key, _)| env.get(key).is_none()) {
        if let Some(value) = source.value(&addresses, &env) {
            file.set(key, value)?;
        }
    }
    Ok(file.to_string())
}

impl Maker<'_> {
    /// What the live release makes of `.env`, with today's passwords.
    pub(super) fn release_file(&self, plan: &mut Plan, env: &str) -> Result<()> {
        let Some(live) = &self.project.live else { return Ok(()) };
        if !live.spec.reads_env() || self.facts.release.as_ref() != Some(&live.id) {
            return Ok(());
        }
        plan.step(Lane::Files, release_step(self.project, live, env)?);
        Ok(())
    }
}

fn release_step(project: &Project, live: &Live, env: &str) -> Result<File> {
    let dir = project.name.home().join("releases").join(live.id.as_str());
    Ok(File {
        path: dir.join(".release"),
        owner: Owner::new(0, project.uid),
        mode: 0o640,
        text: Text::Secret(release_file(&live.id, &live.spec, env)?),
        judge: Judge::Nobody,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::manifest::parse_manifest;

    #[test]
    fn a_release_has_its_own_way_to_say_where_the_database_is() {
        let id: ReleaseId = "20261121-093012".parse().unwrap();
        let env = "A=1\nDATABASE_URL=postgresql://my_shop_user:p@localhost:5432/my_shop_db\n";
        let text = |scheme: &str| {
            let manifest = format!("[services]\npostgres = {scheme}\n");
            let services = parse_manifest(&manifest).unwrap().services;
            let spec = Spec { url_scheme: services.url_scheme, ..spec() };
            release_file(&id, &spec, env).unwrap()
        };
        let plain = "HOSTKIT_RELEASE=20261121-093012\n";
        assert_eq!(text("true"), plain);
        assert_eq!(
            text("{ url_scheme = \"postgresql+psycopg\" }"),
            format!(
                "{plain}DATABASE_URL=postgresql+psycopg://my_shop_user:p@localhost:5432/my_shop_db\n"
            )
        );
        let spec = Spec { url_scheme: Some("postgres".into()), ..spec() };
        assert_eq!(release_file(&id, &spec, "A=1\n").unwrap(), plain);
    }

    #[test]
    fn a_release_has_other_names_for_what_there_is() {
        let id: ReleaseId = "20261121-093012".parse().unwrap();
        let env = "DATABASE_URL=postgresql://u:p@localhost:5432/d\n\
            REDIS_URL=redis://r:s@localhost:6379/3\nKEY=k\nPGUSER=mine\n";
        let manifest = "[services.postgres]\nurl_scheme = \"postgresql+psycopg\"\n\
            [env.required]\nKEY = \"x\"\n[env.from]\nSHOP_DB = \"DATABASE_URL\"\n\
            PGHOST = \"DATABASE_URL.host\"\nPGUSER = \"DATABASE_URL.user\"\n\
            PGPASSWORD = \"DATABASE_URL.password\"\nREDIS_DB = \"REDIS_URL.database\"\nJWT = \"KEY\"\n";
        let manifest = parse_manifest(manifest).unwrap();
        let spec = Spec {
            url_scheme: manifest.services.url_scheme,
            variables: manifest.variables,
            ..spec()
        };
        let file = EnvFile::parse(&release_file(&id, &spec, env).unwrap()).unwrap();
        let url = "postgresql+psycopg://u:p@localhost:5432/d";
        for (key, value) in [
            ("DATABASE_URL", Some(url)),
            ("SHOP_DB", Some(url)),
            ("PGHOST", Some("localhost")),
            ("PGPASSWORD", Some("p")),
            ("REDIS_DB", Some("3")),
            ("JWT", Some("k")),
            // The owner's own holds.
            ("PGUSER", None),
        ] {
            assert_eq!(file.get(key), value, "{key}");
        }
    }

    fn spec() -> Spec {
        Spec {
            routes: Vec::new(),
            runtime: Runtime::Custom,
            processes: Vec::new(),
            public: None,
            shared: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            installs: None,
            switch: crate::release::Switch::default(),
            generated: std::collections::BTreeMap::new(),
            url_scheme: None,
            variables: std::collections::BTreeMap::new(),
            aliases: std::collections::BTreeMap::new(),
            secret_files: Vec::new(),
            overlays: std::collections::BTreeMap::new(),
            expose: std::collections::BTreeMap::new(),
        }
    }
}
