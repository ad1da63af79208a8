//! Who listens on which port of this machine.

use std::collections::BTreeMap;

use crate::error::{Context, Result};

/// Ports with a TCP listener, and the user that each belongs to.
pub fn listeners() -> Result<BTreeMap<u16, u32>> {
    let mut found = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) => found.extend(text.lines().skip(1).filter_map(listener)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).context(|| format!("could not read `{table}`")),
        }
    }
    Ok(found)
}

/// `0: 0100007F:1F90 00000000:0000 0A … uid …`, where 0A is the state "listening".
fn listener(line: &str) -> Option<(u16, u32)> {
    let mut words = line.split_ascii_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    let uid = words.nth(3)?.parse().ok()?;
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (state == "0A").then_some((port, uid))
}

/// How many connections to a port of this machine its owner has not ended yet. Those of `idler` do
/// not count: what it asks for it asks for again, and between two questions it stays connected.
pub fn connections(port: u16, idler: Option<u32>) -> Result<usize> {
    let mut tables = String::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) => tables.extend(text.lines().skip(1).flat_map(|line| [line, "\n"])),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).context(|| format!("could not read `{table}`")),
        }
    }
    Ok(count(&tables, port, idler))
}

fn count(tables: &str, port: u16, idler: Option<u32>) -> usize {
    let all = || tables.lines().filter_map(Connection::read);
    // Both of its ends are here: the other one tells whose it is.
    let of = |uid| all().filter(move |other| other.remote == port && other.uid == uid);
    let idle: Vec<u16> = idler.into_iter().flat_map(of).map(|other| other.local).collect();
    all().filter(|one| one.is_to(port) && !one.ends().any(|end| idle.contains(&end))).count()
}

/// A line of the kernel's table, as one end sees it.
struct Connection<'a> {
    local: u16,
    remote: u16,
    state: &'a str,
    uid: u32,
}

impl<'a> Connection<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let mut port = || u16::from_str_radix(words.next()?.rsplit_once(':')?.1, 16).ok();
        let (local, remote) = (port()?, port()?);
        let state = words.next()?;
        Some(Self { local, remote, state, uid: words.nth(3)?.parse().ok()? })
    }

    /// Established, seen from the side that was connected to; or on its way there: where the owner
    /// does not accept as fast as others come, the kernel lets them try again after a second.
    fn is_to(&self, port: u16) -> bool {
        match self.state {
            "01" | "03" => self.local == port,
            "02" => self.remote == port,
            _ => false,
        }
    }

    fn ends(&self) -> impl Iterator<Item = u16> {
        [self.local, self.remote].into_iter()
    }
}

/// How many connections to a socket, by the path that it was bound to, have not ended yet.
pub fn connections_to(socket: &str) -> Result<usize> {
    let table = "/proc/net/unix";
    let text = std::fs::read_to_string(table).context(|| format!("could not read `{table}`"))?;
    Ok(text.lines().filter(|line| is_connection_to(line, socket)).count())
}

/// `0000…: 00000002 00000000 00010000 0001 01 16218252 /path`, where the flags 00010000 are those
/// of the listener itself.
fn is_connection_to(line: &str, socket: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let flags = words.nth(3);
    flags.is_some_and(|flags| flags != "00010000") && words.nth(3) == Some(socket)
}

/// Whether this machine speaks IPv6 at all: nginx can't listen on `[::]` otherwise.
pub fn has_ipv6() -> bool {
    std::path::Path::new("/proc/net/if_inet6").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let line = "   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000 20001        0 12345 1";
        assert_eq!(listener(line), Some((8001, 20001)));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("garbage"), None);
        assert_eq!(count(line, 8001, None), 0);
        let there = line.replace("00000000:0000 0A", "0100007F:C000 01");
        assert_eq!((count(&there, 8001, None), count(&there, 8002, None)), (1, 0));
        let comes = line.replace("00000000:0000 0A", "0100007F:1F42 02");
        assert_eq!((count(&comes, 8002, None), count(&comes, 8001, None)), (1, 0));
        // Who is connected all the time is known by the other end.
        let end = there.replace("0100007F:1F41 0100007F:C000", "0100007F:C000 0100007F:1F41");
        let both = format!("{there}\n{}\n", end.replace("20001", "104"));
        assert_eq!((count(&both, 8001, Some(33)), count(&both, 8001, Some(104))), (1, 0));
        let line = "0000000065ee11de: 00000003 00000000 00000000 0001 03 16218252 /run/a.sock";
        assert!(is_connection_to(line, "/run/a.sock") && !is_connection_to(line, "/run/a"));
        let listens = line.replace(" 00000000 0001 03", " 00010000 0001 01");
        assert!(!is_connection_to(&listens, "/run/a.sock"));
    }
}
