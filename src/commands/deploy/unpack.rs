//! `hostkit unpack`: the half of a deploy that reads what strangers sent, as the project's user.

use std::os::fd::AsFd;

use crate::{
    archive::{self, Limits},
    error::{Context as _, Result},
};

/// Unpack an archive from standard input into the directory that it is run in
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(started_in: &std::path::Path) -> Result<()> {
    let dir = std::fs::File::open(started_in)
        .context(|| format!("could not open `{}`", started_in.display()))?;
    let unpacked = archive::unpack(std::io::stdin().lock(), dir.as_fd(), &Limits::default())?;
    let mut out = std::io::stdout().lock();
    for line in &unpacked.skipped {
        let _ = std::io::Write::write_all(&mut out, format!("left out: {line}\n").as_bytes());
    }
    Ok(())
}
