//! The wall around projects' ports on loopback: nftables rules that ask for the socket's owner.

use std::{collections::BTreeSet, path::Path};

use serde::Deserialize;

use super::{Cmd, Host};
use crate::error::{Error, Result};

const NFT: &str = "/usr/sbin/nft";
pub const TABLE: &str = "hostkit";

/// What the kernel holds: walled ports, and who may answer on which.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Elements {
    pub walled: BTreeSet<u16>,
    pub owners: BTreeSet<(u32, u16)>,
}

impl Host {
    /// Loads rules; the kernel takes all of them or none.
    pub fn nft(&self, what: &str, rules: &str) -> Result<()> {
        let cmd = Cmd::new(NFT).args(["-f", "-"]).stdin(rules);
        self.run(&cmd, what)?.success().map(|_| ())
    }

    pub fn load_wall(&self, file: &Path) -> Result<()> {
        self.nft("load the wall", &format!("include \"{}\"\n", file.display()))
    }

    /// Lets the web server start no new connection to a port, or lets it again. Those that there
    /// are go on.
    pub fn drain(&self, port: u16, on: bool) -> Result<()> {
        let (word, what) = if on {
            ("add", "send new requests elsewhere")
        } else {
            ("delete", "send new requests here again")
        };
        // To delete what is not there is an error, so it is put in first.
        let element = format!("element inet {TABLE} draining {{ {port} }}\n");
        self.nft(what, &format!("add {element}{word} {element}"))
    }

    pub fn has_wall(&self) -> Result<bool> {
        let out = self.ask(&Cmd::new(NFT).args(["list", "chain", "inet", TABLE, "in"]))?;
        Ok(out.status.success())
    }

    /// The elements that the kernel has, or `None` where the table is not loaded.
    pub fn wall(&self) -> Result<Option<Elements>> {
        let out = self.ask(&Cmd::new(NFT).args(["-j", "list", "table", "inet", TABLE]))?;
        if !out.status.success() {
            return Ok(None);
        }
        read(&out.stdout).map(Some)
    }
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    set: Option<Set>,
}

#[derive(Deserialize)]
struct Set {
    name: String,
    #[serde(default)]
    elem: Vec<serde_json::Value>,
}

fn read(json: &[u8]) -> Result<Elements> {
    let listing: Listing = serde_json::from_slice(json)
        .map_err(|e| Error::failed("could not read what nft says").caused_by(e))?;
    let mut elements = Elements::default();
    for set in listing.nftables.into_iter().filter_map(|object| object.set) {
        for elem in &set.elem {
            match set.name.as_str() {
                "walled" => {
                    elements.walled.extend(number(elem).and_then(|n| u16::try_from(n).ok()));
                }
                "owners" => elements.owners.extend(pair(elem)),
                _ => {}
            }
        }
    }
    Ok(elements)
}

fn number(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn pair(value: &serde_json::Value) -> Option<(u32, u16)> {
    let parts = value.get("concat")?.as_array()?;
    let [uid, port] = parts.as_slice() else { return None };
    let uid = number(uid).or_else(|| {
        let user = super::users::find(uid.as_str()?).ok().flatten()?;
        Some(u64::from(user.owner.uid))
    })?;
    Some((u32::try_from(uid).ok()?, u16::try_from(number(port)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let json = br#"{"nftables":[{"metainfo":{}},{"table":{"family":"inet","name":"hostkit"}},
            {"set":{"name":"walled","elem":[8001,9001]}},
            {"set":{"name":"owners","elem":[{"concat":["root",8001]},{"concat":[20000,8001]}]}},
            {"chain":{"name":"out"}}]}"#;
        let elements = read(json).unwrap();
        assert_eq!(elements.walled, [8001, 9001].into());
        assert_eq!(elements.owners, [(0, 8001), (20000, 8001)].into());
    }
}
