//! A directory that one more user may pass through, and not look into.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::Result,
    sys::{Cmd, Host},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Reach {
    pub path: PathBuf,
    pub user: String,
}

impl Step for Reach {
    fn title(&self) -> String {
        format!("way through {} for {}", self.path.display(), self.user)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        if host.meta(&self.path)?.is_none() {
            return Ok(Check::absent());
        }
        let getfacl = Cmd::new("/usr/bin/getfacl").args(["-cpE", "--"]).arg(&self.path);
        let wanted = format!("user:{}:--x", self.user);
        let listed = host.ask(&getfacl)?.stdout_text();
        Ok(if listed.lines().any(|line| line == wanted) { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.allow(&self.path, &self.user, "x", false)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        if host.meta(&self.path)?.is_none() {
            return Ok(());
        }
        host.disallow(&self.path, &self.user)
    }
}
