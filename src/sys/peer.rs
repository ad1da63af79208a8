//! Who is at the other end of a socket.

use std::{os::fd::AsFd, time::Duration};

use rustix::net::sockopt::{self, Timeout};

use crate::error::{Context, Result};

/// The user of the process that opened the socket which standard input is; the kernel tells. What
/// is written to it and not read gives up after a while.
pub fn of_standard_input(unread: Duration) -> Result<u32> {
    let failed = || "standard input is no socket of this machine".into();
    let stdin = std::io::stdin();
    let peer = sockopt::socket_peercred(stdin.as_fd()).context(failed)?;
    sockopt::set_socket_timeout(stdin.as_fd(), Timeout::Send, Some(unread)).context(failed)?;
    Ok(peer.uid.as_raw())
}
