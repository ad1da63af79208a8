//! The only door to the host: everything that hostkit changes goes through here.

pub mod acme;
pub mod certificate;
mod cmd;
pub mod database_info;
pub mod databases;
mod der;
pub mod digest;
mod exchange;
pub mod fastcgi;
mod faults;
mod fs;
pub mod git;
mod hashers;
pub mod http;
pub mod https;
pub mod inherit;
pub mod journald;
mod keyfile;
pub mod links;
pub mod lock;
pub mod moment;
pub mod mysql;
pub mod net;
pub mod nginx;
pub mod patience;
pub mod peer;
pub mod pipe;
pub mod postgres;
pub mod prometheus;
pub mod redis;
pub mod redis_copy;
pub mod redis_keys;
pub mod relay;
pub mod resolve;
pub mod restic;
mod retries;
pub mod signals;
pub mod storage;
pub mod sudo;
pub mod system;
pub mod systemd;
pub mod terminal;
mod tree;
pub mod users;
pub mod wall;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::fs::{Mode, OFlags};

pub use cmd::{Cmd, Output, installed};
pub use faults::{Faults, VARIABLE as FAULT_VARIABLE};
pub use fs::{FileKind, Meta, Owner};

use crate::error::{Context, Result};

/// The server, or a directory that stands for its root in a test.
pub struct Host {
    root: OwnedFd,
    prefix: PathBuf,
    faults: Faults,
    systemd: Mutex<Option<systemd::Bus>>,
    postgres: Mutex<Option<postgres::Session>>,
    redis: Mutex<Option<::redis::Connection>>,
}

impl Host {
    /// The machine that we run on.
    pub fn here(faults: Faults) -> Result<Self> {
        Self::below(Path::new("/"), faults)
    }

    /// A directory that stands for `/`: files only, no services.
    pub fn rehearsal(root: &Path, faults: Faults) -> Result<Self> {
        Self::below(root, faults)
    }

    fn below(prefix: &Path, faults: Faults) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(prefix, flags, Mode::empty())
            .context(|| format!("could not open `{}`", prefix.display()))?;
        Ok(Self {
            root,
            prefix: prefix.to_owned(),
            faults,
            systemd: Mutex::new(None),
            postgres: Mutex::new(None),
            redis: Mutex::new(None),
        })
    }

    /// Carries out one change, which a test may make fail or may die before or after.
    fn effect<T>(&self, what: &str, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let n = self.faults.before(what)?;
        let done = change()?;
        self.faults.after(n, what)?;
        Ok(done)
    }

    /// The engine's own writing, which a test may make fail or die like any change.
    pub fn journaling<T>(&self, what: &str, write: impl FnOnce() -> Result<T>) -> Result<T> {
        self.effect(what, write)
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

/// A lock that outlives a panic in another thread: what it guards is a connection, made anew.
fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
