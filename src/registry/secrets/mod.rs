//! Secrets of projects: which there are, their sealed values, and who read or wrote them.

mod audit;
mod values;

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::Serialize;

pub use audit::{Audited, Use};
pub(super) use values::go_live;
pub use values::{Arrived, NewValue};

use super::{Registry, lost};
use crate::{
    error::{Error, Result},
    names::ProjectName,
    secret::Format,
};

/// A secret of a project, without its value.
#[derive(Clone, Debug, Serialize)]
pub struct SecretRow {
    pub name: String,
    /// Whether somebody said what it is for.
    pub defined: bool,
    #[serde(serialize_with = "as_text")]
    pub kind: Format,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    pub required: bool,
    /// What the next deploy brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// What processes have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
}

/// What is said of a secret before anybody sets it.
#[derive(Clone, Debug)]
pub struct Definition {
    pub name: String,
    pub kind: Format,
    pub about: String,
    pub required: bool,
}

fn as_text<S: serde::Serializer>(format: &Format, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(format.as_str())
}

impl Registry {
    /// A project's secrets, by name.
    pub fn secrets(&self, project: &ProjectName) -> Result<Vec<SecretRow>> {
        let sql = "SELECT n.name, n.defined, n.kind, n.about, n.required, n.current, n.live, v.made_at, v.actor \
                   FROM secret_names n LEFT JOIN secret_values v \
                   ON v.project = n.project AND v.name = n.name AND v.version = n.current \
                   WHERE n.project = ?1 ORDER BY n.name";
        self.rows(sql, [project.as_str()], |row| {
            Ok(SecretRow {
                name: row.get(0)?,
                defined: row.get(1)?,
                kind: row.get::<_, String>(2)?.parse().unwrap_or_default(),
                about: row.get(3)?,
                required: row.get(4)?,
                version: row.get(5)?,
                live_version: row.get(6)?,
                set_at: row.get::<_, Option<String>>(7)?.and_then(|at| at.parse().ok()),
                set_by: row.get(8)?,
            })
        })
    }

    /// The secret, or an error that names the nearest one.
    pub fn secret(&self, project: &ProjectName, name: &str) -> Result<SecretRow> {
        let mut all = self.secrets(project)?;
        if let Some(at) = all.iter().position(|one| one.name == name) {
            return Ok(all.swap_remove(at));
        }
        let short: String = name.escape_debug().take(100).collect();
        let error = Error::missing("no_secret", format!("{project} has no secret `{short}`"));
        let near = crate::names::nearest(name, all.iter().map(|one| one.name.as_str()));
        Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("see `hostkit secrets list {project}`")),
        })
    }

    /// Says what a secret is; what is set stays.
    pub fn define_secret(
        &mut self,
        project: &ProjectName,
        new: &Definition,
        actor: &str,
    ) -> Result<()> {
        let tx = self.writing()?;
        let write = || {
            tx.execute(
                "INSERT INTO secret_names (project, name, defined, kind, about, required) \
                 VALUES (?1, ?2, 1, ?3, ?4, ?5) ON CONFLICT DO UPDATE \
                 SET defined = 1, kind = ?3, about = ?4, required = ?5",
                params![project.as_str(), new.name, new.kind.as_str(), new.about, new.required],
            )?;
            audit::add(&tx, project, &Use::of("define", actor), [(new.name.as_str(), None)])
        };
        write().map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }

    /// Forgets what was said of a secret. One that is set stays set.
    pub fn undefine_secret(
        &mut self,
        project: &ProjectName,
        name: &str,
        actor: &str,
    ) -> Result<()> {
        let tx = self.writing()?;
        let write = || {
            tx.execute(
                "UPDATE secret_names SET defined = 0, kind = 'text', about = '', required = 0 \
                 WHERE project = ?1 AND name = ?2",
                [project.as_str(), name],
            )?;
            forget_unused(&tx, project)?;
            audit::add(&tx, project, &Use::of("undefine", actor), [(name, None)])
        };
        write().map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }
}

/// Names that nothing is known of any more.
fn forget_unused(tx: &Transaction<'_>, project: &ProjectName) -> rusqlite::Result<()> {
    tx.execute(
        "DELETE FROM secret_names AS n WHERE project = ?1 AND defined = 0 AND live IS NULL AND NOT EXISTS \
         (SELECT 1 FROM secret_values v WHERE v.project = n.project AND v.name = n.name)",
        [project.as_str()],
    )
    .map(|_| ())
}

#[cfg(test)]
mod tests;
