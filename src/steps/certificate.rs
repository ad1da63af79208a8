//! A project's key and certificate, in one file that root alone may read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, File, Judge, Kept, Step, Text};
use crate::{
    error::Result,
    secret::Secret,
    sys::{FileKind, Host, Owner},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Certificate {
    pub path: PathBuf,
    /// What the file should hold; nothing where what it held is lost, which no plan brings back.
    #[serde(skip)]
    pub pem: Option<Secret>,
}

impl Certificate {
    fn file(&self) -> File {
        let text = self.pem.clone().map_or(Text::Unknown, Text::Opaque);
        File {
            path: self.path.clone(),
            owner: Owner::ROOT,
            mode: 0o600,
            text,
            judge: Judge::Nobody,
        }
    }
}

impl Step for Certificate {
    fn title(&self) -> String {
        format!("certificate {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        if self.pem.is_some() {
            return self.file().check(host);
        }
        let differs = "gone, or of no use to the web server".into();
        let before = match host.meta(&self.path)? {
            Some(meta) if meta.kind == FileKind::File => {
                let bytes = host.read(&self.path)?.unwrap_or_default();
                Before::File { meta, kept: Kept::new(bytes) }
            }
            _ => Before::Absent,
        };
        Ok(Check::Missing { before, differs })
    }

    /// One that is of no use goes: whoever looks finds a certificate that is one, or none.
    fn apply(&self, host: &Host) -> Result<()> {
        match self.pem {
            Some(_) => self.file().apply(host),
            None => host.remove_file(&self.path),
        }
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        self.file().undo(host, before)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        host.remove_file(&self.path)
    }

    fn diff(&self, host: &Host) -> Result<Option<(String, String)>> {
        if self.pem.is_some() { self.file().diff(host) } else { Ok(None) }
    }
}
