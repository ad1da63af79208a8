//! Where a domain leads, as this server sees it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    sync::mpsc,
    time::Duration,
};

use super::http;
use crate::names::Domain;

/// A resolver tries several servers, several times.
const PATIENCE: Duration = Duration::from_secs(12);

/// Where a name leads; nowhere where it does not, or nobody says so in time.
pub fn look_up(name: &str, port: u16) -> Vec<SocketAddr> {
    let (sender, receiver) = mpsc::channel();
    let name = name.to_owned();
    // It can't be told to give up, so it is left behind.
    std::thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        let _ = sender.send(found.into_iter().flatten().collect());
    });
    receiver.recv_timeout(PATIENCE).unwrap_or_default()
}

/// The addresses of a domain.
pub fn addresses(domain: &Domain) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> =
        look_up(domain.as_str(), 80).into_iter().map(|at| at.ip()).collect();
    found.sort();
    found.dedup();
    found
}

/// Whether an address is one of this machine's: the kernel lets nobody else bind to it.
pub fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Whether an address is nobody's that the world could reach: not even a question is sent there.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_link_local()
                || v4.is_loopback()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
        }
    }
}

/// Whether clouds hand out a machine's credentials at an address, or it is nobody's at all.
pub fn is_metadata(address: IpAddr) -> bool {
    const OWN: [IpAddr; 4] = [
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    ];
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    is_link_local || address.is_unspecified() || address.is_multicast() || OWN.contains(&address)
}

/// What a web server at that address answers in the name of a domain.
pub fn page(address: IpAddr, domain: &Domain, path: &str, limit: Duration) -> Option<String> {
    let answer = http::ask_at(SocketAddr::from((address, 80)), domain, path, limit).ok()?;
    (answer.status == 200).then(|| answer.body.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_world_can_not_reach_is_private() {
        for (address, private) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("192.168.1.1", true),
            ("169.254.169.254", true),
            ("127.0.0.1", true),
            ("0.0.0.0", true),
            ("224.0.0.1", true),
            ("::ffff:169.254.169.254", true),
            ("fd00:ec2::254", true),
            ("fe80::1", true),
            ("::", true),
            ("ff02::1", true),
            ("203.0.113.7", false),
            ("172.32.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), private, "{address}");
        }
    }
}
