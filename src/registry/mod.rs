//! What there is, in SQLite: projects, what they were handed, what is being done, what was done.

mod alerts;
mod allotments;
mod backups;
mod checkpoints;
mod events;
mod git;
mod mutes;
mod operations;
mod processes;
mod projects;
mod releases;
mod secrets;
mod storage;
mod tls;

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi};
use rusqlite_migration::{M, Migrations};

pub use alerts::Alert;
pub use allotments::{Allotment, OFFSETS, Wanted, port_of};
pub use backups::{Backup, BackupKind, BackupOrigin, BackupState};
pub use checkpoints::{Checkpoint, CheckpointKind};
pub use events::Event;
pub use git::GitSource;
pub use mutes::Mute;
pub use operations::{Change, NewOperation, Of, Operation, Outcome, StoredStep, Way};
pub use projects::Project;
pub use releases::{Deploy, DeployLimits, Live, NewDeploy, Release, ReleaseState};
pub use secrets::{Arrived, Audited, Definition, NewValue, SecretRow, Use};
pub use storage::{Policy, Storage};
pub use tls::{Issued, Tls, TlsSource, TlsState, TlsTrouble};

use crate::error::{Error, Result};

pub const PATH: &str = "/var/lib/hostkit/registry.db";

/// "hkit": tells our database from any other.
const APPLICATION_ID: i32 = 0x686b_6974;
const MIGRATIONS: &[M<'_>] = &[
    M::up(include_str!("migrations/001-projects.sql")),
    M::up(include_str!("migrations/002-releases.sql")),
    M::up(include_str!("migrations/003-ci-keys.sql")),
    M::up(include_str!("migrations/004-checkpoints.sql")),
    M::up(include_str!("migrations/005-git-sources.sql")),
    M::up(include_str!("migrations/006-processes.sql")),
    M::up(include_str!("migrations/007-app-grants.sql")),
    M::up(include_str!("migrations/008-secrets.sql")),
    M::up(include_str!("migrations/009-backups.sql")),
    M::up(include_str!("migrations/010-own-redis.sql")),
    M::up(include_str!("migrations/011-storage.sql")),
    M::up(include_str!("migrations/012-environment.sql")),
    M::up(include_str!("migrations/013-mysql.sql")),
    M::up(include_str!("migrations/014-tls.sql")),
    M::up(include_str!("migrations/015-alerts.sql")),
    M::up(include_str!("migrations/016-mutes.sql")),
];

pub struct Registry {
    db: Connection,
}

impl Registry {
    /// Opens the registry, or says what became of it.
    pub fn open(path: &Path) -> Result<Self> {
        match std::fs::symlink_metadata(path) {
            Err(_) => return Err(absent()),
            Ok(meta) if meta.len() == 0 => return Err(broken("it is empty")),
            Ok(_) => {}
        }
        let mut registry = match Self::connect(path) {
            Err(error) if has_no_room(&error) => Self::frozen(path).ok_or_else(|| full(&error))?,
            connected => connected.map_err(|e| broken(&said(&e)))?,
        };
        let id: i32 = registry.pragma("application_id")?;
        if id != APPLICATION_ID {
            return Err(broken("it is a database of something else"));
        }
        let words =
            registry.db.query_row("SELECT words FROM sentinel", [], |row| row.get::<_, String>(0));
        match words {
            Ok(words) if words == "hostkit registry" => {}
            Ok(_) => return Err(broken("its first row is not ours")),
            Err(e) => return Err(broken(&said(&e))),
        }
        registry.migrate()?;
        Ok(registry)
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let registry = Self { db: Connection::open_with_flags(path, flags)? };
        registry.prepare()?;
        Ok(registry)
    }

    /// To be read as it stands: SQLite wants to write a little even to read, and a full disk is
    /// when people most want to see what there is. Not where a log holds more than the file.
    fn frozen(path: &Path) -> Option<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        if std::fs::metadata(log).is_ok_and(|meta| meta.len() > 0) {
            return None;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let address = format!("file:{}?immutable=1", path.display());
        Connection::open_with_flags(address, flags).ok().map(|db| Self { db })
    }

    /// Makes a new registry where there is none.
    pub fn create(path: &Path) -> Result<Self> {
        let db = Connection::open(path).map_err(|e| lost(&e))?;
        let mut registry = Self { db };
        registry.prepare().map_err(|e| lost(&e))?;
        registry.db.pragma_update(None, "application_id", APPLICATION_ID).map_err(|e| lost(&e))?;
        registry.migrate()?;
        Ok(registry)
    }

    /// Puts everything into the one file, so that it can be given another name.
    pub fn settle(self) -> Result<()> {
        let merge = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], merge).map_err(|e| lost(&e))?;
        self.db.close().map_err(|(_, e)| lost(&e))
    }

    /// Marks a user's number as used, by a project that nobody remembers.
    pub fn burn_uid(&mut self, uid: u32) -> Result<()> {
        self.db
            .execute("INSERT OR IGNORE INTO uids VALUES (?1, '')", [uid])
            .map_err(|e| lost(&e))?;
        Ok(())
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        self.db.busy_timeout(Duration::from_secs(30))?;
        let set = |name: &str, value: &str| {
            self.db.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|e| {
                if matches!(e, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(e) }
            })
        };
        for (name, value) in
            [("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON")]
        {
            set(name, value)?;
        }
        Ok(())
    }

    fn migrate(&mut self) -> Result<()> {
        Migrations::from_slice(MIGRATIONS).to_latest(&mut self.db).map_err(|e| {
            Error::not_ready("registry_version", "the registry can't be used by this hostkit")
                .caused_by(e)
                .hint("install a hostkit at least as new as the one that made it")
        })
    }

    fn pragma<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<T> {
        self.db.pragma_query_value(None, name, |row| row.get(0)).map_err(|e| broken(&said(&e)))
    }

    /// Reads every page; fails where one is damaged.
    pub fn check(&self) -> Result<()> {
        let verdict: String = self.pragma("integrity_check")?;
        if verdict == "ok" { Ok(()) } else { Err(broken(&verdict)) }
    }

    /// A transaction that writes from its first statement on, so that no two can meet half-way.
    fn writing(&mut self) -> Result<Transaction<'_>> {
        self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| lost(&e))
    }
}

fn absent() -> Error {
    Error::not_ready("not_initialised", "this server is not prepared for hostkit")
        .caused_by(format!("there is no registry at `{PATH}`"))
        .hint("prepare it: `hostkit init` (if it had projects, `hostkit recover --from-host` finds them)")
}

fn broken(why: &str) -> Error {
    Error::not_ready("registry_broken", format!("the registry `{PATH}` is damaged"))
        .caused_by(why)
        .hint("build it anew from what is on the server: `hostkit recover --from-host`")
}

/// SQLite can't put its own files beside the registry.
fn has_no_room(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(error.code, ErrorCode::DiskFull | ErrorCode::CannotOpen)
            || [ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_WRITE].contains(&error.extended_code)
    })
}

fn full(error: &rusqlite::Error) -> Error {
    Error::failed("could not write to the registry")
        .caused_by(said(error))
        .coded("disk_full")
        .hint("make room below `/var/lib/hostkit` (`df -h`, `df -i`), then run the command again")
}

/// A statement that should have worked.
fn lost(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => broken(&said(error)),
        Some(ErrorCode::ReadOnly) => full(error),
        _ if has_no_room(error) => full(error),
        _ => Error::failed("could not write to the registry").caused_by(said(error)),
    }
}

fn said(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, None) => code.to_string(),
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads a checked value out of a column; a value that is none means damage.
fn column<T: std::str::FromStr<Err = Error>>(
    row: &rusqlite::Row<'_>,
    index: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    text.parse().map_err(|e: Error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn fresh() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::create(&dir.path().join("registry.db")).unwrap();
        (dir, registry)
    }

    #[test]
    fn migrations_are_valid() {
        Migrations::from_slice(MIGRATIONS).validate().unwrap();
    }

    #[test]
    fn only_a_registry_opens_as_one() {
        let (dir, registry) = fresh();
        drop(registry);
        let path = dir.path().join("registry.db");
        assert!(Registry::open(&path).is_ok());
        for (name, contents, code) in [
            ("none", None, "not_initialised"),
            ("empty", Some(&b""[..]), "registry_broken"),
            (
                "text",
                Some(&b"not a database, by any means at all, not even a short one"[..]),
                "registry_broken",
            ),
        ] {
            let path = dir.path().join(name);
            if let Some(contents) = contents {
                std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), contents)
                    .unwrap();
            }
            let error = Registry::open(&path).err().unwrap();
            assert_eq!((error.code, error.kind.exit_code()), (code, 8), "{name}");
        }
        let other = dir.path().join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
        assert_eq!(Registry::open(&other).err().unwrap().code, "registry_broken");
    }
}
