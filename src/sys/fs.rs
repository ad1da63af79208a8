//! Files and directories, by handles that no link can lead astray.
//!
//! A link on the way to a file is followed only where root alone could have made it. A file
//! appears with its owner, its mode and all of its contents at once, or not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Cmd, Host};
use crate::error::{Context, Error, Result};

/// No file that hostkit reads is longer.
const LONGEST: u64 = 16 << 20;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    pub fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum FileKind {
    Directory,
    File,
    Link,
    Other,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Meta {
    pub kind: FileKind,
    pub owner: Owner,
    pub mode: u32,
}

/// A directory that is open, and a name in it.
struct Place {
    dir: OwnedFd,
    name: OsString,
}

impl Place {
    /// Where a file is written before it takes its name. No program reads names like this.
    fn fresh(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".hostkit-new");
        name
    }
}

impl Host {
    /// What stands there, itself and not where it points; `None` if nothing does.
    pub fn meta(&self, path: &Path) -> Result<Option<Meta>> {
        let Some(place) = self.place(path)? else { return Ok(None) };
        match rustix::fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e).context(|| format!("could not look at `{}`", path.display())),
        }
    }

    /// A regular file's contents; `None` if there is nothing.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let failed = || format!("could not read `{}`", path.display());
        let Some(place) = self.place(path)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&place.dir, &place.name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(Error::failed(failed()).caused_by("it is a symbolic link"));
            }
            Err(e) => return Err(e).context(failed),
        };
        let stat = rustix::fs::fstat(&fd).context(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::failed(failed()).caused_by("it is no regular file"));
        }
        let mut contents = Vec::new();
        File::from(fd).take(LONGEST + 1).read_to_end(&mut contents).context(failed)?;
        if contents.len() as u64 > LONGEST {
            return Err(Error::failed(failed()).caused_by("it has more than 16 MiB"));
        }
        Ok(Some(contents))
    }

    /// A regular file's text; `None` if there is nothing.
    pub fn read_text(&self, path: &Path) -> Result<Option<String>> {
        let Some(contents) = self.read(path)? else { return Ok(None) };
        String::from_utf8(contents).map(Some).map_err(|_| {
            Error::failed(format!("could not read `{}`", path.display()))
                .caused_by("it is not UTF-8")
        })
    }

    pub fn read_link(&self, path: &Path) -> Result<Option<PathBuf>> {
        let Some(place) = self.place(path)? else { return Ok(None) };
        match rustix::fs::readlinkat(&place.dir, &place.name, Vec::new()) {
            Ok(target) => Ok(Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())))),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(e) => Err(e).context(|| format!("could not read the link `{}`", path.display())),
        }
    }

    /// The names in a directory, sorted; none where there is no directory.
    pub fn list(&self, path: &Path) -> Result<Vec<OsString>> {
        let failed = || format!("could not list `{}`", path.display());
        let dir = match self.open_dir(path) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(e) => return Err(e).context(failed),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir).context(failed)? {
            let name = OsStr::from_bytes(entry.context(failed)?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Writes a file as a whole: whoever reads the path sees the old one or the new one.
    pub fn write(&self, path: &Path, contents: &[u8], owner: Owner, mode: u32) -> Result<()> {
        self.write_checked(path, contents, owner, mode, |_| Ok(()))
    }

    /// As [`write`](Self::write), and asks `approve` with the path of the new file first.
    pub fn write_checked(
        &self,
        path: &Path,
        contents: &[u8],
        owner: Owner,
        mode: u32,
        approve: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let failed = || format!("could not write `{}`", path.display());
        let place = self.existing_place(path)?;
        let fresh = place.fresh();
        let made = self
            .effect(&format!("write `{}`", path.display()), || {
                fill(&place.dir, &fresh, contents, owner, mode).context(failed)
            })
            .and_then(|()| approve(&path.with_file_name(&fresh)))
            .and_then(|()| {
                self.effect(&format!("put `{}` in place", path.display()), || {
                    rustix::fs::renameat(&place.dir, &fresh, &place.dir, &place.name)
                        .context(failed)?;
                    rustix::fs::fsync(&place.dir).context(failed)
                })
            });
        if made.is_err() {
            let _ = rustix::fs::unlinkat(&place.dir, &fresh, AtFlags::empty());
        }
        made
    }

    /// Points `at` to `to` in one rename, so that no reader ever finds it missing.
    pub fn replace_link(&self, at: &Path, to: &Path) -> Result<()> {
        let failed = || format!("could not link `{}`", at.display());
        let place = self.existing_place(at)?;
        let fresh = place.fresh();
        let made = self.effect(&format!("link `{}`", at.display()), || {
            let _ = rustix::fs::unlinkat(&place.dir, &fresh, AtFlags::empty());
            rustix::fs::symlinkat(to, &place.dir, &fresh).context(failed)?;
            rustix::fs::renameat(&place.dir, &fresh, &place.dir, &place.name).context(failed)?;
            rustix::fs::fsync(&place.dir).context(failed)
        });
        if made.is_err() {
            let _ = rustix::fs::unlinkat(&place.dir, &fresh, AtFlags::empty());
        }
        made
    }

    /// Makes a directory, or gives the one that is there its owner and mode.
    pub fn make_dir(&self, path: &Path, owner: Owner, mode: u32) -> Result<()> {
        let failed = || format!("could not make `{}`", path.display());
        let place = self.existing_place(path)?;
        self.effect(&format!("make `{}`", path.display()), || {
            match rustix::fs::mkdirat(&place.dir, &place.name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e).context(failed),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = rustix::fs::openat(&place.dir, &place.name, flags, Mode::empty())
                .context(failed)?;
            own(&dir, owner, mode).context(failed)?;
            rustix::fs::fsync(&place.dir).context(failed)
        })
    }

    /// Gives what stands there another owner and mode, without following it anywhere.
    pub fn set_meta(&self, path: &Path, owner: Owner, mode: u32) -> Result<()> {
        let failed = || format!("could not change owner and mode of `{}`", path.display());
        let place = self.existing_place(path)?;
        self.effect(&format!("own `{}`", path.display()), || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&place.dir, &place.name, flags, Mode::empty())
                .context(failed)?;
            own(&fd, owner, mode).context(failed)
        })
    }

    /// Gives a file or a directory another name in the same directory.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let failed = || format!("could not rename `{}`", from.display());
        let (old, new) = (self.existing_place(from)?, self.existing_place(to)?);
        self.effect(&format!("rename `{}`", from.display()), || {
            rustix::fs::renameat(&old.dir, &old.name, &new.dir, &new.name).context(failed)?;
            rustix::fs::fsync(&new.dir).context(failed)
        })
    }

    /// Two directories change places, in one step.
    pub fn exchange(&self, one: &Path, other: &Path) -> Result<()> {
        let failed = || format!("could not put `{}` in place", other.display());
        let (a, b) = (self.existing_place(one)?, self.existing_place(other)?);
        self.effect(&format!("exchange `{}`", one.display()), || {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(&a.dir, &a.name, &b.dir, &b.name, flags).context(failed)
        })
    }

    /// Gives a directory another name, also where its file system can't do that in one step.
    pub fn move_tree(&self, from: &Path, to: &Path) -> Result<()> {
        let mv = Cmd::new("/usr/bin/mv").args(["-T", "--"]).arg(from).arg(to);
        self.run(&mv, &format!("move `{}`", from.display()))?.success().map(|_| ())
    }

    /// Takes a file or a link away, and what an interrupted write left beside it.
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        let failed = || format!("could not remove `{}`", path.display());
        let Some(place) = self.place(path)? else { return Ok(()) };
        self.effect(&format!("remove `{}`", path.display()), || {
            for name in [&place.fresh(), &place.name] {
                match rustix::fs::unlinkat(&place.dir, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e).context(failed),
                }
            }
            rustix::fs::fsync(&place.dir).context(failed)
        })
    }

    /// Takes away what an interrupted write left beside a file.
    pub fn sweep(&self, path: &Path) -> Result<()> {
        let Some(place) = self.place(path)? else { return Ok(()) };
        match rustix::fs::unlinkat(&place.dir, place.fresh(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e).context(|| format!("could not tidy up beside `{}`", path.display())),
        }
    }

    /// Takes a directory away if it is empty; says whether it is gone.
    pub fn remove_empty_dir(&self, path: &Path) -> Result<bool> {
        let Some(place) = self.place(path)? else { return Ok(true) };
        self.effect(&format!("remove `{}`", path.display()), || {
            match rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(true),
                Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
                Err(e) => Err(e).context(|| format!("could not remove `{}`", path.display())),
            }
        })
    }

    /// Takes a directory away with all that is in it, links unfollowed, other file systems left.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        if self.meta(path)?.is_none() {
            return Ok(());
        }
        let whole = self.prefix.join(path.strip_prefix("/").unwrap_or(path));
        // rm and not our own walk: it holds no handle a level, so no depth can exhaust it.
        let rm = Cmd::new("/usr/bin/rm").args(["-rf", "--one-file-system", "--"]).arg(&whole);
        self.run(&rm, &format!("remove `{}`", path.display()))?.success()?;
        Ok(())
    }

    /// Bytes that are free, for root, on the file system of a directory; `None` if it has no limit.
    pub fn free_space(&self, dir: &Path) -> Result<Option<(u64, u64)>> {
        let failed = || format!("could not ask how much is free in `{}`", dir.display());
        let mut dir = dir.to_owned();
        let fd = loop {
            match self.open_dir(&dir) {
                Ok(fd) => break fd,
                Err(Errno::NOENT) if dir.pop() => {}
                Err(e) => return Err(e).context(failed),
            }
        };
        let stat = rustix::fs::fstatvfs(&fd).context(failed)?;
        Ok((stat.f_blocks > 0).then_some((stat.f_bavail * stat.f_frsize, stat.f_favail)))
    }

    /// The file system that a directory lies on, and how full it is, in percent, for who is not root.
    pub fn disk_use(&self, dir: &Path) -> Result<Option<(u64, u64)>> {
        let failed = || format!("could not ask how full `{}` is", dir.display());
        let Ok(fd) = self.open_dir(dir) else { return Ok(None) };
        let (stat, disk) = (rustix::fs::fstat(&fd).context(failed)?, rustix::fs::fstatvfs(&fd));
        let disk = disk.context(failed)?;
        let used = disk.f_blocks.saturating_sub(disk.f_bfree);
        let all = used.saturating_add(disk.f_bavail);
        Ok((all > 0).then(|| (stat.st_dev, used.saturating_mul(100).div_ceil(all))))
    }

    fn existing_place(&self, path: &Path) -> Result<Place> {
        self.place(path)?.ok_or_else(|| {
            let dir = path.parent().unwrap_or(path);
            Error::failed(format!("could not change `{}`", path.display()))
                .caused_by(format!("there is no directory `{}`", dir.display()))
        })
    }

    /// The directory of a path and its last name; `None` if there is no such directory.
    fn place(&self, path: &Path) -> Result<Option<Place>> {
        let failed = || format!("could not reach `{}`", path.display());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::failed(failed()).caused_by("it has no name"));
        };
        match self.open_dir(parent) {
            Ok(dir) => Ok(Some(Place { dir, name: name.to_owned() })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP) => Err(Error::failed(failed()).caused_by(
                "a symbolic link on the way could have been made by somebody else than root",
            )),
            Err(e) => Err(e).context(failed),
        }
    }

    pub(super) fn open_dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let below = path.strip_prefix("/").unwrap_or(path);
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, below, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::LOOP) => return self.walk(below),
                other => return other,
            }
        }
    }

    /// The slow way: step by step, following only links that root alone could have made.
    fn walk(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut rest: Vec<OsString> = normal(path).rev().collect();
        let mut here = rustix::io::fcntl_dupfd_cloexec(&self.root, 0)?;
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                return Err(Errno::XDEV);
            }
            match rustix::fs::openat(&here, &name, flags, Mode::empty()) {
                Ok(next) => here = next,
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    let target = rustix::fs::readlinkat(&here, &name, Vec::new())
                        .map_err(|e| if e == Errno::INVAL { Errno::NOTDIR } else { e })?;
                    let dir = rustix::fs::fstat(&here)?;
                    // What was a project's own and became final has the project's group still.
                    let link = rustix::fs::statat(&here, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                    let is_roots = (link.st_uid, link.st_gid, dir.st_uid) == (0, 0, 0);
                    links += 1;
                    if !is_roots || dir.st_mode & 0o022 != 0 || links > 8 {
                        return Err(Errno::LOOP);
                    }
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    if target.is_absolute() {
                        here = rustix::io::fcntl_dupfd_cloexec(&self.root, 0)?;
                    }
                    rest.extend(normal(target).rev().collect::<Vec<_>>());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(here)
    }
}

fn normal(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn meta(stat: &Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::RegularFile => FileKind::File,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    Meta { kind, owner: Owner::new(stat.st_uid, stat.st_gid), mode: stat.st_mode & 0o7777 }
}

/// A new file with all of its contents on the disk, under a name that nobody reads yet.
fn fill(dir: &OwnedFd, name: &OsStr, contents: &[u8], owner: Owner, mode: u32) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(contents)?;
    own(&file, owner, mode)?;
    file.sync_all()
}

fn own(fd: impl rustix::fd::AsFd, owner: Owner, mode: u32) -> io::Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    Ok(())
}

#[cfg(test)]
mod tests;
