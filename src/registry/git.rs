//! Where a project is deployed from when nothing else is said.

use rusqlite::params;
use serde::Serialize;

use super::{Registry, column, lost};
use crate::{
    error::Result,
    names::{GitUrl, ProjectName},
};

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct GitSource {
    pub url: GitUrl,
    /// The repository's own default where there is none.
    pub branch: Option<String>,
    pub submodules: bool,
}

impl Registry {
    pub fn git_source(&self, project: &ProjectName) -> Result<Option<GitSource>> {
        let sql = "SELECT url, branch, submodules FROM git_sources WHERE project = ?1";
        let rows = self.rows(sql, [project.as_str()], |row| {
            Ok(GitSource { url: column(row, 0)?, branch: row.get(1)?, submodules: row.get(2)? })
        })?;
        Ok(rows.into_iter().next())
    }

    pub fn remember_git(&mut self, project: &ProjectName, source: &GitSource) -> Result<()> {
        let GitSource { url, branch, submodules } = source;
        self.db
            .execute(
                "INSERT OR REPLACE INTO git_sources VALUES (?1, ?2, ?3, ?4)",
                params![project.as_str(), url.as_str(), branch, submodules],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    pub fn forget_git(&mut self, project: &ProjectName) -> Result<()> {
        self.db
            .execute("DELETE FROM git_sources WHERE project = ?1", [project.as_str()])
            .map_err(|e| lost(&e))?;
        Ok(())
    }
}
