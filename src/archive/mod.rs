//! Archives in and out: hostkit's only unpacking code, for input that may be hostile.
//!
//! It runs as the project's user and touches nothing outside of the directory it is given.

mod extended;
mod ignored;
pub mod join;
mod look;
mod pack;
mod path;
mod rules;
#[cfg(test)]
mod samples;
mod sparse;
mod stream;
mod tar;
#[cfg(test)]
mod tests;
mod tree;
mod zip;

use std::{
    convert::Infallible,
    fmt,
    io::{self, Cursor, Read},
    path::Path,
};

use rustix::fd::BorrowedFd;

pub use look::{Looked, look};
pub use pack::pack;

use crate::error::{Context, Error, Result};
use stream::{Capped, Format, Gzip, Zstd};
use tree::Tree;

/// No more lines than these tell what was left out.
const MOST_LINES: usize = 20;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Files, links and directories.
    pub files: u64,
    /// All contents together, unpacked.
    pub bytes: u64,
    /// The contents of one file, holes included.
    pub file_bytes: u64,
    /// Names in one path.
    pub depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 200_000, bytes: 4 << 30, file_bytes: 1 << 30, depth: 64 }
    }
}

impl Limits {
    /// What a stream may come to, headers and padding included.
    fn stream(&self) -> u64 {
        self.bytes.saturating_add(self.files.saturating_mul(4096)).saturating_add(1 << 20)
    }
}

/// What an archive held.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unpacked {
    /// Files and links.
    pub files: u64,
    pub bytes: u64,
    /// What was left out and why: twenty lines at most.
    pub skipped: Vec<String>,
}

impl Unpacked {
    fn skip(&mut self, path: &Path, why: &str) {
        let line = format!("{}: {why}", quoted(path));
        if self.skipped.len() >= MOST_LINES || self.skipped.contains(&line) {
            return;
        }
        let is_last = self.skipped.len() + 1 == MOST_LINES;
        self.skipped.push(if is_last { "and more".into() } else { line });
    }
}

/// Unpacks an archive of any kind that its first bytes tell (tar, tar.gz, tar.zst, zip) into
/// an empty directory. One directory around everything is taken off.
///
/// What an error leaves behind is the caller's to remove.
pub fn unpack(input: impl Read, into: BorrowedFd<'_>, limits: &Limits) -> Result<Unpacked> {
    let mut tree = Tree::new(into, limits)?;
    let mut input = io::BufReader::with_capacity(64 << 10, Capped::new(input, limits.stream()));
    let mut head = Vec::new();
    input.by_ref().take(512).read_to_end(&mut head).map_err(unreadable)?;
    let format = Format::of(&head)?;
    let mut input = Cursor::new(head).chain(input);
    match format {
        Format::Gzip => {
            tar::unpack(&mut Capped::new(Gzip::new(input), limits.stream()), &mut tree)?;
        }
        Format::Tar => tar::unpack(&mut input, &mut tree)?,
        Format::Zip => zip::unpack(&mut input, &mut tree)?,
        Format::Zstd => {
            tar::unpack(&mut Capped::new(Zstd::new(input), limits.stream()), &mut tree)?;
        }
    }
    tree.finish()
}

/// An archive that is not taken.
fn bad(cause: impl fmt::Display) -> Error {
    Error::usage("bad_archive", "could not unpack the archive")
        .caused_by(cause)
        .hint("pack the project anew, from inside its directory: `tar -cz .`")
}

/// An entry that is not taken, and with it the archive.
fn refused(name: impl AsRef<[u8]>, cause: impl fmt::Display) -> Error {
    let mut error = bad(cause);
    error.message = format!("could not unpack `{}`", shown(name.as_ref()));
    error
}

/// The same, where it is known which entry is not taken.
fn named(mut error: Error, path: &Path) -> Error {
    if error.code == "bad_archive" {
        error.message = format!("could not unpack {}", quoted(path));
    }
    error
}

/// Why an archive could not be read on: the system's fault, or its own.
fn unreadable(error: io::Error) -> Error {
    if error.raw_os_error().is_some() {
        return failed(error, "could not read the archive".into());
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => bad("it ends too early").hint("send it again, as a whole"),
        _ => bad(error),
    }
}

/// The system's word, as an error of its own.
fn failed(error: impl Into<io::Error>, message: String) -> Error {
    match Err::<Infallible, _>(error).context(|| message) {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

fn quoted(path: &Path) -> String {
    format!("`{}`", shown(path.as_os_str().as_encoded_bytes()))
}

/// A name that somebody else chose, as a person may see it: escaped, and never long.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String = text.chars().take(200).flat_map(char::escape_debug).collect();
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}

/// A limit as a person would say it.
fn amount(bytes: u64) -> String {
    match bytes {
        b if b > 0 && b.trailing_zeros() >= 30 => format!("{} GiB", b >> 30),
        b if b > 0 && b.trailing_zeros() >= 20 => format!("{} MiB", b >> 20),
        b => format!("{b} bytes"),
    }
}
