//! Lets go of what the caller left us: umask, limits, directory, open files, blocked signals.
//!
//! Whoever may run hostkit by sudo chooses all of these, and none may change what it does.

use std::path::PathBuf;

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
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
    heed_children()?;
    close_others();
    if rustix::process::geteuid().is_root() {
        raise_limits()?;
    }
    Ok(started_in)
}

/// A caller that ignores the end of its children makes us ignore ours, and never learn how a
/// program ended.
#[expect(unsafe_code, reason = "setting a signal's action is unsafe for the sake of handlers")]
fn heed_children() -> Result<()> {
    // SAFETY: the default action runs no handler, so no code of ours can be entered by it; and
    // there is only one thread yet.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }
        .map(|_| ())
        .map_err(|e| Error::failed("could not heed our own programs").caused_by(e))
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

/// Lifts what the caller may have lowered. Where that is not ours to do (a container without the
/// right to), what is left must at least be enough to finish what we begin.
fn raise_limits() -> Result<()> {
    let room = 64 << 20;
    let wanted = [
        (Resource::As, None, 1 << 30),
        (Resource::Cpu, None, 600),
        (Resource::Data, None, 1 << 30),
        (Resource::Fsize, None, room),
        (Resource::Nofile, Some(OPEN_FILES), 256),
        (Resource::Nproc, None, 64),
        (Resource::Stack, Some(8 << 20), 1 << 20),
    ];
    setrlimit(Resource::Core, Some(0))?;
    for (resource, limit, least) in wanted {
        if setrlimit(resource, limit).is_ok() {
            continue;
        }
        let hard = rustix::process::getrlimit(resource).maximum;
        let _ = setrlimit(resource, hard);
        let left = rustix::process::getrlimit(resource).current;
        if left.is_some_and(|left| left < least) {
            return Err(Error::not_ready(
                "limited",
                "the caller's limits are too tight to work in",
            )
            .caused_by(format!("{resource:?} is {}, and {least} is the least", left.unwrap_or(0)))
            .hint("run it from a shell without `ulimit`"));
        }
    }
    Ok(())
}

fn setrlimit(resource: Resource, limit: Option<u64>) -> Result<()> {
    rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })
        .context(|| format!("could not reset the limit {resource:?} that the caller had set"))
}
