//! How many files a running service may hold open, without a restart of it.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{Host, system},
};

/// Of a unit's main process; what it starts from then on has the same.
#[derive(Debug, Deserialize, Serialize)]
pub struct OpenFiles {
    pub unit: String,
    pub least: u64,
}

impl OpenFiles {
    fn main_process(&self, host: &Host) -> Result<Option<u32>> {
        let unit = host.unit(&self.unit)?;
        Ok(Some(unit.main_pid).filter(|pid| *pid != 0 && unit.is_active()))
    }
}

impl Step for OpenFiles {
    fn title(&self) -> String {
        format!("open files of {}", self.unit)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(pid) = self.main_process(host)? else { return Ok(Check::InPlace) };
        let (soft, hard) = system::open_files(pid)?;
        // Some containers allow less than a server does; what they allow has to do there.
        if soft >= self.least.min(hard) {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing {
            before: Before::Line(format!("{soft} {hard}")),
            differs: format!("at most {soft} (should be {})", self.least),
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let Some(pid) = self.main_process(host)? else { return Ok(()) };
        let (soft, hard) = system::open_files(pid)?;
        host.limit_open_files(pid, soft.max(self.least.min(hard)), hard)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        let text = match before {
            Before::Absent => return Ok(()),
            Before::Line(text) => text,
            other => return Err(other.foreign()),
        };
        let limits =
            text.split_once(' ').and_then(|(s, h)| Some((s.parse().ok()?, h.parse().ok()?)));
        let (soft, hard) =
            limits.ok_or_else(|| Error::failed("the journal holds no limits of files"))?;
        match self.main_process(host)? {
            Some(pid) => host.limit_open_files(pid, soft, hard),
            None => Ok(()),
        }
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
