//! A symbolic link that never goes missing: replaced by rename.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step, file::in_the_way};
use crate::{
    error::Result,
    sys::{FileKind, Host},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Link {
    pub at: PathBuf,
    pub to: PathBuf,
}

impl Step for Link {
    fn title(&self) -> String {
        format!("link {}", self.at.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        match host.meta(&self.at)? {
            None => return Ok(Check::absent()),
            Some(meta) if meta.kind != FileKind::Link => return Err(in_the_way(&self.at)),
            Some(_) => {}
        }
        Ok(match host.read_link(&self.at)? {
            Some(to) if to == self.to => Check::InPlace,
            Some(to) => Check::Missing {
                differs: format!("points to {} (should be {})", to.display(), self.to.display()),
                before: Before::Link(to),
            },
            None => Check::absent(),
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.replace_link(&self.at, &self.to)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => host.remove_file(&self.at),
            Before::Link(to) => host.replace_link(&self.at, to),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        host.remove_file(&self.at)
    }
}
