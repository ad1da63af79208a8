//! What was backed up, how that went, and what a drill made of it.

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::{Registry, column, lost};
use crate::{
    error::{Error, Result},
    names::{BackupId, ProjectName},
};

/// What a backup holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// The environment alone.
    Credentials,
    /// Databases: PostgreSQL and Redis.
    Db,
    /// What the project keeps in `shared/`, and the release that is live.
    Files,
    /// All of it: enough to make the project anew on another server.
    Full,
    /// The server itself.
    #[value(skip)]
    Host,
}

/// Why it was made.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupOrigin {
    Manual,
    PreRestore,
    Scheduled,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    Complete,
    Failed,
    Running,
}

#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    #[serde(skip)]
    pub seq: i64,
    /// `None` is the server itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    pub id: BackupId,
    pub kind: BackupKind,
    pub origin: BackupOrigin,
    pub state: BackupState,
    /// Whether a drill has brought it back as it was; `None` where none has tried.
    pub proven: Option<bool>,
    pub actor: String,
    pub made_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Bytes that were read, and that they added to the repository.
    pub bytes: u64,
    pub stored: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    pub record: Option<String>,
    #[serde(skip)]
    pub proof: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<Timestamp>,
    /// When it was copied to the repository elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_at: Option<Timestamp>,
    pub is_local: bool,
}

macro_rules! words {
    ($kind:ident, $($variant:ident = $word:literal),+) => {
        impl $kind {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words!(
    BackupKind,
    Credentials = "credentials",
    Db = "db",
    Files = "files",
    Full = "full",
    Host = "host"
);
words!(BackupOrigin, Manual = "manual", PreRestore = "pre_restore", Scheduled = "scheduled");
words!(BackupState, Complete = "complete", Failed = "failed", Running = "running");

const COLUMNS: &str = "SELECT seq, project, id, kind, origin, state, proven, actor, made_at, ended_at, bytes, \
    stored, error, record, proof, proven_at, copied_at, is_local FROM backups";

fn of(project: Option<&ProjectName>) -> &str {
    project.map_or("", ProjectName::as_str)
}

impl Registry {
    /// Of a project or of the server itself, the newest first.
    pub fn backups(&self, project: Option<&ProjectName>) -> Result<Vec<Backup>> {
        self.rows(&format!("{COLUMNS} WHERE project = ?1 ORDER BY seq DESC"), [of(project)], read)
    }

    /// Of everything, the newest first.
    pub fn all_backups(&self) -> Result<Vec<Backup>> {
        self.rows(&format!("{COLUMNS} ORDER BY seq DESC"), [], read)
    }

    /// A name for a backup that is made now.
    pub fn next_backup(&self, project: Option<&ProjectName>) -> Result<BackupId> {
        let known = self.backups(project)?;
        let now = Timestamp::now();
        (1..=9999)
            .map(|n| BackupId::at(now, n))
            .find(|id| !known.iter().any(|known| known.id == *id))
            .ok_or_else(|| Error::failed("there are too many backups of this second"))
    }

    pub fn add_backup(&mut self, new: &Backup) -> Result<()> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        self.db
            .execute(
                "INSERT INTO backups (project, id, kind, origin, state, actor, made_at, ended_at, bytes, stored, \
                 record, copied_at, is_local) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                params![
                    of(new.project.as_ref()),
                    new.id.as_str(),
                    new.kind.as_str(),
                    new.origin.as_str(),
                    new.state.as_str(),
                    new.actor,
                    new.made_at.to_string(),
                    time(new.ended_at),
                    new.bytes.cast_signed(),
                    new.stored.cast_signed(),
                    new.record,
                    time(new.copied_at),
                    new.is_local
                ],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// All of it is in the repository.
    pub fn complete_backup(&mut self, done: &Backup) -> Result<()> {
        self.db
            .execute(
                "UPDATE backups SET state = 'complete', ended_at = ?3, bytes = ?4, stored = ?5, record = ?6 \
                 WHERE project = ?1 AND id = ?2",
                params![
                    of(done.project.as_ref()),
                    done.id.as_str(),
                    Timestamp::now().to_string(),
                    done.bytes.cast_signed(),
                    done.stored.cast_signed(),
                    done.record
                ],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    pub fn fail_backup(&mut self, failed: &Backup, error: &str) -> Result<()> {
        self.db
            .execute(
                "UPDATE backups SET state = 'failed', ended_at = ?3, error = ?4 WHERE project = ?1 AND id = ?2",
                params![
                    of(failed.project.as_ref()),
                    failed.id.as_str(),
                    Timestamp::now().to_string(),
                    error
                ],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// What a drill found.
    pub fn judge_backup(&mut self, backup: &Backup, proven: bool, proof: &str) -> Result<()> {
        self.db
            .execute(
                "UPDATE backups SET proven = ?3, proof = ?4, proven_at = ?5 WHERE project = ?1 AND id = ?2",
                params![
                    of(backup.project.as_ref()),
                    backup.id.as_str(),
                    proven,
                    proof,
                    Timestamp::now().to_string()
                ],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// Where it is: here, elsewhere, or both.
    pub fn place_backup(&mut self, backup: &Backup) -> Result<()> {
        self.db
            .execute(
                "UPDATE backups SET copied_at = ?3, is_local = ?4 WHERE project = ?1 AND id = ?2",
                params![
                    of(backup.project.as_ref()),
                    backup.id.as_str(),
                    backup.copied_at.map(|time| time.to_string()),
                    backup.is_local
                ],
            )
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    pub fn forget_backup(&mut self, gone: &Backup) -> Result<()> {
        let sql = "DELETE FROM backups WHERE project = ?1 AND id = ?2";
        self.db
            .execute(sql, [of(gone.project.as_ref()), gone.id.as_str()])
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    /// A copy of all of it in one file, as it is at one moment.
    pub fn copy_into(&self, path: &std::path::Path) -> Result<()> {
        let path = path.to_string_lossy();
        self.db.execute("VACUUM INTO ?1", [&*path]).map_err(|e| lost(&e))?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Backup> {
    let text = |index: usize| row.get::<_, String>(index);
    let time = |index: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<String>>(index)?.and_then(|text| text.parse().ok()))
    };
    let project = text(1)?;
    Ok(Backup {
        seq: row.get(0)?,
        project: if project.is_empty() { None } else { Some(column(row, 1)?) },
        id: column(row, 2)?,
        kind: BackupKind::of(&text(3)?).unwrap_or(BackupKind::Full),
        origin: BackupOrigin::of(&text(4)?).unwrap_or(BackupOrigin::Manual),
        state: BackupState::of(&text(5)?).unwrap_or(BackupState::Failed),
        proven: row.get(6)?,
        actor: row.get(7)?,
        made_at: time(8)?.unwrap_or_default(),
        ended_at: time(9)?,
        bytes: row.get::<_, i64>(10)?.cast_unsigned(),
        stored: row.get::<_, i64>(11)?.cast_unsigned(),
        error: row.get(12)?,
        record: row.get(13)?,
        proof: row.get(14)?,
        proven_at: time(15)?,
        copied_at: time(16)?,
        is_local: row.get(17)?,
    })
}
