//! Every read and every write of a secret.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Serialize;

use crate::{
    error::Result,
    names::{ProjectName, ReleaseId},
    registry::{Registry, lost},
};

#[derive(Clone, Debug, Serialize)]
pub struct Audited {
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// What was done with it.
    pub what: String,
    /// For which release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// What somebody does with secrets.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    pub what: &'a str,
    pub actor: &'a str,
    pub release: Option<&'a ReleaseId>,
}

impl<'a> Use<'a> {
    pub fn of(what: &'a str, actor: &'a str) -> Self {
        Self { what, actor, release: None }
    }
}

/// Whoever asks without end must not fill the disk, nor push out what is noted of others: of each
/// project the newest stay.
const LET_GO: &str = "DELETE FROM secret_audit WHERE project = ?1 AND id <= \
     (SELECT id FROM secret_audit WHERE project = ?1 ORDER BY id DESC LIMIT 1 OFFSET 20000)";

impl Registry {
    /// Writes down a use before it happens.
    pub fn audit_secrets<'a>(
        &mut self,
        project: &ProjectName,
        what: &Use<'_>,
        of: impl IntoIterator<Item = (&'a str, Option<i64>)>,
    ) -> Result<()> {
        let tx = self.writing()?;
        add(&tx, project, what, of).map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }

    /// The newest uses, the last one last: of a project and of the keys, or of all.
    pub fn secret_audit(
        &self,
        project: Option<&ProjectName>,
        name: Option<&str>,
        newest: u32,
    ) -> Result<Vec<Audited>> {
        let sql = "SELECT id, at, actor, project, name, version, what, release FROM secret_audit \
                   WHERE (?1 IS NULL OR project = ?1 OR project IS NULL) AND (?2 IS NULL OR name = ?2) \
                   ORDER BY id DESC LIMIT ?3";
        let mut all =
            self.rows(sql, params![project.map(ProjectName::as_str), name, newest], |row| {
                Ok(Audited {
                    id: row.get(0)?,
                    at: row.get::<_, String>(1)?.parse().unwrap_or_default(),
                    actor: row.get(2)?,
                    project: row.get(3)?,
                    name: row.get(4)?,
                    version: row.get(5)?,
                    what: row.get(6)?,
                    release: row.get(7)?,
                })
            })?;
        all.reverse();
        Ok(all)
    }
}

pub(super) fn add<'a>(
    db: &Connection,
    project: &ProjectName,
    what: &Use<'_>,
    of: impl IntoIterator<Item = (&'a str, Option<i64>)>,
) -> rusqlite::Result<()> {
    let now = Timestamp::now().to_string();
    let release = what.release.map(ReleaseId::as_str);
    for (name, version) in of {
        db.execute(
            "INSERT INTO secret_audit (at, actor, project, name, version, what, release) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![now, what.actor, project.as_str(), name, version, what.what, release],
        )?;
    }
    db.execute(LET_GO, [project.as_str()]).map(|_| ())
}

/// A use of the key itself.
pub(super) fn add_of_key(db: &Connection, what: &str, actor: &str) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO secret_audit (at, actor, what) VALUES (?1, ?2, ?3)",
        params![Timestamp::now().to_string(), actor, what],
    )
    .map(|_| ())
}
