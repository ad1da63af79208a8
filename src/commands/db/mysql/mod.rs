//! A project's database in MariaDB: the same verbs as for PostgreSQL.

mod create;
mod info;
mod rotate;
mod server;
mod shell;

pub(super) use create::{create, delete};
pub(super) use info::{info, lines};
pub(super) use rotate::rotate;
pub use server::{check, check_new, facts, install};
pub(super) use shell::shell;

use super::{with_database, without};
use crate::{
    commands::Context,
    error::{Error, Result},
    names::ProjectName,
    projects,
    registry::Project,
    sys::mysql::Entry,
};

/// Which of a project's databases is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    Mysql,
    Postgres,
}

/// Which is meant where a project may have both: PostgreSQL, unless the other one is named or is
/// the only one.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Which {
    /// The database in MariaDB, of a project that has both
    #[arg(long)]
    pub mysql: bool,
}

impl Which {
    /// The project, if it has the database that is meant.
    pub fn of(self, cx: &mut Context, name: &ProjectName) -> Result<(Project, Engine)> {
        let project = cx.registry()?.living_project(name)?;
        if self.mysql || project.mysql && !project.postgres {
            return with_mysql(cx, name).map(|project| (project, Engine::Mysql));
        }
        with_database(cx, name).map(|project| (project, Engine::Postgres))
    }
}

/// The project, if it has a database in MariaDB.
pub fn with_mysql(cx: &mut Context, name: &ProjectName) -> Result<Project> {
    let project = cx.registry()?.living_project(name)?;
    if project.mysql {
        return Ok(project);
    }
    Err(without(name, "no database in MariaDB", "db create --mysql"))
}

/// As the project's own account, by the password in its `.env`.
pub fn entry(cx: &Context, project: &Project) -> Result<Entry> {
    let path = project.name.env_file();
    let text = cx.host.read_text(&path)?.unwrap_or_default();
    projects::mysql_entry(project, &text).ok_or_else(|| {
        Error::failed("could not open the database")
            .caused_by(format!("`{}` has no MYSQL_PASSWORD", path.display()))
            .hint(format!("make it right: `hostkit repair {}`", project.name))
    })
}
