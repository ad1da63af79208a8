//! Other programs, run by argument vector: no shell, no inherited environment, a time limit.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::{Errno, FdFlags},
    process::{Pid, PidfdFlags, Signal},
};

use super::{Host, Owner};
use crate::error::{Context, Error, Result};

/// What is kept of each stream of a program's output: its last part.
const KEPT: usize = 8 << 20;

/// A program and its arguments. It prints itself ready to paste.
#[derive(Clone)]
pub struct Cmd {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    user: Option<Owner>,
    stdin: Vec<u8>,
    input: Option<Arc<File>>,
    limit: Duration,
}

pub struct Output {
    command: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Cmd {
    pub fn new(program: &'static str) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            user: None,
            stdin: Vec::new(),
            input: None,
            limit: Duration::from_mins(1),
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A variable of the environment: the place for a secret, since arguments are public.
    #[must_use]
    pub fn env(mut self, key: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key, value.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Reads a file from where it stands, which root has opened.
    #[must_use]
    pub fn input(mut self, file: File) -> Self {
        self.input = Some(Arc::new(file));
        self
    }

    /// Runs it as that user, with no other group.
    #[must_use]
    pub fn user(mut self, user: Owner) -> Self {
        self.user = Some(user);
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(super) fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the one place where programs are run")]
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/")
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .current_dir("/")
            // Ctrl-C is for us to handle: a half-run useradd helps nobody.
            .process_group(0)
            .stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        if let Some(Owner { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
            keep_locks_from(&mut command);
        }
        command
    }

    pub(super) fn spawn(&self, mut command: Command) -> Result<Child> {
        if let Some(input) = &self.input {
            command.stdin(input.try_clone().context(|| "could not pass on a file".into())?);
        }
        command.spawn().map_err(|e| {
            let error = Error::failed(format!("could not run `{}`", self.program.display()));
            if e.kind() == io::ErrorKind::NotFound {
                return Error::not_ready("program_missing", error.message)
                    .caused_by("it is not installed")
                    .hint("`hostkit doctor` says what is missing");
            }
            error.caused_by(e)
        })
    }
}

/// Who shares a user with a program could take its descriptors out of it, and our locks with them.
#[expect(unsafe_code, reason = "what runs between fork and exec has to be chosen with care")]
fn keep_locks_from(command: &mut Command) {
    let locks = super::lock::held();
    let close = move || {
        for lock in &locks {
            // SAFETY: nobody closes it between fork and exec, where this one thread is alone.
            let lock = unsafe { BorrowedFd::borrow_raw(*lock) };
            rustix::io::fcntl_setfd(lock, FdFlags::CLOEXEC)?;
        }
        // It is not to go on without us, either.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: it makes two system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(close) };
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
        for arg in &self.args {
            let arg = arg.to_string_lossy();
            if !arg.is_empty() && arg.chars().all(plain) {
                write!(f, " {arg}")?;
            } else {
                write!(f, " '{}'", arg.replace('\'', "'\\''"))?;
            }
        }
        Ok(())
    }
}

impl Output {
    pub(super) fn new(
        command: String,
        status: ExitStatus,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    ) -> Self {
        Self { command, status, stdout, stderr }
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }

    /// Itself, if the program said that all went well.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let said = self.stderr_text();
        let said = if said.is_empty() { self.stdout_text().trim().to_owned() } else { said };
        let end = match self.status.code() {
            Some(code) => format!("it exited with status {code}"),
            None => format!("it was ended by a signal ({})", self.status),
        };
        let error = Error::failed(format!("`{}` failed", self.command));
        Err(error.caused_by(if said.is_empty() { end } else { said }))
    }
}

impl Host {
    /// Runs a program that changes the host.
    pub fn run(&self, cmd: &Cmd, what: &str) -> Result<Output> {
        self.effect(what, || ask(cmd))
    }

    /// Runs a program that changes nothing.
    pub fn ask(&self, cmd: &Cmd) -> Result<Output> {
        ask(cmd)
    }

    /// Runs a program that changes nothing, its output into a file.
    pub fn ask_into(&self, cmd: &Cmd, file: File) -> Result<Output> {
        let mut command = cmd.command();
        command.stdout(file).stderr(Stdio::piped());
        collect(cmd, cmd.spawn(command)?)
    }
}

fn ask(cmd: &Cmd) -> Result<Output> {
    let mut command = cmd.command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    collect(cmd, cmd.spawn(command)?)
}

fn collect(cmd: &Cmd, mut child: Child) -> Result<Output> {
    let failed = || format!("could not follow `{}`", cmd.program.display());
    let stdin = child.stdin.take();
    let feeder = stdin.map(|mut pipe| {
        let bytes = cmd.stdin.clone();
        // A program that reads nothing must not stall us, nor its early end kill us.
        std::thread::spawn(move || drop(pipe.write_all(&bytes)))
    });
    if let Some(pipe) = &child.stdout {
        // What says much (`nginx -T`) need not wait for us after each page of it.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
    }
    let (stdout, stderr) = drain(cmd, &mut child)?;
    let status = child.wait().context(failed)?;
    if let Some(feeder) = feeder {
        let _ = feeder.join();
    }
    Ok(Output { command: cmd.to_string(), status, stdout, stderr })
}

/// Reads both streams until the program ends, or its time is over.
fn drain(cmd: &Cmd, child: &mut Child) -> Result<(Vec<u8>, Vec<u8>)> {
    let failed = || format!("could not follow `{}`", cmd.program.display());
    let deadline = Instant::now() + cmd.limit;
    let end = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .transpose()
        .context(failed)?;
    let mut pipes = [
        child.stdout.take().map(|pipe| File::from(std::os::fd::OwnedFd::from(pipe))),
        child.stderr.take().map(|pipe| File::from(std::os::fd::OwnedFd::from(pipe))),
    ];
    let mut texts = [Vec::new(), Vec::new()];
    let mut ended = end.is_none();
    loop {
        let open: Vec<usize> = (0..2).filter(|i| pipes[*i].is_some()).collect();
        let mut fds: Vec<PollFd<'_>> = open
            .iter()
            .filter_map(|i| pipes[*i].as_ref())
            .map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN))
            .collect();
        if let (Some(end), false) = (&end, ended) {
            fds.push(PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
        }
        if fds.is_empty() {
            break;
        }
        // What a program leaves running may hold its pipes for ever: its own end is enough.
        let left = if ended {
            Duration::from_millis(20)
        } else {
            deadline.saturating_duration_since(Instant::now())
        };
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(0) if ended => break,
            Ok(0) => return Err(overdue(cmd, child)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).context(failed),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        ended |= ready.get(open.len()).copied().unwrap_or(false);
        for (i, _) in open.iter().zip(&ready).filter(|(_, ready)| **ready) {
            if !read_some(&mut pipes[*i], &mut texts[*i]).context(failed)? {
                pipes[*i] = None;
            }
        }
    }
    let [stdout, stderr] = texts;
    Ok((stdout, stderr))
}

/// Reads what is there; says whether more may come.
fn read_some(pipe: &mut Option<File>, text: &mut Vec<u8>) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut part = vec![0; 128 << 10];
    let n = pipe.read(&mut part)?;
    text.extend_from_slice(&part[..n]);
    if text.len() > 2 * KEPT {
        text.drain(..text.len() - KEPT);
    }
    Ok(n > 0)
}

fn overdue(cmd: &Cmd, child: &mut Child) -> Error {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    Error::failed(format!("`{cmd}` did not end"))
        .caused_by(format!("it was stopped after {} s", cmd.limit.as_secs()))
}

/// Whether a program is installed.
pub(super) fn installed(program: &str) -> bool {
    Path::new(program).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let out = ask(&Cmd::new("/bin/cat").stdin("hello")).unwrap().success().unwrap();
        assert_eq!(out.stdout, b"hello");
        let error = ask(&Cmd::new("/bin/cat").arg("/nowhere")).unwrap().success().err().unwrap();
        assert!(error.cause.unwrap().contains("No such file"));
    }

    #[test]
    fn a_program_that_never_ends_is_ended() {
        let cmd = Cmd::new("/bin/sleep").arg("60").limit(Duration::from_millis(50));
        let error = ask(&cmd).err().unwrap();
        assert_eq!(error.message, "`/bin/sleep 60` did not end");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = ask(&Cmd::new("/usr/bin/no-such-program")).err().unwrap();
        assert_eq!(error.code, "program_missing");
    }

    #[test]
    fn a_command_prints_itself_ready_to_paste() {
        let cmd = Cmd::new("/usr/sbin/useradd").args(["--comment", "it's me", "x"]);
        assert_eq!(cmd.to_string(), "/usr/sbin/useradd --comment 'it'\\''s me' x");
    }
}
