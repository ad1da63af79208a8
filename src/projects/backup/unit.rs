//! The units that read a project's files: with nothing else of the server in sight.

use serde::Serialize;

use crate::{
    config::Config,
    error::Result,
    names::ProjectName,
    projects::unit::{exec_start, process_command},
    registry::{OFFSETS, Project, port_of},
    templates::Templates,
};

pub struct ReadingUnit<'a> {
    pub project: &'a ProjectName,
    pub title: &'a str,
    pub commands: &'a [Vec<String>],
    /// The file that it has as its input: the key of the repository.
    pub key: Option<&'a str>,
    pub out: &'a str,
    pub err: &'a str,
    /// What it sees, each as `from:to`.
    pub reads: &'a [String],
    pub writes: &'a [String],
}

/// The unit of the project's own check, as confined as its web process.
pub struct CheckUnit<'a> {
    pub project: &'a Project,
    pub command: &'a [String],
    /// The file with the variables of what came back.
    pub variables: &'a str,
    pub log: &'a str,
}

pub fn check_unit(unit: &CheckUnit<'_>, config: &Config, templates: &Templates) -> Result<String> {
    #[derive(Serialize)]
    struct Values<'a> {
        name: &'a str,
        start: String,
        variables: &'a str,
        log: &'a str,
        memory: String,
        first_port: u16,
        last_port: u16,
        ports: Vec<u16>,
    }
    let name = &unit.project.name;
    let mut words = unit.command.to_vec();
    if let Some(program) = words.first_mut()
        && program.contains('/')
        && !program.starts_with('/')
    {
        *program = format!("/home/{name}/app/{program}");
    }
    let offset = OFFSETS.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
    templates.render(
        "systemd/check.service",
        &Values {
            name: name.as_str(),
            start: process_command(&words),
            variables: unit.variables,
            log: unit.log,
            memory: config.limits.memory.to_string(),
            first_port: config.ports.first,
            last_port: config.ports.last + offset,
            ports: vec![unit.project.port, port_of(unit.project.port, "standby")],
        },
    )
}

/// A dot is in no project's name and in no process's, so it clashes with neither.
pub fn reading_units(name: &ProjectName) -> String {
    format!("hostkit-{name}.backup-")
}

pub fn reading_unit(unit: &ReadingUnit<'_>, templates: &Templates) -> Result<String> {
    #[derive(Serialize)]
    struct Values<'a> {
        name: &'a str,
        title: &'a str,
        commands: Vec<String>,
        key: Option<&'a str>,
        out: &'a str,
        err: &'a str,
        reads: &'a [String],
        writes: &'a [String],
    }
    templates.render(
        "systemd/backup.service",
        &Values {
            name: unit.project.as_str(),
            title: unit.title,
            commands: unit.commands.iter().map(|words| exec_start(words)).collect(),
            key: unit.key,
            out: unit.out,
            err: unit.err,
            reads: unit.reads,
            writes: unit.writes,
        },
    )
}
