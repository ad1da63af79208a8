//! What stays out of a packed directory, told by files in it.

use std::{
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fd::OwnedFd,
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use super::{ignored::Ignored, quoted, tree::open};
use crate::error::{Context, Error, Result};

/// Where there is none at the top, `.gitignore` files count.
pub(super) const OWN_FILE: &str = ".hostkitignore";
const GIT_FILE: &str = ".gitignore";

/// Made anew on the server, or kept there. The own file takes one in by `!name`.
const LEFT_OUT: [&str; 5] = [".env", ".venv", "__pycache__", "node_modules", "venv"];

const LONGEST: u64 = 1 << 20;

/// The rules in one directory, and those above it, which give way to them.
pub(super) struct Rules<'a> {
    dir: PathBuf,
    here: Ignored,
    above: Option<&'a Self>,
    is_own: bool,
}

impl Rules<'_> {
    /// The rules at the top, which decide what rules count further down.
    pub(super) fn top(root: &OwnedFd) -> Result<Self> {
        let (here, is_own) = match read(root, Path::new(OWN_FILE), true)? {
            Some(own) => (own, true),
            None => (read(root, Path::new(GIT_FILE), false)?.unwrap_or_default(), false),
        };
        Ok(Self { dir: PathBuf::new(), here, above: None, is_own })
    }

    pub(super) fn below<'a>(&'a self, root: &OwnedFd, dir: &Path) -> Result<Rules<'a>> {
        let name = if self.is_own { OWN_FILE } else { GIT_FILE };
        let here = read(root, &dir.join(name), self.is_own)?.unwrap_or_default();
        Ok(Rules { dir: dir.to_owned(), here, above: Some(self), is_own: self.is_own })
    }

    pub(super) fn leave_out(&self, path: &Path, is_dir: bool) -> bool {
        let name = path.file_name().unwrap_or_default();
        let is_left_out = LEFT_OUT.iter().any(|left_out| name == *left_out);
        match self.told(path, is_dir) {
            Some(true) => true,
            told => name == ".git" || is_left_out && !(self.is_own && told == Some(false)),
        }
    }

    fn told(&self, path: &Path, is_dir: bool) -> Option<bool> {
        let below = path.strip_prefix(&self.dir).unwrap_or(path);
        let here = self.here.leaves_out(below.as_os_str().as_bytes(), is_dir);
        here.or_else(|| self.above?.told(path, is_dir))
    }
}

/// One file of rules. Where git would pass over a rule that is none, hostkit refuses its own.
fn read(root: &OwnedFd, path: &Path, is_own: bool) -> Result<Option<Ignored>> {
    let unread = || format!("could not read {}", quoted(path));
    let refused =
        |cause: &str| Error::usage("bad_ignore_file", unread()).caused_by(cause.to_owned());
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file: File = match open(root, path, flags, Mode::empty()) {
        Ok(fd) => fd.into(),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(refused("it is a symbolic link")),
        Err(e) => return Err(e).context(unread),
    };
    let stat = rustix::fs::fstat(&file).context(unread)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).context(unread)?;
    if bytes.len() as u64 > LONGEST {
        return Err(refused("it is longer than 1 MiB"));
    }
    let mut rules = Ignored::default();
    for line in bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).split(|b| *b == b'\n') {
        match rules.add(line.strip_suffix(b"\r").unwrap_or(line)) {
            Err(cause) if is_own => return Err(refused(cause)),
            _ => {}
        }
    }
    Ok(Some(rules))
}
