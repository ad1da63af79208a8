//! A database in MariaDB whose contents are those of a dump. What it held until then is kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step, mysql::remove_beside, mysql_aside, mysql_next};
use crate::{
    envfile::EnvFile,
    error::{Error, Result},
    secret::Secret,
    sys::{
        Host, Owner,
        mysql::{self, Entry},
    },
};

/// The tables of the dump are made in a database beside it, and change places with the present
/// ones in one statement. Whatever else a database has can't move: it is made anew, while nobody
/// is in.
#[derive(Debug, Deserialize, Serialize)]
pub struct MysqlRestored {
    pub database: String,
    pub account: String,
    pub comment: String,
    pub dump: PathBuf,
    /// Where a dump of what was there until then goes.
    pub kept: PathBuf,
    /// Where it lies meanwhile what that ran by itself.
    pub programs: PathBuf,
    /// What says the account's password.
    pub env: PathBuf,
    pub user: Owner,
}

impl MysqlRestored {
    fn entry(&self, password: &Secret) -> Entry {
        Entry { account: self.account.clone(), password: password.clone(), user: self.user }
    }

    fn password(&self, host: &Host) -> Result<Secret> {
        let text = host.read_text(&self.env)?.unwrap_or_default();
        let password = EnvFile::parse(&text)?.get("MYSQL_PASSWORD").map(Secret::new);
        password.ok_or_else(|| {
            Error::failed("could not fill the database")
                .caused_by(format!("`{}` has no MYSQL_PASSWORD", self.env.display()))
        })
    }

    /// Lets nobody in but who has the password that comes back.
    fn shut(&self, host: &Host) -> Result<Entry> {
        let password = Secret::generate()?;
        host.set_mysql_passwords(&self.account, &[mysql::hash(&password)])?;
        host.end_mysql_sessions(&self.account)?;
        Ok(self.entry(&password))
    }

    fn open(&self, host: &Host) -> Result<()> {
        let hash = mysql::hash(&self.password(host)?);
        host.set_mysql_passwords(&self.account, &[hash])
    }

    /// The dump, read into a database of its own: what that runs by itself.
    fn read_in(&self, host: &Host) -> Result<Vec<u8>> {
        let next = mysql_next(&self.database);
        // Without it nobody could get in afterwards.
        self.password(host)?;
        host.drop_mysql_database(&next)?;
        host.make_mysql_database(&next, &self.comment)?;
        let filler = host.make_mysql_filler(&next, self.user)?;
        host.fill_mysql(&next, &filler, &self.dump)?;
        let programs = host.mysql_programs(&next, &filler)?;
        host.end_mysql_filler(&next)?;
        Ok(programs)
    }

    /// What was put aside, in its place again.
    fn take_back(&self, host: &Host) -> Result<()> {
        let (live, next) = (&self.database, mysql_next(&self.database));
        let aside = mysql_aside(live);
        let were = host.read(&self.programs)?;
        let is_swapped = host.is_mysql_swapped(&aside)?;
        let entry = self.shut(host)?;
        if is_swapped || were.is_some() {
            host.drop_mysql_programs(live)?;
        }
        if is_swapped {
            host.swap_mysql_back(live, &next, &aside)?;
        }
        let made = match were {
            Some(were) => host.run_mysql(live, &entry, &were),
            None => Err(Error::failed("what the database ran by itself is gone")
                .caused_by(format!("there is no `{}`", self.programs.display()))),
        };
        if made.is_err() {
            // Its tables are its own again: whoever works with them goes on.
            self.open(host)?;
            return made;
        }
        host.drop_mysql_database(&aside)
    }
}

impl Step for MysqlRestored {
    fn title(&self) -> String {
        format!("MariaDB database {} as in {}", self.database, self.dump.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let aside = mysql_aside(&self.database);
        if host.mysql_database(&aside)? {
            let what = format!("there is a database `{aside}` already");
            return Err(Error::conflict("in_the_way", what)
                .caused_by("it is what an earlier restoration replaced")
                .hint("`hostkit recover` takes it away, once it is kept"));
        }
        if host.mysql_runs_events(&self.database)? {
            let what = format!("MariaDB runs events of `{}` by itself", self.database);
            return Err(Error::conflict("events_run", what)
                .caused_by("what they write while it is replaced would be lost")
                .hint("stop them meanwhile: `mariadb -e 'SET GLOBAL event_scheduler = OFF'`"));
        }
        Ok(Check::Missing { before: Before::Absent, differs: "to be restored".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let (live, next) = (&self.database, mysql_next(&self.database));
        let aside = mysql_aside(live);
        let programs = self.read_in(host)?;
        let entry = self.shut(host)?;
        // Now nothing changes any more: its last row is in what is kept.
        host.make_mysql_database(live, &self.comment)?;
        host.dump_mysql(live, &entry, &self.kept)?;
        let were = host.mysql_programs(live, &entry)?;
        host.write(&self.programs, &were, Owner::ROOT, 0o600)?;
        host.make_mysql_database(&aside, &self.comment)?;
        host.drop_mysql_programs(&next)?;
        host.drop_mysql_programs(live)?;
        host.swap_mysql(live, &next, &aside)?;
        host.run_mysql(live, &entry, &programs)?;
        self.open(host)
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        let (live, next) = (&self.database, mysql_next(&self.database));
        host.end_mysql_filler(&next)?;
        if host.mysql_account(&self.account)?.is_none() {
            return Ok(());
        }
        if host.mysql_database(&mysql_aside(live))? {
            self.take_back(host)?;
        }
        self.open(host)?;
        host.remove_file(&self.programs)?;
        host.unlend_mysql(&self.account, &next)?;
        host.drop_mysql_database(&next)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        remove_beside(host, &self.database)
    }
}
