//! What lies in a tree, with a hash of each file: by handles, so that no link leads out of it.

use std::{
    collections::{HashMap, VecDeque},
    ffi::CString,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::mpsc::Receiver,
};

use data_encoding::HEXLOWER;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::{Host, hashers::Hashers};
use crate::error::{Context, Error, Result};

/// No path of the kernel's has more directories.
const DEEPEST: usize = 2048;

impl Host {
    /// What tells a thing from one that takes its place.
    pub fn identity(&self, path: &Path) -> Result<Option<u64>> {
        let failed = || format!("could not look at `{}`", path.display());
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let dir = match self.open_dir(dir) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e).context(failed),
        };
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.st_ino)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e).context(failed),
        }
    }

    /// A file's contents, however long it is, where root alone could have put it.
    pub fn read_long(&self, path: &Path) -> Result<Vec<u8>> {
        let failed = || format!("could not read `{}`", path.display());
        let mut contents = Vec::new();
        File::open(path).context(failed)?.read_to_end(&mut contents).context(failed)?;
        Ok(contents)
    }

    /// The end of such a file; nothing of one that is not there.
    pub fn read_end(&self, path: &Path, longest: u64) -> Result<Vec<u8>> {
        let failed = || format!("could not read `{}`", path.display());
        let mut file = match File::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.context(failed)?,
        };
        let long = file.metadata().context(failed)?.len();
        file.seek(SeekFrom::Start(long.saturating_sub(longest))).context(failed)?;
        let mut contents = Vec::new();
        file.take(longest).read_to_end(&mut contents).context(failed)?;
        Ok(contents)
    }
}

/// A tree that is read, and the list that it becomes: one line for each thing in it,
/// `kind hash size mtime ctime inode path`, where a link to what is no text has `hash=target`.
pub struct Lister<'a> {
    to: &'a mut dyn Write,
    /// What was read before, by the rest of its line: who has the same need not be read again.
    known: HashMap<String, String>,
    /// So many bytes may be claimed altogether: a file of holes claims what no disk has.
    left: u64,
    hashers: Hashers,
    /// Lines in their order, of which some wait for their hash.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    kind: char,
    hash: Hash,
    /// What stands behind the hash.
    rest: String,
    path: String,
}

enum Hash {
    Known(String),
    Asked(Receiver<std::io::Result<String>>),
}

/// So many lines wait at once, with a file that is open for each.
const WAITING: usize = 64;

impl<'a> Lister<'a> {
    pub fn new(to: &'a mut dyn Write) -> Self {
        let (known, waiting) = (HashMap::new(), VecDeque::new());
        Self { to, known, left: u64::MAX, hashers: Hashers::new(), waiting }
    }

    /// Learns the hashes of an earlier list. Of one that is gone there are none.
    pub fn learn(&mut self, list: &Path) -> Result<()> {
        let Ok(file) = File::open(list) else { return Ok(()) };
        for line in BufReader::new(file).lines() {
            let line = line.context(|| "could not read an earlier list of files".into())?;
            if let Some((hash, rest)) =
                line.strip_prefix("f ").and_then(|line| line.split_once(' '))
            {
                self.known.insert(rest.to_owned(), hash.to_owned());
            }
        }
        Ok(())
    }

    /// Lists what lies in a directory, under a name that paths begin with.
    pub fn list(&mut self, label: &str, dir: &Path) -> Result<()> {
        let failed = || format!("could not list `{}`", dir.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).context(failed)?;
        let disk = rustix::fs::fstatvfs(&fd).context(failed)?;
        if disk.f_blocks > 0 {
            self.left = disk.f_blocks.saturating_mul(disk.f_frsize).saturating_mul(2);
        }
        self.walk(&fd, label, 0)?;
        self.write_down(0)
    }

    fn walk(&mut self, dir: &OwnedFd, path: &str, depth: usize) -> Result<()> {
        let failed = || format!("could not list `{path}`");
        if depth > DEEPEST {
            return Err(Error::failed(failed()).caused_by("its directories are nested too deep"));
        }
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(dir).context(failed)? {
            let name = entry.context(failed)?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let below = format!("{path}/{}", escaped(name.to_bytes()));
            match self.entry(dir, &name, &below, depth) {
                // It went while we looked.
                Err(error) if error.code == GONE => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, dir: &OwnedFd, name: &CString, path: &str, depth: usize) -> Result<()> {
        let failed = |e: Errno| {
            let error = Error::failed(format!("could not read `{path}`")).caused_by(e);
            // Or something else is there by now.
            let is_gone = matches!(e, Errno::NOENT | Errno::NOTDIR | Errno::LOOP);
            if is_gone { error.coded(GONE) } else { error }
        };
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.line('d', "-", &stat, path)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(failed)?;
                self.walk(&below, path, depth + 1)
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(failed)?;
                self.file(fd, path)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(failed)?;
                let mut hash = HEXLOWER.encode(&Sha256::digest(target.to_bytes()));
                // restic keeps where links lead as text: of what is none the list has to know it.
                if target.to_str().is_err() {
                    hash = format!("{hash}={}", escaped(target.to_bytes()));
                }
                self.line('l', &hash, &stat, path)
            }
            _ => self.line('o', "-", &stat, path),
        }
    }

    fn file(&mut self, fd: OwnedFd, path: &str) -> Result<()> {
        let failed = || format!("could not read `{path}`");
        let stat = rustix::fs::fstat(&fd).context(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        self.left =
            self.left.checked_sub(u64::try_from(stat.st_size).unwrap_or(0)).ok_or_else(|| {
                Error::failed(format!("`{path}` can't be kept"))
                    .coded("too_long")
                    .caused_by(
                        "its files claim to be longer than twice the disk: it is full of holes",
                    )
                    .hint("remove it, or copy it to where it takes the room that it claims")
            })?;
        if let Some(hash) = self.known.get(&rest(&stat, path)).cloned() {
            return self.line('f', &hash, &stat, path);
        }
        let hash = Hash::Asked(self.hashers.hash(File::from(fd)));
        self.push('f', hash, &stat, path)
    }

    fn line(&mut self, kind: char, hash: &str, stat: &Stat, path: &str) -> Result<()> {
        self.push(kind, Hash::Known(hash.to_owned()), stat, path)
    }

    fn push(&mut self, kind: char, hash: Hash, stat: &Stat, path: &str) -> Result<()> {
        let (rest, path) = (rest(stat, path), path.to_owned());
        self.waiting.push_back(Waiting { kind, hash, rest, path });
        self.write_down(WAITING)
    }

    /// Writes lines down until no more than so many wait.
    fn write_down(&mut self, left: usize) -> Result<()> {
        while self.waiting.len() > left {
            let Some(Waiting { kind, hash, rest, path }) = self.waiting.pop_front() else { break };
            let failed = || format!("could not read `{path}`");
            let hash = match hash {
                Hash::Known(hash) => hash,
                Hash::Asked(hash) => {
                    let nobody = || Error::failed(failed()).caused_by("nobody hashed it");
                    hash.recv().map_err(|_| nobody())?.context(failed)?
                }
            };
            let line = format!("{kind} {hash} {rest}\n");
            self.to.write_all(line.as_bytes()).context(|| "could not write the list".into())?;
        }
        Ok(())
    }
}

const GONE: &str = "gone";

fn rest(stat: &Stat, path: &str) -> String {
    format!(
        "{} {}.{:09} {}.{:09} {} {path}",
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
        stat.st_ino
    )
}

/// A name on one line, whatever it holds.
fn escaped(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b'\\' | 0..=0x20 | 0x7f.. => text.push_str(&format!("\\x{byte:02x}")),
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(dir: &Path, known: Option<&Path>) -> Result<String> {
        let mut out = Vec::new();
        let mut lister = Lister::new(&mut out);
        known.map_or(Ok(()), |known| lister.learn(known))?;
        lister.list("shared", dir)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn write(path: std::path::PathBuf, text: &str) {
        std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes())
            .unwrap();
    }

    #[test]
    fn a_tree_is_listed_and_no_link_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write(at("a b\n"), "hello");
        std::os::unix::fs::symlink("/etc", at("etc")).unwrap();
        std::fs::create_dir(at("sub")).unwrap();
        write(at("sub/x"), "");
        let text = list(dir.path(), None).unwrap();
        let ends: Vec<(&str, &str)> =
            text.lines().map(|l| (&l[..1], l.rsplit(' ').next().unwrap())).collect();
        let expected = [
            ("f", "shared/a\\x20b\\x0a"),
            ("l", "shared/etc"),
            ("d", "shared/sub"),
            ("f", "shared/sub/x"),
        ];
        assert_eq!(ends, expected);
        assert!(text.contains("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"));
    }

    #[test]
    fn what_has_not_changed_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("x"), "hello");
        let text = list(dir.path(), None).unwrap();
        let other = tempfile::NamedTempFile::new().unwrap();
        // A hash that could only come from the earlier list.
        write(other.path().into(), &text.replace("2cf24dba", "00000000"));
        assert!(list(dir.path(), Some(other.path())).unwrap().starts_with("f 00000000"));
        write(dir.path().join("x"), "other");
        assert!(!list(dir.path(), Some(other.path())).unwrap().starts_with("f 00000000"));
    }

    #[test]
    fn a_file_of_holes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("x")).unwrap();
        file.set_len(1 << 42).unwrap();
        assert_eq!(list(dir.path(), None).unwrap_err().code, "too_long");
    }
}
