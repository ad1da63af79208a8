//! `allow` and `deny` of a route: who may come.

use super::super::reader::Table;
use crate::{error::Result, names::Network};

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
    text.parse::<Network>().map(|network| network.to_string()).map_err(|error| error.message)
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
            assert_eq!(network(text).as_deref(), Ok(is), "{text}");
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
