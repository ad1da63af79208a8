//! A file with its owner, its mode and its contents.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Step, meta_differs};
use crate::{
    envfile::EnvFile,
    error::{Error, Result},
    secret::Secret,
    sys::{FileKind, Host, Owner, sudo},
};

/// Contents never enter the journal: an undo needs only what stood there before.
#[derive(Debug, Deserialize, Serialize)]
pub struct File {
    pub path: PathBuf,
    pub owner: Owner,
    pub mode: u32,
    #[serde(skip)]
    pub text: Text,
    pub judge: Judge,
}

#[derive(Clone, Default)]
pub enum Text {
    /// Exactly this.
    Exactly(String),
    /// This where there is no file yet; what the owner makes of it is the owner's.
    Initially(String),
    /// Exactly this, and nothing of it is ever shown.
    Opaque(Secret),
    /// Exactly this, and no value of it is ever shown.
    Secret(String),
    #[default]
    Unknown,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Who must approve of the file before it takes its place.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Judge {
    Nginx,
    Nobody,
    Sudo,
}

impl File {
    fn wanted(&self) -> Result<&str> {
        match &self.text {
            Text::Exactly(text) | Text::Initially(text) | Text::Secret(text) => Ok(text),
            Text::Opaque(secret) => Ok(secret.expose()),
            Text::Unknown => {
                Err(Error::failed(format!("the journal does not hold `{}`", self.path.display())))
            }
        }
    }

    /// What it is to hold, without a value of any secret.
    pub fn masked(&self) -> Result<String> {
        Ok(self.shown(self.wanted()?))
    }

    fn shown(&self, text: &str) -> String {
        match self.text {
            Text::Opaque(_) if text.is_empty() => String::new(),
            Text::Opaque(_) => "(secret)\n".to_owned(),
            Text::Secret(_) => {
                EnvFile::parse(text).map_or_else(|_| "(secret)\n".to_owned(), |file| file.masked())
            }
            _ => text.to_owned(),
        }
    }
}

impl Step for File {
    fn title(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(meta) = host.meta(&self.path)? else { return Ok(Check::absent()) };
        if meta.kind != FileKind::File {
            return Err(in_the_way(&self.path));
        }
        let bytes = host.read(&self.path)?.unwrap_or_default();
        let same = matches!(self.text, Text::Initially(_)) || bytes == self.wanted()?.as_bytes();
        let mut differs: Vec<String> =
            meta_differs(meta, self.owner, self.mode).into_iter().collect();
        if !same {
            differs.push("contents".into());
        }
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing {
            before: Before::File { meta, kept: Kept::new(bytes) },
            differs: differs.join(", "),
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        if matches!(self.text, Text::Initially(_)) && host.meta(&self.path)?.is_some() {
            return host.set_meta(&self.path, self.owner, self.mode);
        }
        let text = self.wanted()?.as_bytes();
        host.write_checked(&self.path, text, self.owner, self.mode, |fresh| match self.judge {
            Judge::Nginx => host.nginx_approves(fresh),
            Judge::Nobody => Ok(()),
            Judge::Sudo => sudo::check(host, fresh),
        })
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => host.remove_file(&self.path),
            Before::File { meta, kept } => {
                host.write(&self.path, &kept.bytes(host)?, meta.owner, meta.mode)
            }
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        host.remove_file(&self.path)
    }

    /// What lets somebody in is gone before anything else is.
    fn revoke(&self, host: &Host) -> Result<()> {
        let lets_in = self.judge == Judge::Sudo || self.path.ends_with("authorized_keys");
        if lets_in { host.remove_file(&self.path) } else { Ok(()) }
    }

    fn diff(&self, host: &Host) -> Result<Option<(String, String)>> {
        let is = host.read(&self.path)?.unwrap_or_default();
        let is = String::from_utf8_lossy(&is);
        if matches!(self.text, Text::Initially(_)) && !is.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.shown(&is), self.shown(self.wanted()?))))
    }
}

pub(super) fn in_the_way(path: &Path) -> Error {
    Error::conflict("in_the_way", format!("something else stands at `{}`", path.display()))
        .caused_by("it is not of the kind that hostkit would make there")
        .hint(format!("look at it (`ls -ld {}`) and move it away", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Faults;

    fn file(text: Text) -> File {
        let me = Owner::new(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        File { path: "/x".into(), owner: me, mode: 0o600, text, judge: Judge::Nobody }
    }

    #[test]
    fn an_undo_brings_back_bytes_and_mode() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        let old = file(Text::Exactly("old".into()));
        host.write(&old.path, b"old", old.owner, 0o644).unwrap();
        let new = file(Text::Exactly("new".into()));
        let Check::Missing { before, differs } = new.check(&host).unwrap() else { panic!() };
        assert_eq!(differs, "mode 0644 (should be 0600), contents");
        new.apply(&host).unwrap();
        assert!(matches!(new.check(&host).unwrap(), Check::InPlace));
        new.undo(&host, &before).unwrap();
        assert_eq!(host.read(&old.path).unwrap().unwrap(), b"old");
        assert_eq!(host.meta(&old.path).unwrap().unwrap().mode, 0o644);
    }

    #[test]
    fn no_secret_is_shown_or_journaled() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        let step = file(Text::Secret("TOKEN=hunter2\n".into()));
        let (_, new) = step.diff(&host).unwrap().unwrap();
        assert_eq!(new, "TOKEN=***\n");
        // One that looks like a variable is none.
        let opaque = file(Text::Opaque(Secret::new("half=hunter2")));
        assert_eq!(opaque.diff(&host).unwrap().unwrap(), (String::new(), "(secret)\n".into()));
        let journaled = serde_json::to_string(&super::super::AnyStep::from(step)).unwrap();
        assert!(!journaled.contains("hunter2"), "{journaled}");
    }

    #[test]
    fn what_the_owner_made_of_an_initial_file_stays() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        let step = file(Text::Initially("default".into()));
        step.apply(&host).unwrap();
        host.write(&step.path, b"mine", step.owner, step.mode).unwrap();
        assert!(matches!(step.check(&host).unwrap(), Check::InPlace));
    }
}
