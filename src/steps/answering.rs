//! A service of hostkit's own that answers.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{Host, http, signals, storage::Place, systemd::Verb},
};

/// Its unit runs, and what it is asked is answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answering {
    pub unit: String,
    pub asked: Asked,
}

/// What shows that it is up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Asked {
    /// A page of its port, which comes with 200.
    Page {
        port: u16,
        path: String,
    },
    Storage(Place),
}

impl Asked {
    /// How long it may take to open what it stores.
    fn patience(&self) -> Duration {
        match self {
            Self::Page { .. } => Duration::from_mins(1),
            Self::Storage(_) => Duration::from_secs(30),
        }
    }

    fn ask(&self, host: &Host) -> Result<()> {
        match self {
            Self::Page { port, path } => {
                let answer = http::ask_service(*port, path, 4 << 10, Duration::from_secs(2))?;
                if answer.status == 200 {
                    return Ok(());
                }
                Err(Error::failed(format!("port {port} does not answer as it should"))
                    .caused_by(format!("`GET {path}` comes to {}", answer.status)))
            }
            Self::Storage(place) => place.open(host)?.answers(),
        }
    }
}

impl Answering {
    pub(super) fn wait(&self, host: &Host) -> Result<()> {
        let deadline = Instant::now() + self.asked.patience();
        loop {
            let Err(error) = self.asked.ask(host) else { return Ok(()) };
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
        if host.unit(&self.unit)?.is_active() && self.asked.ask(host).is_ok() {
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
