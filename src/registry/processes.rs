//! What an operator added to a project's processes, and which of its timers are off.

use rusqlite::{Transaction, params};

use super::{Project, Registry, column};
use crate::{error::Result, names::ProjectName, release::Process};

/// Reads them into projects, which are sorted by name.
pub(super) fn fill(registry: &Registry, projects: &mut [Project]) -> Result<()> {
    let own = registry.rows(
        "SELECT project, process FROM own_processes ORDER BY project, name",
        [],
        |row| Ok((column::<ProjectName>(row, 0)?, read(&row.get::<_, String>(1)?)?)),
    )?;
    let off = registry.rows(
        "SELECT project, name FROM timers_off ORDER BY project, name",
        [],
        |row| Ok((column::<ProjectName>(row, 0)?, row.get::<_, String>(1)?)),
    )?;
    let grants =
        registry.rows("SELECT project, line FROM app_grants ORDER BY 1, 2", [], |row| {
            Ok((column::<ProjectName>(row, 0)?, row.get::<_, String>(1)?))
        })?;
    let place = |projects: &[Project], name: &ProjectName| {
        projects.binary_search_by(|project| project.name.cmp(name))
    };
    for (name, process) in own {
        if let Ok(i) = place(projects, &name) {
            projects[i].own.push(process);
        }
    }
    for (name, timer) in off {
        if let Ok(i) = place(projects, &name) {
            projects[i].off.push(timer);
        }
    }
    for (name, line) in grants {
        if let Ok(i) = place(projects, &name) {
            projects[i].grants.push(line);
        }
    }
    Ok(())
}

fn read(text: &str) -> rusqlite::Result<Process> {
    serde_json::from_str(text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e))
    })
}

pub(super) fn insert(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    let name = project.name.as_str();
    for process in &project.own {
        let text = serde_json::to_string(process).unwrap_or_default();
        tx.execute(
            "INSERT INTO own_processes VALUES (?1, ?2, ?3)",
            params![name, process.name, text],
        )?;
    }
    for timer in &project.off {
        tx.execute("INSERT OR IGNORE INTO timers_off VALUES (?1, ?2)", params![name, timer])?;
    }
    for line in &project.grants {
        tx.execute("INSERT OR IGNORE INTO app_grants VALUES (?1, ?2)", params![name, line])?;
    }
    Ok(())
}

pub(super) fn replace(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM own_processes WHERE project = ?1",
        "DELETE FROM timers_off WHERE project = ?1",
        "DELETE FROM app_grants WHERE project = ?1",
    ] {
        tx.execute(sql, [project.name.as_str()])?;
    }
    insert(tx, project)
}
