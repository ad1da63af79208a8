//! The directory that an archive is unpacked into, by handles that lead nowhere else.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{Limits, Unpacked, amount, failed, named, path, quoted, refused, unreadable};
use crate::error::{Context, Error, Result};

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
const NEW_FILE: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL);

pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    pub(super) limits: &'a Limits,
    pub(super) unpacked: Unpacked,
    /// Files, links and directories, each as often as it was made.
    made: u64,
    /// Where the last entry went: the next one mostly goes there too.
    last: Option<(PathBuf, OwnedFd)>,
    /// A link to the top of the archive, or to something beside what holds the link.
    to_top: Option<PathBuf>,
    buffer: Vec<u8>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, limits: &'a Limits) -> Result<Self> {
        if !list(root)
            .context(|| "could not look into the directory to unpack into".into())?
            .is_empty()
        {
            return Err(Error::conflict("in_the_way", "could not unpack the archive")
                .caused_by("the directory to unpack into is not empty"));
        }
        Ok(Self {
            root,
            limits,
            unpacked: Unpacked::default(),
            made: 0,
            last: None,
            to_top: None,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Where an entry goes; `None` if it stays out.
    pub(super) fn place(&mut self, raw: &[u8]) -> Result<Option<PathBuf>> {
        let path = path::entry(raw, self.limits)?;
        if let Some((junk, why)) = path::junk(&path) {
            self.unpacked.skip(&junk, why);
            return Ok(None);
        }
        Ok(Some(path))
    }

    /// Takes the size of a file to come off what may be unpacked.
    pub(super) fn charge(&mut self, path: &Path, size: u64) -> Result<()> {
        let bytes = self.unpacked.bytes.saturating_add(size);
        let cause = if size > self.limits.file_bytes {
            format!("it is larger than {}", amount(self.limits.file_bytes))
        } else if bytes > self.limits.bytes {
            format!("the archive's files come to more than {}", amount(self.limits.bytes))
        } else {
            self.unpacked.bytes = bytes;
            return Ok(());
        };
        Err(slim(refused(path.as_os_str().as_bytes(), cause)))
    }

    pub(super) fn directory(&mut self, path: &Path) -> Result<()> {
        self.enter(path, path).map(|_| ())
    }

    /// A new file, in place of one that the archive had there before.
    pub(super) fn file(&mut self, path: &Path, is_executable: bool) -> Result<File> {
        let fd = self.make(path, |dir, name| {
            open(dir, name, NEW_FILE | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR)
        })?;
        let mode = if is_executable { 0o755 } else { 0o644 };
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).context(|| unwritten(path))?;
        Ok(fd.into())
    }

    pub(super) fn link(&mut self, path: &Path, target: &[u8]) -> Result<()> {
        let target = path::target(target, path)?;
        if target.ups > 0 && target.ups + 1 == path.components().count() {
            self.to_top = Some(path.to_owned());
        }
        self.make(path, |dir, name| rustix::fs::symlinkat(&target.path, dir, name))
    }

    /// A copy of a file that the archive had before: two names for one file could be one too many.
    pub(super) fn copy(&mut self, path: &Path, original: &[u8]) -> Result<()> {
        let source = path::entry(original, self.limits)?;
        let refuse = |cause| {
            let of = quoted(&source);
            refused(path.as_os_str().as_bytes(), format!("it is a hard link to {of}, {cause}"))
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut from: File = match open(self.root, &source, flags, Mode::empty()) {
            Ok(fd) => fd.into(),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return Err(refuse("which the archive has not had so far"));
            }
            Err(Errno::LOOP) => return Err(refuse("which is a symbolic link or beyond one")),
            Err(e) => return Err(e).context(|| unwritten(path)),
        };
        let stat = rustix::fs::fstat(&from).context(|| unwritten(path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refuse("which is no file"));
        }
        self.charge(path, u64::try_from(stat.st_size).unwrap_or(u64::MAX))?;
        let mut to = self.file(path, stat.st_mode & 0o100 != 0)?;
        io::copy(&mut from, &mut to).context(|| unwritten(path))?;
        Ok(())
    }

    /// Writes so many bytes of what is read.
    pub(super) fn pour(
        &mut self,
        from: &mut dyn Read,
        mut to: &File,
        size: u64,
        path: &Path,
    ) -> Result<()> {
        let name = || path.as_os_str().as_bytes();
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let chunk = match from.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    return Err(refused(name(), "the archive ends in the middle of it")
                        .hint("send the archive again, as a whole"));
                }
                Ok(n) => &self.buffer[..n],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(named(unreadable(e), path)),
            };
            to.write_all(chunk).context(|| unwritten(path))?;
            left -= chunk.len() as u64;
        }
        Ok(())
    }

    /// A file without a name, gone when it is closed.
    pub(super) fn scratch(&self) -> Result<File> {
        let name = ".hostkit-archive";
        let make = || {
            let fd = open(self.root, name, NEW_FILE, Mode::RUSR | Mode::WUSR)?;
            rustix::fs::unlinkat(self.root, name, AtFlags::empty())?;
            Ok::<_, Errno>(fd.into())
        };
        make().context(|| "could not make a temporary file".into())
    }

    /// Takes one directory around everything off, and tells what was unpacked.
    pub(super) fn finish(mut self) -> Result<Unpacked> {
        self.last = None;
        if let Some((top, children)) =
            self.only_directory().context(|| "could not look at what was unpacked".into())?
        {
            let name = OsStr::from_bytes(top.to_bytes());
            if let Some(link) = &self.to_top {
                let cause = format!("it is a link that leads out of {}", quoted(Path::new(name)));
                return Err(refused(link.as_os_str().as_bytes(), cause));
            }
            self.lift(name, &children)
                .context(|| format!("could not take {} off", quoted(Path::new(name))))?;
        }
        Ok(self.unpacked)
    }

    /// The directory that holds everything, and what it holds, if it is so.
    fn only_directory(&self) -> Result<Option<(CString, Vec<CString>)>, Errno> {
        let mut names = list(self.root)?;
        let (Some(top), true) = (names.pop(), names.is_empty()) else { return Ok(None) };
        let stat = rustix::fs::statat(self.root, &top, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(None);
        }
        let children = list(open(self.root, &top, DIRECTORY, Mode::empty())?.as_fd())?;
        Ok((!children.is_empty()).then_some((top, children)))
    }

    /// Moves what a directory holds one level up; one of the names may be the directory's own.
    fn lift(&self, top: &OsStr, children: &[CString]) -> Result<(), Errno> {
        let mut aside = String::from(".hostkit-top");
        while children.iter().any(|child| child.to_bytes() == aside.as_bytes()) {
            aside.push('-');
        }
        rustix::fs::renameat(self.root, top, self.root, &aside)?;
        let dir = open(self.root, &aside, DIRECTORY, Mode::empty())?;
        for child in children {
            rustix::fs::renameat(&dir, child, self.root, child)?;
        }
        rustix::fs::unlinkat(self.root, &aside, AtFlags::REMOVEDIR)
    }

    /// Makes what has a name, and once more where something older had that name.
    fn make<T>(
        &mut self,
        path: &Path,
        make: impl Fn(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>,
    ) -> Result<T> {
        let refuse = |cause| refused(path.as_os_str().as_bytes(), cause);
        let Some(name) = path.file_name() else {
            return Err(refuse("it would stand in place of the directory itself"));
        };
        self.count(path)?;
        let dir = self.enter(path.parent().unwrap_or(Path::new("")), path)?;
        let made = match make(dir, name) {
            Err(Errno::EXIST) => match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) => make(dir, name),
                Err(Errno::ISDIR) => return Err(refuse("a directory stands in its place")),
                Err(e) => Err(e),
            },
            Ok(made) => {
                self.unpacked.files += 1;
                Ok(made)
            }
            failed => failed,
        };
        made.context(|| unwritten(path))
    }

    fn count(&mut self, path: &Path) -> Result<()> {
        if self.made >= self.limits.files {
            let cause =
                format!("the archive holds more than {} files and directories", self.limits.files);
            return Err(slim(refused(path.as_os_str().as_bytes(), cause)));
        }
        self.made += 1;
        Ok(())
    }

    /// A directory of the tree, made with all above it where it is missing.
    fn enter(&mut self, dir: &Path, path: &Path) -> Result<BorrowedFd<'_>> {
        if dir.as_os_str().is_empty() {
            return Ok(self.root);
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != dir) {
            let fd = match open(self.root, dir, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => self.make_directories(dir, path)?,
                other => other.map_err(|e| blocked(e, path))?,
            };
            self.last = Some((dir.to_owned(), fd));
        }
        Ok(self.last.as_ref().map_or(self.root, |(_, fd)| fd.as_fd()))
    }

    fn make_directories(&mut self, dir: &Path, path: &Path) -> Result<OwnedFd> {
        let mut here = rustix::io::fcntl_dupfd_cloexec(self.root, 0).context(|| unwritten(path))?;
        for name in dir {
            here = match open(&here, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.count(path)?;
                    let make = || {
                        rustix::fs::mkdirat(&here, name, Mode::RWXU)?;
                        let made = open(&here, name, DIRECTORY, Mode::empty())?;
                        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                        Ok::<_, Errno>(made)
                    };
                    make().context(|| unwritten(path))?
                }
                other => other.map_err(|e| blocked(e, path))?,
            };
        }
        Ok(here)
    }
}

/// Opens what lies below a directory and is reached without any link.
pub(super) fn open(
    dir: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A sandbox that reads the flags of each call (RestrictSUIDSGID=) can't read these.
            Err(Errno::NOSYS) => {
                return step_by_step(dir.as_fd(), &path.into_c_str()?, flags, mode);
            }
            other => return other,
        }
    }
}

/// The same by plain calls, one for each name of a path that has neither `..` nor a root.
fn step_by_step(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut names: Vec<&[u8]> = path.to_bytes().split(|b| *b == b'/').collect();
    names.retain(|name| !name.is_empty() && *name != b".");
    let Some(last) = names.pop() else { return Err(Errno::INVAL) };
    if names.iter().chain([&last]).any(|name| *name == b"..") || path.to_bytes().starts_with(b"/") {
        return Err(Errno::XDEV);
    }
    let mut here = rustix::io::fcntl_dupfd_cloexec(dir, 0)?;
    for name in names {
        here = rustix::fs::openat(&here, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    }
    rustix::fs::openat(&here, last, flags, mode)
}

pub(super) fn list(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Why a directory can't be entered: what the archive put there, or the system's reason.
fn blocked(error: Errno, path: &Path) -> Error {
    let cause = match error {
        Errno::LOOP => "a link stands where it needs a directory",
        Errno::NOTDIR => "a file stands where it needs a directory",
        _ => return failed(error, unwritten(path)),
    };
    refused(path.as_os_str().as_bytes(), cause)
}

fn unwritten(path: &Path) -> String {
    format!("could not write {}", quoted(path))
}

fn slim(error: Error) -> Error {
    error.hint("leave out what a release does not need, such as dependencies, caches and uploads")
}
