//! Carries a command's input and output between whoever asked for it and the unit that runs it.
//!
//! The unit never holds a file of the caller's: it could keep it, or type on its terminal.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{FileType, Mode},
};

use super::{
    Host, Owner, signals,
    terminal::{Raw, Terminal},
};
use crate::error::{Context, Error, Kind, Result};

const DIRECTORY: &str = "/run/hostkit/exec";

/// The pipes or the terminal of one command. Gone when it is dropped.
pub struct Relay {
    dir: PathBuf,
    /// Locked while the one who made it lives.
    _lock: File,
    terminal: Option<Terminal>,
    raw: Option<Raw>,
    outputs: Vec<JoinHandle<()>>,
    gone: Arc<AtomicBool>,
}

impl Relay {
    /// Makes a directory of that name, with a terminal or pipes for a command.
    pub fn new(host: &Host, name: &str, with_terminal: bool) -> Result<Self> {
        let dir = Path::new(DIRECTORY).join(name);
        let failed = || format!("could not make `{}`", dir.display());
        for dir in [Path::new(DIRECTORY), &dir] {
            host.make_dir(dir, Owner::ROOT, 0o700)?;
        }
        let lock = File::open(&dir).context(failed)?;
        lock.lock().context(failed)?;
        let terminal = if with_terminal { Some(Terminal::open()?) } else { None };
        if terminal.is_none() {
            for pipe in ["in", "out", "err"] {
                let mode = Mode::RUSR | Mode::WUSR;
                let made =
                    rustix::fs::mknodat(rustix::fs::CWD, dir.join(pipe), FileType::Fifo, mode, 0);
                made.context(failed)?;
            }
        }
        let gone = Arc::default();
        Ok(Self { dir, _lock: lock, terminal, raw: None, outputs: Vec::new(), gone })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn terminal(&self) -> Option<&str> {
        self.terminal.as_ref().map(|terminal| terminal.path.as_str())
    }

    /// Begins to carry. Each pipe waits by itself until the command opens its end. Of our input
    /// the gate may have read more than the request, so it is read where that reads it.
    pub fn begin(&mut self) -> Result<()> {
        let failed = || "could not carry a command's output".to_owned();
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        let stdout = copy(rustix::stdio::stdout()).context(failed)?;
        let stderr = copy(rustix::stdio::stderr()).context(failed)?;
        if let Some(terminal) = &self.terminal {
            self.raw = Raw::begin();
            let keys = terminal.ours.try_clone().context(failed)?;
            let gone = Arc::clone(&self.gone);
            // The end of a terminal's input is the end of whoever sits there.
            std::thread::spawn(move || {
                let _ = carry(std::io::stdin(), keys);
                gone.store(true, Ordering::SeqCst);
            });
            let screen = terminal.ours.try_clone().context(failed)?;
            self.outputs.push(output(move || Ok(screen), stdout, &self.gone));
            return Ok(());
        }
        let input = self.dir.join("in");
        std::thread::spawn(move || {
            if let Ok(pipe) = File::options().write(true).open(input) {
                let _ = carry(std::io::stdin(), pipe);
            }
        });
        for (pipe, to) in [("out", stdout), ("err", stderr)] {
            let path = self.dir.join(pipe);
            self.outputs.push(output(move || File::open(path), to, &self.gone));
        }
        Ok(())
    }

    /// To be called now and then. Fails when nobody waits for the command any more.
    pub fn check(&mut self) -> Result<()> {
        signals::check()?;
        if let Some(terminal) = &mut self.terminal {
            terminal.follow_size();
        }
        if self.gone.load(Ordering::SeqCst) || is_hung_up(rustix::stdio::stdout()) {
            let hung_up = Kind::Interrupted(rustix::process::Signal::HUP.as_raw());
            return Err(Error::new(hung_up, "interrupted", "nobody waits for it any more"));
        }
        Ok(())
    }

    /// The command has ended: waits until all that it said is handed on.
    pub fn finish(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.close_theirs();
        }
        // What never opened its pipe leaves ours waiting for it.
        for pipe in ["out", "err"] {
            let _ = rustix::fs::open(
                self.dir.join(pipe),
                rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK,
                Mode::empty(),
            );
        }
        while self.outputs.iter().any(|output| !output.is_finished()) && self.check().is_ok() {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.raw = None;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.raw = None;
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Whether a command's directory belongs to one that is still waited for.
pub fn is_attended(name: &str) -> bool {
    File::open(Path::new(DIRECTORY).join(name))
        .is_ok_and(|dir| matches!(dir.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Takes away the directory of a command that nobody waits for.
pub fn forget(host: &Host, name: &str) -> Result<()> {
    host.remove_tree(&Path::new(DIRECTORY).join(name))
}

fn output(
    from: impl FnOnce() -> std::io::Result<File> + Send + 'static,
    to: File,
    gone: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let gone = Arc::clone(gone);
    std::thread::spawn(move || {
        if let Ok(from) = from()
            && carry(from, to).is_err()
        {
            gone.store(true, Ordering::SeqCst);
        }
    })
}

/// Copies until there is no more. Fails only where nobody takes it.
fn carry(mut from: impl Read, mut to: File) -> std::io::Result<()> {
    let mut part = vec![0; 64 << 10];
    loop {
        match from.read(&mut part) {
            // A terminal whose other end is closed says so by an error.
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&part[..n])?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Whether somebody still reads what we write on standard output.
pub fn is_heard() -> bool {
    !is_hung_up(rustix::stdio::stdout())
}

/// Whether nobody reads what we write there.
fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
        && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
