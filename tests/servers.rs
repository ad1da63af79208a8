//! The suite that counts: every promise, on real servers.

mod init;
mod vps;
