//! From one login of a project's database to the other: the next is valid before the last one ends.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Role, Step, role};
use crate::{
    envfile::EnvFile,
    error::{Error, Result},
    sys::{Host, postgres, postgres::identifier},
};

/// Both logins are valid after it, each with a password of its own. [`Logins`] ends one of them.
#[derive(Debug, Deserialize, Serialize)]
pub struct Handover {
    pub next: Role,
    pub logins: Logins,
}

/// The two logins that take turns, and the file of variables that says whose turn it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Logins {
    pub database: String,
    pub owner: String,
    pub second: String,
    pub env: PathBuf,
}

/// What both roles were: the undo makes the last one valid again.
type Were = [(String, Option<postgres::Role>); 2];

impl Logins {
    /// Ends the login that the variables do not name: after a change the old one, after an undo
    /// the new one.
    pub(super) fn settle(&self, host: &Host) -> Result<()> {
        let text = host.read_text(&self.env)?.unwrap_or_default();
        let file = EnvFile::parse(&text)?;
        let user = file.get("DATABASE_URL").and_then(user_of).unwrap_or_default();
        self.own_what_was_made(host)?;
        if user == self.owner {
            role::end_logins(host, &self.second)?;
            return role::drop_role(host, &self.second);
        }
        if user == self.second {
            return role::end_logins(host, &self.owner);
        }
        Err(Error::failed("could not tell which login of the database is to end")
            .caused_by(format!("`{}` names neither", self.env.display())))
    }

    /// A client that resets its session works in the name of its login, and what it makes then is
    /// that login's.
    fn own_what_was_made(&self, host: &Host) -> Result<()> {
        if host.role(&self.second)?.is_none() {
            return Ok(());
        }
        let (second, owner) = (identifier(&self.second), identifier(&self.owner));
        let sql = format!("REASSIGN OWNED BY {second} TO {owner}");
        host.sql_in(&self.database, &format!("give {} what {} made", self.owner, self.second), &sql)
    }

    /// What the second login makes in its own name can be used in the owner's, until it is the
    /// owner's.
    fn share_what_is_made(&self, host: &Host) -> Result<()> {
        share(host, &self.database, &self.second, &self.owner)
    }
}

/// What a second login makes in its own name in a database can be used by the owner.
pub(super) fn share(host: &Host, database: &str, second: &str, owner: &str) -> Result<()> {
    if host.role(second)?.is_none() {
        return Ok(());
    }
    let what = format!("let {owner} use what {second} makes");
    let (second, owner) = (identifier(second), identifier(owner));
    let sql: String = ["TABLES", "SEQUENCES", "FUNCTIONS", "TYPES", "SCHEMAS"]
        .iter()
        .map(|kind| {
            format!("ALTER DEFAULT PRIVILEGES FOR ROLE {second} GRANT ALL ON {kind} TO {owner};")
        })
        .collect();
    host.sql_in(database, &what, &sql)
}

/// `postgresql://user:password@host/database`
fn user_of(url: &str) -> Option<&str> {
    Some(url.split_once("://")?.1.split_once('@')?.0.split_once(':')?.0)
}

impl Step for Handover {
    fn title(&self) -> String {
        format!("login {} in PostgreSQL", self.next.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let logins = &self.logins;
        let were: Were = [
            (logins.owner.clone(), host.role(&logins.owner)?),
            (logins.second.clone(), host.role(&logins.second)?),
        ];
        let kept = serde_json::to_vec(&were)
            .map_err(|e| Error::failed("could not keep a role").caused_by(e))?;
        Ok(Check::Missing {
            before: Before::Kept(Kept::new(kept)),
            differs: "to get a new password".into(),
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.logins.own_what_was_made(host)?;
        self.next.apply(host)?;
        self.logins.share_what_is_made(host)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        let Before::Kept(kept) = before else { return Err(before.foreign()) };
        let were: Were = serde_json::from_slice(&kept.bytes(host)?)
            .map_err(|e| Error::failed("could not read a kept role").caused_by(e))?;
        // The next one goes on until nothing runs with it.
        for (name, was) in were.iter().filter(|(name, _)| *name != self.next.name) {
            if let Some(was) = was {
                role::put_back(host, name, was)?;
            }
        }
        Ok(())
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.next.remove(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_turn_it_is() {
        assert_eq!(
            user_of("postgresql://shop_user_2:x@localhost:5432/shop_db"),
            Some("shop_user_2")
        );
        assert_eq!(user_of("postgresql:///shop_db"), None);
    }
}
