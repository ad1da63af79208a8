//! The new release on the standby port: it answers while the main process restarts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Gate, Step, gate::refused};
use crate::{
    error::{Error, Result},
    sys::{Host, Owner, systemd::Verb},
};

/// A unit that lives as long as a switch; a reboot takes it with it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Standby {
    pub unit: String,
    pub text: String,
    /// Variables that win over those of `.env`, and the file that they stand in.
    pub environment: (PathBuf, String),
    pub port: u16,
    pub gate: Gate,
}

impl Standby {
    fn file(&self) -> PathBuf {
        file(&self.unit)
    }
}

fn file(unit: &str) -> PathBuf {
    format!("/run/systemd/system/{unit}").into()
}

/// Takes a standby down, and what it was made of.
pub(super) fn take_down(host: &Host, unit: &str, environment: &std::path::Path) -> Result<()> {
    if host.unit(unit)?.main_pid != 0 || host.unit(unit)?.active == "activating" {
        host.unit_job(Verb::Stop, unit)?;
    }
    host.reset_failed(unit)?;
    for path in [file(unit).as_path(), environment] {
        if host.meta(path)?.is_some() {
            host.remove_file(path)?;
        }
    }
    Ok(())
}

impl Step for Standby {
    fn title(&self) -> String {
        format!("standby {}", self.unit)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(Check::absent())
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let (path, variables) = &self.environment;
        take_down(host, &self.unit, path)?;
        if let Some(dir) = path.parent() {
            host.make_dir(dir, Owner::ROOT, 0o700)?;
        }
        host.write(path, variables.as_bytes(), Owner::ROOT, 0o644)?;
        host.write(&self.file(), self.text.as_bytes(), Owner::ROOT, 0o644)?;
        if host.unit(&self.unit)?.needs_reload {
            host.daemon_reload()?;
        }
        // What ends before its start is told has not come up either.
        let begun = host.unit_job(Verb::Start, &self.unit);
        let begun = begun.map_err(|e| refused(e.cause.unwrap_or(e.message)));
        begun.and_then(|()| self.gate.wait(host, &self.unit, self.port)).map_err(|error| {
            let told = Error::new(error.kind, error.code, "the new release does not come up");
            told.caused_by(error.cause.unwrap_or(error.message))
        })
    }

    /// Left to the switch, which knows when nobody needs it any more.
    fn undo(&self, _host: &Host, _before: &Before) -> Result<()> {
        Ok(())
    }

    fn remove(&self, host: &Host) -> Result<()> {
        take_down(host, &self.unit, &self.environment.0)
    }
}
