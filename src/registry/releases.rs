//! What was deployed, and every attempt to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Registry, column, lost};
use crate::{
    error::{Error, Result},
    names::{ProjectName, ReleaseId},
    release::Spec,
};

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// It was refused by its gate, or came to nothing before. Kept for a day, to look at.
    Failed,
    /// It answered requests once, so one can go back to it.
    Good,
    /// Built, and not proven.
    Staged,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Release {
    pub id: ReleaseId,
    pub state: ReleaseState,
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub spec: Spec,
    pub made_at: Timestamp,
}

/// The release that a project's requests go to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Live {
    pub id: ReleaseId,
    pub spec: Spec,
}

/// What is about to be deployed.
pub struct NewDeploy<'a> {
    pub project: &'a ProjectName,
    pub verb: &'a str,
    pub release: &'a ReleaseId,
    pub previous: Option<&'a ReleaseId>,
    pub source: &'a str,
    pub revision: Option<&'a str>,
    pub actor: &'a str,
}

#[derive(Clone, Debug, Serialize)]
pub struct Deploy {
    pub id: i64,
    pub verb: String,
    pub release: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub actor: String,
    pub started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    pub outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Milliseconds by phase.
    pub phases: BTreeMap<String, u64>,
}

const RELEASE: &str =
    "SELECT id, state, source, revision, spec, made_at FROM releases WHERE project = ?1";

impl Registry {
    /// A project's releases, the newest first.
    pub fn releases(&self, project: &ProjectName) -> Result<Vec<Release>> {
        let sql = format!("{RELEASE} ORDER BY seq DESC");
        self.rows(&sql, [project.as_str()], read_release)
    }

    /// A name for a release that is made now and that no other has.
    pub fn next_release(&self, project: &ProjectName, taken: &[ReleaseId]) -> Result<ReleaseId> {
        let known =
            self.rows("SELECT id FROM releases WHERE project = ?1", [project.as_str()], |row| {
                column::<ReleaseId>(row, 0)
            })?;
        let now = Timestamp::now();
        let free = |id: &ReleaseId| !known.contains(id) && !taken.contains(id);
        (1..=9999)
            .map(|n| ReleaseId::at(now, n))
            .find(free)
            .ok_or_else(|| Error::failed("there are too many releases of this second"))
    }

    /// Records a release that is built, before it gets its name on the disk.
    pub fn add_release(&mut self, project: &ProjectName, release: &Release) -> Result<()> {
        let Release { id, source, revision, spec, made_at, .. } = release;
        let spec = serde_json::to_string(spec)
            .map_err(|e| Error::failed("could not record a release").caused_by(e))?;
        self.db
            .execute(
                "INSERT INTO releases (project, id, state, source, revision, spec, made_at) \
                 VALUES (?1, ?2, 'staged', ?3, ?4, ?5, ?6)",
                params![project.as_str(), id.as_str(), source, revision, spec, made_at.to_string()],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// Marks a release that was refused; one that was good once stays good.
    pub fn fail_release(&mut self, project: &ProjectName, id: &ReleaseId) -> Result<()> {
        let sql = "UPDATE releases SET state = 'failed' \
                   WHERE project = ?1 AND id = ?2 AND state = 'staged'";
        self.on_release(sql, project, id)
    }

    /// Marks a release that came up and did not stay up: nobody is to go back to it.
    pub fn condemn_release(&mut self, project: &ProjectName, id: &ReleaseId) -> Result<()> {
        self.on_release(
            "UPDATE releases SET state = 'failed' WHERE project = ?1 AND id = ?2",
            project,
            id,
        )
    }

    pub fn forget_release(&mut self, project: &ProjectName, id: &ReleaseId) -> Result<()> {
        self.on_release("DELETE FROM releases WHERE project = ?1 AND id = ?2", project, id)
    }

    fn on_release(&mut self, sql: &str, project: &ProjectName, id: &ReleaseId) -> Result<()> {
        self.db.execute(sql, [project.as_str(), id.as_str()]).map_err(|e| lost(&e))?;
        Ok(())
    }

    /// Writes down that a deploy begins. Whatever else was running of this project was not ended
    /// by itself: the caller holds the project's lock.
    pub fn begin_deploy(&mut self, new: &NewDeploy<'_>) -> Result<i64> {
        let NewDeploy { project, verb, release, previous, source, revision, actor } = new;
        let now = Timestamp::now().to_string();
        let tx = self.writing()?;
        let write = || {
            end_interrupted(&tx, project, &now)?;
            tx.execute(
                "INSERT INTO deploys (project, verb, release, previous, source, revision, actor, started_at, outcome) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'running')",
                params![project.as_str(), verb, release.as_str(), previous.map(ReleaseId::as_str), source, revision, actor, now],
            )?;
            Ok(tx.last_insert_rowid())
        };
        let id = write().map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))?;
        Ok(id)
    }

    /// Writes down what a deploy turned out to be of, once that is known.
    pub fn name_deploy(&mut self, id: i64, revision: &str) -> Result<()> {
        self.db
            .execute("UPDATE deploys SET revision = ?2 WHERE id = ?1", params![id, revision])
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// Closes a deploy that came to nothing.
    pub fn fail_deploy(
        &mut self,
        id: i64,
        error: &str,
        phases: &BTreeMap<String, u64>,
    ) -> Result<()> {
        let phases = serde_json::to_string(phases).unwrap_or_default();
        self.db
            .execute(
                "UPDATE deploys SET outcome = 'failed', ended_at = ?2, error = ?3, phases = ?4 WHERE id = ?1",
                params![id, Timestamp::now().to_string(), error, phases],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// The newest deploys, the newest first.
    pub fn deploys(&self, project: &ProjectName, newest: u32) -> Result<Vec<Deploy>> {
        let sql = "SELECT id, verb, release, previous, source, revision, actor, started_at, ended_at, outcome, \
                   error, phases FROM deploys WHERE project = ?1 ORDER BY id DESC LIMIT ?2";
        self.rows(sql, params![project.as_str(), newest], |row| {
            let time = |text: Option<String>| text.and_then(|text| text.parse().ok());
            Ok(Deploy {
                id: row.get(0)?,
                verb: row.get(1)?,
                release: row.get(2)?,
                previous: row.get(3)?,
                source: row.get(4)?,
                revision: row.get(5)?,
                actor: row.get(6)?,
                started_at: time(row.get(7)?).unwrap_or_default(),
                ended_at: time(row.get(8)?),
                outcome: row.get(9)?,
                error: row.get(10)?,
                phases: serde_json::from_str(&row.get::<_, String>(11)?).unwrap_or_default(),
            })
        })
    }

    /// Forgets all deploys but the newest; gives back the releases that only those spoke of.
    pub fn forget_deploys(&mut self, project: &ProjectName, keep: u32) -> Result<Vec<String>> {
        let tx = self.writing()?;
        let forget = || -> rusqlite::Result<Vec<String>> {
            let old = "project = ?1 AND id NOT IN \
                       (SELECT id FROM deploys WHERE project = ?1 ORDER BY id DESC LIMIT ?2)";
            let sql = format!(
                "SELECT DISTINCT release FROM deploys WHERE {old} \
                 EXCEPT SELECT id FROM releases WHERE project = ?1 \
                 EXCEPT SELECT release FROM deploys WHERE project = ?1 AND NOT ({old})"
            );
            let values = params![project.as_str(), keep];
            let gone = tx.prepare(&sql)?.query_map(values, |row| row.get(0))?.collect();
            tx.execute(&format!("DELETE FROM deploys WHERE {old}"), values)?;
            gone
        };
        let gone = forget().map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))?;
        Ok(gone)
    }

    /// Deploys that are written down as running, though nobody holds the project's lock.
    pub fn end_interrupted_deploys(&mut self, project: &ProjectName) -> Result<()> {
        let now = Timestamp::now().to_string();
        let tx = self.writing()?;
        end_interrupted(&tx, project, &now).map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }

    /// Why deploys are paused, if they are.
    pub fn paused(&self, project: &ProjectName) -> Result<Option<String>> {
        let sql = "SELECT paused FROM projects WHERE name = ?1";
        let reason = self.db.query_row(sql, [project.as_str()], |row| row.get(0)).optional();
        Ok(reason.map_err(|e| lost(&e))?.flatten())
    }

    /// Pauses deploys, or lets them go on.
    pub fn pause(&mut self, project: &ProjectName, reason: Option<&str>) -> Result<()> {
        self.db
            .execute(
                "UPDATE projects SET paused = ?2 WHERE name = ?1",
                params![project.as_str(), reason],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }
}

/// Limits that a project has instead of the configuration's; 0 is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DeployLimits {
    pub per_hour: Option<u32>,
    pub pause_after: Option<u32>,
}

impl Registry {
    pub fn deploy_limits(&self, project: &ProjectName) -> Result<DeployLimits> {
        let sql = "SELECT per_hour, pause_after FROM projects WHERE name = ?1";
        let read =
            |row: &Row<'_>| Ok(DeployLimits { per_hour: row.get(0)?, pause_after: row.get(1)? });
        let limits = self.db.query_row(sql, [project.as_str()], read).optional();
        Ok(limits.map_err(|e| lost(&e))?.unwrap_or_default())
    }

    pub fn set_deploy_limits(&mut self, project: &ProjectName, limits: DeployLimits) -> Result<()> {
        let sql = "UPDATE projects SET per_hour = ?2, pause_after = ?3 WHERE name = ?1";
        self.db
            .execute(sql, params![project.as_str(), limits.per_hour, limits.pause_after])
            .map_err(|e| lost(&e))?;
        Ok(())
    }
}

fn end_interrupted(tx: &Transaction<'_>, project: &ProjectName, now: &str) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE deploys SET outcome = 'interrupted', ended_at = ?2 WHERE project = ?1 AND outcome = 'running'",
        params![project.as_str(), now],
    )
    .map(|_| ())
}

/// A release answers requests from now on, in the transaction that closes its operation.
pub(super) fn go_live(
    tx: &Transaction<'_>,
    project: &ProjectName,
    live: &Live,
    deploy: i64,
    phases: &BTreeMap<String, u64>,
) -> rusqlite::Result<()> {
    let (name, id) = (project.as_str(), live.id.as_str());
    tx.execute(
        "UPDATE projects SET live = ?2, runtime = ?3 WHERE name = ?1",
        params![name, id, live.spec.runtime.as_str()],
    )?;
    let spec = serde_json::to_string(&live.spec).unwrap_or_default();
    tx.execute(
        "UPDATE releases SET state = 'good', spec = ?3 WHERE project = ?1 AND id = ?2",
        params![name, id, spec],
    )?;
    let phases = serde_json::to_string(phases).unwrap_or_default();
    tx.execute(
        "UPDATE deploys SET outcome = 'done', ended_at = ?2, phases = ?3 WHERE id = ?1",
        params![deploy, Timestamp::now().to_string(), phases],
    )
    .map(|_| ())
}

/// A live release of a project that is recorded anew: it was found on the server.
pub(super) fn insert_live(
    tx: &Transaction<'_>,
    project: &str,
    live: &Live,
) -> rusqlite::Result<()> {
    let spec = serde_json::to_string(&live.spec).unwrap_or_default();
    let now = Timestamp::now().to_string();
    tx.execute(
        "INSERT INTO releases (project, id, state, source, revision, spec, made_at) \
         VALUES (?1, ?2, 'good', 'found on the server', NULL, ?3, ?4)",
        params![project, live.id.as_str(), spec, now],
    )
    .map(|_| ())
}

fn read_release(row: &Row<'_>) -> rusqlite::Result<Release> {
    let state: String = row.get(1)?;
    let spec: String = row.get(4)?;
    Ok(Release {
        id: column(row, 0)?,
        state: match state.as_str() {
            "good" => ReleaseState::Good,
            "failed" => ReleaseState::Failed,
            _ => ReleaseState::Staged,
        },
        source: row.get(2)?,
        revision: row.get(3)?,
        spec: read_spec(&spec, 4)?,
        made_at: row.get::<_, String>(5)?.parse().unwrap_or_default(),
    })
}

pub(super) fn read_spec(text: &str, index: usize) -> rusqlite::Result<Spec> {
    serde_json::from_str(text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_deploys_are_forgotten_and_what_still_counts_is_not() {
        let (_dir, mut registry) = crate::registry::tests::fresh();
        let shop: ProjectName = "shop".parse().unwrap();
        registry
            .db
            .execute_batch(
                "INSERT INTO projects (name, runtime, uid, postgres, created_by, created_at) \
                 VALUES ('shop', 'custom', 1, 0, 'root', ''), ('wiki', 'custom', 2, 0, 'root', '')",
            )
            .unwrap();
        let id = |n: u16| ReleaseId::at("2026-11-21T09:30:12Z".parse().unwrap(), n);
        // Each release twice, so that a newer row still speaks of an old one; one stays on the disk.
        for n in [1, 2, 3, 4, 5, 2] {
            let release = id(n);
            registry
                .begin_deploy(&NewDeploy {
                    project: &shop,
                    verb: "deploy",
                    release: &release,
                    previous: None,
                    source: "upload",
                    revision: None,
                    actor: "root",
                })
                .unwrap();
        }
        let sql = "INSERT INTO releases (project, id, state, source, spec, made_at) \
                   VALUES ('shop', ?1, 'good', '', '{}', '')";
        registry.db.execute(sql, [id(3).as_str()]).unwrap();
        let wiki: ProjectName = "wiki".parse().unwrap();
        assert!(registry.forget_deploys(&wiki, 2).unwrap().is_empty());
        // Of six attempts two stay: 5 and, once more, 2.
        let gone = registry.forget_deploys(&shop, 2).unwrap();
        assert_eq!(gone, [id(1).as_str(), id(4).as_str()]);
        let left: Vec<String> =
            registry.deploys(&shop, 10).unwrap().into_iter().map(|d| d.release).collect();
        assert_eq!(left, [id(2).as_str(), id(5).as_str()]);
    }
}
