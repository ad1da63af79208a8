//! Archives made by hand for tests, and a place to unpack them.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
};

use flate2::{Compression, write::GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tempfile::TempDir;

use super::*;
use crate::error::Kind;

pub(super) const SMALL: Limits = Limits { files: 20, bytes: 100_000, file_bytes: 50_000, depth: 6 };

/// A directory to unpack into, beside things that nothing may touch.
pub(super) struct Place {
    pub(super) dir: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::create_dir(dir.path().join("beside")).unwrap();
        File::create(dir.path().join("beside/secret")).unwrap().write_all(b"secret").unwrap();
        Self { dir }
    }

    pub(super) fn unpack(&self, archive: &[u8]) -> Result<Unpacked> {
        let into = File::open(self.dir.path().join("in")).unwrap();
        let unpacked = unpack(archive, into.as_fd(), &SMALL);
        let mut outside = listed(self.dir.path());
        outside.retain(|line| !line.starts_with("in/"));
        assert_eq!(outside, ["beside/ 755", "beside/secret 644 secret"]);
        unpacked
    }

    pub(super) fn holds(&self) -> Vec<String> {
        listed(&self.dir.path().join("in"))
    }
}

/// What an archive unpacks to, a line an entry.
pub(super) fn unpacked(archive: &[u8]) -> Vec<String> {
    let place = Place::new();
    place.unpack(archive).unwrap();
    place.holds()
}

/// Why an archive is refused.
pub(super) fn cause(archive: &[u8]) -> String {
    let error = Place::new().unpack(archive).unwrap_err();
    assert_eq!((error.code, error.kind), ("bad_archive", Kind::Usage), "{error}");
    assert!(error.hint.is_some());
    error.cause.unwrap()
}

pub(super) fn listed(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(dir).unwrap().as_os_str().as_bytes().escape_ascii();
            let mode = meta.permissions().mode() & 0o7777;
            lines.push(if meta.is_dir() {
                dirs.push(path.clone());
                format!("{name}/ {mode:o}")
            } else if meta.is_symlink() {
                format!("{name} -> {}", fs::read_link(&path).unwrap().display())
            } else {
                assert!(meta.is_file(), "{name}");
                format!("{name} {mode:o} {}", fs::read(&path).unwrap().escape_ascii())
            });
        }
    }
    lines.sort();
    lines
}

#[derive(Clone, Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    /// An entry with any bytes for a name, a target and a mode.
    pub(super) fn entry(
        mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        mode: u32,
        contents: &[u8],
    ) -> Self {
        if name.len() > 100 {
            self = self.entry(b'L', b"././@LongLink", b"", 0, &[name, &[0]].concat());
        }
        if link.len() > 100 {
            self = self.entry(b'K', b"././@LongLink", b"", 0, &[link, &[0]].concat());
        }
        let mut header = ::tar::Header::new_gnu();
        let old = header.as_old_mut();
        let (name, link) = (&name[..name.len().min(100)], &link[..link.len().min(100)]);
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        old.linkflag = [kind];
        header.set_size(contents.len() as u64);
        header.set_mode(mode);
        self.add(header, contents)
    }

    pub(super) fn add(mut self, mut header: ::tar::Header, contents: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: impl AsRef<[u8]>, contents: &str) -> Self {
        self.entry(b'0', name.as_ref(), b"", 0o600, contents.as_bytes())
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.entry(b'5', name.as_bytes(), b"", 0o700, b"")
    }

    pub(super) fn link(self, name: &str, target: impl AsRef<[u8]>) -> Self {
        self.entry(b'2', name.as_bytes(), target.as_ref(), 0o777, b"")
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    pub(super) fn pax(self, kind: u8, records: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..rest + 9).find(|n| n - n.to_string().len() == rest).unwrap();
            writeln!(text, "{length} {key}={value}").unwrap();
        }
        self.entry(kind, b"PaxHeaders/x", b"", 0o644, text.as_bytes())
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub(super) fn tar() -> Tar {
    Tar::default()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}
