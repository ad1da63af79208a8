//! Ctrl-C, a closed terminal and `kill`: at once while nothing changes, else at the next step.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use nix::sys::signal::{SigSet, Signal};

use crate::error::{Error, Kind, Result};

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static CHANGING: AtomicUsize = AtomicUsize::new(0);
static OUTLIVES: AtomicBool = AtomicBool::new(false);

/// While this lives the host is being changed, so a signal waits for the step to end.
pub struct Changing(());

impl Changing {
    pub fn begin() -> Self {
        CHANGING.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        CHANGING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// From now on a terminal or a connection that is lost is no wish to stop.
pub fn outlive_the_terminal() {
    OUTLIVES.store(true, Ordering::SeqCst);
}

/// Starts to listen. To be called before there is a second thread, which would miss the mask.
pub fn listen() -> Result<()> {
    let mut awaited = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        awaited.add(signal);
    }
    let mut blocked = awaited;
    // Ctrl-Z would stop us with a lock in our hands.
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        blocked.add(signal);
    }
    blocked
        .thread_block()
        .map_err(|e| Error::failed("could not set the signal mask").caused_by(e))?;
    std::thread::spawn(move || {
        while let Ok(signal) = awaited.wait() {
            if signal == Signal::SIGHUP && OUTLIVES.load(Ordering::SeqCst) {
                continue;
            }
            let signal = signal as i32;
            if CHANGING.load(Ordering::SeqCst) == 0 {
                std::process::exit(i32::from(Kind::Interrupted(signal).exit_code()));
            }
            let _ = RECEIVED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        }
    });
    Ok(())
}

/// Lets every signal through again, for a program that this one becomes.
pub fn let_through() -> Result<()> {
    SigSet::empty()
        .thread_set_mask()
        .map_err(|e| Error::failed("could not set the signal mask").caused_by(e))
}

/// Fails once a signal has asked us to stop.
pub fn check() -> Result<()> {
    match RECEIVED.load(Ordering::SeqCst) {
        0 => Ok(()),
        signal => Err(interrupted(signal)),
    }
}

fn interrupted(signal: i32) -> Error {
    let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
    Error::new(Kind::Interrupted(signal), "interrupted", format!("stopped by {name}"))
}
