//! Copies of trees that are root's and final: the same files under second names.

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    fs::File,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};

use super::{
    Host, Owner,
    tree::{chown, descend},
};
use crate::error::{Context, Result};

/// Texts longer than this are no scripts.
const SCRIPT: u64 = 1 << 20;

/// What is different in the copy.
pub struct Copied<'a> {
    /// Whose the directories become, and the texts that change.
    pub owner: Owner,
    /// What texts say of the old place, and what they shall say.
    pub places: (&'a str, &'a str),
    /// The directories whose texts name it.
    pub named_in: &'a [&'a str],
}

impl Host {
    /// Gives the files of a frozen tree a second name in a tree of its own, which is somebody's to
    /// change: directories are made for him, and what names the old place is written anew. The
    /// files stay root's, and nobody can write to them by either name.
    ///
    /// Nobody but root may reach either tree meanwhile.
    pub fn link_tree(&self, from: &Path, to: &Path, copied: &Copied<'_>) -> Result<()> {
        let failed = || format!("could not copy `{}`", from.display());
        self.make_dir(to, Owner::ROOT, 0o700)?;
        self.effect(&format!("copy `{}`", from.display()), || {
            let (old, new) = (self.own_dir(from), self.own_dir(to));
            let name = from.file_name().unwrap_or_default().to_string_lossy();
            copied.dir(&old.context(failed)?, &new.context(failed)?, &name).context(failed)
        })
    }

    /// Makes links lead where they led, in a tree whose owner may be at work in it.
    pub fn mend_links(
        &self,
        tree: &Path,
        links: &[(PathBuf, OsString)],
        owner: Owner,
    ) -> Result<()> {
        let failed = || format!("could not mend links in `{}`", tree.display());
        self.effect(&format!("mend links in `{}`", tree.display()), || {
            let top = self.open_dir(tree).context(failed)?;
            links
                .iter()
                .try_for_each(|(path, target)| mend(&top, path, target, owner))
                .context(failed)
        })
    }

    /// The directory itself, and not where a link of that name leads.
    fn own_dir(&self, path: &Path) -> std::io::Result<OwnedFd> {
        let parent = self.open_dir(path.parent().unwrap_or(path))?;
        let name = CString::new(path.file_name().unwrap_or_default().as_bytes())?;
        Ok(descend(&parent, &name)?)
    }
}

impl Copied<'_> {
    fn dir(&self, old: &OwnedFd, new: &OwnedFd, called: &str) -> std::io::Result<()> {
        let names_places = self.named_in.contains(&called);
        for entry in Dir::read_from(old)? {
            let name = entry?.file_name().to_owned();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(old, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    rustix::fs::mkdirat(new, &name, Mode::RWXU)?;
                    self.dir(
                        &descend(old, &name)?,
                        &descend(new, &name)?,
                        &name.to_string_lossy(),
                    )?;
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(old, &name, Vec::new())?;
                    let (here, there) = self.places;
                    match target.to_str().ok().filter(|text| text.contains(here)) {
                        Some(text) => rustix::fs::symlinkat(text.replace(here, there), new, &name)?,
                        None => rustix::fs::symlinkat(&target, new, &name)?,
                    }
                    chown(new, &name, self.owner)?;
                }
                FileType::RegularFile => {
                    let is_text = names_places && u64::try_from(stat.st_size).unwrap_or(0) < SCRIPT;
                    if !is_text || !self.rewrite(old, new, &name, &stat)? {
                        link(old, new, &name)?;
                    }
                }
                _ => {}
            }
        }
        rustix::fs::fchmod(new, Mode::from_raw_mode(0o750))?;
        let owner = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
        Ok(rustix::fs::fchown(new, Some(owner.0), Some(owner.1))?)
    }

    /// Writes a text that names the old place; says whether it is one.
    fn rewrite(
        &self,
        old: &OwnedFd,
        new: &OwnedFd,
        name: &CStr,
        stat: &Stat,
    ) -> std::io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut source = File::from(rustix::fs::openat(old, name, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        let (here, there) = self.places;
        let Some(text) = std::str::from_utf8(&bytes).ok().filter(|text| text.contains(here)) else {
            return Ok(false);
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777 | 0o600);
        let mut file = File::from(rustix::fs::openat(new, name, flags, mode)?);
        file.write_all(text.replace(here, there).as_bytes())?;
        rustix::fs::fchmod(&file, mode)?;
        // What was compiled is known by when its source was changed.
        file.set_modified(source.metadata()?.modified()?)?;
        chown(new, name, self.owner)?;
        Ok(true)
    }
}

/// What is no link any more has an owner who knows better.
fn mend(top: &OwnedFd, path: &Path, target: &OsStr, owner: Owner) -> std::io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::openat2(top, dir, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        dir => dir?,
    };
    if rustix::fs::readlinkat(&dir, name, Vec::new()).is_err() {
        return Ok(());
    }
    rustix::fs::unlinkat(&dir, name, AtFlags::empty())?;
    rustix::fs::symlinkat(target, &dir, name)?;
    // By a handle of the link: its name may be another's by now.
    let link = rustix::fs::openat(
        &dir,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let is = rustix::fs::fstat(&link)?;
    if FileType::from_raw_mode(is.st_mode) == FileType::Symlink && is.st_uid == 0 {
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        rustix::fs::chownat(&link, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

/// A file with as many names as it can have is copied, and starts again.
fn link(old: &OwnedFd, new: &OwnedFd, name: &CString) -> std::io::Result<()> {
    match rustix::fs::linkat(old, name, new, name, AtFlags::empty()) {
        Err(Errno::MLINK) => {}
        done => return Ok(done?),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(old, name, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(new, name, flags, Mode::from_raw_mode(0o600))?);
    std::io::copy(&mut source, &mut file)?;
    let meta = source.metadata()?;
    file.set_permissions(meta.permissions())?;
    file.set_modified(meta.modified()?)?;
    let gid = std::os::unix::fs::MetadataExt::gid(&meta);
    chown(new, name, Owner::new(0, gid))
}
