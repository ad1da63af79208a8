//! A program that was given to hostkit, under a name that says which one it is; and a service of
//! hostkit's own that answers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{Cmd, Host, Owner, signals, storage::Place, systemd::Verb, users},
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

/// The unit of object storage, up and answering.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answering {
    pub unit: String,
    pub place: Place,
}

/// How long it may take to open what it stores.
const PATIENCE: Duration = Duration::from_secs(30);

impl Answering {
    pub(super) fn wait(&self, host: &Host) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = self.place.open(host)?.answers();
            let Err(error) = asked else { return Ok(()) };
            if Instant::now() > deadline || host.unit(&self.unit)?.is_failing() {
                return Err(error.hint(format!("see why: `journalctl -u {}`", self.unit)));
            }
            signals::check()?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Step for Answering {
    fn title(&self) -> String {
        format!("unit {} running", self.unit)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let is_up = host.unit(&self.unit)?.is_active()
            && self.place.open(host).and_then(|storage| storage.answers()).is_ok();
        if is_up {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing { before: Before::Was(false), differs: "does not answer".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.reset_failed(&self.unit)?;
        host.unit_job(Verb::Start, &self.unit)?;
        self.wait(host)
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        self.remove(host)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let unit = host.unit(&self.unit)?;
        if !matches!(unit.active.as_str(), "inactive" | "failed") {
            host.unit_job(Verb::Stop, &self.unit)?;
        }
        host.reset_failed(&self.unit)
    }
}
