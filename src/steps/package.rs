//! A package of the distribution whose own service is not what is wanted of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::Result,
    sys::{Host, installed},
};

/// The program is there, and the unit that came with it neither runs nor starts with the server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Package {
    pub name: String,
    pub program: String,
    pub unit: String,
}

const NOWHERE: &str = "/dev/null";

impl Package {
    fn mask(&self) -> PathBuf {
        format!("/etc/systemd/system/{}", self.unit).into()
    }

    /// Leaves the unit to whoever starts it by hand.
    fn switch_off(&self, host: &Host) -> Result<()> {
        let wants = format!("/etc/systemd/system/multi-user.target.wants/{}", self.unit);
        if host.meta(Path::new(&wants))?.is_some() {
            host.remove_file(Path::new(&wants))?;
        }
        if host.read_link(&self.mask())?.is_some_and(|to| to == Path::new(NOWHERE)) {
            host.remove_file(&self.mask())?;
        }
        if host.is_unit_loaded(&self.unit)? { host.daemon_reload() } else { Ok(()) }
    }
}

impl Step for Package {
    fn title(&self) -> String {
        format!("package {}", self.name)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(if installed(&self.program) { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        // It would start as soon as it is unpacked, for all the world.
        if host.meta(&self.mask())?.is_none() {
            host.replace_link(&self.mask(), Path::new(NOWHERE))?;
        }
        host.install(&self.name)?;
        self.switch_off(host)
    }

    /// The package stays: others may need it by now.
    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        self.switch_off(host)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.switch_off(host)
    }
}
