//! A person's account, and the groups that it is in.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::Result,
    sys::{Host, users},
};

/// A user who logs in. One who is there already stays as he is.
#[derive(Debug, Deserialize, Serialize)]
pub struct Login {
    pub user: String,
    /// Numbers that a new one may get, both ends included: none of those that projects get.
    pub numbers: (u32, u32),
}

impl Step for Login {
    fn title(&self) -> String {
        format!("user {}", self.user)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(if users::find(&self.user)?.is_some() { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        users::create_login(host, &self.user, self.numbers)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => users::remove_login(host, &self.user),
            other => Err(other.foreign()),
        }
    }

    /// People stay when hostkit goes.
    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}

/// Whether a user is in a group.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Member {
    pub user: String,
    pub group: String,
    pub is_member: bool,
}

impl Step for Member {
    fn title(&self) -> String {
        let word = if self.is_member { "in" } else { "not in" };
        format!("{} {word} the group {}", self.user, self.group)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        let members = users::find_group(&self.group)?.map(|(_, members)| members);
        let is = members.unwrap_or_default().contains(&self.user);
        if is == self.is_member {
            return Ok(Check::InPlace);
        }
        let differs = if is { "is in it" } else { "is not in it" };
        Ok(Check::Missing { before: Before::Was(is), differs: differs.into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        users::set_member(host, &self.user, &self.group, self.is_member)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match (before, users::find(&self.user)?) {
            (Before::Was(_), None) => Ok(()),
            (Before::Was(was), Some(_)) => {
                let now = Self { is_member: *was, ..self.clone() };
                match now.check(host)? {
                    Check::InPlace => Ok(()),
                    Check::Missing { .. } => now.apply(host),
                }
            }
            (other, _) => Err(other.foreign()),
        }
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
