//! `hostkit digest`: the half of a backup that lists files with their hashes.

use std::{fs::File, io::BufWriter, os::unix::fs::OpenOptionsExt, path::PathBuf};

use crate::{
    error::{Context as _, Error, Result},
    sys::digest::Lister,
};

/// List directories with a hash of each file, for `backup`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the list goes
    #[arg(long)]
    to: PathBuf,

    /// An earlier list: of what has not changed since the hash is taken from there
    #[arg(long)]
    known: PathBuf,

    /// Directories, each as LABEL=DIR
    #[arg(required = true)]
    trees: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let failed = || format!("could not write `{}`", args.to.display());
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&args.to);
    let mut to = BufWriter::with_capacity(256 << 10, file.context(failed)?);
    let mut lister = Lister::new(&mut to);
    lister.learn(&args.known)?;
    for tree in &args.trees {
        let (label, dir) = tree
            .split_once('=')
            .ok_or_else(|| Error::usage("bad_tree", "a directory is given as LABEL=DIR"))?;
        lister.list(label, dir.as_ref())?;
    }
    std::io::Write::flush(&mut to).context(failed)
}
