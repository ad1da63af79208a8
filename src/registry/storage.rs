//! Which projects have a bucket, and who may read it.

use std::{fmt, str::FromStr};

use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Project, Registry, column, projects::OF};
use crate::error::{Error, Result};

/// A project's bucket.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Storage {
    pub policy: Policy,
    /// The path at which the project's site shows what is public.
    pub path: Option<String>,
}

/// Who may read a bucket's objects.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Who has a key.
    #[default]
    Private,
    /// Anybody who knows an object's name.
    PublicRead,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::PublicRead => "public-read",
        }
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "private" => Ok(Self::Private),
            "public-read" => Ok(Self::PublicRead),
            _ => Err(Error::usage("bad_policy", format!("`{}` is no policy", text.escape_debug()))
                .hint("there are `private` and `public-read`")),
        }
    }
}

/// `public-read /files/`, as a project's unit tells it.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.policy.as_str())?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, " {path}"))
    }
}

impl FromStr for Storage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (policy, path) = match text.split_once(' ') {
            Some((policy, path)) => (policy, Some(path.to_owned())),
            None => (text, None),
        };
        Ok(Self { policy: policy.parse()?, path })
    }
}

/// Reads them into projects, which are sorted by name.
pub(super) fn fill(registry: &Registry, projects: &mut [Project], one: Option<&str>) -> Result<()> {
    let sql = format!("SELECT project, policy, path FROM storage {OF}");
    registry.each(projects, &sql, one, |project, row| {
        project.storage = Some(Storage { policy: column(row, 1)?, path: row.get(2)? });
        Ok(())
    })
}

pub(super) fn insert(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    let Some(Storage { policy, path }) = &project.storage else { return Ok(()) };
    tx.execute(
        "INSERT INTO storage VALUES (?1, ?2, ?3)",
        params![project.name.as_str(), policy.as_str(), path],
    )
    .map(|_| ())
}

/// Records a project's bucket instead of the one that it had.
pub(super) fn replace(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM storage WHERE project = ?1", [project.name.as_str()])?;
    insert(tx, project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_unit_tells_reads_back() {
        for text in ["private", "public-read", "public-read /files/"] {
            assert_eq!(text.parse::<Storage>().unwrap().to_string(), text);
        }
        assert!("open /".parse::<Storage>().is_err());
    }
}
