//! When somebody is told that something is wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Percent, Wait, refused};
use crate::error::Result;

/// What is no trouble yet. 0 is never.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Alerts {
    /// How long something is wrong before anybody is told.
    pub after: Wait,
    /// How often they are told again while it stays so.
    pub again: Wait,
    /// The share of a site's answers that may be errors of its own (5xx), of the last five minutes.
    pub errors: Percent,
    /// In what time 19 of 20 answers begin.
    pub slow: Wait,
    /// With fewer requests in five minutes nothing is said about either.
    pub least: u32,
    /// How full a file system may be.
    pub disk: Percent,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            after: Wait(Duration::from_mins(2)),
            again: Wait(Duration::from_hours(24)),
            errors: Percent(10),
            slow: Wait(Duration::from_secs(10)),
            least: 20,
            disk: Percent(90),
        }
    }
}

impl Alerts {
    pub(super) fn check(&self) -> Result<()> {
        if self.errors.0 > 100 || self.disk.0 > 100 {
            return Err(refused(None, "`alerts.errors` and `alerts.disk` want at most 100%"));
        }
        Ok(())
    }
}
