//! What is being done: an operation is open from before its first change until after its last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::Serialize;

use super::{
    Allotment, Arrived, Live, Project, Registry, Wanted, allotments, events, lost, processes,
    projects, releases, secrets, storage, tls,
};
use crate::{
    error::Result,
    names::{Environment, ProjectName},
};

/// Where an interrupted operation leads: back to where it began, or on to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Finish,
    Undo,
}

pub struct NewOperation<'a> {
    pub project: Option<&'a ProjectName>,
    pub verb: &'a str,
    pub actor: &'a str,
    pub way: Way,
}

#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    pub id: i64,
    pub project: Option<ProjectName>,
    pub verb: String,
    pub actor: String,
    pub pid: u32,
    pub way: Way,
    pub started_at: Timestamp,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    Stuck,
    Undone,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stuck => "stuck",
            Self::Undone => "undone",
        }
    }
}

/// A change of the registry's own rows, made in the transaction that closes an operation.
#[derive(Clone, Debug)]
pub enum Change {
    Add(Box<Project>),
    /// The project is of that environment from now on.
    Environment(ProjectName, Environment),
    /// The project's keys are these.
    Keys(Box<Project>),
    /// The processes that an operator added, and the timers that are off, are these.
    Processes(Box<Project>),
    /// The databases that the project has are these.
    Services(Box<Project>),
    /// A release of the project answers from now on, and its deploy is done.
    Live {
        project: ProjectName,
        live: Box<Live>,
        deploy: i64,
        phases: BTreeMap<String, u64>,
    },
    Remove(ProjectName),
    /// Processes of the project have these secrets now.
    Secrets(Arrived),
    /// The project's bucket is this one, or there is none.
    Storage(Box<Project>),
    /// How the project is reached by HTTPS.
    Tls(Box<Project>),
}

/// A step as the journal keeps it: its number, and two texts that only the journal reads.
pub struct StoredStep {
    pub seq: i64,
    pub step: String,
    pub before: String,
}

impl Registry {
    /// Opens an operation, and hands out what a new project asks for, both or neither.
    pub fn begin(
        &mut self,
        new: &NewOperation<'_>,
        wanted: Option<&Wanted<'_>>,
    ) -> Result<(i64, Option<Allotment>)> {
        let tx = self.writing()?;
        tx.execute(
            "INSERT INTO operations (project, verb, actor, pid, way, started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                new.project.map(ProjectName::as_str),
                new.verb,
                new.actor,
                std::process::id(),
                if new.way == Way::Finish { "finish" } else { "undo" },
                Timestamp::now().to_string(),
            ],
        )
        .map_err(|e| lost(&e))?;
        let id = tx.last_insert_rowid();
        let allotment = match (new.project, wanted) {
            (Some(project), Some(wanted)) => Some(allotments::allot(&tx, project, wanted, id)?),
            _ => None,
        };
        tx.commit().map_err(|e| lost(&e))?;
        Ok((id, allotment))
    }

    /// What `begin` would hand out now.
    pub fn preview(&mut self, project: &ProjectName, wanted: &Wanted<'_>) -> Result<Allotment> {
        let tx = self.writing()?;
        allotments::allot(&tx, project, wanted, 0)
    }

    /// Writes steps down, on the disk before this returns.
    pub fn add_steps(&mut self, operation: i64, steps: &[StoredStep]) -> Result<()> {
        let tx = self.writing()?;
        insert_steps(&tx, operation, steps).map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }

    /// Writes down what will be taken away. From here on the operation can only go on: its project
    /// is being deleted.
    pub fn cross_over(
        &mut self,
        operation: i64,
        project: &ProjectName,
        steps: &[StoredStep],
    ) -> Result<()> {
        let tx = self.writing()?;
        insert_steps(&tx, operation, steps).map_err(|e| lost(&e))?;
        tx.execute("UPDATE operations SET way = 'finish' WHERE id = ?1", [operation])
            .map_err(|e| lost(&e))?;
        projects::mark_deleting(&tx, project).map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }

    /// Closes an operation: its rows, its event and its end in one transaction.
    pub fn close(
        &mut self,
        operation: i64,
        outcome: Outcome,
        detail: Option<&str>,
        changes: &[Change],
    ) -> Result<()> {
        let tx = self.writing()?;
        let write = || {
            for change in changes {
                match change {
                    Change::Add(project) => projects::insert(&tx, project)?,
                    Change::Environment(name, environment) => {
                        projects::replace_environment(&tx, name, *environment)?;
                    }
                    Change::Processes(project) => processes::replace(&tx, project)?,
                    Change::Services(project) => projects::replace_services(&tx, project)?,
                    Change::Keys(project) => projects::replace_keys(&tx, project)?,
                    Change::Live { project, live, deploy, phases } => {
                        releases::go_live(&tx, project, live, *deploy, phases)?;
                    }
                    Change::Remove(name) => projects::delete(&tx, name)?,
                    Change::Secrets(arrived) => secrets::go_live(&tx, arrived)?,
                    Change::Storage(project) => storage::replace(&tx, project)?,
                    Change::Tls(project) => tls::replace(&tx, project)?,
                }
            }
            if outcome == Outcome::Undone {
                allotments::give_back(&tx, operation)?;
            }
            let now = Timestamp::now();
            if outcome != Outcome::Stuck {
                tx.execute(
                    "UPDATE operations SET ended_at = ?2, outcome = ?3 WHERE id = ?1",
                    params![operation, now.to_string(), outcome.as_str()],
                )?;
            }
            events::of_operation(&tx, operation, outcome, detail, now)
        };
        write().map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }

    /// Operations that have begun and not ended: of a project, of the host itself, or all.
    pub fn open_operations(&self, of: Of<'_>) -> Result<Vec<Operation>> {
        let sql = "SELECT id, project, verb, actor, pid, way, started_at FROM operations WHERE ended_at IS NULL";
        let operations = self.rows(&format!("{sql} ORDER BY id"), [], |row| {
            Ok(Operation {
                id: row.get(0)?,
                project: row.get::<_, Option<String>>(1)?.and_then(|name| name.parse().ok()),
                verb: row.get(2)?,
                actor: row.get(3)?,
                pid: row.get(4)?,
                way: if row.get::<_, String>(5)? == "finish" { Way::Finish } else { Way::Undo },
                started_at: row.get::<_, String>(6)?.parse().unwrap_or_default(),
            })
        })?;
        Ok(operations
            .into_iter()
            .filter(|operation| match of {
                Of::All => true,
                Of::Host => operation.project.is_none(),
                Of::Project(name) => operation.project.as_ref() == Some(name),
            })
            .collect())
    }

    /// The steps of an operation, in the order in which they were begun.
    pub fn steps(&self, operation: i64) -> Result<Vec<StoredStep>> {
        self.rows(
            "SELECT seq, step, before FROM steps WHERE operation = ?1 ORDER BY seq",
            [operation],
            |row| Ok(StoredStep { seq: row.get(0)?, step: row.get(1)?, before: row.get(2)? }),
        )
    }

    /// Ended operations of the host itself with that verb, the newest first.
    pub fn done_operations(&self, verb: &str) -> Result<Vec<i64>> {
        self.rows(
            "SELECT id FROM operations WHERE project IS NULL AND verb = ?1 AND outcome = 'done' ORDER BY id DESC",
            [verb],
            |row| row.get(0),
        )
    }

    /// Those of them that no later one of another verb has ended.
    pub fn standing_operations(&self, verb: &str, ended_by: &str) -> Result<Vec<i64>> {
        let end = self.done_operations(ended_by)?.first().copied();
        let mut standing = self.done_operations(verb)?;
        standing.retain(|id| end.is_none_or(|end| *id > end));
        Ok(standing)
    }

    /// Forgets the steps of operations that will never be undone: all but these.
    pub fn forget_steps_but(&self, needed: &[i64]) -> Result<()> {
        let list: Vec<String> = needed.iter().map(i64::to_string).collect();
        let sql = format!("DELETE FROM steps WHERE operation NOT IN ({})", list.join(", "));
        self.db.execute(&sql, []).map_err(|e| lost(&e))?;
        Ok(())
    }
}

fn insert_steps(
    tx: &Transaction<'_>,
    operation: i64,
    steps: &[StoredStep],
) -> rusqlite::Result<()> {
    let mut insert = tx.prepare("INSERT INTO steps VALUES (?1, ?2, ?3, ?4)")?;
    for StoredStep { seq, step, before } in steps {
        insert.execute(params![operation, seq, step, before])?;
    }
    Ok(())
}

/// Whose operations.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    All,
    Host,
    Project(&'a ProjectName),
}
