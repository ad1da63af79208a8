//! A database in Redis whose keys are those that were kept.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Context, Result},
    sys::Host,
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Filled {
    pub database: u32,
    /// The keys that were kept.
    pub from: PathBuf,
    /// Those that are there until then.
    pub before: PathBuf,
}

impl Filled {
    fn fill(&self, host: &Host, from: &Path) -> Result<()> {
        let mut file =
            File::open(from).context(|| format!("could not read `{}`", from.display()))?;
        host.fill_keys(self.database, &mut file).map(|_| ())
    }
}

impl Step for Filled {
    fn title(&self) -> String {
        format!("Redis database {} as it was kept", self.database)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(Check::Missing { before: Before::Absent, differs: "to be restored".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.fill(host, &self.from)
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        self.fill(host, &self.before)
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
