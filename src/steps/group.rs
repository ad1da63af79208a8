//! A system group, like the operators'.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::Result,
    sys::{Host, users},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Group {
    pub name: String,
}

impl Step for Group {
    fn title(&self) -> String {
        format!("group {}", self.name)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(if users::find_group(&self.name)?.is_some() { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        users::create_group(host, &self.name)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        users::remove_group(host, &self.name)
    }
}
