//! A database in Redis whose keys are those that were kept.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Context, Result},
    sys::{Host, redis_keys::Keys},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Filled {
    pub keys: Keys,
    /// The keys that were kept.
    pub from: PathBuf,
    /// Those that are there until then.
    pub before: PathBuf,
}

impl Filled {
    fn fill(&self, host: &Host, from: &Path) -> Result<()> {
        let mut file =
            File::open(from).context(|| format!("could not read `{}`", from.display()))?;
        host.fill_keys(&self.keys, &mut file).map(|_| ())
    }
}

impl Step for Filled {
    fn title(&self) -> String {
        match &self.keys {
            Keys::Shared(number) => format!("Redis database {number} as it was kept"),
            Keys::Own { .. } => "its own Redis as it was kept".into(),
        }
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(Check::Missing { before: Before::Absent, differs: "to be restored".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.fill(host, &self.from)?;
        // All else of a restoration is on the disk when it counts as done.
        host.settle_keys(&self.keys)
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        self.fill(host, &self.before)
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
