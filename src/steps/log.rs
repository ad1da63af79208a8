//! A log file: it must be there for who writes it, and goes with all that was rotated from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step, file::in_the_way, meta_differs};
use crate::{
    error::Result,
    sys::{FileKind, Host, Owner},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Log {
    pub path: PathBuf,
    pub owner: Owner,
    pub mode: u32,
}

impl Step for Log {
    fn title(&self) -> String {
        format!("log {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(meta) = host.meta(&self.path)? else { return Ok(Check::absent()) };
        if meta.kind != FileKind::File {
            return Err(in_the_way(&self.path));
        }
        Ok(match meta_differs(meta, self.owner, self.mode) {
            None => Check::InPlace,
            Some(differs) => Check::Missing {
                before: Before::Dir { owner: meta.owner, mode: meta.mode },
                differs,
            },
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        if host.meta(&self.path)?.is_some() {
            return host.set_meta(&self.path, self.owner, self.mode);
        }
        host.write(&self.path, b"", self.owner, self.mode)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            Before::Dir { owner, mode } => host.set_meta(&self.path, *owner, *mode),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        let rotated = format!("{}.", name.to_string_lossy());
        for sibling in host.list(dir)? {
            if sibling.to_string_lossy().starts_with(&rotated) {
                host.remove_file(&dir.join(sibling))?;
            }
        }
        host.remove_file(&self.path)
    }
}
