//! Where a process of a project answers: on a port, or php-fpm on its socket.

use std::path::{Path, PathBuf};

use super::{Gate, gate::PATIENCE};
use crate::{
    error::Result,
    sys::{Host, fastcgi, http, net, prometheus},
};

/// Where sockets lie that only root and the web server can reach. No project has a name with a dot, and
/// so none has this as its own.
const SOCKETS: &str = "/run/hostkit.sockets";

pub(super) enum Door<'a> {
    Port(u16),
    Socket { pool: &'a str, pages: &'a Path },
}

impl<'a> Door<'a> {
    /// Of a unit that answers on a port, unless it is one of php-fpm's.
    pub(super) fn of(gate: Option<&'a Gate>, unit: &'a str, port: u16) -> Self {
        match gate.and_then(|gate| gate.pages.as_deref()) {
            Some(pages) => {
                let pool = unit.trim_start_matches("hostkit-").trim_end_matches(".service");
                Self::Socket { pool, pages }
            }
            None => Self::Port(port),
        }
    }

    pub(super) fn ask(&self, gate: &Gate, path: &str) -> Result<http::Answer> {
        match self {
            Self::Port(port) => http::ask(*port, &gate.domain, path, PATIENCE),
            Self::Socket { pages, .. } => {
                fastcgi::ask(&self.socket("sock"), pages, &gate.domain, path, PATIENCE)
            }
        }
    }

    /// How many connections have not ended yet.
    pub(super) fn connections(&self) -> Result<usize> {
        match self {
            Self::Port(port) => net::connections(*port, prometheus::uid()),
            // By the name that it was bound to, before it was moved to where it is reached.
            Self::Socket { pool, .. } => {
                net::connections_to(&format!("/run/hostkit-{pool}/php.sock"))
            }
        }
    }

    /// Lets the web server start no new connection, or lets it again. Those that there are go on.
    pub(super) fn drain(&self, host: &Host, on: bool) -> Result<()> {
        let Self::Port(port) = self else { return self.hide(host, on) };
        match host.drain(*port, on) {
            // Where the wall is gone, nothing is kept away.
            Err(_) if !on && !host.has_wall()? => Ok(()),
            done => done,
        }
    }

    /// Lets nobody in to a process that is about to go, whatever he was told before.
    pub(super) fn shut(&self, host: &Host, on: bool) -> Result<()> {
        match self {
            Self::Port(_) => self.drain(host, on),
            // Its socket goes with it.
            Self::Socket { .. } => Ok(()),
        }
    }

    /// A socket under another name is not found. One that was started since is there by itself.
    fn hide(&self, host: &Host, on: bool) -> Result<()> {
        let (socket, hidden) = (self.socket("sock"), self.socket("drained"));
        match (on, host.meta(&socket)?.is_some(), host.meta(&hidden)?.is_some()) {
            (true, true, _) => host.rename(&socket, &hidden),
            (false, false, true) => host.rename(&hidden, &socket),
            (false, true, true) => host.remove_file(&hidden),
            _ => Ok(()),
        }
    }

    fn socket(&self, ending: &str) -> PathBuf {
        match self {
            Self::Port(_) => PathBuf::new(),
            Self::Socket { pool, .. } => format!("{SOCKETS}/{pool}.{ending}").into(),
        }
    }
}
