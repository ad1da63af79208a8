//! Units that should run, and units that must not when their project goes.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::Result,
    sys::{Host, systemd::Verb},
};

/// A unit of hostkit's own that is started with the server and now.
#[derive(Debug, Deserialize, Serialize)]
pub struct Running {
    pub unit: String,
}

impl Step for Running {
    fn title(&self) -> String {
        format!("unit {} running", self.unit)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        if host.unit(&self.unit)?.is_active() {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing { before: Before::Was(false), differs: "not running".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.unit_job(Verb::Start, &self.unit)
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        self.remove(host)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let unit = host.unit(&self.unit)?;
        if matches!(unit.active.as_str(), "inactive" | "failed") {
            return Ok(());
        }
        host.unit_job(Verb::Stop, &self.unit)
    }
}

/// A unit that is about to go, and does not run any more.
#[derive(Debug, Deserialize, Serialize)]
pub struct Stopped {
    pub unit: String,
}

impl Step for Stopped {
    fn title(&self) -> String {
        format!("unit {} stopped", self.unit)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let unit = host.unit(&self.unit)?;
        if matches!(unit.active.as_str(), "inactive" | "failed") {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing { before: Before::Was(true), differs: "running".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.unit_job(Verb::Stop, &self.unit)
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        // Its file may have been gone meanwhile.
        host.daemon_reload()?;
        host.unit_job(Verb::Start, &self.unit)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        if matches!(self.check(host)?, Check::InPlace) {
            return Ok(());
        }
        self.apply(host)
    }
}

/// A project's unit: whether it runs is the operator's choice, until the project goes.
#[derive(Debug, Deserialize, Serialize)]
pub struct Service {
    pub unit: String,
}

impl Step for Service {
    fn title(&self) -> String {
        format!("unit {}", self.unit)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(Check::InPlace)
    }

    fn apply(&self, _host: &Host) -> Result<()> {
        Ok(())
    }

    fn undo(&self, _host: &Host, _before: &Before) -> Result<()> {
        Ok(())
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let unit = host.unit(&self.unit)?;
        if unit.active != "inactive" && unit.active != "failed" {
            host.unit_job(Verb::Stop, &self.unit)?;
        }
        host.reset_failed(&self.unit)
    }
}
