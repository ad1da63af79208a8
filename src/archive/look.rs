//! A directory as a deploy would send it, looked at and not sent.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags},
};

use super::{
    quoted,
    rules::Rules,
    tree::{DIRECTORY, list, open},
};
use crate::error::{Context, Error, Result};

/// More than that of a text is not looked at.
const LONGEST: u64 = 1 << 20;
const LARGEST_INDEX: u64 = 64 << 20;
/// A path has no more; names that grow with each entry would fill the memory.
const LONGEST_NAME: usize = 4096;

/// What a directory holds, without what stays out of a release.
pub struct Looked {
    root: OwnedFd,
    pub files: BTreeSet<String>,
    pub directories: BTreeSet<String>,
}

/// Looks into a directory and those in it, so many levels deep.
pub fn look(dir: &Path, depth: u32) -> Result<Looked> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| {
        Error::usage("no_source", format!("could not read {}", quoted(dir))).caused_by(e)
    })?;
    let rules = Rules::top(&root)?;
    let mut looked = Looked { root, files: BTreeSet::new(), directories: BTreeSet::new() };
    looked.walk(Path::new(""), depth, &rules)?;
    Ok(looked)
}

impl Looked {
    fn walk(&mut self, dir: &Path, depth: u32, rules: &Rules) -> Result<()> {
        let unread = || format!("could not read {}", quoted(dir));
        let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let fd = open(&self.root, here, DIRECTORY, Mode::empty()).context(unread)?;
        for name in list(fd.as_fd()).context(unread)? {
            let stat = rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW).context(unread)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let path: PathBuf = dir.join(OsStr::from_bytes(name.to_bytes()));
            if rules.leave_out(&path, kind == FileType::Directory) {
                continue;
            }
            let Some(text) = path.to_str() else { continue };
            match kind {
                FileType::RegularFile => drop(self.files.insert(text.to_owned())),
                FileType::Directory => {
                    self.directories.insert(text.to_owned());
                    if depth > 1 {
                        let below = rules.below(&self.root, &path)?;
                        self.walk(&path, depth - 1, &below)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The text of a file that was seen; none where it is no text.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        if !self.files.contains(path) {
            return Ok(None);
        }
        let bytes = self.bytes(path, LONGEST);
        let bytes = bytes.context(|| format!("could not read {}", quoted(Path::new(path))))?;
        Ok(String::from_utf8(bytes).ok())
    }

    fn bytes(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = open(&self.root, Path::new(path), flags, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(fd).take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Files that git has in its index, where there is one that can be read.
    pub fn tracked(&self) -> Vec<String> {
        let index = self.bytes(".git/index", LARGEST_INDEX).unwrap_or_default();
        names(&index).unwrap_or_default()
    }
}

/// The names in an index of git's, of versions 2 to 4.
fn names(index: &[u8]) -> Option<Vec<String>> {
    /// Times, numbers, mode and hash of an entry, before its flags.
    const HEAD: usize = 60;
    const EXTENDED: u16 = 0x4000;
    let number = |at: usize| Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?));
    let version = number(4)?;
    if index.get(..4)? != b"DIRC" || !(2..=4).contains(&version) {
        return None;
    }
    let mut names = Vec::new();
    let mut name: Vec<u8> = Vec::new();
    let mut at = 12;
    for _ in 0..number(8)? {
        let flags = u16::from_be_bytes(index.get(at + HEAD..at + HEAD + 2)?.try_into().ok()?);
        let mut start = at + HEAD + if flags & EXTENDED == 0 { 2 } else { 4 };
        if version == 4 {
            // As the one before, but for so many bytes at its end.
            let (gone, next) = varint(index, start)?;
            name.truncate(name.len().checked_sub(gone)?);
            start = next;
        } else {
            name.clear();
        }
        let length = index.get(start..)?.iter().position(|byte| *byte == 0)?;
        name.extend_from_slice(&index[start..start + length]);
        if name.len() > LONGEST_NAME {
            return None;
        }
        names.push(String::from_utf8_lossy(&name).into_owned());
        at = match version {
            4 => start + length + 1,
            // Filled up with zeros, of which there is one at least.
            _ => at + (start - at + length) / 8 * 8 + 8,
        };
    }
    Some(names)
}

/// A number of git's of seven bits a byte, each but the last one more than it says; and what
/// follows it.
fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut byte = *bytes.get(at)?;
    let mut value = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        at += 1;
        byte = *bytes.get(at)?;
        value = (value.checked_add(1)?.checked_mul(128)?).checked_add(usize::from(byte & 0x7f))?;
    }
    Some((value, at + 1))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_index_tells_its_names() {
        let mut index = b"DIRC\0\0\0\x02\0\0\0\x03".to_vec();
        for name in [".env", "backend/.env", "a-name-of-18-letter"] {
            let start = index.len();
            index.extend([0; 60]);
            index.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            index.extend(name.as_bytes());
            index.push(0);
            while !(index.len() - start).is_multiple_of(8) {
                index.push(0);
            }
        }
        assert_eq!(names(&index).unwrap(), [".env", "backend/.env", "a-name-of-18-letter"]);
        for end in 0..index.len() - 8 {
            assert!(names(&index[..end]).is_none(), "{end}");
        }
        assert!(names(b"DIRC\0\0\0\x05\0\0\0\x01").is_none());
    }

    /// As `git update-index --index-version 4` writes it.
    fn shortened(entries: &[(&[u8], &str)]) -> Vec<u8> {
        let mut index = b"DIRC\0\0\0\x04".to_vec();
        index.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
        for (gone, rest) in entries {
            index.extend([0; 62]);
            index.extend(*gone);
            index.extend(rest.as_bytes());
            index.push(0);
        }
        index
    }

    #[test]
    fn an_index_with_shortened_names_tells_them_too() {
        let long = "x".repeat(200);
        // 200 is 72 after one more than 0 times 128: 0x80 0x48.
        let entries: [(&[u8], &str); 5] = [
            (b"\0", "backend/.env"),
            (b"\x04", "main.py"),
            (b"\x0f", ".env"),
            (b"\x04", &long),
            (b"\x80\x48", "z"),
        ];
        let index = shortened(&entries);
        let expected = ["backend/.env", "backend/main.py", ".env", &long, "z"];
        assert_eq!(names(&index).unwrap(), expected);
        for end in 0..index.len() {
            assert!(names(&index[..end]).is_none(), "{end}");
        }
        // More than there is, and a number without an end.
        assert!(names(&shortened(&[(b"\x01", "a")])).is_none());
        assert!(names(&shortened(&[(&[0xff; 40], "a")])).is_none());
        let grows: Vec<(&[u8], &str)> = vec![(b"\0", long.as_str()); 100];
        assert!(names(&shortened(&grows)).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_index_panics(
            version in 2_u8..5,
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        ) {
            let mut index = b"DIRC\0\0\0".to_vec();
            index.push(version);
            index.extend([0, 0, 0, 3]);
            index.extend(rest);
            let _ = names(&index);
        }
    }

    #[test]
    fn a_look_sees_what_a_deploy_would_send_and_follows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        for path in ["a.py", "back/main.py", "node_modules/x.js", ".env", "out/x", "d/e/f/g"] {
            write(path, "text");
        }
        write(".gitignore", "/out\n");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let looked = look(dir.path(), 3).unwrap();
        let files: Vec<&str> = looked.files.iter().map(String::as_str).collect();
        assert_eq!(files, [".gitignore", "a.py", "back/main.py"]);
        let dirs: Vec<&str> = looked.directories.iter().map(String::as_str).collect();
        assert_eq!(dirs, ["back", "d", "d/e", "d/e/f"]);
        assert_eq!(looked.text("a.py").unwrap().as_deref(), Some("text"));
        assert_eq!(looked.text("link").unwrap(), None);
        assert_eq!(look(&dir.path().join("none"), 3).err().unwrap().kind.exit_code(), 2);
    }
}
