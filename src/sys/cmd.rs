//! Other programs, run by argument vector: no shell, no inherited environment, a time limit.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
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

use super::{
    Host, Owner,
    retries::{Listener, Retries},
};
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
    retries: Option<Retries>,
    is_held_back: bool,
}

pub struct Output {
    command: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Its first part is lost: there was too much of it.
    is_cut: bool,
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
            retries: None,
            is_held_back: false,
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

    /// Ends it when it has said these words again and again for so long.
    #[must_use]
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Lets it have little of the processor at first, so that it takes the machine for a slow one.
    #[must_use]
    pub fn held_back(mut self) -> Self {
        self.is_held_back = true;
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
        Self { command, status, stdout, stderr, is_cut: false }
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

    /// Itself, if all that the program wrote is there.
    pub fn whole(self) -> Result<Self> {
        if !self.is_cut {
            return Ok(self);
        }
        Err(Error::failed(format!("`{}` says more than can be kept", self.command))
            .caused_by(format!("it is more than {} MiB", KEPT >> 20)))
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
    if cmd.is_held_back {
        hold_back(&child).context(failed)?;
    }
    let (stdout, stderr, is_cut) = drain(cmd, &mut child)?;
    let status = child.wait().context(failed)?;
    if let Some(feeder) = feeder {
        let _ = feeder.join();
    }
    Ok(Output { command: cmd.to_string(), status, stdout, stderr, is_cut })
}

/// The program itself, and nobody who gets its number later.
fn handle(child: &Child) -> io::Result<Option<OwnedFd>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(pid.map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty())).transpose()?)
}

/// What it may work at most before it is let go, how much at once, and how many times as long it
/// stands still for that. By what it works: on a busy machine it hardly does in a moment of ours.
const HELD_BACK: (Duration, Duration) = (Duration::from_millis(700), Duration::from_secs(90));
const WORK: Duration = Duration::from_millis(2);
const STANDSTILL: u32 = 15;

fn hold_back(child: &Child) -> io::Result<()> {
    let Some(process) = handle(child)? else { return Ok(()) };
    let number = nix::unistd::Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let clock = nix::time::clock_getcpuclockid(number)?;
    std::thread::spawn(move || {
        let has_ended = |after: Duration| {
            let time = Timespec::try_from(after).ok();
            let mut end = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
            rustix::event::poll(&mut end, time.as_ref()).is_ok_and(|ended| ended > 0)
        };
        let signal = |signal| {
            let _ = rustix::process::pidfd_send_signal(&process, signal);
        };
        let (start, mut rested) = (Instant::now(), Duration::ZERO);
        while start.elapsed() < HELD_BACK.1 && !has_ended(WORK) {
            let Ok(worked) = clock.now().map(Duration::from) else { return };
            if worked > HELD_BACK.0 {
                return;
            }
            if worked < rested + WORK {
                continue;
            }
            signal(Signal::STOP);
            has_ended(worked.saturating_sub(rested) * STANDSTILL);
            signal(Signal::CONT);
            rested = worked;
        }
    });
    Ok(())
}

/// Reads both streams until the program ends, or its time is over; whether the first one was cut.
fn drain(cmd: &Cmd, child: &mut Child) -> Result<(Vec<u8>, Vec<u8>, bool)> {
    let failed = || format!("could not follow `{}`", cmd.program.display());
    let deadline = Instant::now() + cmd.limit;
    let end = handle(child).context(failed)?;
    let mut pipes = [
        child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe))),
        child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe))),
    ];
    let mut texts = [Vec::new(), Vec::new()];
    let (mut ended, mut listener) = (end.is_none(), Listener::new(cmd.retries));
    let mut is_cut = false;
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
            let known = texts[*i].len();
            if !read_some(&mut pipes[*i], &mut texts[*i]).context(failed)? {
                pipes[*i] = None;
            }
            is_cut |= *i == 0 && texts[0].len() < known;
            if listener.is_too_much(texts[*i].get(known..).unwrap_or_default(), Instant::now()) {
                return Err(too_much(cmd, child, &texts[*i]));
            }
        }
    }
    let [stdout, stderr] = texts;
    Ok((stdout, stderr, is_cut))
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

fn too_much(cmd: &Cmd, child: &mut Child, said: &[u8]) -> Error {
    end(child);
    let said = String::from_utf8_lossy(said);
    let last: Vec<&str> = said.trim().lines().rev().take(3).collect();
    Error::failed(format!("`{cmd}` was stopped")).caused_by(format!(
        "it went on trying in vain: {}",
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    ))
}

fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

fn overdue(cmd: &Cmd, child: &mut Child) -> Error {
    end(child);
    Error::failed(format!("`{cmd}` did not end"))
        .caused_by(format!("it was stopped after {} s", cmd.limit.as_secs()))
}

/// Whether a program is installed.
pub fn installed(program: &str) -> bool {
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
    fn output_that_was_cut_is_told_from_a_whole_one() {
        let of =
            |bytes: &str| ask(&Cmd::new("/usr/bin/head").args(["-c", bytes, "/dev/zero"])).unwrap();
        assert!(of("1000000").whole().is_ok());
        assert!(of("20000000").whole().err().unwrap().message.contains("more than can be kept"));
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
