//! A file or link of the owner's that has to make way, kept so that it can come back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Step, file::in_the_way};
use crate::{
    error::Result,
    sys::{FileKind, Host},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Gone {
    pub path: PathBuf,
}

impl Step for Gone {
    fn title(&self) -> String {
        format!("no {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(meta) = host.meta(&self.path)? else { return Ok(Check::InPlace) };
        let before = match meta.kind {
            FileKind::Link => Before::Link(host.read_link(&self.path)?.unwrap_or_default()),
            FileKind::File => {
                Before::File { meta, kept: Kept::new(host.read(&self.path)?.unwrap_or_default()) }
            }
            _ => return Err(in_the_way(&self.path)),
        };
        Ok(Check::Missing { before, differs: "in the way (will be kept aside)".into() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.remove_file(&self.path)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => Ok(()),
            // What the owner has put there since is newer than what we kept.
            _ if host.meta(&self.path)?.is_some() => Ok(()),
            Before::File { meta, kept } => {
                host.write(&self.path, &kept.bytes(host)?, meta.owner, meta.mode)
            }
            Before::Link(to) => host.replace_link(&self.path, to),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
