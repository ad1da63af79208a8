//! Names of entries and targets of links: below the directory, or refused.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{Limits, refused};
use crate::error::{Error, Result};

/// As Linux has it: a whole path, and one name in it.
pub(super) const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// An entry's path, without detours; empty for the directory itself.
pub(super) fn entry(raw: &[u8], limits: &Limits) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    let mut depth = 0;
    for name in names(raw, raw)? {
        if name == b".." {
            return Err(refused(raw, "its path has `..` in it"));
        }
        depth += 1;
        path.push(OsStr::from_bytes(name));
    }
    if depth > limits.depth {
        return Err(refused(raw, format!("it lies more than {} names deep", limits.depth)));
    }
    Ok(path)
}

/// Where a link points.
pub(super) struct Target {
    pub(super) path: PathBuf,
    /// Directories that it goes up, before anything else.
    pub(super) ups: usize,
}

/// A link's target without detours: a `..` after a name could lead through another link.
pub(super) fn target(raw: &[u8], at: &Path) -> Result<Target> {
    let refuse = |cause: &str| hinted(refused(at.as_os_str().as_bytes(), cause));
    let mut ups = 0;
    let mut below: Vec<&[u8]> = Vec::new();
    for name in names(raw, at.as_os_str().as_bytes()).map_err(hinted)? {
        if name != b".." {
            below.push(name);
        } else if below.pop().is_none() {
            ups += 1;
        }
    }
    if ups >= at.components().count() {
        return Err(refuse("it is a link that leads out of the archive"));
    }
    let mut path: PathBuf = std::iter::repeat_n("..", ups).collect();
    path.extend(below.into_iter().map(OsStr::from_bytes));
    if path.as_os_str().is_empty() {
        path.push(".");
    }
    Ok(Target { path, ups })
}

fn hinted(error: Error) -> Error {
    error.hint("make the link relative, to something in the project, or leave it out")
}

/// The names in a path that nobody could misread.
fn names<'a>(raw: &'a [u8], entry: &[u8]) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>> {
    let cause = match raw {
        [] => "it has an empty path",
        [b'/', ..] => "its path is absolute",
        _ if raw.contains(&0) => "its path has a NUL in it",
        _ if raw.len() > LONGEST_PATH => "its path is too long",
        _ if raw.split(|b| *b == b'/').any(|name| name.len() > LONGEST_NAME) => {
            "a name in its path is too long"
        }
        _ => return Ok(raw.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."))),
    };
    Err(refused(entry, cause))
}

/// What no release has a use for: where it begins, and why it is left out.
pub(super) fn junk(path: &Path) -> Option<(PathBuf, &'static str)> {
    let mut so_far = PathBuf::new();
    for name in path {
        so_far.push(name);
        let is_apple_double = name.len() > 2 && name.as_bytes().starts_with(b"._");
        if name == ".git" {
            return Some((so_far, "the history stays out of a release"));
        }
        if name == "__MACOSX" || name == ".DS_Store" || is_apple_double {
            return Some((so_far, "macOS keeps its own notes there"));
        }
    }
    None
}
