//! One at a time: kernel locks that end with the process that holds them.

use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::signals;
use crate::error::{Context, Error, Kind, Result};

const DIRECTORY: &str = "/run/hostkit/locks";

/// What concerns the whole host: `init`, and whatever else must see it at rest.
pub const HOST: &str = ".host";
/// The repositories of backups on this server, which one command writes to at a time.
pub const BACKUPS: &str = ".backups";
/// One look at a time whether somebody has to be told of something.
pub const ALERTS: &str = ".alerts";
/// Files that projects share. Held for moments, and never while something is printed.
const SHARED: &str = ".shared";
/// nginx is told to read its configuration.
const RELOAD: &str = ".reload";

/// Held until dropped. Programs that we run hold it with us: where hostkit is killed, the next
/// one waits until the last of them is done.
pub struct Lock {
    file: File,
    is_alone: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_alone {
            // Who only shares it writes no name, and must not be taken for us.
            let _ = self.file.set_len(0);
        }
        in_hand().retain(|fd| *fd != self.file.as_raw_fd());
        let _ = self.file.unlock();
    }
}

static IN_HAND: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

fn in_hand() -> MutexGuard<'static, Vec<RawFd>> {
    IN_HAND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The locks that we hold, for who must not get them: a program that runs as somebody else.
pub(super) fn held() -> Vec<RawFd> {
    in_hand().clone()
}

/// Takes the lock, waiting for as long as that; `waiting` is told once who holds it.
pub fn take(name: &str, holder: &str, wait: Duration, waiting: impl FnOnce(&str)) -> Result<Lock> {
    acquire(name, Hold::Alone(holder), wait, waiting, signals::check)
}

/// Takes the host's lock together with others who change projects, and not the host itself.
pub fn take_host_together(wait: Duration, waiting: impl FnOnce(&str)) -> Result<Lock> {
    acquire(HOST, Hold::Together, wait, waiting, signals::check)
}

#[derive(Clone, Copy)]
enum Hold<'a> {
    /// With a word for those who wait.
    Alone(&'a str),
    Together,
}

/// Takes the lock of what projects share. No signal ends the wait: an undo needs it too.
pub fn take_shared() -> Result<Lock> {
    take_for_a_moment(SHARED, "a shared file")
}

/// Takes the turn to make nginx read its configuration, for the moment that this takes.
pub(super) fn take_reload() -> Result<Lock> {
    take_for_a_moment(RELOAD, "a reload")
}

fn take_for_a_moment(name: &str, holder: &str) -> Result<Lock> {
    acquire(name, Hold::Alone(holder), Duration::from_mins(1), |_| {}, || Ok(()))
}

fn acquire(
    name: &str,
    hold: Hold<'_>,
    wait: Duration,
    waiting: impl FnOnce(&str),
    may_go_on: impl Fn() -> Result<()>,
) -> Result<Lock> {
    let failed = || format!("could not open the lock of `{name}`");
    for (dir, mode) in [("/run/hostkit", 0o755), (DIRECTORY, 0o700)] {
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(dir);
        made.context(failed)?;
        // What projects' processes may reach lies beside the locks, and our umask is strict.
        let is = std::fs::metadata(dir).context(failed)?.permissions().mode() & 0o7777;
        if is != mode {
            std::fs::set_permissions(dir, Permissions::from_mode(mode)).context(failed)?;
        }
    }
    let path = Path::new(DIRECTORY).join(name);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .context(failed)?;
    let start = Instant::now();
    let mut waiting = Some(waiting);
    let mut pause = Duration::from_millis(1);
    loop {
        let tried = match hold {
            Hold::Alone(_) => file.try_lock(),
            Hold::Together => file.try_lock_shared(),
        };
        match tried {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e).context(failed),
        }
        may_go_on()?;
        if start.elapsed() >= wait {
            return Err(locked(name, &holder_of(name, &mut file), wait));
        }
        if start.elapsed() > Duration::from_millis(300)
            && let Some(tell) = waiting.take()
        {
            tell(&holder_of(name, &mut file));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).context(failed)?;
    in_hand().push(file.as_raw_fd());
    if let Hold::Alone(holder) = hold {
        let line = format!("{holder} (pid {})", std::process::id());
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(line.as_bytes()));
        written.context(failed)?;
    }
    Ok(Lock { file, is_alone: matches!(hold, Hold::Alone(_)) })
}

/// Takes the lock if nobody holds it.
pub fn try_take(name: &str, holder: &str) -> Result<Option<Lock>> {
    match take(name, holder, Duration::ZERO, |_| {}) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind == Kind::Locked => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who holds a lock. Those who share the host's write no name there, and who was killed while it
/// was alone in it has left one.
fn holder_of(name: &str, file: &mut File) -> String {
    let told = read_holder(file);
    if !told.is_empty() && (name != HOST || lives(&told)) {
        return told;
    }
    let others = if name == HOST { others() } else { Vec::new() };
    others.into_iter().find(|told| lives(told)).unwrap_or_else(|| "another command".into())
}

/// What is written in the locks of projects: whoever holds one shares the host's.
fn others() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return Vec::new() };
    let is_project = |path: &PathBuf| {
        path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    };
    let of_projects = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_project);
    of_projects.filter_map(|path| Some(read_holder(&mut File::open(path).ok()?))).collect()
}

/// Whether the process is there that wrote this.
fn lives(told: &str) -> bool {
    let pid = told.rsplit_once("(pid ").and_then(|(_, rest)| rest.strip_suffix(')'));
    pid.is_some_and(|pid| Path::new("/proc").join(pid).exists())
}

fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.seek(SeekFrom::Start(0));
    let _ = file.take(200).read_to_string(&mut text);
    text
}

fn locked(name: &str, holder: &str, wait: Duration) -> Error {
    let what = match name {
        HOST | SHARED => "the server",
        BACKUPS => "the repository of backups",
        project => project,
    };
    Error::new(Kind::Locked, "locked", format!("{what} is being worked on"))
        .caused_by(match wait.as_secs() {
            0 => format!("`{holder}` holds it"),
            seconds => format!("`{holder}` holds it, and {seconds} s were not enough"),
        })
        .hint("try again when it is done, or wait for it: `--wait 10m`")
}
