//! `hostkit take-over`: what an earlier release has installed, for one that would install the
//! same. Run by the project's own user, in the sandbox of a build.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::error::{Context as _, Error, Result};

/// Where Python's packages are installed, in each release.
const WHERE: &str = "venv";

/// Texts longer than this are no scripts.
const SCRIPT: u64 = 1 << 20;

/// Copy what a release has installed into the directory that it is run in
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The release
    from: PathBuf,
}

pub fn run(args: &Args, started_in: &Path) -> Result<()> {
    let to = started_in.join(WHERE);
    if to.symlink_metadata().is_ok() {
        return Err(Error::conflict("in_the_way", format!("`{}` is there already", to.display())));
    }
    let names = (text_of(&args.from)?, text_of(started_in)?);
    let copied = copy(&args.from.join(WHERE), &to, &names);
    if copied.is_err() {
        let _ = fs::remove_dir_all(&to);
    }
    copied
}

fn text_of(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::usage("bad_path", "a path is no text"))
}

/// Copies a directory, and says the new place wherever a script says the old one.
fn copy(from: &Path, to: &Path, names: &(String, String)) -> Result<()> {
    let failed = || format!("could not copy `{}`", from.display());
    let mode = fs::symlink_metadata(from).context(failed)?.mode();
    fs::DirBuilder::new().mode(mode & 0o777 | 0o700).create(to).context(failed)?;
    for entry in fs::read_dir(from).context(failed)? {
        let entry = entry.context(failed)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let failed = || format!("could not copy `{}`", from.display());
        let kind = entry.file_type().context(failed)?;
        if kind.is_dir() {
            copy(&from, &to, names)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from).context(failed)?, &to).context(failed)?;
        } else if kind.is_file() {
            file(&from, &to, names).context(failed)?;
        }
    }
    Ok(())
}

fn file(from: &Path, to: &Path, (old, new): &(String, String)) -> std::io::Result<()> {
    let meta = fs::metadata(from)?;
    let dir = from.parent().and_then(Path::file_name);
    let names_places = dir.is_some_and(|dir| dir == "bin" || dir == WHERE);
    let text = if names_places && meta.len() < SCRIPT { fs::read(from)? } else { Vec::new() };
    match std::str::from_utf8(&text) {
        Ok(text) if text.contains(old) => {
            fs::File::create_new(to)?.write_all(text.replace(old, new).as_bytes())?;
        }
        _ => drop(fs::copy(from, to)?),
    }
    let copied = fs::File::options().write(true).open(to)?;
    copied.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o777 | 0o600))?;
    // What was compiled is known by when its source was changed.
    copied.set_modified(meta.modified()?)
}
