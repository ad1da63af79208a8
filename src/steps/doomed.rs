//! A database that its project gave up: marked first, and gone once the project is one without it.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step, restored, role};
use crate::{
    error::Result,
    sys::{
        Host,
        postgres::{identifier, literal},
    },
};

/// The mark is a word in the comment of the role that owns the database, and goes last.
#[derive(Debug, Deserialize, Serialize)]
pub struct Doomed {
    pub database: String,
    pub owner: String,
    pub second: String,
    /// The role's comment before, and the beginning of it after.
    pub comment: String,
}

/// How the comment of a role ends that is to go with all that it owns.
const GIVEN_UP: &str = ", given up";

impl Doomed {
    fn mark(&self) -> String {
        format!("{}{GIVEN_UP}", self.comment)
    }

    /// Whether there is something that was marked, and waits to be taken away.
    pub fn is_marked(&self, host: &Host) -> Result<bool> {
        Ok(host.role(&self.owner)?.is_some_and(|role| role.comment == Some(self.mark())))
    }

    fn say(&self, host: &Host, comment: &str) -> Result<()> {
        let sql = format!("COMMENT ON ROLE {} IS {}", identifier(&self.owner), literal(comment));
        host.sql(&format!("mark the role `{}`", self.owner), &sql)
    }
}

impl Step for Doomed {
    fn title(&self) -> String {
        format!("database {} given up", self.database)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        match host.role(&self.owner)? {
            Some(role) if role.comment != Some(self.mark()) => {
                let before = Before::Line(role.comment.unwrap_or_default());
                Ok(Check::Missing { before, differs: "is to be given up".into() })
            }
            _ => Ok(Check::InPlace),
        }
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.say(host, &self.mark())
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Line(comment) => self.say(host, comment),
            other => Err(other.foreign()),
        }
    }

    /// Takes away what is marked, and nothing else. What is gone already is passed over.
    fn remove(&self, host: &Host) -> Result<()> {
        if !self.is_marked(host)? {
            return Ok(());
        }
        for login in [&self.second, &self.owner] {
            role::end_logins(host, login)?;
        }
        restored::remove_beside(host, &self.database)?;
        if host.database(&self.database)?.is_some_and(|is| is.owner == self.owner) {
            host.drop_database(&self.database)?;
        }
        role::drop_role(host, &self.second)?;
        role::drop_role(host, &self.owner)
    }
}
