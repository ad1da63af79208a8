//! A unit that is to start anew though nothing of it is different: its trigger does the work.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{error::Result, sys::Host};

#[derive(Debug, Deserialize, Serialize)]
pub struct Again {
    pub unit: String,
}

impl Step for Again {
    fn title(&self) -> String {
        format!("{} once more", self.unit)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(Check::absent())
    }

    fn apply(&self, _host: &Host) -> Result<()> {
        Ok(())
    }

    fn undo(&self, _host: &Host, _before: &Before) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
