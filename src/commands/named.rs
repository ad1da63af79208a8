//! The project that a command line is about, also where its own user does not name it.

use std::ffi::OsString;

use clap::{Parser, error::ErrorKind};

use super::{Cli, identity};
use crate::{error::Result, names::ProjectName};

/// A project's own user need not name the project.
pub(super) fn parse(argv: &[OsString]) -> Result<Cli, clap::Error> {
    let parsed = Cli::try_parse_from(argv);
    if is_named(&parsed) && !names_a_process(&parsed) {
        return parsed;
    }
    match identity::own_project() {
        Some(name) => with_name(argv, &name).map_or(parsed, Ok),
        None => parsed,
    }
}

/// Whether nothing is wrong with a command line that a project's name would mend.
pub(super) fn is_named(parsed: &Result<Cli, clap::Error>) -> bool {
    match parsed {
        Ok(cli) => cli.command.subject().1.is_none_or(|name| name.parse::<ProjectName>().is_ok()),
        Err(error) => error.kind() != ErrorKind::MissingRequiredArgument,
    }
}

/// Whether the word that was taken for a project may be a process of the caller's own.
pub(super) fn names_a_process(parsed: &Result<Cli, clap::Error>) -> bool {
    parsed.as_ref().is_ok_and(|cli| {
        let (command, project) = cli.command.subject();
        let group = command.split(' ').next().unwrap_or(command);
        let own = identity::own_project();
        ["cron", "log", "service", "worker"].contains(&group)
            && own.is_none_or(|own| project != Some(own.as_str()))
    })
}

/// The command line with a project's name where it belongs, if there is such a place.
pub(super) fn with_name(argv: &[OsString], name: &ProjectName) -> Option<Cli> {
    (1..=argv.len()).find_map(|at| {
        let mut named = argv.to_vec();
        named.insert(at, name.as_str().into());
        let cli = Cli::try_parse_from(named).ok()?;
        (cli.command.subject().1 == Some(name.as_str())).then_some(cli)
    })
}
