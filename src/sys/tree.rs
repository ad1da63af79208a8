//! A tree that a project's own programs have made becomes root's, and what is in it final.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};

use super::{Cmd, Host, Owner};
use crate::error::{Context, Result};

/// Deeper than any tree that was unpacked or built in earnest.
const DEEPEST: usize = 128;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counted {
    pub files: u64,
    pub bytes: u64,
}

impl Host {
    /// Gives a tree to root and lets a group read it: no link is followed, no name outside of it
    /// shares a file with it any more, and all of it is on the disk.
    ///
    /// Nobody else may reach the tree meanwhile.
    pub fn freeze(&self, path: &Path, group: u32) -> Result<Counted> {
        let what = format!("make `{}` final", path.display());
        let failed = || format!("could not {what}");
        self.effect(&what, || {
            let dir = self.open_dir(path).context(failed)?;
            let owner = Owner::new(0, group);
            let mut counted = Counted::default();
            freeze(&dir, owner, 0, &mut counted).context(failed)?;
            own(&dir, owner, 0o750).context(failed)?;
            rustix::fs::syncfs(&dir).context(failed)?;
            Ok(counted)
        })
    }

    /// When anything in a tree was last changed: what its owner can't set back.
    pub fn last_changed(&self, path: &Path) -> Result<(i64, u64)> {
        let failed = || format!("could not look through `{}`", path.display());
        let dir = self.open_dir(path).context(failed)?;
        let top = rustix::fs::fstat(&dir).context(failed)?;
        let mut newest = (top.st_ctime, top.st_ctime_nsec);
        last_changed(&dir, 0, &mut newest).context(failed)?;
        Ok(newest)
    }

    /// Takes a tree over, the top first, so that whoever still holds a handle of one of its
    /// directories can put nothing into it any more. What lies too deep moves up to the top.
    pub fn seize(&self, path: &Path) -> Result<()> {
        let what = format!("take `{}` over", path.display());
        let failed = || format!("could not {what}");
        self.effect(&what, || {
            let dir = self.open_dir(path).context(failed)?;
            let mut seizure = Seizure { top: &dir, deep: Vec::new(), moved: 0 };
            seizure.take(&dir, 0).context(failed)?;
            while let Some(name) = seizure.deep.pop() {
                let below = descend(&dir, &name).context(failed)?;
                seizure.take(&below, 1).context(failed)?;
            }
            Ok(())
        })
    }

    /// Lets a user read a tree besides its owner, and only reach what is not told to be read.
    pub fn allow(&self, path: &Path, user: &str, rights: &str, deep: bool) -> Result<()> {
        let mut setfacl = Cmd::new("/usr/bin/setfacl");
        if deep {
            setfacl = setfacl.args(["-R", "-P"]);
        }
        let setfacl = setfacl.args(["-m", &format!("u:{user}:{rights}"), "--"]).arg(path);
        let what = format!("let `{user}` read `{}`", path.display());
        self.run(&setfacl, &what)?.success().map(|_| ())
    }

    pub fn disallow(&self, path: &Path, user: &str) -> Result<()> {
        let setfacl =
            Cmd::new("/usr/bin/setfacl").args(["-x", &format!("u:{user}"), "--"]).arg(path);
        let what = format!("keep `{user}` out of `{}`", path.display());
        self.run(&setfacl, &what)?.success().map(|_| ())
    }

    /// A link somewhere in a tree that leads out of it, in whatever way, besides those that are known.
    ///
    /// Nobody may change the tree meanwhile.
    pub fn link_out_of(&self, path: &Path, known: &[String]) -> Result<Option<String>> {
        let failed = || format!("could not look for links in `{}`", path.display());
        let dir = self.open_dir(path).context(failed)?;
        let mut out = None;
        links_out(&dir, &dir, Path::new(""), known, &mut out).context(failed)?;
        Ok(out)
    }

    /// Regular files below a directory, by their names relative to it, down to a depth.
    pub fn list_tree(&self, path: &Path, depth: usize) -> Result<Vec<String>> {
        let failed = || format!("could not list `{}`", path.display());
        let dir = self.open_dir(path).context(failed)?;
        let mut found = Vec::new();
        list(&dir, "", depth, &mut found).context(failed)?;
        Ok(found)
    }
}

fn entries(dir: &OwnedFd) -> Result<Vec<(CString, Stat)>, Errno> {
    let mut all = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        all.push((name, stat));
    }
    Ok(all)
}

fn last_changed(dir: &OwnedFd, depth: usize, newest: &mut (i64, u64)) -> Result<(), Errno> {
    if depth > DEEPEST {
        return Err(Errno::LOOP);
    }
    for (name, stat) in entries(dir)? {
        *newest = (*newest).max((stat.st_ctime, stat.st_ctime_nsec));
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            last_changed(&descend(dir, &name)?, depth + 1, newest)?;
        }
    }
    Ok(())
}

pub(super) fn descend(dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn freeze(dir: &OwnedFd, owner: Owner, depth: usize, counted: &mut Counted) -> std::io::Result<()> {
    if depth > DEEPEST {
        return Err(std::io::Error::other("its directories are nested too deep"));
    }
    // Before anything is looked at: whoever holds a handle of it can put nothing into it any more.
    own(dir, Owner::ROOT, 0o700)?;
    for (name, stat) in entries(dir)? {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below = descend(dir, &name)?;
                freeze(&below, owner, depth + 1, counted)?;
                own(&below, owner, 0o750)?;
            }
            FileType::RegularFile => {
                let mode = if stat.st_mode & 0o100 == 0 { 0o640 } else { 0o750 };
                // What was taken over from a release is final already, and keeps its names.
                let is_final = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
                if is_final != (owner.uid, owner.gid, mode) {
                    freeze_file(dir, &name, &stat, owner, mode)?;
                }
                counted.files += 1;
                counted.bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
            FileType::Symlink => chown(dir, &name, owner)?,
            // Nothing to deploy: a pipe or a socket that a build left.
            _ => rustix::fs::unlinkat(dir, &name, AtFlags::empty())?,
        }
    }
    Ok(())
}

/// A tree that is being taken over.
struct Seizure<'a> {
    top: &'a OwnedFd,
    /// What was too deep, by the names that it has at the top until its turn comes.
    deep: Vec<CString>,
    moved: u64,
}

impl Seizure<'_> {
    fn take(&mut self, dir: &OwnedFd, depth: usize) -> std::io::Result<()> {
        own(dir, Owner::ROOT, 0o700)?;
        for (name, stat) in entries(dir)? {
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            if depth < DEEPEST {
                self.take(&descend(dir, &name)?, depth + 1)?;
            } else {
                self.move_up(dir, &name)?;
            }
        }
        Ok(())
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &CString) -> std::io::Result<()> {
        loop {
            let free = CString::new(format!(".deep-{}", self.moved))?;
            self.moved += 1;
            match rustix::fs::renameat_with(dir, name, self.top, &free, RenameFlags::NOREPLACE) {
                // Of a time when somebody was stopped half-way.
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
                Ok(()) => {
                    self.deep.push(free);
                    return Ok(());
                }
            }
        }
    }
}

/// A file with another name somewhere is copied: that name would go on being its owner's.
fn freeze_file(
    dir: &OwnedFd,
    name: &CString,
    stat: &Stat,
    owner: Owner,
    mode: u32,
) -> std::io::Result<()> {
    if stat.st_nlink > 1 {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut old = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
        // What is not the project's own was linked to from outside, and is not ours to copy.
        if old.metadata().map(|m| std::os::unix::fs::MetadataExt::uid(&m))? != stat.st_uid
            || stat.st_uid != owner.gid
        {
            return Err(std::io::Error::other("it holds a hard link to a file of somebody else"));
        }
        rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut new = File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?);
        std::io::copy(&mut old, &mut new)?;
        return own(&new, owner, mode);
    }
    chown(dir, name, owner)?;
    rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    Ok(())
}

pub(super) fn chown(dir: &OwnedFd, name: &CStr, owner: Owner) -> std::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn own(fd: impl AsFd, owner: Owner, mode: u32) -> std::io::Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    Ok(())
}

/// The kernel itself says where a link leads: by names alone a chain of them can't be followed.
fn links_out(
    top: &OwnedFd,
    dir: &OwnedFd,
    prefix: &Path,
    known: &[String],
    out: &mut Option<String>,
) -> Result<(), Errno> {
    for (name, stat) in entries(dir)? {
        let path = prefix.join(OsStr::from_bytes(name.to_bytes()));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => links_out(top, &descend(dir, &name)?, &path, known, out)?,
            FileType::Symlink if known.iter().any(|own| path == Path::new(own)) => {}
            FileType::Symlink => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                let open = || rustix::fs::openat2(top, &path, flags, Mode::empty(), resolve);
                // The kernel asks to try again when something was renamed meanwhile, anywhere.
                let opened = std::iter::repeat_with(open)
                    .find(|opened| !matches!(opened, Err(Errno::AGAIN | Errno::INTR)));
                match opened.unwrap_or(Err(Errno::AGAIN)) {
                    Err(Errno::XDEV | Errno::LOOP) => {
                        *out = Some(path.display().to_string().escape_debug().to_string());
                    }
                    Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(e) => return Err(e),
                }
            }
            _ => {}
        }
        if out.is_some() {
            break;
        }
    }
    Ok(())
}

fn list(dir: &OwnedFd, prefix: &str, depth: usize, found: &mut Vec<String>) -> Result<(), Errno> {
    for (name, stat) in entries(dir)? {
        let Ok(name_text) = name.to_str() else { continue };
        let path =
            if prefix.is_empty() { name_text.to_owned() } else { format!("{prefix}/{name_text}") };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => found.push(path),
            FileType::Directory
                if depth > 1 && name_text != "node_modules" && name_text != ".git" =>
            {
                list(&descend(dir, &name)?, &path, depth - 1, found)?;
            }
            _ => {}
        }
        if found.len() > 50_000 {
            break;
        }
    }
    Ok(())
}
