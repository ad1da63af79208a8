//! A project's Linux user and its group.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{
        Host,
        users::{self, User},
    },
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Account {
    pub user: User,
}

impl Step for Account {
    fn title(&self) -> String {
        format!("user {}", self.user.name)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        let User { name, owner, home, shell, comment } = &self.user;
        let taken = |what: String| {
            Error::conflict(
                "name_taken",
                format!("there is a {what} already, and hostkit did not make it"),
            )
            .hint("choose another name for the project")
        };
        let Some(is) = users::find(name)? else {
            return match users::find_group(name)? {
                Some((gid, _)) if gid != owner.gid => Err(taken(format!("group `{name}`"))),
                _ => Ok(Check::absent()),
            };
        };
        if is.owner != *owner {
            return Err(taken(format!("user `{name}`")));
        }
        let mut differs = Vec::new();
        for (what, is, wanted) in [
            ("home", &is.home, home),
            ("shell", &is.shell, shell),
            ("comment", &is.comment, comment),
        ] {
            if is != wanted {
                differs.push(format!("{what} {is} (should be {wanted})"));
            }
        }
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing { before: Before::Account(is), differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        if users::find(&self.user.name)?.is_some() {
            return users::modify(host, &self.user);
        }
        users::create(host, &self.user)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            Before::Account(user) => users::modify(host, user),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        // A user of that name with another number is somebody else's.
        match users::find(&self.user.name)? {
            Some(is) if is.owner.uid != self.user.owner.uid => Ok(()),
            _ => {
                users::kill_all(host, self.user.owner.uid)?;
                users::remove(host, &self.user.name)
            }
        }
    }

    fn revoke(&self, host: &Host) -> Result<()> {
        match users::find(&self.user.name)? {
            Some(is) if is.owner.uid == self.user.owner.uid => {
                users::shut_out(host, &self.user.name)
            }
            _ => Ok(()),
        }
    }
}
