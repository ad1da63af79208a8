//! The caller's terminal, and terminals that we make for what is run on its behalf.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::OpenptFlags,
    termios::{self, OptionalActions, Termios, Winsize},
};

use crate::error::{Context, Result};

/// Whether the caller sits at a terminal, with its input and its output.
pub fn is_here() -> bool {
    termios::isatty(rustix::stdio::stdin()) && termios::isatty(rustix::stdio::stdout())
}

/// The terminal hands each key on as it is, until this is dropped.
pub struct Raw(Termios);

impl Raw {
    pub fn begin() -> Option<Self> {
        let before = termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// A terminal of our own: one end for us, the other for a program.
pub struct Terminal {
    pub ours: File,
    /// Held open, so that the line does not go down before the program has opened it.
    theirs: Option<OwnedFd>,
    pub path: String,
    size: Winsize,
}

const NO_SIZE: Winsize = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };

impl Terminal {
    pub fn open() -> Result<Self> {
        let failed = || "could not make a terminal".to_owned();
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags).context(failed)?;
        rustix::pty::grantpt(&ours).context(failed)?;
        rustix::pty::unlockpt(&ours).context(failed)?;
        let path = rustix::pty::ptsname(&ours, Vec::new()).context(failed)?;
        let path = path.to_string_lossy().into_owned();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(path.as_str(), flags, Mode::empty()).context(failed)?;
        let mut terminal = Self { ours: ours.into(), theirs: Some(theirs), path, size: NO_SIZE };
        terminal.follow_size();
        Ok(terminal)
    }

    /// Makes it as large as the one that the caller looks at.
    pub fn follow_size(&mut self) {
        let Ok(size) = termios::tcgetwinsize(rustix::stdio::stdout()) else { return };
        let is_same = (size.ws_row, size.ws_col) == (self.size.ws_row, self.size.ws_col);
        if !is_same && size.ws_row > 0 && termios::tcsetwinsize(self.ours.as_fd(), size).is_ok() {
            self.size = size;
        }
    }

    /// The program has ended: what it said may be read to its end.
    pub fn close_theirs(&mut self) {
        self.theirs = None;
    }
}
