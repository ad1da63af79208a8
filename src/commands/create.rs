//! A new project, for `provision` and `project create` alike.

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;

use super::{Context, db::mysql, facts, port, show, ssl, storage};
use crate::{
    error::{Error, Kind, Result},
    names::{Domain, Environment, ProjectName, PublicKey, Runtime},
    plan::{Ground, differences},
    projects,
    registry::{Allotment, Change, NewOperation, Project, Storage, Tls, Way},
    sys::{Owner, net, nginx, users},
    ui::elapsed,
};

/// What was asked for, all of it checked.
pub struct New {
    pub verb: &'static str,
    pub name: ProjectName,
    pub runtime: Runtime,
    pub environment: Environment,
    /// That one and no other.
    pub port: Option<u16>,
    pub redis: Redis,
    pub postgres: bool,
    pub mysql: bool,
    pub storage: bool,
    pub tls: Option<Tls>,
    pub start: Option<String>,
    pub domains: Vec<Domain>,
    pub keys: Vec<PublicKey>,
    pub dry_run: bool,
}

/// Which Redis a project gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Redis {
    /// An instance that is its alone
    Dedicated,
    /// None
    None,
    /// A number of the server's
    Shared,
}

/// What a program is told of a new project.
#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    runtime: &'static str,
    environment: Environment,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_db: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_redis: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mysql: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    home: String,
    unit: String,
    user: &'a str,
    uid: u32,
    url: String,
    domains: Vec<String>,
    state: &'static str,
    milliseconds: u128,
}

pub fn run(new: &New, cx: &mut Context) -> Result<()> {
    if new.runtime == Runtime::Custom && new.start.is_none() {
        return Err(Error::usage("start_missing", "a custom project needs a start command")
            .hint(format!("--start-cmd \"/home/{}/app/bin/server\"", new.name)));
    }
    if new.dry_run {
        return preview(new, cx);
    }
    let start = std::time::Instant::now();
    let project = one(new, cx)?;
    report(&project, cx, start.elapsed());
    Ok(())
}

/// Makes it, and leaves the telling to the caller.
pub fn one(new: &New, cx: &mut Context) -> Result<Project> {
    let held = cx.take_project(&new.name, new.verb)?;
    // The kernel takes its time to list them, and nothing else waits for that.
    let listening = std::thread::spawn(net::listeners);
    check(new, cx)?;
    let busy = listening.join().unwrap_or_else(|_| Err(Error::failed("no thread")))?;
    if let Some(port) = new.port {
        port::check_free(cx, port, &busy)?;
    }
    let project = make(new, cx, busy.into_keys().collect())?;
    drop(held);
    if project.tls.is_none() {
        return Ok(project);
    }
    ssl::after_creation(cx, &new.name);
    cx.registry()?.project(&new.name)
}

fn preview(new: &New, cx: &mut Context) -> Result<()> {
    cx.registry()?;
    check(new, cx)?;
    let config = cx.config.clone();
    let busy = net::listeners()?;
    if let Some(port) = new.port {
        port::check_free(cx, port, &busy)?;
    }
    let busy = busy.into_keys().collect();
    let wanted = facts::wanted(&cx.host, &config, new.redis == Redis::Shared, new.port, busy)?;
    let allotment = cx.registry()?.preview(&new.name, &wanted)?;
    let project = project(new, cx, allotment);
    let plan = facts::plan_of(cx, &project, Ground::Fresh)?;
    let differences = differences(&plan, &cx.host)?;
    show::preview(cx, new.verb, Some(&new.name), &differences);
    Ok(())
}

/// All that can be refused before anything is changed.
fn check(new: &New, cx: &mut Context) -> Result<()> {
    let known = cx.registry()?.projects()?;
    if let Some(there) = known.iter().find(|project| project.name == new.name) {
        return Err(exists(there));
    }
    if let Some(other) = known.iter().find(|project| project.name.collides_with(&new.name)) {
        return Err(Error::conflict(
            "name_taken",
            format!("`{}` can't be a project beside `{}`", new.name, other.name),
        )
        .caused_by("one of them could come to own a unit of the other")
        .hint("choose a name without that ending"));
    }
    let unit = new.name.unit();
    let has_unit = |project: &&Project| {
        let spec = project.live.as_ref().map(|live| &live.spec);
        projects::unit_names(project, spec).contains(&unit)
    };
    if let Some(other) = known.iter().find(has_unit) {
        return Err(Error::conflict("name_taken", format!("`{unit}` is a unit of {}", other.name))
            .caused_by("one of its processes is called so")
            .hint("choose another name for the project"));
    }
    if let Some(other) = known.iter().find(|other| projects::names_unit(other, &new.name)) {
        return Err(Error::conflict(
            "name_taken",
            format!("`{}` can't be a project beside `{}`", new.name, other.name),
        )
        .caused_by("another name of one of its units begins so (`aliases` in its hostkit.toml)")
        .hint("choose another name for the project"));
    }
    for (what, there) in [
        ("user", users::find(new.name.as_str())?.is_some()),
        ("group", users::find_group(new.name.as_str())?.is_some()),
    ] {
        if there {
            return Err(Error::conflict(
                "name_taken",
                format!("the {what} `{}` exists, and hostkit did not make it", new.name),
            )
            .hint("choose another name for the project"));
        }
    }
    facts::check_room(cx)?;
    let dump = facts::check_services(cx, new.redis == Redis::Shared, new.postgres)?;
    if new.mysql {
        mysql::check_new(cx, &new.name)?;
    }
    if new.storage {
        storage::check(cx)?;
        storage::check_new(cx, &new.name)?;
    }
    check_domains(new, cx, &known, &dump)
}

fn exists(project: &Project) -> Error {
    let name = &project.name;
    let error = Error::conflict("project_exists", format!("there is a project `{name}` already"));
    if project.deleting {
        return error
            .caused_by("its removal was begun and is not complete")
            .hint(format!("complete it: `hostkit project delete {name}`"));
    }
    error
        .caused_by(format!(
            "{} made it on {}",
            project.created_by,
            project.created_at.strftime("%-d %b %Y, %H:%M UTC")
        ))
        .hint(format!(
            "see `hostkit project info {name}`; `hostkit repair {name}` mends what is missing"
        ))
}

fn check_domains(new: &New, cx: &Context, projects: &[Project], dump: &nginx::Dump) -> Result<()> {
    let own = cx.config.base_domain.below(&new.name)?;
    for domain in new.domains.iter().chain([&own]) {
        let taken = |by: String| {
            Error::conflict("domain_taken", format!("`{domain}` is taken")).caused_by(by)
        };
        let holder = projects.iter().find(|project| {
            project.domains.contains(domain)
                || cx.config.base_domain.below(&project.name).is_ok_and(|base| base == *domain)
        });
        if let Some(holder) = holder {
            return Err(taken(format!("it belongs to the project {}", holder.name)));
        }
        if let Some(file) = dump.who_names(domain.as_str()) {
            return Err(taken(format!(
                "`{}` names it, and hostkit did not make that",
                file.display()
            )));
        }
    }
    Ok(())
}

fn make(new: &New, cx: &mut Context, busy: BTreeSet<u16>) -> Result<Project> {
    let actor = cx.caller.actor();
    let operation =
        NewOperation { project: Some(&new.name), verb: new.verb, actor: &actor, way: Way::Undo };
    let config = cx.config.clone();
    let wanted = facts::wanted(&cx.host, &config, new.redis == Redis::Shared, new.port, busy)?;
    let mut made = None;
    let url = cx.config.base_domain.below(&new.name)?;
    cx.ui.head(format!("{}  {}  →  http://{url}", new.name, new.runtime));
    cx.carry_out(&operation, Some(&wanted), |cx, allotment| {
        let allotment = allotment.ok_or_else(|| Error::failed("nothing was handed out"))?;
        raise_floor(cx, allotment.uid)?;
        let project = project(new, cx, allotment);
        let plan = facts::plan_of(cx, &project, Ground::Fresh)?;
        made = Some(project.clone());
        Ok((plan, vec![Change::Add(Box::new(project))]))
    })?;
    made.ok_or_else(|| Error::new(Kind::Failed, "failed", "nothing was made"))
}

fn project(new: &New, cx: &Context, allotment: Allotment) -> Project {
    Project {
        name: new.name.clone(),
        runtime: new.runtime,
        environment: new.environment,
        uid: allotment.uid,
        port: allotment.port,
        redis: allotment.redis,
        own_redis: new.redis == Redis::Dedicated,
        postgres: new.postgres,
        mysql: new.mysql,
        start: new.start.clone(),
        domains: new.domains.clone(),
        keys: new.keys.clone(),
        ci_keys: Vec::new(),
        own: Vec::new(),
        off: Vec::new(),
        grants: Vec::new(),
        storage: new.storage.then(Storage::default),
        tls: new.tls.clone(),
        created_by: cx.caller.actor(),
        created_at: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default(),
        deleting: false,
        live: None,
    }
}

/// Users' numbers below what this file says may have been used, even if the registry is lost.
/// It moves in strides, so that it is seldom written.
fn raise_floor(cx: &Context, uid: u32) -> Result<()> {
    let path = Path::new(facts::UID_FLOOR);
    let floor: u32 =
        cx.host.read_text(path)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if uid < floor {
        return Ok(());
    }
    let raised = (uid / 100 + 1) * 100;
    cx.host.write(path, format!("{raised}\n").as_bytes(), Owner::ROOT, 0o644)
}

fn report(project: &Project, cx: &Context, took: std::time::Duration) {
    let name = &project.name;
    let url = projects::url(project, &cx.config).unwrap_or_default();
    let made = Made {
        name: name.as_str(),
        runtime: project.runtime.as_str(),
        environment: project.environment,
        port: project.port,
        redis_db: project.redis,
        own_redis: project.own_redis,
        database: project.postgres.then(|| name.database()),
        mysql: project.mysql.then(|| name.database()),
        bucket: project.storage.as_ref().map(|_| name.bucket()),
        home: name.home().display().to_string(),
        unit: name.unit(),
        user: name.as_str(),
        uid: project.uid,
        url: url.clone(),
        domains: project.domains.iter().map(ToString::to_string).collect(),
        state: "empty",
        milliseconds: took.as_millis(),
    };
    let told = format!(
        "\nReady in {}:  {url}\nNext:  hostkit deploy {name}  ·  hostkit status {name}  ·  hostkit project info {name}\n",
        elapsed(took)
    );
    let text = if cx.ui.voice.quiet { format!("{url}\n") } else { told };
    cx.ui.result("provision", Some(name.as_str()), &made, &text);
}
