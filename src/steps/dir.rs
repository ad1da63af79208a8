//! A directory with its owner and its mode.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step, file::in_the_way, meta_differs};
use crate::{
    error::{Error, Result},
    sys::{FileKind, Host, Owner, system},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Dir {
    pub path: PathBuf,
    pub owner: Owner,
    pub mode: u32,
    pub contents: Contents,
}

/// Whose what is in it will be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Contents {
    /// It goes with the directory.
    GoesToo,
    /// It may be worth more than the directory: only an empty one is taken away.
    Stays,
}

impl Dir {
    fn take_away(&self, host: &Host) -> Result<()> {
        match self.contents {
            Contents::GoesToo => {
                if let Some(mount) = system::mounts_below(&self.path).first() {
                    return Err(Error::failed(format!(
                        "could not remove `{}`",
                        self.path.display()
                    ))
                    .caused_by(format!("another file system is mounted at `{mount}`"))
                    .hint(format!("`umount {mount}`, then run the command again")));
                }
                host.remove_tree(&self.path)
            }
            Contents::Stays => host.remove_empty_dir(&self.path).map(|_| ()),
        }
    }
}

impl Step for Dir {
    fn title(&self) -> String {
        format!("directory {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(meta) = host.meta(&self.path)? else { return Ok(Check::absent()) };
        if meta.kind != FileKind::Directory {
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
        host.make_dir(&self.path, self.owner, self.mode)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.take_away(host),
            Before::Dir { owner, mode } => host.make_dir(&self.path, *owner, *mode),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.take_away(host)
    }
}
