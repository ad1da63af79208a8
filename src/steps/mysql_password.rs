//! Another password for a project's account in MariaDB, beside the one that it has.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    envfile::EnvFile,
    error::{Error, Result},
    secret::Secret,
    sys::{Host, mysql},
};

/// Both open the account until [`Trigger::MysqlPasswordEnds`](super::Trigger) ends the one that
/// `.env` does not name: after a change the old one, after an undo the new one.
#[derive(Debug, Deserialize, Serialize)]
pub struct MysqlPassword {
    pub account: String,
    pub env: PathBuf,
    #[serde(skip)]
    pub password: Option<Secret>,
}

/// Whose passwords they are, and what names the one that stays.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MysqlPasswords {
    pub account: String,
    pub env: PathBuf,
}

impl MysqlPasswords {
    pub(super) fn settle(&self, host: &Host) -> Result<()> {
        let text = host.read_text(&self.env)?.unwrap_or_default();
        let file = EnvFile::parse(&text)?;
        let password = file.get("MYSQL_PASSWORD").map(Secret::new).ok_or_else(|| {
            Error::failed("could not tell which password of the database is to end")
                .caused_by(format!("`{}` names none", self.env.display()))
        })?;
        host.set_mysql_passwords(&self.account, &[mysql::hash(&password)])
    }
}

impl MysqlPassword {
    pub fn both(&self) -> MysqlPasswords {
        MysqlPasswords { account: self.account.clone(), env: self.env.clone() }
    }
}

impl Step for MysqlPassword {
    fn title(&self) -> String {
        format!("MariaDB password of {}", self.account)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(Check::Missing { before: Before::Was(true), differs: "to get a new password".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let is = host.mysql_account(&self.account)?;
        let (Some(is), Some(password)) = (is, &self.password) else {
            return Err(Error::failed(format!(
                "could not change the password of `{}`",
                self.account
            ))
            .caused_by("there is no such account"));
        };
        let mut hashes = is.hashes;
        hashes.push(mysql::hash(password));
        host.set_mysql_passwords(&self.account, &hashes)
    }

    /// The new one goes on until nothing runs with it.
    fn undo(&self, _host: &Host, _before: &Before) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
