//! A project's database and account in MariaDB.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Step};
use crate::{
    error::{Error, Result},
    secret::Secret,
    sys::{
        Host,
        mysql::{self, Account},
    },
};

#[derive(Debug, Deserialize, Serialize)]
pub struct MysqlDatabase {
    pub name: String,
    pub comment: String,
}

/// Databases that stand beside one for a while.
pub fn mysql_aside(database: &str) -> String {
    format!("{database}_aside")
}

pub fn mysql_next(database: &str) -> String {
    format!("{database}_next")
}

pub fn mysql_drill(database: &str) -> String {
    format!("{database}_drill")
}

/// Takes away what stopped half-way may have left beside a database.
pub(super) fn remove_beside(host: &Host, database: &str) -> Result<()> {
    for name in [mysql_next(database), mysql_aside(database), mysql_drill(database)] {
        host.end_mysql_filler(&name)?;
        host.drop_mysql_database(&name)?;
    }
    Ok(())
}

impl Step for MysqlDatabase {
    fn title(&self) -> String {
        format!("MariaDB database {}", self.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        Ok(if host.mysql_database(&self.name)? { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.make_mysql_database(&self.name, &self.comment)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        remove_beside(host, &self.name)?;
        host.drop_mysql_database(&self.name)
    }
}

/// Who may use that database, and nothing else.
#[derive(Debug, Deserialize, Serialize)]
pub struct MysqlUser {
    pub name: String,
    pub database: String,
    pub connections: u32,
    #[serde(skip)]
    pub password: Option<Secret>,
}

impl MysqlUser {
    fn differs(&self, is: &Account) -> Vec<String> {
        let mut differs = Vec::new();
        let wanted = self.password.as_ref().map(mysql::hash);
        if wanted.is_some_and(|wanted| is.hashes != [wanted]) {
            differs.push("password".into());
        }
        if is.connections != u64::from(self.connections) {
            differs
                .push(format!("{} connections (should be {})", is.connections, self.connections));
        }
        if is.is_locked {
            differs.push("locked (should not be)".into());
        }
        let right = mysql::grant(&self.database, &self.name);
        if !is.grants.contains(&right) {
            differs.push(format!("may not use {}", self.database));
        }
        for more in is.grants.iter().filter(|has| **has != right) {
            differs.push(format!("{more} (should not be)"));
        }
        differs
    }
}

impl Step for MysqlUser {
    fn title(&self) -> String {
        format!("MariaDB account {}", self.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(is) = host.mysql_account(&self.name)? else { return Ok(Check::absent()) };
        let differs = self.differs(&is);
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing { before: kept(&is)?, differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let password = self.password.as_ref().ok_or_else(|| {
            Error::failed(format!("could not make the account `{}`", self.name))
                .caused_by("its password is not known")
        })?;
        let hashes = [mysql::hash(password)];
        host.set_mysql_account(&self.name, &self.database, self.connections, &hashes)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            Before::Kept(kept) => host.put_mysql_account_back(&self.name, &read(host, kept)?),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        host.drop_mysql_account(&self.name)
    }

    fn revoke(&self, host: &Host) -> Result<()> {
        match host.mysql_account(&self.name)? {
            Some(_) => host.lock_mysql_account(&self.name, GIVEN_UP),
            None => Ok(()),
        }
    }
}

fn kept(is: &Account) -> Result<Before> {
    let bytes = serde_json::to_vec(is)
        .map_err(|e| Error::failed("could not keep an account of MariaDB").caused_by(e))?;
    Ok(Before::Kept(Kept::new(bytes)))
}

fn read(host: &Host, kept: &Kept) -> Result<Account> {
    serde_json::from_slice(&kept.bytes(host)?)
        .map_err(|e| Error::failed("could not read a kept account of MariaDB").caused_by(e))
}

/// The password, that nobody has, of an account that is to go with its database: only root can say so.
const GIVEN_UP: &str = "*000000486F73746B69742C20676976656E207570";

/// A database that its project gave up: marked first, and gone once the project is one without it.
#[derive(Debug, Deserialize, Serialize)]
pub struct MysqlGivenUp {
    pub database: String,
    pub user: String,
}

impl MysqlGivenUp {
    /// Whether there is something that was marked, and waits to be taken away.
    pub fn is_marked(&self, host: &Host) -> Result<bool> {
        let is_marked = |is: Account| is.is_locked && is.hashes == [GIVEN_UP];
        Ok(host.mysql_account(&self.user)?.is_some_and(is_marked))
    }
}

impl Step for MysqlGivenUp {
    fn title(&self) -> String {
        format!("MariaDB database {} given up", self.database)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        match host.mysql_account(&self.user)? {
            Some(is) if !self.is_marked(host)? => {
                Ok(Check::Missing { before: kept(&is)?, differs: "is to be given up".into() })
            }
            _ => Ok(Check::InPlace),
        }
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.lock_mysql_account(&self.user, GIVEN_UP)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Kept(kept) => host.put_mysql_account_back(&self.user, &read(host, kept)?),
            other => Err(other.foreign()),
        }
    }

    /// Takes away what is marked, and nothing else: the account goes last.
    fn remove(&self, host: &Host) -> Result<()> {
        if !self.is_marked(host)? {
            return Ok(());
        }
        remove_beside(host, &self.database)?;
        host.drop_mysql_database(&self.database)?;
        host.drop_mysql_account(&self.user)
    }
}

/// Accounts without a name, and a database for everybody: a server may come with them.
#[derive(Debug, Deserialize, Serialize)]
pub struct MysqlNoStrangers {}

impl Step for MysqlNoStrangers {
    fn title(&self) -> String {
        "MariaDB for nobody without a name".into()
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let strangers = host.mysql_strangers()?;
        if strangers.is_empty() {
            return Ok(Check::InPlace);
        }
        let differs = "anybody may come in (should not)".into();
        let bytes = strangers.join(";\n");
        Ok(Check::Missing { before: Before::Kept(Kept::new(bytes)), differs })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.end_mysql_strangers()
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Kept(kept) => host.mysql("let everybody in again", &kept.text(host)?),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
