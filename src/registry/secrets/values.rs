//! Sealed values of secrets: their versions, what is live, and what a release had.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Use, audit, forget_unused};
use crate::{
    error::{Error, Result},
    names::{ProjectName, ReleaseId},
    registry::{Registry, lost},
    secret::{Keyring, MasterKey, Place, Sealed, Secret},
};

/// So many versions of a secret stay, besides those that are live or that a release had.
const KEPT: i64 = 10;

/// A value to be set.
pub struct NewValue<'a> {
    pub name: &'a str,
    pub value: &'a Secret,
    /// Whether processes have it already: what a backup brings back together with `.env`.
    pub is_live: bool,
}

/// What processes have from now on.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub project: ProjectName,
    pub release: ReleaseId,
    pub versions: BTreeMap<String, i64>,
    /// Whether it is an earlier state that came back, which the next deploy is to bring, too.
    pub is_back: bool,
}

impl Registry {
    /// Sets values, all of them or none; gives back the number of each.
    pub fn set_secrets(
        &mut self,
        project: &ProjectName,
        values: &[NewValue<'_>],
        key: &MasterKey,
        what: &Use<'_>,
    ) -> Result<Vec<i64>> {
        let tx = self.writing()?;
        let mut versions = Vec::new();
        for new in values {
            let version = next_version(&tx, project, new.name).map_err(|e| lost(&e))?;
            let place = Place { project: project.as_str(), name: new.name, version };
            let sealed = key.seal(place, new.value)?;
            insert(&tx, project, new, version, &sealed, what).map_err(|e| lost(&e))?;
            versions.push(version);
        }
        let names = values.iter().zip(&versions).map(|(new, version)| (new.name, Some(*version)));
        audit::add(&tx, project, what, names)
            .and_then(|()| let_go(&tx, project))
            .map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))?;
        Ok(versions)
    }

    /// A value as it lies there.
    pub fn sealed(&self, project: &ProjectName, name: &str, version: i64) -> Result<Sealed> {
        let sql = "SELECT key, nonce, text FROM secret_values \
                   WHERE project = ?1 AND name = ?2 AND version = ?3";
        let params = params![project.as_str(), name, version];
        let found = self
            .db
            .query_row(sql, params, |row| {
                Ok(Sealed { key: row.get(0)?, nonce: row.get(1)?, text: row.get(2)? })
            })
            .optional()
            .map_err(|e| lost(&e))?;
        found.ok_or_else(|| {
            Error::missing("no_version", format!("there is no version {version} of `{name}`"))
                .hint(format!("see `hostkit secrets list {project}`"))
        })
    }

    /// Makes a former version the one that the next deploy brings.
    pub fn choose_secret(
        &mut self,
        project: &ProjectName,
        name: &str,
        version: i64,
        what: &Use<'_>,
    ) -> Result<()> {
        self.sealed(project, name, version)?;
        self.change(project, what, &[name], |tx| {
            tx.execute(
                "UPDATE secret_names SET current = ?3 WHERE project = ?1 AND name = ?2",
                params![project.as_str(), name, version],
            )
        })
    }

    /// Takes secrets away from the next deploy on. What releases had stays as long as they do.
    pub fn unset_secrets(
        &mut self,
        project: &ProjectName,
        names: &[&str],
        what: &Use<'_>,
    ) -> Result<()> {
        self.change(project, what, names, |tx| {
            let sql = "UPDATE secret_names SET current = NULL WHERE project = ?1 AND name = ?2";
            let mut update = tx.prepare(sql)?;
            names.iter().try_fold(0, |n, name| Ok(n + update.execute([project.as_str(), name])?))
        })
    }

    /// Takes all values away with all their versions, also from releases that had them.
    pub fn clear_secrets(
        &mut self,
        project: &ProjectName,
        names: &[&str],
        what: &Use<'_>,
    ) -> Result<()> {
        self.overwriting()?;
        self.change(project, what, names, |tx| {
            let name = [project.as_str()];
            tx.execute("UPDATE secret_names SET current = NULL WHERE project = ?1", name)?;
            tx.execute("DELETE FROM secret_values WHERE project = ?1", name)
        })?;
        self.truncate()
    }

    fn change(
        &mut self,
        project: &ProjectName,
        what: &Use<'_>,
        names: &[&str],
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<()> {
        let tx = self.writing()?;
        let write = || {
            change(&tx)?;
            let_go(&tx, project)?;
            audit::add(&tx, project, what, names.iter().map(|name| (*name, None)))
        };
        write().map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }

    /// What a release had when it was live.
    pub fn pinned_secrets(
        &self,
        project: &ProjectName,
        release: &ReleaseId,
    ) -> Result<BTreeMap<String, i64>> {
        let sql = "SELECT name, version FROM secret_pins WHERE project = ?1 AND release = ?2";
        let pins = self.rows(sql, [project.as_str(), release.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(pins.into_iter().collect())
    }

    /// How many values each key holds.
    pub fn sealing_keys(&self) -> Result<BTreeMap<String, u64>> {
        let sql = "SELECT key, count(*) FROM secret_values GROUP BY key";
        let keys =
            self.rows(sql, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(keys.into_iter().collect())
    }

    /// Seals every value anew under the ring's next key, all of them or none.
    pub fn reseal(&mut self, ring: &Keyring, actor: &str) -> Result<usize> {
        let Some(next) = &ring.next else { return Ok(0) };
        self.overwriting()?;
        let tx = self.writing()?;
        let stale: Vec<(String, String, i64, Sealed)> = {
            let sql = "SELECT project, name, version, key, nonce, text FROM secret_values WHERE key <> ?1";
            let read = |row: &rusqlite::Row<'_>| {
                let sealed = Sealed { key: row.get(3)?, nonce: row.get(4)?, text: row.get(5)? };
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, sealed))
            };
            let mut select = tx.prepare(sql).map_err(|e| lost(&e))?;
            let found = select.query_map([next.id()], read).and_then(Iterator::collect);
            found.map_err(|e| lost(&e))?
        };
        for (project, name, version, sealed) in &stale {
            let place = Place { project, name, version: *version };
            let anew = next.seal(place, &ring.open(place, sealed)?)?;
            let sql = "UPDATE secret_values SET key = ?4, nonce = ?5, text = ?6 \
                       WHERE project = ?1 AND name = ?2 AND version = ?3";
            tx.execute(sql, params![project, name, version, anew.key, anew.nonce, anew.text])
                .map_err(|e| lost(&e))?;
        }
        audit::add_of_key(&tx, "rotate-key", actor).map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))?;
        self.truncate()?;
        Ok(stale.len())
    }

    /// Forgets values that no key of the ring opens, since theirs is lost. Definitions stay.
    pub fn forget_lost_secrets(&mut self, key: &MasterKey, actor: &str) -> Result<usize> {
        let tx = self.writing()?;
        let write = || {
            let gone = tx.execute("DELETE FROM secret_values WHERE key <> ?1", [key.id()])?;
            tx.execute(
                "UPDATE secret_names AS n SET current = NULL WHERE current IS NOT NULL AND NOT EXISTS \
                 (SELECT 1 FROM secret_values v WHERE v.project = n.project AND v.name = n.name \
                  AND v.version = n.current)",
                [],
            )?;
            // What processes have stays in `.env`, and belongs to nobody's vault any more.
            tx.execute(
                "UPDATE secret_names AS n SET live = NULL WHERE live IS NOT NULL AND NOT EXISTS \
                 (SELECT 1 FROM secret_values v WHERE v.project = n.project AND v.name = n.name \
                  AND v.version = n.live)",
                [],
            )?;
            audit::add_of_key(&tx, "forget-lost", actor)?;
            Ok(gone)
        };
        let gone = write().map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))?;
        Ok(gone)
    }

    pub fn audit_key(&mut self, what: &str, actor: &str) -> Result<()> {
        audit::add_of_key(&self.db, what, actor).map_err(|e| lost(&e))
    }

    /// What is deleted is overwritten in the file from now on: an old key may be in wrong hands.
    fn overwriting(&self) -> Result<()> {
        let set = self.db.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()));
        set.map_err(|e| lost(&e))
    }

    fn truncate(&self) -> Result<()> {
        // Somebody else may be reading; then it is done when he has read.
        let merge = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let merged = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], merge);
        merged.map(|_| ()).map_err(|e| lost(&e))
    }
}

fn next_version(tx: &Transaction<'_>, project: &ProjectName, name: &str) -> rusqlite::Result<i64> {
    tx.query_row(
        "INSERT INTO secret_names (project, name, versions) VALUES (?1, ?2, 1) \
         ON CONFLICT DO UPDATE SET versions = versions + 1 RETURNING versions",
        [project.as_str(), name],
        |row| row.get(0),
    )
}

fn insert(
    tx: &Transaction<'_>,
    project: &ProjectName,
    new: &NewValue<'_>,
    version: i64,
    sealed: &Sealed,
    what: &Use<'_>,
) -> rusqlite::Result<()> {
    let Sealed { key, nonce, text } = sealed;
    let now = Timestamp::now().to_string();
    tx.execute(
        "INSERT INTO secret_values (project, name, version, key, nonce, text, made_at, actor) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![project.as_str(), new.name, version, key, nonce, text, now, what.actor],
    )?;
    let sql = "UPDATE secret_names SET current = ?3, live = iif(?4, ?3, live) \
               WHERE project = ?1 AND name = ?2";
    tx.execute(sql, params![project.as_str(), new.name, version, new.is_live]).map(|_| ())
}

/// Lets go of versions that nobody will go back to.
fn let_go(tx: &Transaction<'_>, project: &ProjectName) -> rusqlite::Result<()> {
    tx.execute(
        "DELETE FROM secret_values AS v WHERE project = ?1 AND NOT EXISTS \
         (SELECT 1 FROM secret_names n WHERE n.project = v.project AND n.name = v.name \
          AND (n.current = v.version OR n.live = v.version \
               OR n.current IS NOT NULL AND v.version > n.versions - ?2)) AND NOT EXISTS \
         (SELECT 1 FROM secret_pins p WHERE p.project = v.project AND p.name = v.name \
          AND p.version = v.version)",
        params![project.as_str(), KEPT],
    )?;
    forget_unused(tx, project)
}

/// Processes have these now, and so had the release.
pub(crate) fn go_live(tx: &Transaction<'_>, arrived: &Arrived) -> rusqlite::Result<()> {
    let Arrived { project, release, versions, is_back } = arrived;
    let (project_name, release) = (project.as_str(), release.as_str());
    tx.execute("UPDATE secret_names SET live = NULL WHERE project = ?1", [project_name])?;
    tx.execute(
        "DELETE FROM secret_pins WHERE project = ?1 AND release = ?2",
        [project_name, release],
    )?;
    for (name, version) in versions {
        let params = params![project_name, name, version, is_back];
        let sql = "UPDATE secret_names SET live = ?3, current = iif(?4, ?3, current) \
                   WHERE project = ?1 AND name = ?2";
        tx.execute(sql, params)?;
        // One that was cleared meanwhile can't come back.
        tx.execute(
            "INSERT INTO secret_pins (project, release, name, version) \
             SELECT project, ?2, name, version FROM secret_values \
             WHERE project = ?1 AND name = ?3 AND version = ?4",
            params![project_name, release, name, version],
        )?;
    }
    let_go(tx, project)
}
