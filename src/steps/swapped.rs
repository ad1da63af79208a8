//! A directory in the place of another one, which takes its place in turn.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::Host,
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Swapped {
    pub at: PathBuf,
    pub with: PathBuf,
}

impl Swapped {
    fn missing(&self, path: &std::path::Path) -> Error {
        Error::failed(format!("could not put `{}` in place", self.with.display()))
            .caused_by(format!("there is no `{}`", path.display()))
    }
}

impl Step for Swapped {
    fn title(&self) -> String {
        format!("files {} as they were kept", self.at.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let is = host.identity(&self.at)?.ok_or_else(|| self.missing(&self.at))?;
        host.identity(&self.with)?.ok_or_else(|| self.missing(&self.with))?;
        Ok(Check::Missing {
            before: Before::Line(is.to_string()),
            differs: "to be restored".into(),
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.exchange(&self.at, &self.with)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        let Before::Line(was) = before else { return Err(before.foreign()) };
        match host.identity(&self.at)? {
            Some(is) if is.to_string() == *was => Ok(()),
            _ => host.exchange(&self.at, &self.with),
        }
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sys::Faults;

    fn write(path: std::path::PathBuf, text: &str) {
        std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes())
            .unwrap();
    }

    #[test]
    fn two_directories_change_places_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(dir.path(), Faults::none()).unwrap();
        for name in ["old", "new"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            write(dir.path().join(name).join("x"), name);
        }
        let step = Swapped { at: "/old".into(), with: "/new".into() };
        let Check::Missing { before, .. } = step.check(&host).unwrap() else { panic!() };
        let read = || host.read_text(Path::new("/old/x")).unwrap().unwrap();
        step.undo(&host, &before).unwrap();
        assert_eq!(read(), "old");
        step.apply(&host).unwrap();
        assert_eq!(read(), "new");
        step.undo(&host, &before).unwrap();
        step.undo(&host, &before).unwrap();
        assert_eq!(read(), "old");
        std::fs::remove_dir_all(dir.path().join("new")).unwrap();
        assert!(step.check(&host).is_err());
    }
}
