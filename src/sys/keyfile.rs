//! Files that are made once: what stands there already is never overwritten.

use std::{ffi::OsString, fs::File, io::Write, path::Path};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::Host;
use crate::error::{Context, Error, Result};

impl Host {
    /// Makes a file that root alone may read, with all of its contents on the disk under its name
    /// at once. Says whether it did; where one is there already, that stays.
    pub fn create_secret(&self, path: &Path, contents: &[u8]) -> Result<bool> {
        let failed = || format!("could not make `{}`", path.display());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::failed(failed()).caused_by("it has no name"));
        };
        let dir = self.open_dir(parent).context(failed)?;
        let mut fresh = OsString::from(".");
        fresh.push(name);
        // Two at once don't write into one another's.
        fresh.push(format!(".{}.hostkit-new", std::process::id()));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = self.effect(&format!("make `{}`", path.display()), || {
            let _ = rustix::fs::unlinkat(&dir, &fresh, AtFlags::empty());
            let fd =
                rustix::fs::openat(&dir, &fresh, flags, Mode::RUSR | Mode::WUSR).context(failed)?;
            let mut file = File::from(fd);
            file.write_all(contents).and_then(|()| file.sync_all()).context(failed)?;
            let put = rustix::fs::renameat_with(&dir, &fresh, &dir, name, RenameFlags::NOREPLACE);
            let is_ours = match put {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(e) => return Err(e).context(failed),
            };
            rustix::fs::fsync(&dir).context(failed)?;
            Ok(is_ours)
        });
        let _ = rustix::fs::unlinkat(&dir, &fresh, AtFlags::empty());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Faults;

    #[test]
    fn what_is_there_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        let path = Path::new("/key");
        assert!(host.create_secret(path, b"one").unwrap());
        assert!(!host.create_secret(path, b"two").unwrap());
        assert_eq!(host.read(path).unwrap().unwrap(), b"one");
        assert_eq!(host.meta(path).unwrap().unwrap().mode, 0o600);
        assert_eq!(host.list(Path::new("/")).unwrap(), ["key"]);
    }
}
