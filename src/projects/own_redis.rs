//! A Redis that is a project's alone: a unit that runs as its user, behind a socket, with no port.

use serde::Serialize;

use super::{Maker, process_unit};
use crate::{
    config::Size,
    error::Result,
    names::ProjectName,
    plan::{Lane, Plan},
    registry::{OFFSETS, Project},
    steps::{Contents, Dir, File, Judge, Link, Owner, Running, Text, Trigger},
};

#[derive(Serialize)]
struct Values<'a> {
    name: &'a str,
    unit: String,
    socket: String,
    data: String,
    memory: u64,
    memory_max: String,
    homeless: bool,
    first_port: u16,
    last_port: u16,
    ports: Vec<u16>,
}

pub fn redis_unit(name: &ProjectName) -> String {
    process_unit(name, "redis")
}

pub fn redis_socket(name: &ProjectName) -> String {
    format!("/run/hostkit-{name}-redis/redis.sock")
}

/// What it writes down lies there, and goes with the project.
fn data(name: &ProjectName) -> String {
    format!("/var/lib/hostkit-{name}-redis")
}

/// How a project's processes find their Redis, and how Celery does.
pub(super) fn urls(project: &Project, password: &str) -> Option<(String, String)> {
    let name = &project.name;
    if project.own_redis {
        let socket = redis_socket(name);
        return Some((format!("unix://{socket}"), format!("redis+socket://{socket}")));
    }
    let url = format!("redis://{name}:{password}@localhost:6379/{}", project.redis?);
    Some((url.clone(), url))
}

impl Maker<'_> {
    /// After the user that it runs as, so in the same lane.
    pub(super) fn own_redis(&self, plan: &mut Plan) -> Result<()> {
        let Self { project, config, templates, .. } = self;
        let name = &project.name;
        let memory = config.redis.memory;
        plan.part("redis", format!("an instance of its own, {memory}"));
        let offset = OFFSETS.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
        let values = Values {
            name: name.as_str(),
            unit: redis_unit(name),
            socket: redis_socket(name),
            data: data(name),
            memory: memory.0,
            memory_max: Size(memory.0.saturating_mul(2).saturating_add(64 << 20)).to_string(),
            homeless: true,
            first_port: config.ports.first,
            last_port: config.ports.last + offset,
            ports: Vec::new(),
        };
        plan.step(
            Lane::Accounts,
            Dir {
                path: values.data.clone().into(),
                owner: self.user(),
                mode: 0o700,
                contents: Contents::GoesToo,
            },
        );
        let unit = &values.unit;
        let path = format!("/etc/systemd/system/{unit}");
        let file = File {
            path: path.clone().into(),
            owner: Owner::ROOT,
            mode: 0o644,
            text: Text::Exactly(templates.render("systemd/redis.service", &values)?),
            judge: Judge::Nobody,
        };
        plan.notifying(Lane::Accounts, file, [Trigger::DaemonReload(unit.clone())]);
        let at = format!("/etc/systemd/system/multi-user.target.wants/{unit}").into();
        plan.step(Lane::Accounts, Link { at, to: path.into() });
        plan.step(Lane::Accounts, Running { unit: unit.clone() });
        Ok(())
    }
}
