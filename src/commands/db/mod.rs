//! `hostkit db`: a project's database, and what is in it.

mod create;
mod dump;
mod extensions;
mod info;
mod migrate;
pub mod mysql;
mod rotate;
mod shell;

use std::process::ExitCode;

pub use create::finish_removal;

use super::Context;
use crate::{
    error::{Error, Result},
    names::ProjectName,
    registry::Project,
};

/// Make, look into, keep and change a project's database
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Backup(dump::BackupArgs),
    Create(create::CreateArgs),
    Delete(create::DeleteArgs),
    EnableExtension(extensions::EnableArgs),
    Extensions(extensions::ListArgs),
    Info(info::InfoArgs),
    List(info::ListArgs),
    Migrate(migrate::Args),
    Restore(dump::RestoreArgs),
    Rotate(rotate::Args),
    Shell(shell::Args),
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Backup(args) => ("db backup", Some(&args.name)),
            Self::Create(args) => ("db create", Some(&args.name)),
            Self::Delete(args) => ("db delete", Some(&args.name)),
            Self::EnableExtension(args) => ("db enable-extension", Some(&args.name)),
            Self::Extensions(args) => ("db extensions", Some(&args.name)),
            Self::Info(args) => ("db info", Some(&args.name)),
            Self::List(_) => ("db list", None),
            Self::Migrate(args) => ("db migrate", Some(&args.name)),
            Self::Restore(args) => ("db restore", Some(&args.name)),
            Self::Rotate(args) => ("db rotate", Some(&args.name)),
            Self::Shell(args) => ("db shell", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<ExitCode> {
        match self {
            Self::Backup(args) => dump::backup(args, cx)?,
            Self::Create(args) => create::create(args, cx)?,
            Self::Delete(args) => create::delete(args, cx)?,
            Self::EnableExtension(args) => extensions::enable(args, cx)?,
            Self::Extensions(args) => extensions::list(args, cx)?,
            Self::Info(args) => info::info(args, cx)?,
            Self::List(args) => info::list(args, cx)?,
            Self::Migrate(args) => migrate::run(args, cx)?,
            Self::Restore(args) => dump::restore(args, cx)?,
            Self::Rotate(args) => rotate::run(args, cx)?,
            Self::Shell(args) => return shell::run(args, cx),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The project, if it has a database.
fn with_database(cx: &mut Context, name: &ProjectName) -> Result<Project> {
    let project = cx.registry()?.living_project(name)?;
    if project.postgres {
        return Ok(project);
    }
    let lacks = if project.mysql { "no database in PostgreSQL" } else { "no database" };
    Err(without(name, lacks, "db create"))
}

fn without(name: &ProjectName, lacks: &str, make: &str) -> Error {
    Error::missing("no_database", format!("{name} has {lacks}"))
        .caused_by("it was made without one")
        .hint(format!("make one: `hostkit {make} {name}`"))
}
