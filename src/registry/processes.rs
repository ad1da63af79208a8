//! What an operator added to a project's processes, and which of its timers are off.

use rusqlite::{Transaction, params};

use super::{Project, Registry, projects::OF};
use crate::{error::Result, release::Process};

/// Reads them into projects, which are sorted by name.
pub(super) fn fill(registry: &Registry, projects: &mut [Project], one: Option<&str>) -> Result<()> {
    let sql = format!("SELECT project, process FROM own_processes {OF} ORDER BY project, name");
    registry.each(projects, &sql, one, |project, row| {
        project.own.push(read(row.get_ref(1)?.as_str()?)?);
        Ok(())
    })?;
    let sql = format!("SELECT project, name FROM timers_off {OF} ORDER BY project, name");
    registry.each(projects, &sql, one, |project, row| {
        project.off.push(row.get(1)?);
        Ok(())
    })?;
    let sql = format!("SELECT project, line FROM app_grants {OF} ORDER BY 1, 2");
    registry.each(projects, &sql, one, |project, row| {
        project.grants.push(row.get(1)?);
        Ok(())
    })
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
