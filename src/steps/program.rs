//! A program that was given to hostkit, under a name that says which one it is.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{Cmd, Host, Owner, users},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Program {
    pub path: PathBuf,
    /// How it begins to tell which version it is.
    pub says: String,
    #[serde(skip)]
    pub bytes: Option<Arc<Vec<u8>>>,
}

impl Program {
    /// Whether it runs here and is what it should be; asked as nobody, in case it is not.
    pub fn approve(&self, host: &Host, path: &Path) -> Result<()> {
        let wrong = |cause: String| {
            Error::usage("bad_program", format!("this is no {}", self.says.trim()))
                .caused_by(cause)
                .hint("give it the program that its makers offer for this system")
        };
        let nobody = users::find("nobody")?.map_or(Owner::new(65_534, 65_534), |user| user.owner);
        let ask = Cmd::new("/usr/bin/env")
            .arg(path)
            .arg("--version")
            .user(nobody)
            .limit(Duration::from_secs(10));
        let out = host.ask(&ask)?.success().map_err(|error| wrong(error.to_string()))?;
        let said = out.stdout_text();
        if said.starts_with(&self.says) {
            return Ok(());
        }
        let line = said.lines().next().unwrap_or_default();
        Err(wrong(format!("it says `{}`", line.escape_debug())))
    }
}

impl Step for Program {
    fn title(&self) -> String {
        format!("program {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        Ok(if host.meta(&self.path)?.is_some() { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let bytes = self.bytes.as_ref().ok_or_else(|| {
            Error::failed(format!("the journal does not hold `{}`", self.path.display()))
        })?;
        host.write_checked(&self.path, bytes, Owner::ROOT, 0o755, |path| self.approve(host, path))
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        host.remove_file(&self.path)
    }
}
