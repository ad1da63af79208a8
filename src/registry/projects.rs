//! The projects themselves.

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Live, Registry, Storage, Tls, column, lost, processes, releases, storage, tls};
use crate::{
    error::{Error, Result},
    names::{CiKey, Domain, Environment, ProjectName, PublicKey, Runtime},
    release::Process,
};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Project {
    pub name: ProjectName,
    pub runtime: Runtime,
    #[serde(default)]
    pub environment: Environment,
    pub uid: u32,
    pub port: u16,
    pub redis: Option<u32>,
    /// Instead of a number of the server's Redis it has an instance that is its alone.
    #[serde(default)]
    pub own_redis: bool,
    pub postgres: bool,
    /// It has a database in MariaDB.
    #[serde(default)]
    pub mysql: bool,
    /// What starts it, if not the runtime's own command.
    pub start: Option<String>,
    /// Besides the one below the base domain.
    pub domains: Vec<Domain>,
    pub keys: Vec<PublicKey>,
    /// Keys that may ask the gate and do nothing else.
    pub ci_keys: Vec<CiKey>,
    pub created_by: String,
    pub created_at: Timestamp,
    /// Processes that an operator added to those of each release.
    pub own: Vec<Process>,
    /// Timers that are switched off, by name.
    pub off: Vec<String>,
    /// Commands that its own processes may ask for.
    #[serde(default)]
    pub grants: Vec<String>,
    /// Its bucket of object storage, where it has one.
    #[serde(default)]
    pub storage: Option<Storage>,
    /// Whether and how it is reached by HTTPS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Its removal has begun and will be completed.
    pub deleting: bool,
    /// What its requests go to, once something is deployed.
    pub live: Option<Live>,
}

const COLUMNS: &str = "SELECT p.name, p.runtime, p.uid, p.postgres, p.start, p.created_by, p.created_at, \
    p.deleting, (SELECT port FROM ports WHERE project = p.name AND role = 'web'), \
    (SELECT number FROM redis_databases WHERE project = p.name), p.live, r.spec, p.own_redis, p.environment, p.mysql \
    FROM projects p LEFT JOIN releases r ON r.project = p.name AND r.id = p.live";

/// Which rows of a table belong to the project asked for, or to any.
pub(super) const OF: &str = "WHERE ?1 IS NULL OR project = ?1";

impl Registry {
    pub fn projects(&self) -> Result<Vec<Project>> {
        self.read_projects(None)
    }

    /// One project, or all of them, sorted by name.
    fn read_projects(&self, one: Option<&ProjectName>) -> Result<Vec<Project>> {
        let sql = format!("{COLUMNS} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name");
        let one = one.map(ProjectName::as_str);
        let mut projects = self.rows(&sql, [one], read)?;
        let sql = format!("SELECT project, domain FROM domains {OF} ORDER BY 2");
        self.each(&mut projects, &sql, one, |project, row| {
            project.domains.push(column::<Domain>(row, 1)?);
            Ok(())
        })?;
        let sql = format!("SELECT project, line FROM ssh_keys {OF} ORDER BY rowid");
        self.each(&mut projects, &sql, one, |project, row| {
            project.keys.push(column::<PublicKey>(row, 1)?);
            Ok(())
        })?;
        let sql = format!("SELECT project, line FROM ci_keys {OF} ORDER BY rowid");
        self.each(&mut projects, &sql, one, |project, row| {
            project.ci_keys.push(column::<CiKey>(row, 1)?);
            Ok(())
        })?;
        processes::fill(self, &mut projects, one)?;
        storage::fill(self, &mut projects, one)?;
        tls::fill(self, &mut projects, one)?;
        Ok(projects)
    }

    /// Hands each row to the project that its first column names; the projects are sorted by name.
    pub(super) fn each(
        &self,
        projects: &mut [Project],
        sql: &str,
        one: Option<&str>,
        mut take: impl FnMut(&mut Project, &Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<()> {
        self.rows(sql, [one], |row| {
            let name = row.get_ref(0)?.as_str()?;
            match projects.binary_search_by(|project| project.name.as_str().cmp(name)) {
                Ok(i) => take(&mut projects[i], row),
                Err(_) => Ok(()),
            }
        })
        .map(drop)
    }

    pub fn find_project(&self, name: &ProjectName) -> Result<Option<Project>> {
        Ok(self.read_projects(Some(name))?.pop())
    }

    /// The project, or an error that names the nearest one.
    pub fn project(&self, name: &ProjectName) -> Result<Project> {
        if let Some(project) = self.find_project(name)? {
            return Ok(project);
        }
        let projects = self.projects()?;
        let error = Error::missing("no_project", format!("there is no project `{name}`"));
        let names = projects.iter().map(|project| project.name.as_str());
        Err(match crate::names::nearest(name.as_str(), names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`hostkit project list` shows those that there are"),
        })
    }

    /// As [`project`](Self::project), and not one that is being deleted.
    pub fn living_project(&self, name: &ProjectName) -> Result<Project> {
        let project = self.project(name)?;
        if project.deleting {
            return Err(Error::conflict("deleting", format!("{name} is being deleted"))
                .hint(format!("complete it: `hostkit project delete {name}`")));
        }
        Ok(project)
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let collect = || {
            let mut statement = self.db.prepare(sql)?;
            statement.query_map(params, read)?.collect::<rusqlite::Result<Vec<T>>>()
        };
        collect().map_err(|e| match e {
            rusqlite::Error::FromSqlConversionFailure(..) => super::broken(&super::said(&e)),
            e => lost(&e),
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        name: column(row, 0)?,
        runtime: column(row, 1)?,
        uid: row.get(2)?,
        postgres: row.get(3)?,
        start: row.get(4)?,
        created_by: row.get(5)?,
        created_at: row.get::<_, String>(6)?.parse().unwrap_or_default(),
        deleting: row.get(7)?,
        port: row.get(8)?,
        redis: row.get(9)?,
        own_redis: row.get(12)?,
        environment: column(row, 13)?,
        mysql: row.get(14)?,
        domains: Vec::new(),
        keys: Vec::new(),
        ci_keys: Vec::new(),
        own: Vec::new(),
        grants: Vec::new(),
        storage: None,
        tls: None,
        off: Vec::new(),
        live: read_live(row)?,
    })
}

fn read_live(row: &Row<'_>) -> rusqlite::Result<Option<Live>> {
    match (row.get::<_, Option<String>>(10)?, row.get::<_, Option<String>>(11)?) {
        (Some(_), Some(spec)) => {
            Ok(Some(Live { id: column(row, 10)?, spec: releases::read_spec(&spec, 11)? }))
        }
        _ => Ok(None),
    }
}

/// Writes a project's rows; what it was handed is there already, or is written too.
pub(super) fn insert(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    let Project {
        name,
        runtime,
        environment,
        uid,
        port,
        redis,
        own_redis,
        postgres,
        mysql,
        start,
        domains,
        created_by,
        created_at,
        deleting,
        live,
        ..
    } = project;
    let name = name.as_str();
    tx.execute(
        "INSERT INTO projects (name, runtime, uid, postgres, start, created_by, created_at, deleting, live, \
         own_redis, environment, mysql) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            name, runtime.as_str(), uid, postgres, start, created_by, created_at.to_string(), deleting,
            live.as_ref().map(|live| live.id.as_str()), own_redis, environment.as_str(), mysql
        ],
    )?;
    if let Some(live) = live {
        releases::insert_live(tx, name, live)?;
    }
    super::allotments::write(tx, name, *uid, *port, *redis)?;
    for domain in domains {
        tx.execute("INSERT INTO domains VALUES (?1, ?2)", params![domain.as_str(), name])?;
    }
    processes::insert(tx, project)?;
    storage::insert(tx, project)?;
    tls::insert(tx, project)?;
    insert_keys(tx, project)
}

fn insert_keys(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    let name = project.name.as_str();
    for key in &project.keys {
        let line = key.to_string();
        tx.execute("INSERT OR IGNORE INTO ssh_keys VALUES (?1, ?2)", params![name, line])?;
    }
    for key in &project.ci_keys {
        let line = key.to_string();
        tx.execute("INSERT OR IGNORE INTO ci_keys VALUES (?1, ?2)", params![name, line])?;
    }
    Ok(())
}

/// Records a project's keys instead of those that it had.
pub(super) fn replace_keys(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    for sql in ["DELETE FROM ssh_keys WHERE project = ?1", "DELETE FROM ci_keys WHERE project = ?1"]
    {
        tx.execute(sql, [project.name.as_str()])?;
    }
    insert_keys(tx, project)
}

/// Records which databases a project has.
pub(super) fn replace_services(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    let sql = "UPDATE projects SET postgres = ?2, mysql = ?3 WHERE name = ?1";
    tx.execute(sql, params![project.name.as_str(), project.postgres, project.mysql]).map(|_| ())
}

/// Records which environment a project is of.
pub(super) fn replace_environment(
    tx: &Transaction<'_>,
    name: &ProjectName,
    environment: Environment,
) -> rusqlite::Result<()> {
    let sql = "UPDATE projects SET environment = ?2 WHERE name = ?1";
    tx.execute(sql, params![name.as_str(), environment.as_str()]).map(|_| ())
}

pub(super) fn mark_deleting(tx: &Transaction<'_>, name: &ProjectName) -> rusqlite::Result<()> {
    tx.execute("UPDATE projects SET deleting = 1 WHERE name = ?1", [name.as_str()]).map(|_| ())
}

/// Takes a project's rows away. Its user's number stays used.
pub(super) fn delete(tx: &Transaction<'_>, name: &ProjectName) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM ports WHERE project = ?1",
        "DELETE FROM redis_databases WHERE project = ?1",
        "DELETE FROM projects WHERE name = ?1",
    ] {
        tx.execute(sql, [name.as_str()])?;
    }
    Ok(())
}

#[cfg(test)]
impl Project {
    /// One with nothing but what each has.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            runtime: Runtime::Custom,
            environment: Environment::Prod,
            uid: 20_000,
            port: 8001,
            redis: None,
            own_redis: false,
            postgres: false,
            mysql: false,
            start: None,
            domains: Vec::new(),
            keys: Vec::new(),
            ci_keys: Vec::new(),
            created_by: "root".into(),
            created_at: Timestamp::UNIX_EPOCH,
            own: Vec::new(),
            off: Vec::new(),
            grants: Vec::new(),
            storage: None,
            tls: None,
            deleting: false,
            live: None,
        }
    }
}
