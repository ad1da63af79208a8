//! Lets go of what the caller left us: umask, limits, directory, open files, blocked signals.
//!
//! Whoever may run hostkit by sudo chooses all of these, and none may change what it does.

use std::path::PathBuf;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::{
    fs::Mode,
    process::{Resource, Rlimit},
};

use crate::error::{Context, Error, Result};

/// Files that we may hold open; also what one process may hold in a service of ours.
const OPEN_FILES: u64 = 65_536;

/// Resets all of it; the directory that we were started in comes back.
pub fn reset() -> Result<PathBuf> {
    let started_in = std::env::current_dir().unwrap_or_else(|_| "/".into());
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::chdir("/").context(|| "could not enter `/`".into())?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|e| Error::failed("could not unblock signals").caused_by(e))?;
    close_others();
    if rustix::process::geteuid().is_root() {
        raise_limits()?;
    }
    Ok(started_in)
}

/// Closes every file but the standard three, which Rust's runtime has made sure of.
fn close_others() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The handle that listed them is among them and closed already: nothing to mind.
        let _ = nix::unistd::close(fd);
    }
}

fn raise_limits() -> Result<()> {
    let unlimited = Rlimit { current: None, maximum: None };
    let limits = [
        (Resource::As, unlimited.clone()),
        (Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }),
        (Resource::Cpu, unlimited.clone()),
        (Resource::Data, unlimited.clone()),
        (Resource::Fsize, unlimited.clone()),
        (Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) }),
        (Resource::Nproc, unlimited),
        (Resource::Stack, Rlimit { current: Some(8 << 20), maximum: None }),
    ];
    for (resource, limit) in limits {
        rustix::process::setrlimit(resource, limit).context(|| {
            format!("could not reset the limit {resource:?} that the caller had set")
        })?;
    }
    Ok(())
}
