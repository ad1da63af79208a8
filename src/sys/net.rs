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

/// How many connections to a port of this machine its owner has not ended yet.
pub fn connections(port: u16) -> Result<usize> {
    let mut count = 0;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) => count += text.lines().skip(1).filter(|l| is_connection(l, port)).count(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).context(|| format!("could not read `{table}`")),
        }
    }
    Ok(count)
}

/// Established, seen from the side that was connected to; or on its way there: where the owner
/// does not accept as fast as others come, the kernel lets them try again after a second.
fn is_connection(line: &str, port: u16) -> bool {
    let mut words = line.split_ascii_whitespace().skip(1);
    let mut is_port = || {
        let (_, digits) = words.next()?.rsplit_once(':')?;
        Some(u16::from_str_radix(digits, 16) == Ok(port))
    };
    let (local, remote) = (is_port() == Some(true), is_port() == Some(true));
    match words.next() {
        Some("01" | "03") => local,
        Some("02") => remote,
        _ => false,
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
        assert!(!is_connection(line, 8001));
        assert!(is_connection(&line.replace(" 0A ", " 01 "), 8001));
        assert!(!is_connection(&line.replace(" 0A ", " 01 "), 8002));
        let comes = line.replace("00000000:0000 0A", "0100007F:1F42 02");
        assert!(is_connection(&comes, 8002) && !is_connection(&comes, 8001));
        let line = "0000000065ee11de: 00000003 00000000 00000000 0001 03 16218252 /run/a.sock";
        assert!(is_connection_to(line, "/run/a.sock") && !is_connection_to(line, "/run/a"));
        let listens = line.replace(" 00000000 0001 03", " 00010000 0001 01");
        assert!(!is_connection_to(&listens, "/run/a.sock"));
    }
}
