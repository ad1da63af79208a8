//! States of a project that one can go back to.

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::Serialize;

use super::{Registry, column, lost};
use crate::{
    error::{Error, Result},
    names::{CheckpointId, ProjectName, ReleaseId},
};

/// Why a checkpoint was taken, which decides how long it stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// By a timer.
    Auto,
    /// The environment alone, before it changed.
    Env,
    /// By a person: it stays until a person takes it away.
    Manual,
    PreDeploy,
    PreMigration,
    /// What was there before something older came back.
    PreRestore,
}

impl CheckpointKind {
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Env,
        Self::Manual,
        Self::PreDeploy,
        Self::PreMigration,
        Self::PreRestore,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Env => "env",
            Self::Manual => "manual",
            Self::PreDeploy => "pre_deploy",
            Self::PreMigration => "pre_migration",
            Self::PreRestore => "pre_restore",
        }
    }

    /// Whether it is the state in which a release was left for its successor.
    pub fn ends_a_release(self) -> bool {
        matches!(self, Self::PreDeploy | Self::PreMigration)
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Checkpoint {
    pub id: CheckpointId,
    pub kind: CheckpointKind,
    /// What was live then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Bytes of the database's dump, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<u64>,
    /// Bytes of the dump of the database in MariaDB, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mysql: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub actor: String,
    pub made_at: Timestamp,
}

impl Checkpoint {
    /// How long the dumps are that it holds, if it holds any.
    pub fn bytes(&self) -> Option<u64> {
        (self.dump.is_some() || self.mysql.is_some())
            .then(|| self.dump.unwrap_or(0) + self.mysql.unwrap_or(0))
    }
}

impl Registry {
    /// A project's checkpoints, the newest first.
    pub fn checkpoints(&self, project: &ProjectName) -> Result<Vec<Checkpoint>> {
        let sql = "SELECT id, kind, release, dump, note, actor, made_at, mysql FROM checkpoints \
                   WHERE project = ?1 ORDER BY seq DESC";
        self.rows(sql, [project.as_str()], read)
    }

    /// A name for a checkpoint that is taken now.
    pub fn next_checkpoint(&self, project: &ProjectName) -> Result<CheckpointId> {
        let known = self.checkpoints(project)?;
        let now = Timestamp::now();
        (1..=9999)
            .map(|n| CheckpointId::at(now, n))
            .find(|id| !known.iter().any(|known| known.id == *id))
            .ok_or_else(|| Error::failed("there are too many checkpoints of this second"))
    }

    /// Records a checkpoint whose files are on the disk.
    pub fn add_checkpoint(&mut self, project: &ProjectName, new: &Checkpoint) -> Result<()> {
        let Checkpoint { id, kind, release, dump, note, actor, made_at, mysql } = new;
        let release = release.as_ref().map(ReleaseId::as_str);
        let dump = dump.map(u64::cast_signed);
        let mysql = mysql.map(u64::cast_signed);
        self.db
            .execute(
                "INSERT INTO checkpoints (project, id, kind, release, dump, note, actor, made_at, mysql) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    project.as_str(),
                    id.as_str(),
                    kind.as_str(),
                    release,
                    dump,
                    note,
                    actor,
                    made_at.to_string(),
                    mysql
                ],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// A checkpoint has its dump now.
    pub fn add_dump(&mut self, project: &ProjectName, id: &CheckpointId, bytes: u64) -> Result<()> {
        let sql = "UPDATE checkpoints SET dump = ?3 WHERE project = ?1 AND id = ?2";
        self.db
            .execute(sql, params![project.as_str(), id.as_str(), bytes.cast_signed()])
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// The same of the database in MariaDB.
    pub fn add_mysql_dump(
        &mut self,
        project: &ProjectName,
        id: &CheckpointId,
        bytes: u64,
    ) -> Result<()> {
        let sql = "UPDATE checkpoints SET mysql = ?3 WHERE project = ?1 AND id = ?2";
        self.db
            .execute(sql, params![project.as_str(), id.as_str(), bytes.cast_signed()])
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    pub fn forget_checkpoint(&mut self, project: &ProjectName, id: &CheckpointId) -> Result<()> {
        let sql = "DELETE FROM checkpoints WHERE project = ?1 AND id = ?2";
        self.db.execute(sql, [project.as_str(), id.as_str()]).map_err(|e| lost(&e))?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    let kind: String = row.get(1)?;
    let release: Option<String> = row.get(2)?;
    Ok(Checkpoint {
        id: column(row, 0)?,
        kind: CheckpointKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .unwrap_or(CheckpointKind::Manual),
        release: release.and_then(|id| id.parse().ok()),
        dump: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        mysql: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        note: row.get(4)?,
        actor: row.get(5)?,
        made_at: row.get::<_, String>(6)?.parse().unwrap_or_default(),
    })
}
