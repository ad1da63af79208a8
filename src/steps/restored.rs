//! A database whose contents are those of a dump. What it held until then is kept aside.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Database, Step, handover::share};
use crate::{
    error::{Error, Result},
    names::CheckpointId,
    secret::Secret,
    sys::{Host, Owner, databases::Login},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Restored {
    pub database: String,
    pub role: String,
    /// The role whose password it is; what it makes is the other's.
    #[serde(default)]
    pub login: String,
    pub comment: String,
    pub dump: PathBuf,
    /// The checkpoint that what was there until then is for.
    pub before: CheckpointId,
    pub user: Owner,
    /// The role's, for as long as it takes; an undo does without.
    #[serde(skip)]
    pub password: Option<Secret>,
}

/// The login that takes turns with that of a project's own role.
fn second_login(role: &str) -> String {
    format!("{role}_2")
}

/// Where a database lies that another one was put in the place of.
pub fn aside(database: &str) -> String {
    format!("{database}_aside")
}

/// What a database says of itself that waits to become a checkpoint.
pub fn waits_for(checkpoint: &CheckpointId) -> String {
    format!("hostkit checkpoint {checkpoint}")
}

/// Where a backup is brought back to prove that it can be.
pub fn drill(database: &str) -> String {
    format!("{database}_drill")
}

/// Where one is filled before it is put in place.
fn next(database: &str) -> String {
    format!("{database}_next")
}

/// Takes away what stopped half-way may have left beside a database.
pub(super) fn remove_beside(host: &Host, database: &str) -> Result<()> {
    for name in [next(database), aside(database), drill(database)] {
        if host.database(&name)?.is_some() {
            host.drop_database(&name)?;
        }
    }
    Ok(())
}

impl Step for Restored {
    fn title(&self) -> String {
        format!("database {} as in {}", self.database, self.dump.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        if host.database(&aside(&self.database))?.is_some() {
            let what = format!("there is a database `{}` already", aside(&self.database));
            return Err(Error::conflict("in_the_way", what)
                .caused_by("it is what an earlier restoration replaced, and has no checkpoint yet")
                .hint("`hostkit recover` makes one"));
        }
        Ok(Check::Missing { before: Before::Absent, differs: "to be restored".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let Self { database, role, login, comment, dump, before, user, password } = self;
        let next = next(database);
        host.drop_database(&next)?;
        let empty = Database { name: next.clone(), owner: role.clone(), comment: comment.clone() };
        empty.apply(host)?;
        let password = password.clone().ok_or_else(|| {
            Error::failed("could not fill the database").caused_by("its password is not known")
        })?;
        let login = Login { role: login.clone(), owner: role.clone(), password, user: *user };
        host.fill_database(&next, &login, dump, database)?;
        // A dump says nothing of that.
        share(host, &next, &second_login(role), role)?;
        host.replace_database(database, &next, &aside(database), comment, &waits_for(before))
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        let (next, aside) = (next(&self.database), aside(&self.database));
        if host.database(&aside)?.is_some() {
            host.replace_database(&self.database, &aside, &next, &self.comment, "undone")?;
        } else if host.database(&self.database)?.is_some() {
            host.open_database(&self.database)?;
        }
        host.drop_database(&next)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        remove_beside(host, &self.database)
    }
}
