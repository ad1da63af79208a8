//! `hostkit project info`: all that a project is.

use serde::Serialize;

use crate::{
    commands::{
        Context,
        state::{self, State},
    },
    error::Result,
    names::{Environment, ReleaseId},
    projects,
    registry::{OFFSETS, Project},
    sys::systemd::Unit,
    ui::{Paint, ago, bytes},
};

/// Show all about a project
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project info my-shop
  hostkit project info my-shop --json")]
pub struct Args {
    /// Project to show
    pub name: String,
}

#[derive(Serialize)]
struct Info {
    name: String,
    runtime: &'static str,
    environment: Environment,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseId>,
    url: String,
    domains: Vec<String>,
    home: String,
    user: String,
    uid: u32,
    unit: Unit,
    unit_name: String,
    port: u16,
    ports: std::collections::BTreeMap<&'static str, u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_db: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_redis: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mysql: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_cmd: Option<String>,
    ssh_keys: Vec<Key>,
    logs: String,
    created_by: String,
    created_at: jiff::Timestamp,
}

#[derive(Serialize)]
struct Key {
    fingerprint: String,
    comment: String,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    show(cx, "project info", &project)
}

/// For each of the two commands that do so.
pub fn show(cx: &Context, command: &str, project: &Project) -> Result<()> {
    let info = gather(cx, project)?;
    let text = render(&info, Paint::of(&std::io::stdout()));
    cx.ui.result(command, Some(project.name.as_str()), &info, &text);
    Ok(())
}

fn gather(cx: &Context, project: &Project) -> Result<Info> {
    let name = &project.name;
    let release = state::release(cx, project)?;
    let unit = cx.host.unit(&name.unit())?;
    let base = cx.config.base_domain.below(name)?;
    Ok(Info {
        state: State::of(project, release.as_ref(), Some(&unit)),
        release,
        url: projects::url(project, &cx.config)?,
        domains: std::iter::once(&base).chain(&project.domains).map(ToString::to_string).collect(),
        home: name.home().display().to_string(),
        user: name.to_string(),
        uid: project.uid,
        unit,
        unit_name: name.unit(),
        port: project.port,
        ports: OFFSETS.iter().map(|(role, offset)| (*role, project.port + offset)).collect(),
        redis_db: project.redis,
        own_redis: project.own_redis,
        database: project.postgres.then(|| name.database()),
        database_user: project.postgres.then(|| name.role()),
        mysql: project.mysql.then(|| name.database()),
        bucket: project.storage.as_ref().map(|_| name.bucket()),
        start_cmd: project.start.clone(),
        ssh_keys: project
            .keys
            .iter()
            .chain(&cx.config.ssh_keys)
            .map(|key| Key { fingerprint: key.fingerprint(), comment: key.comment().into() })
            .collect(),
        logs: name.logs().display().to_string(),
        created_by: project.created_by.clone(),
        created_at: project.created_at,
        runtime: project.runtime.as_str(),
        environment: project.environment,
        name: name.to_string(),
    })
}

fn render(info: &Info, paint: Paint) -> String {
    let mut text =
        format!("{}  {}  {}\n\n", paint.bold(&info.name), info.state.painted(paint), info.runtime);
    let mut line = |what: &str, value: String| {
        text.push_str(&format!("  {}  {value}\n", paint.dim(&format!("{what:<10}"))));
    };
    line("url", info.url.clone());
    line("env", info.environment.to_string());
    if info.domains.len() > 1 {
        line("domains", info.domains.join(", "));
    }
    let waits = format!("none yet  →  hostkit deploy {}", info.name);
    line("release", info.release.as_ref().map_or(waits, ToString::to_string));
    let memory = info.unit.memory.map(|n| format!(", {}", bytes(n))).unwrap_or_default();
    line("unit", format!("{} ({}{memory})", info.unit_name, info.unit.active));
    if let Some(command) = &info.start_cmd {
        line("starts", command.clone());
    }
    line(
        "port",
        format!("{} (services from {} to {})", info.port, info.port + 1000, info.port + 6000),
    );
    line("home", format!("{} (user {}, {})", info.home, info.user, info.uid));
    line("logs", info.logs.clone());
    if let Some(n) = info.redis_db {
        line("redis", format!("database {n}, user {}", info.name));
    }
    if info.own_redis {
        line("redis", "an instance of its own".into());
    }
    if let (Some(database), Some(user)) = (&info.database, &info.database_user) {
        line("postgres", format!("{database}, role {user}"));
    }
    if let Some(database) = &info.mysql {
        line("mariadb", database.clone());
    }
    if let Some(bucket) = &info.bucket {
        line("storage", format!("bucket {bucket}"));
    }
    for key in &info.ssh_keys {
        line("ssh key", format!("{} {}", key.fingerprint, key.comment));
    }
    line("made", format!("{} by {}", ago(info.created_at), info.created_by));
    text
}
