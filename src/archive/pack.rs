//! A directory as a tar stream, without what does not belong into a release.

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use tar::{Builder, EntryType, Header};

use super::{
    Limits, Unpacked, amount, quoted,
    rules::{OWN_FILE, Rules},
    tree::{DIRECTORY, list, open},
};
use crate::error::{Context, Error, Result};

/// Writes a tar stream of a directory: what `.hostkitignore` (else `.gitignore` files) leave
/// out stays out, and `.git`, always.
pub fn pack(dir: &Path, output: impl Write, limits: &Limits) -> Result<Unpacked> {
    let unread = || format!("could not read {}", quoted(dir));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(dir, flags, Mode::empty()).context(unread)?;
    let mut packer = Packer {
        root,
        limits,
        archive: Builder::new(Output { inner: output, is_cut: false }),
        packed: Unpacked::default(),
        entries: 0,
    };
    let packed =
        Rules::top(&packer.root).and_then(|rules| packer.contents(Path::new(""), 1, &rules));
    if let Err(e) = packed {
        packer.archive.get_mut().is_cut = true;
        return Err(e);
    }
    let mut output = packer.archive.into_inner().context(unwritten)?;
    output.flush().context(unwritten)?;
    Ok(packer.packed)
}

/// Ends where packing failed: the builder would end the archive as if it were whole.
struct Output<W> {
    inner: W,
    is_cut: bool,
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_cut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Packer<'l, W: Write> {
    root: OwnedFd,
    limits: &'l Limits,
    archive: Builder<Output<W>>,
    packed: Unpacked,
    entries: u64,
}

impl<W: Write> Packer<'_, W> {
    fn contents(&mut self, dir: &Path, depth: u32, rules: &Rules) -> Result<()> {
        for (name, kind) in self.names(dir)? {
            let path = dir.join(OsStr::from_bytes(name.to_bytes()));
            if rules.leave_out(&path, kind == FileType::Directory) {
                continue;
            }
            self.count(&path, depth)?;
            match kind {
                FileType::Directory => {
                    self.directory(&path)?;
                    self.contents(&path, depth + 1, &rules.below(&self.root, &path)?)?;
                }
                FileType::RegularFile => self.file(&path)?,
                FileType::Symlink => self.link(&path)?,
                _ => self.packed.skip(&path, "it is neither file, directory nor link"),
            }
        }
        Ok(())
    }

    /// What a directory holds, in an order that is always the same.
    fn names(&self, dir: &Path) -> Result<Vec<(CString, FileType)>> {
        let unread = || format!("could not read {}", quoted(dir));
        let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let fd = open(&self.root, here, DIRECTORY, Mode::empty()).context(unread)?;
        let mut names = list(fd.as_fd()).context(unread)?;
        names.sort();
        let kind = |name: CString| {
            let stat = rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((name, FileType::from_raw_mode(stat.st_mode)))
        };
        names.into_iter().map(kind).collect::<Result<_, Errno>>().context(unread)
    }

    fn directory(&mut self, path: &Path) -> Result<()> {
        let (_, stat) = self.open(path, OFlags::PATH, FileType::Directory)?;
        let mut header = header(EntryType::Directory, 0o755, 0, &stat);
        self.archive.append_data(&mut header, path, io::empty()).context(unwritten)
    }

    fn link(&mut self, path: &Path) -> Result<()> {
        let (link, stat) = self.open(path, OFlags::PATH, FileType::Symlink)?;
        let target = rustix::fs::readlinkat(&link, "", Vec::new()).context(|| unread(path))?;
        let mut header = header(EntryType::Symlink, 0o777, 0, &stat);
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        self.archive.append_link(&mut header, path, target).context(unwritten)?;
        self.packed.files += 1;
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let (file, stat) = self.open(path, flags, FileType::RegularFile)?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        self.charge(path, size)?;
        let mode = if stat.st_mode & 0o100 == 0 { 0o644 } else { 0o755 };
        let mut header = header(EntryType::Regular, mode, size, &stat);
        let mut contents = Watched { inner: File::from(file).take(size), left: size, error: None };
        let written = self.archive.append_data(&mut header, path, &mut contents);
        if let Some(error) = contents.error {
            return Err(error).context(|| unread(path));
        }
        written.context(unwritten)?;
        if contents.left > 0 {
            return Err(Error::failed(unread(path)).caused_by("it changed meanwhile"));
        }
        self.packed.files += 1;
        Ok(())
    }

    /// Opens what the walk has seen, itself and not where a link would lead.
    fn open(&self, path: &Path, flags: OFlags, kind: FileType) -> Result<(OwnedFd, Stat)> {
        let fd = open(&self.root, path, flags | OFlags::NOFOLLOW, Mode::empty())
            .context(|| unread(path))?;
        let stat = rustix::fs::fstat(&fd).context(|| unread(path))?;
        if FileType::from_raw_mode(stat.st_mode) != kind {
            return Err(Error::failed(unread(path)).caused_by("it changed meanwhile"));
        }
        Ok((fd, stat))
    }

    fn count(&mut self, path: &Path, depth: u32) -> Result<()> {
        if depth > self.limits.depth {
            let cause = format!("it lies more than {} names deep", self.limits.depth);
            return Err(too_much(path, cause));
        }
        self.entries += 1;
        if self.entries > self.limits.files {
            let cause = format!("there are more than {} files", self.limits.files);
            return Err(too_much(path, cause));
        }
        Ok(())
    }

    fn charge(&mut self, path: &Path, size: u64) -> Result<()> {
        let bytes = self.packed.bytes.saturating_add(size);
        if size > self.limits.file_bytes {
            let most = amount(self.limits.file_bytes);
            return Err(too_much(path, format!("it is larger than {most}")));
        }
        if bytes > self.limits.bytes {
            let most = amount(self.limits.bytes);
            return Err(too_much(path, format!("the files come to more than {most}")));
        }
        self.packed.bytes = bytes;
        Ok(())
    }
}

/// Contents that are counted: what could not be read is told from what could not be written.
struct Watched<R> {
    inner: R,
    left: u64,
    error: Option<io::Error>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(n) => {
                self.left -= n as u64;
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                self.error = Some(e);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

fn header(kind: EntryType, mode: u32, size: u64, stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}

fn too_much(path: &Path, cause: String) -> Error {
    let error = Error::usage("too_large", format!("could not pack {}", quoted(path)));
    error.caused_by(cause).hint(format!("leave out in `{OWN_FILE}` what a release does not need"))
}

fn unread(path: &Path) -> String {
    format!("could not read {}", quoted(path))
}

fn unwritten() -> String {
    "could not write the archive".into()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, FileTimes},
        os::unix::fs::{PermissionsExt, symlink},
        time::{Duration, SystemTime},
    };

    use tempfile::TempDir;

    use super::*;
    use crate::archive::samples::{SMALL, unpacked};

    fn dir(files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, contents) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap().write_all(contents.as_bytes()).unwrap();
        }
        dir
    }

    fn packed(dir: &TempDir) -> Vec<u8> {
        let mut archive = Vec::new();
        pack(dir.path(), &mut archive, &SMALL).unwrap();
        archive
    }

    /// The files, not the directories, that are packed.
    fn names(dir: &TempDir) -> Vec<String> {
        let lines = unpacked(&packed(dir)).into_iter();
        lines.filter_map(|line| line.split_once(" 644").map(|(name, _)| name.into())).collect()
    }

    fn refused(dir: &TempDir) -> Error {
        let mut archive = Vec::new();
        let error = pack(dir.path(), &mut archive, &SMALL).unwrap_err();
        // What was written so far can't be taken for a whole archive.
        assert!(!archive.ends_with(&[0; 1024]));
        error
    }

    #[test]
    fn what_is_packed_unpacks_to_the_same() {
        let long = format!("{}/{}", "d".repeat(90), "n".repeat(90));
        let dir = dir(&[("a", "1"), ("bin/run", "2"), (".hidden/b", ""), (&long, "3")]);
        let run = dir.path().join("bin/run");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        symlink("bin/run", dir.path().join("l")).unwrap();
        let expected = [
            ".hidden/ 755".to_owned(),
            ".hidden/b 644 ".into(),
            "a 644 1".into(),
            "bin/ 755".into(),
            "bin/run 755 2".into(),
            format!("{}/ 755", "d".repeat(90)),
            format!("{long} 644 3"),
            "empty/ 755".into(),
            "l -> bin/run".into(),
        ];
        assert_eq!(unpacked(&packed(&dir)), expected);
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let files = [("c", "1"), ("a/b", "2"), ("b", "3")];
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let archives = [files, [files[2], files[0], files[1]]].map(|files| {
            let dir = dir(&files);
            for name in ["c", "a/b", "b", "a"] {
                let file = File::open(dir.path().join(name)).unwrap();
                file.set_times(FileTimes::new().set_modified(time)).unwrap();
            }
            packed(&dir)
        });
        assert_eq!(archives[0], archives[1]);
        let header = Header::from_byte_slice(&archives[0][..512]);
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (1_000_000, 0));
    }

    #[test]
    fn what_git_ignores_stays_out() {
        let files = [
            (".gitignore", "*.log\n!keep.log\n"),
            (".ignore", "a\n"),
            ("a", ""),
            ("x.log", ""),
            ("keep.log", ""),
            ("d/.gitignore", "/b\n"),
            ("d/b", ""),
            ("d/c", ""),
            ("e/b", ""),
            (".git/config", ""),
            (".env", "SECRET=1"),
            ("d/.env", ""),
            ("node_modules/x/y", ""),
            ("d/venv/x", ""),
            (".venv/x", ""),
            ("__pycache__/x", ""),
        ];
        let expected = [".gitignore", ".ignore", "a", "d/.gitignore", "d/c", "e/b", "keep.log"];
        assert_eq!(names(&dir(&files)), expected);
    }

    #[test]
    fn an_own_file_alone_counts() {
        let files = [
            (".gitignore", "dist\n"),
            (".hostkitignore", "docs\n!node_modules\n!.git\n!/.env\n"),
            ("dist/a", ""),
            ("docs/a", ""),
            ("d/docs/a", ""),
            ("node_modules/a", ""),
            ("venv/a", ""),
            (".git/a", ""),
            (".env", ""),
            ("d/.env", ""),
        ];
        let expected = [".env", ".gitignore", ".hostkitignore", "dist/a", "node_modules/a"];
        assert_eq!(names(&dir(&files)), expected);
        let bad = dir(&[(".hostkitignore", "[z-a]\n")]);
        assert_eq!(refused(&bad).code, "bad_ignore_file");
        assert_eq!(names(&dir(&[(".gitignore", "[z-a]\na\n"), ("a", "")])), [".gitignore"]);
    }

    #[test]
    fn rules_are_read_from_plain_files_only() {
        for name in [".gitignore", ".hostkitignore", "d/.gitignore"] {
            let dir = dir(&[("d/a", "")]);
            let path = dir.path().join(name);
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR).unwrap();
            assert_eq!(refused(&dir).cause.as_deref(), Some("it is no regular file"));
            fs::remove_file(&path).unwrap();
            symlink("/dev/zero", &path).unwrap();
            assert_eq!(refused(&dir).cause.as_deref(), Some("it is a symbolic link"));
            fs::remove_file(&path).unwrap();
            File::create(&path).unwrap().set_len(2 << 20).unwrap();
            assert_eq!(refused(&dir).cause.as_deref(), Some("it is longer than 1 MiB"));
        }
    }

    #[test]
    fn what_is_no_file_is_told_and_what_is_unreadable_is_an_error() {
        let dir = dir(&[("a", "")]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let skipped = pack(dir.path(), io::sink(), &SMALL).unwrap().skipped;
        assert_eq!(skipped, ["`s`: it is neither file, directory nor link"]);
        if !rustix::process::geteuid().is_root() {
            fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
            assert_eq!(refused(&dir).message, "could not read `a`");
        }
        let error = pack(&dir.path().join("none"), io::sink(), &SMALL).unwrap_err();
        assert_eq!(error.cause.as_deref(), Some("no such file or directory"));
    }

    #[test]
    fn limits_hold() {
        let big = "x".repeat(50_001);
        for (files, why) in [
            (vec![("a".to_owned(), &big[..])], "it is larger than 50000 bytes"),
            (vec![("a/b/c/d/e/f/g".into(), "")], "it lies more than 6 names deep"),
            ((0..21).map(|n| (n.to_string(), "")).collect(), "there are more than 20 files"),
            (
                (0..3).map(|n| (n.to_string(), &big[..40_000])).collect(),
                "the files come to more than 100000 bytes",
            ),
        ] {
            let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
            let error = refused(&dir(&files));
            assert_eq!((error.code, error.cause.as_deref()), ("too_large", Some(why)));
        }
    }

    #[test]
    fn a_reader_that_went_away_is_told() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(32))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = pack(dir(&[("a", "x")]).path(), Gone, &SMALL).unwrap_err();
        assert_eq!(error.to_string(), "could not write the archive: broken pipe");
    }
}
