//! The caller's terminal, and terminals that we make for what is run on its behalf.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    pty::OpenptFlags,
    termios::{self, LocalModes, OptionalActions, Termios, Winsize},
};
use zeroize::Zeroizing;

use super::signals::{self, Changing};
use crate::{
    error::{Context, Result},
    secret::Secret,
};

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

/// Keys one by one, until this is dropped. None come where the caller types nowhere.
pub struct Keys(Option<Raw>);

impl Keys {
    pub fn begin() -> Self {
        Self(Raw::begin())
    }

    /// The next key, if one is pressed in time.
    pub fn next(&self, within: Duration) -> Option<u8> {
        if self.0.is_none() {
            std::thread::sleep(within);
            return None;
        }
        let stdin = rustix::stdio::stdin();
        let mut fds = [PollFd::from_borrowed_fd(stdin, PollFlags::IN)];
        let time = Timespec {
            tv_sec: i64::try_from(within.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(within.subsec_nanos()),
        };
        let ready = rustix::event::poll(&mut fds, Some(&time)).unwrap_or(0);
        let mut byte = [0];
        let read = (ready > 0).then(|| rustix::io::read(stdin, &mut byte));
        if matches!(read?, Ok(1)) {
            return Some(byte[0]);
        }
        // A terminal that is gone is always ready, and has nothing.
        std::thread::sleep(within);
        None
    }
}

/// What is typed is not shown, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self> {
        let failed = || "could not hide what is typed".to_owned();
        let before = termios::tcgetattr(rustix::stdio::stdin()).context(failed)?;
        let mut hidden = before.clone();
        // Also Ctrl-C comes as a key: whoever ends us by a signal would leave it hidden for good.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &hidden)
            .context(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// A line that nobody sees; `None` if it was given up.
pub fn hidden_line(longest: usize) -> Result<Option<Secret>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const DELETE: u8 = 127;
    let _changing = Changing::begin();
    let _hidden = Hidden::begin()?;
    let mut line = Zeroizing::new(Vec::with_capacity(longest));
    let mut byte = [0];
    loop {
        let n = rustix::io::read(rustix::stdio::stdin(), &mut byte)
            .context(|| "could not read what is typed".to_owned())?;
        match byte[0] {
            _ if n == 0 => return Ok(None),
            INTERRUPT => return Ok(None),
            b'\n' | b'\r' | END => break,
            DELETE | BACKSPACE => drop(line.pop()),
            more if line.len() < longest => line.push(more),
            _ => {}
        }
        if signals::check().is_err() {
            return Ok(None);
        }
    }
    Ok(std::str::from_utf8(&line).ok().map(Secret::new))
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
