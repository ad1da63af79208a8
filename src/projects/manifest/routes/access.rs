//! `allow` and `deny` of a route: who may come.

// The type alone: nothing here talks to a network.
use core::net::IpAddr;

use super::super::reader::{Table, printable};
use crate::error::Result;

pub(in crate::projects::manifest) const MOST: usize = 50;

/// Addresses and networks, in their one form.
pub(super) fn read(table: &Table<'_>, key: &str) -> Result<Vec<String>> {
    let Some(entries) = table.strings(key, MOST)? else { return Ok(Vec::new()) };
    if entries.is_empty() {
        return Err(table.refused(&table.span, format!("`{key}` names nobody")));
    }
    let one = |at: &super::At<&str>| {
        network(at.value).map_err(|why| {
            table
                .refused(&at.span, why)
                .hint("write \"203.0.113.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"")
        })
    };
    entries.iter().map(one).collect()
}

fn network(text: &str) -> Result<String, String> {
    let refused = || format!("`{}` is no address and no network", printable(text));
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| refused())?;
    let Some(bits) = bits else { return Ok(address.to_string()) };
    let plain = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u32 = bits.parse().ok().filter(|_| plain).ok_or_else(refused)?;
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    if bits > width {
        return Err(refused());
    }
    let beyond = width - bits;
    if beyond > 0 && number.trailing_zeros() < beyond && number != 0 {
        return Err(format!("`{}` is an address in a network of {bits} bits", printable(text)));
    }
    Ok(format!("{address}/{bits}"))
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn an_address_or_a_network_is_one() {
        for (text, is) in [
            ("203.0.113.7", "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.168.1.128/25", "192.168.1.128/25"),
            ("2001:DB8:0:0::/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("10.1.2.3/32", "10.1.2.3/32"),
        ] {
            assert_eq!(network(text).as_deref(), Ok(is));
        }
        for text in [
            "",
            "all",
            "unix:",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0",
            "1.2.3.4;",
            "1.2.3.4 all",
            "2001:db8::1/32",
            "localhost",
            "fe80::1%eth0",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
