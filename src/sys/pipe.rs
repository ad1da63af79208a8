//! A program whose input or output we hold, however long it is. It ends with us.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::Signal,
};

use super::{Cmd, Host, Output, signals};
use crate::error::{Context, Error, Result};

/// No wait is longer, so that a signal is heeded soon.
const SLICE: Duration = Duration::from_millis(250);

/// What is kept of what a program says: its last part.
const KEPT: usize = 1 << 20;

/// Which end of it is ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ours {
    Input,
    Output,
}

/// A program that runs. Dropped before its end it is killed.
pub struct Piped {
    child: Child,
    command: String,
    input: Option<File>,
    output: Option<File>,
    said: Option<JoinHandle<Vec<u8>>>,
    told: Option<JoinHandle<Vec<u8>>>,
}

impl Host {
    /// Starts a program and leaves one end of it to us; what else it says is kept.
    pub fn start(&self, cmd: &Cmd, ours: Ours) -> Result<Piped> {
        let mut command = cmd.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if ours == Ours::Input {
            command.stdin(Stdio::piped());
        }
        end_with_us(&mut command);
        let mut child = cmd.spawn(command)?;
        let file = |pipe: OwnedFd| {
            let _ = rustix::pipe::fcntl_setpipe_size(&pipe, 1 << 20);
            File::from(pipe)
        };
        let input = child.stdin.take().map(|pipe| file(pipe.into()));
        let mut output = child.stdout.take().map(|pipe| file(pipe.into()));
        let told = if ours == Ours::Input { output.take().map(keep_the_end) } else { None };
        let said = child.stderr.take().map(|pipe| keep_the_end(file(pipe.into())));
        Ok(Piped { child, command: cmd.to_string(), input, output, said, told })
    }
}

/// What we feed must not take our end for the end of what it is fed.
#[expect(unsafe_code, reason = "what runs between fork and exec has to be chosen with care")]
fn end_with_us(command: &mut Command) {
    let parent = rustix::process::getpid();
    let end = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: it makes two system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(end) };
}

fn keep_the_end(mut pipe: File) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (mut kept, mut part) = (Vec::new(), vec![0; 64 << 10]);
        while let Ok(n @ 1..) = pipe.read(&mut part) {
            kept.extend_from_slice(&part[..n]);
            if kept.len() > 2 * KEPT {
                kept.drain(..kept.len() - KEPT);
            }
        }
        kept
    })
}

impl Piped {
    /// Its input, while we feed it.
    pub fn input(&mut self) -> Result<&mut File> {
        self.input.as_mut().ok_or_else(|| Error::failed("nobody feeds this program"))
    }

    /// Hands on what it says until it ends; how many bytes. Who says nothing for so long is ended.
    pub fn drain(&mut self, to: &mut dyn Write, idle: Duration) -> Result<u64> {
        let failed = || "could not hand on what a program says".to_owned();
        let Some(mut output) = self.output.take() else { return Ok(0) };
        let (mut total, mut part, mut heard) = (0, vec![0; 256 << 10], Instant::now());
        loop {
            signals::check()?;
            if !is_ready(&output).context(failed)? {
                // What it leaves running may hold its pipe for ever: its own end is enough, once
                // what it said last is read.
                if self.child.try_wait().context(failed)?.is_some() {
                    if is_ready(&output).context(failed)? {
                        continue;
                    }
                    return Ok(total);
                }
                if heard.elapsed() > idle {
                    return Err(Error::failed(format!("`{}` does not go on", self.command))
                        .caused_by(format!("nothing came from it for {} s", idle.as_secs())));
                }
                continue;
            }
            let n = match output.read(&mut part) {
                Ok(0) => return Ok(total),
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).context(failed),
            };
            to.write_all(&part[..n]).context(failed)?;
            total += n as u64;
            heard = Instant::now();
        }
    }

    /// Its output, for a program that reads it by itself.
    pub fn take_output(&mut self) -> Option<File> {
        self.output.take()
    }

    /// Tells it that nothing more comes, and waits for its end.
    pub fn finish(mut self) -> Result<Output> {
        let failed = || "could not follow a program".to_owned();
        drop(self.input.take());
        drop(self.output.take());
        let status = self.child.wait().context(failed)?;
        let end = |thread: Option<JoinHandle<Vec<u8>>>| {
            thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
        };
        let (stdout, stderr) = (end(self.told.take()), end(self.said.take()));
        Ok(Output::new(std::mem::take(&mut self.command), status, stdout, stderr))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // Killed before its input ends: it would take that for the whole of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(pipe: &File) -> std::io::Result<bool> {
    let slice = Timespec::try_from(SLICE).map_err(std::io::Error::other)?;
    let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
    match rustix::event::poll(&mut fds, Some(&slice)) {
        Ok(n) => Ok(n > 0),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Faults;

    fn host() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(dir.path(), Faults::none()).unwrap();
        (dir, host)
    }

    #[test]
    fn what_is_fed_comes_out() {
        let (_dir, host) = host();
        let mut cat = host.start(&Cmd::new("/bin/cat"), Ours::Input).unwrap();
        cat.input().unwrap().write_all(b"hello").unwrap();
        assert_eq!(cat.finish().unwrap().success().unwrap().stdout, b"hello");
        let mut echo = host.start(&Cmd::new("/bin/echo").arg("hi"), Ours::Output).unwrap();
        let mut heard = Vec::new();
        assert_eq!(echo.drain(&mut heard, SLICE).unwrap(), 3);
        assert!(echo.finish().unwrap().status.success());
    }

    #[test]
    fn who_says_nothing_is_ended() {
        let (_dir, host) = host();
        let mut sleep = host.start(&Cmd::new("/bin/sleep").arg("60"), Ours::Output).unwrap();
        let error = sleep.drain(&mut Vec::new(), Duration::from_millis(10)).unwrap_err();
        assert!(error.message.contains("does not go on"), "{error}");
    }
}
